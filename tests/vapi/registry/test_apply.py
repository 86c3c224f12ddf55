"""Server-side apply: laws for any configuration, and the rules one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vapi.registry.life import NOW, content, entries, schema_of, zero_of
from tests.vapi.registry.test_strategic_merge import _CONTAINERS, _LABELS
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, Obj
from vapi.registry import managed_fields
from vapi.registry.apply import LAST_APPLIED, apply, refuse_uid_on_create
from vapi.registry.managed_fields import Convert, with_entries
from vapi.schema.types import SchemaType, Shape

CONFIG_MAP = GVK("", "v1", "ConfigMap")
POD = GVK("", "v1", "Pod")
LATER = "2026-01-01T00:01:00Z"


def _apply(live: Obj | None, config: Any, manager: str, *, gvk: GVK = CONFIG_MAP, now: str = NOW, **more: Any) -> Obj:
    before = json.dumps([live, config])
    applied = apply(
        live=live,
        config=config,
        schema=schema_of(gvk),
        gvk=gvk,
        manager=manager,
        now=now,
        zero=zero_of(gvk),
        **more,
    )
    assert json.dumps([live, config]) == before
    return applied


def _config_map(data: Obj | None = None, **metadata: Any) -> Obj:
    obj: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}}
    return obj if data is None else {**obj, "data": data}


def _owned(obj: Obj) -> dict[str, Any]:
    return {e["manager"]: e["fieldsV1"] for e in entries(obj)}


# --- laws ----------------------------------------------------------------------------------------

_PODS = st.builds(
    lambda labels, containers, more: {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": labels},
        "spec": {"containers": containers, **more},
    },
    _LABELS,
    _CONTAINERS,
    st.fixed_dictionaries({}, optional={"hostname": st.sampled_from("xy"), "nodeSelector": _LABELS}),
)


def _full(value: Any) -> Any:
    """Without empty maps and lists: Go drops them when an object is stored."""
    if isinstance(value, dict):
        kept = {key: _full(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [])}
    return [_full(item) for item in value] if isinstance(value, list) else value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=json.dumps) if value and isinstance(value[0], dict) else value
    return value


@given(_PODS, _PODS)
def test_applying_the_same_again_changes_nothing_not_even_a_time(first: Obj, second: Obj) -> None:
    first, second = _full(first), _full(second)
    live = _apply(_apply(None, first, "one", gvk=POD), second, "one", gvk=POD)
    assert _apply(live, second, "one", gvk=POD, now=LATER) == live


@given(_PODS, _PODS)
def test_what_a_single_manager_applied_last_is_what_is_there(first: Obj, second: Obj) -> None:
    first, second = _full(first), _full(second)
    live = _apply(_apply(None, first, "one", gvk=POD), second, "one", gvk=POD)
    fresh = _apply(None, second, "one", gvk=POD)
    assert _sorted(content(live)) == _sorted(content(fresh))
    assert entries(live) == entries(fresh)


@given(_LABELS, _LABELS, _LABELS, st.sampled_from("xy"))
def test_applies_of_two_managers_that_share_nothing_commute(base: Obj, labels: Obj, data: Obj, text: str) -> None:
    live = _apply(None, _config_map(None, annotations=base), "base")
    one = _config_map(None, labels=labels, finalizers=["one"])
    two = _config_map({**data, "z": text}, finalizers=["two"])
    both = [
        _apply(_apply(live, a, name), b, other) for a, name, b, other in ((one, "1", two, "2"), (two, "2", one, "1"))
    ]
    for obj in both:
        obj["metadata"]["finalizers"] = sorted(obj["metadata"]["finalizers"])
    assert both[0] == both[1]


@given(_LABELS, _LABELS, _LABELS)
def test_a_manager_that_applies_nothing_leaves_what_others_own(first: Obj, mine: Obj, again: Obj) -> None:
    live = _apply(None, _full(_config_map(first)), "one")
    for data in (mine, again):
        live = _apply(live, _full(_config_map(data)), "two", force=True)
    left = _apply(live, _config_map(), "two")
    assert "two" not in _owned(left)
    owned = _owned(left).get("one", {}).get("f:data", {})
    assert {f"f:{key}" for key in left.get("data") or {}} == set(owned)


# --- rules ---------------------------------------------------------------------------------------


def test_a_field_dropped_by_its_only_owner_goes() -> None:
    live = _apply(None, _config_map({"a": "1", "b": "1"}), "one")
    assert _apply(live, _config_map({"b": "1"}), "one")["data"] == {"b": "1"}


def test_a_field_that_somebody_else_owns_stays() -> None:
    live = _apply(_apply(None, _config_map({"a": "1"}), "one"), _config_map({"a": "1"}), "two")
    left = _apply(live, _config_map(), "one")
    assert left["data"] == {"a": "1"}
    assert _owned(left) == {"two": {"f:data": {"f:a": {}}}}


def test_a_map_that_loses_its_last_field_goes_but_who_owned_the_map_still_does() -> None:
    live = _config_map(None, uid="u", labels={"a": "1"})
    live = with_entries(live, managed_fields.track_update(
        old=None, new=live, schema=schema_of(CONFIG_MAP), manager="up", api_version="v1", now=NOW
    ))  # fmt: skip
    live = _apply(live, _config_map(None, labels={"a": "2"}), "one", force=True)
    left = _apply(live, _config_map(), "one")
    assert "labels" not in left["metadata"]
    assert _owned(left) == {"up": {"f:metadata": {"f:labels": {}}}}


def test_sharing_a_value_adds_an_entry_without_time() -> None:
    live = _apply(None, _config_map({"a": "1"}), "one")
    shared = _apply(live, _config_map({"a": "1"}), "two", now=LATER)
    assert [(e["manager"], e.get("time")) for e in entries(shared)] == [("two", None), ("one", NOW)]


def test_force_takes_a_field_over() -> None:
    live = _apply(None, _config_map({"a": "1", "b": "1"}), "one")
    taken = _apply(live, _config_map({"a": "2"}), "two", force=True)
    assert _owned(taken) == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}


def test_conflicts_are_listed_by_manager() -> None:
    live = _apply(_apply(None, _config_map({"a": "1", "b": "1"}), "one"), _config_map({"c": "1"}), "two")
    with pytest.raises(ApiError) as refused:
        _apply(live, _config_map({"a": "2", "b": "2", "c": "2"}), "three")
    assert refused.value.message == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.a\n- .data.b\nconflicts with "two":\n- .data.c'
    )
    status = refused.value.status()
    assert status["code"] == 409
    assert [(c["message"], c["field"]) for c in status["details"]["causes"]] == [
        ('conflict with "one"', ".data.a"),
        ('conflict with "one"', ".data.b"),
        ('conflict with "two"', ".data.c"),
    ]


def test_an_object_nobody_tracked_belongs_to_before_first_apply() -> None:
    live = _config_map({"a": "1", "b": "1"}, uid="u")
    applied = _apply(live, _config_map({"a": "1"}), "one")
    assert _owned(applied) == {
        "before-first-apply": {"f:data": {".": {}, "f:a": {}, "f:b": {}}},
        "one": {"f:data": {"f:a": {}}},
    }


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        ([1], 400, "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array "
         "into Go value of type map[string]interface {}"),
        (None, 400, "invalid object type: /, Kind="),
        ({**_config_map(), "apiVersion": "apps/v1"}, 400, "invalid object type: apps/v1, Kind=ConfigMap"),
        (_config_map(managedFields=[]), 400, "metadata.managedFields must be nil"),
        (_config_map({"a": 1}), 500, "failed to create typed patch object (/c; /v1, Kind=ConfigMap): .data.a: expected "
         "string, got &value.valueUnstructured{Value:1}"),
        (_config_map(labels="x"), 500, "failed to create typed patch object (/c; /v1, Kind=ConfigMap): "
         ".metadata.labels: expected map, got &{x}"),
        ({**_config_map({"a": True}), "immutable": "x"}, 500, "failed to create typed patch object (/c; /v1, "
         "Kind=ConfigMap): errors:\n  .data.a: expected string, got &value.valueUnstructured{Value:true}\n"
         "  .immutable: expected boolean, got &{x}"),
        (_config_map(finalizers=["a", "a"]), 500, "failed to create typed patch object (/c; /v1, Kind=ConfigMap): "
         '.metadata.finalizers: duplicate entries for key [="a"]'),
        (_config_map(finalizers=[None]), 500, "failed to create typed patch object (/c; /v1, Kind=ConfigMap): "
         ".metadata.finalizers: element 0: associative list without keys has an element that's an explicit null"),
        (_config_map(namespace="n", ownerReferences=["x"]), 500, "failed to create typed patch object (n/c; /v1, "
         "Kind=ConfigMap): .metadata.ownerReferences: element 0: associative list with keys may not have non-map "
         "elements"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_not_of_the_kind_is_refused(config: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        _apply(None, config, "one")
    assert (refused.value.code, refused.value.message) == (code, message)


def test_a_uid_given_for_an_object_that_is_not_there_is_a_conflict() -> None:
    with pytest.raises(ApiError) as refused:
        refuse_uid_on_create(GVR("", "v1", "configmaps"), "c", _config_map(uid="abc"))
    assert refused.value.code == 409
    refuse_uid_on_create(GVR("", "v1", "configmaps"), "c", _config_map())


def test_what_an_endpoint_ignores_is_not_owned() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Running"}}
    assert _owned(_apply(None, pod, "one", gvk=POD, ignored={"f:status": {}})) == {}


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("abc", "b", "abc"),
        ("abc", "cb", "acb"),
        ("abc", "xa", "xabc"),
        ("abc", "bx", "abcx"),
        ("abc", "cba", "cba"),
        ("", "ab", "ab"),
        ("ab", "xy", "abxy"),
    ],
)
def test_items_of_the_configuration_keep_their_order_and_the_others_their_place(
    live: str, config: str, merged: str
) -> None:
    obj = _config_map(uid="u", finalizers=list(live))
    applied = _apply(obj, _config_map(finalizers=list(config)), "one")
    assert "".join(applied["metadata"]["finalizers"]) == merged


def test_a_field_that_became_atomic_is_owned_as_a_whole() -> None:
    inner = SchemaType(Shape.MAP, element=SchemaType(Shape.SCALAR, json_type="string"))
    meta = SchemaType(Shape.STRUCT, fields={"name": SchemaType(Shape.SCALAR, json_type="string")})
    text = SchemaType(Shape.SCALAR, json_type="string")
    fields = {"apiVersion": text, "kind": text, "metadata": meta}
    granular = SchemaType(Shape.STRUCT, fields={**fields, "spec": inner})
    atomic = SchemaType(Shape.STRUCT, fields={**fields, "spec": SchemaType(Shape.MAP, element=text, atomic=True)})
    config = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "n"}, "spec": {"a": "1"}}
    gvk = GVK("x", "v1", "X")
    live = apply(live=None, config=config, schema=granular, gvk=gvk, manager="one", now=NOW)
    assert _owned(live) == {"one": {"f:spec": {"f:a": {}}}}
    other = {**config, "spec": {"b": "1"}}
    with pytest.raises(ApiError) as refused:
        apply(live=live, config=other, schema=atomic, gvk=gvk, manager="two", now=NOW)
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "one": .spec'
    made = managed_fields.track_update(
        old=live, new={**live, "spec": {"b": "1"}}, schema=atomic, manager="two", api_version="x/v1", now=NOW
    )
    assert [(e["manager"], e["fieldsV1"]) for e in made] == [("two", {"f:spec": {}})]


# --- versions ------------------------------------------------------------------------------------

_TEXTS = SchemaType(Shape.MAP, element=SchemaType(Shape.SCALAR, json_type="string"))


def _versions(obj: Obj, api_version: str) -> tuple[Obj, SchemaType] | None:
    """v1 keeps texts in `data`, v0 kept them in `values`."""
    if api_version not in ("v0", "v1"):
        return None
    new, old = ("data", "values") if api_version == "v1" else ("values", "data")
    moved = {**obj, "apiVersion": api_version}
    if old in moved:
        moved[new] = moved.pop(old)
    config_map = schema_of(CONFIG_MAP)
    v0 = SchemaType(Shape.STRUCT, name="V0", fields={**config_map.fields, "values": _TEXTS})
    return moved, config_map if api_version == "v1" else v0


def _live_of_v0() -> Obj:
    """`a` applied by one in v0, `b` written by somebody in v1."""
    common = {"time": NOW, "fieldsType": "FieldsV1"}
    fields: Obj = {"f:values": {"f:a": {}}}
    one = {"manager": "one", "operation": "Apply", "apiVersion": "v0", **common, "fieldsV1": fields}
    fields = {"f:data": {".": {}, "f:b": {}}}
    somebody = {"manager": "somebody", "operation": "Update", "apiVersion": "v1", **common, "fieldsV1": fields}
    return with_entries(_config_map({"a": "1", "b": "1"}, uid="u"), [one, somebody])


@pytest.mark.parametrize(("convert", "data"), [(_versions, {"b": "1"}), (None, {"a": "1", "b": "1"})])
def test_what_was_applied_in_another_version_is_pruned_if_it_can_be_converted(
    convert: Convert | None, data: Obj
) -> None:
    applied = _apply(_live_of_v0(), _config_map(), "one", convert=convert)
    assert applied["data"] == data
    assert list(_owned(applied)) == ["somebody"]


def test_an_apply_in_another_version_conflicts_and_keeps_what_it_cannot_convert() -> None:
    with pytest.raises(ApiError) as refused:
        _apply(_live_of_v0(), _config_map({"a": "2"}), "two", convert=_versions)
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "one": .values.a'
    applied = _apply(_live_of_v0(), _config_map({"a": "2"}), "two")
    assert {"one": {"f:values": {"f:a": {}}}, "two": {"f:data": {"f:a": {}}}}.items() <= _owned(applied).items()


def test_an_appliers_entry_is_one_over_all_versions() -> None:
    applied = _apply(_live_of_v0(), _config_map({"a": "1"}), "one", convert=_versions)
    assert [(e["manager"], e["apiVersion"]) for e in entries(applied)] == [("one", "v1"), ("somebody", "v1")]


# --- kubectl -------------------------------------------------------------------------------------


def _client_side(data: Obj, live: Obj) -> Obj:
    """An object that kubectl applied client-side with `data`, now holding `live`."""
    text = json.dumps(_config_map(data))
    obj = _config_map(live, uid="u", annotations={LAST_APPLIED: text})
    made = managed_fields.track_update(
        old=None,
        new=obj,
        schema=schema_of(CONFIG_MAP),
        manager="kubectl-client-side-apply",
        api_version="v1",
        now=NOW,
    )
    return with_entries(obj, made)


def test_kubectl_takes_over_what_its_client_side_apply_wrote_and_updates_the_annotation() -> None:
    applied = _apply(_client_side({"a": "1"}, {"a": "1"}), _config_map({"a": "<2>"}), "kubectl")
    assert applied["data"] == {"a": "<2>"}
    assert applied["metadata"]["annotations"][LAST_APPLIED] == (
        '{"apiVersion":"v1","data":{"a":"\\u003c2\\u003e"},"kind":"ConfigMap","metadata":{"name":"c"}}\n'
    )


@pytest.mark.parametrize(("manager", "live"), [("other", {"a": "1"}), ("kubectl", {"a": "changed since"})])
def test_others_and_fields_changed_since_still_conflict(manager: str, live: Obj) -> None:
    with pytest.raises(ApiError) as refused:
        _apply(_client_side({"a": "1"}, live), _config_map({"a": "2"}), manager)
    assert '"kubectl-client-side-apply" using v1: .data.a' in refused.value.message


def test_an_annotation_that_grows_too_large_is_dropped() -> None:
    applied = _apply(_client_side({"a": "1"}, {"a": "1"}), _config_map({"a": "x" * 300_000}), "kubectl")
    assert LAST_APPLIED not in applied["metadata"].get("annotations", {})
