"""Texts show objects with keys in Go's order."""

from __future__ import annotations

from tests import planes
from vapi.gvk import GVK
from vapi.registry import go_order


def test_structs_are_shown_as_declared_and_maps_sorted() -> None:
    type_ = planes.schemas().types.for_gvk(GVK("", "v1", "ConfigMap"))
    obj = {
        "data": {"b": "", "a": ""},
        "metadata": {"uid": "u", "managedFields": [{"fieldsV1": {}, "manager": "m"}], "namespace": "n", "name": "c"},
        "kind": "ConfigMap",
    }
    shown = go_order.ordered(obj, type_)
    assert list(shown) == ["kind", "metadata", "data"]
    assert list(shown["metadata"]) == ["name", "namespace", "uid", "managedFields"]
    assert list(shown["metadata"]["managedFields"][0]) == ["manager", "fieldsV1"]
    assert list(shown["data"]) == ["a", "b"]
    assert shown == obj


def test_what_a_patch_touched_is_sorted() -> None:
    value = {"metadata": {"name": "c", "labels": {"b": "1", "a": "2"}, "uid": "u"}, "data": {}, "kind": "ConfigMap"}
    shown = go_order.sorted_where_patched(value, {"metadata": {"labels": {"c": None}}})
    assert list(shown) == ["data", "kind", "metadata"]
    assert list(shown["metadata"]) == ["labels", "name", "uid"]
    assert list(shown["metadata"]["labels"]) == ["a", "b"]


def test_a_custom_kind_keeps_its_order() -> None:
    assert list(go_order.ordered({"b": 1, "a": 2}, None)) == ["b", "a"]
