"""JSON patch and merge patch, with the quirks of the library behind kube-apiserver."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry import json_patch, patch
from vapi.registry.patch import Patch, PatchType
from vapi.schema.types import SchemaType, Shape

ANY = SchemaType(Shape.ANY)
DOC: Obj = {"a": 1, "l": [1, 2, 3], "m": {"x/y": True, "n": None}}


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/b", "value": 2}, {**DOC, "b": 2}),
        ({"op": "add", "path": "/b"}, {**DOC, "b": None}),
        ({"op": "add", "path": "/l/-", "value": 4}, {**DOC, "l": [1, 2, 3, 4]}),
        ({"op": "add", "path": "/l/3", "value": 4}, {**DOC, "l": [1, 2, 3, 4]}),
        ({"op": "add", "path": "/l/-1", "value": 4}, {**DOC, "l": [1, 2, 3, 4]}),
        ({"op": "add", "path": "/l/-4", "value": 4}, {**DOC, "l": [4, 1, 2, 3]}),
        ({"op": "add", "path": "/l/+1", "value": 4}, {**DOC, "l": [1, 4, 2, 3]}),
        ({"op": "add", "path": "x/b", "value": 2}, {**DOC, "b": 2}),
        ({"op": "remove", "path": "/l/-1"}, {**DOC, "l": [1, 2]}),
        ({"op": "remove", "path": "/m/x~1y"}, {**DOC, "m": {"n": None}}),
        ({"op": "replace", "path": "/nope", "value": 2}, {**DOC, "nope": 2}),
        ({"op": "replace", "path": "/l/-3", "value": 0}, {**DOC, "l": [0, 2, 3]}),
        ({"op": "replace", "path": "", "value": {"z": 1}}, {"z": 1}),
        ({"op": "copy", "from": "/l/0", "path": "/c"}, {**DOC, "c": 1}),
        ({"op": "copy", "from": "/nope", "path": "/c"}, {**DOC, "c": None}),
        ({"op": "move", "from": "/l/0", "path": "/l/-"}, {**DOC, "l": [2, 3, 1]}),
        ({"op": "move", "from": "/a", "path": "/m/a"}, {"l": [1, 2, 3], "m": {"x/y": True, "n": None, "a": 1}}),
        ({"op": "test", "path": "/nope", "value": None}, DOC),
        ({"op": "test", "path": "/m/n"}, DOC),
        ({"op": "test", "path": "", "value": DOC}, DOC),
        ({"op": "test", "path": "/m/x~1y", "value": True}, DOC),
    ],
)
def test_an_operation_does_what_upstreams_does(operation: Obj, result: Any) -> None:
    document, sent = copy.deepcopy(DOC), copy.deepcopy(operation)
    assert json_patch.json_patch(document, [operation]) == result
    assert document == DOC
    assert operation == sent


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "", "value": {}},
        {"op": "add", "path": "b", "value": 1},
        {"op": "add", "path": "/l/4", "value": 1},
        {"op": "add", "path": "/l/x", "value": 1},
        {"op": "add", "path": "/l/1_0", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "add", "path": "/m/n/b", "value": 1},
        {"op": "add", "value": 1},
        {"op": "remove", "path": "/nope"},
        {"op": "remove", "path": "/l/3"},
        {"op": "remove", "path": "/l/-4"},
        {"op": "remove", "path": ""},
        {"op": "replace", "path": "/l/3", "value": 1},
        {"op": "replace", "path": "/l/-", "value": 1},
        {"op": "replace", "path": "", "value": 1},
        {"op": "copy", "from": "", "path": "/c"},
        {"op": "copy", "path": "/c"},
        {"op": "move", "from": "/nope", "path": "/c"},
        {"op": "move", "from": "/m", "path": "/m/c"},
        {"op": "test", "path": "/a", "value": True},
        {"op": "test", "path": "/a", "value": 1.0},
        {"op": "test", "path": "/m/x~1y", "value": 1},
        {"op": "test", "path": "/l/9", "value": None},
        {"op": "foo", "path": "/a"},
        {},
    ],
)
def test_an_operation_that_upstream_refuses_is_rejected_with_422(operation: Obj) -> None:
    with pytest.raises(ApiError) as refused:
        patch.apply_patch(DOC, Patch(PatchType.JSON, [operation]), ANY)
    assert refused.value.status()["code"] == 422
    assert refused.value.status()["details"] == {}
    assert refused.value.message == "the server rejected our request due to an error in our request"


def test_the_value_of_an_operation_is_not_shared_with_the_document() -> None:
    operation = {"op": "add", "path": "/b", "value": {"c": []}}
    patched = json_patch.json_patch(DOC, [operation, {"op": "add", "path": "/b/c/-", "value": 1}])
    assert patched["b"] == {"c": [1]}
    assert operation["value"] == {"c": []}


@pytest.mark.parametrize(
    ("type_", "value", "strict", "code", "message"),
    [
        (PatchType.JSON, {}, True, 400, "error decoding patch: json: cannot unmarshal object into Go value of type "
         "[]handlers.jsonPatchOp"),
        (PatchType.JSON, {}, False, 400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (PatchType.JSON, ["x"], True, 400, "error decoding patch: json: cannot unmarshal string into Go value of type "
         "handlers.jsonPatchOp"),
        (PatchType.JSON, [{"op": 1}], True, 400, "error decoding patch: json: cannot unmarshal number into Go struct "
         "field jsonPatchOp.op of type string"),
        (PatchType.MERGE, [1], True, 400, "error decoding patch: json: cannot unmarshal array into Go value of type "
         "map[string]interface {}"),
        (PatchType.MERGE, None, True, 400, "Invalid JSON Patch"),
        (PatchType.STRATEGIC, "x", True, 400, "json: cannot unmarshal string into Go value of type "
         "map[string]interface {}"),
        (PatchType.JSON, [{"op": "test", "path": "/a", "value": 1}] * 10_001, True, 413, "Request entity too large: "
         "The allowed maximum operations in a JSON patch is 10000, got 10001"),
    ],
)  # fmt: skip
def test_a_patch_of_the_wrong_shape_is_refused(
    type_: PatchType, value: Any, strict: bool, code: int, message: str
) -> None:
    with pytest.raises(ApiError) as refused:
        patch.apply_patch(DOC, Patch(type_, value, strict), ANY)
    assert (refused.value.code, refused.value.message) == (code, message)


def test_ten_thousand_operations_are_allowed() -> None:
    operations = [{"op": "test", "path": "/a", "value": 1}] * 10_000
    assert patch.apply_patch(DOC, Patch(PatchType.JSON, operations), ANY).obj == DOC


def test_unknown_fields_of_operations_are_told() -> None:
    operations = [{"op": "test", "path": "/a", "value": 1, "foo": 1}]
    assert patch.apply_patch(DOC, Patch(PatchType.JSON, operations), ANY).unknown_fields == (
        'json patch unknown field "[0].foo"',
    )
    assert patch.apply_patch(DOC, Patch(PatchType.JSON, operations, strict=False), ANY).unknown_fields == ()


@pytest.mark.parametrize("type_", [PatchType.JSON, PatchType.MERGE, PatchType.STRATEGIC])
def test_a_body_that_is_no_json_is_refused(type_: PatchType) -> None:
    with pytest.raises(ApiError) as refused:
        patch.parse(type_, b"{bad", load_yaml=yaml.safe_load)
    assert (refused.value.code, refused.value.message) == (400, "invalid JSON patch")


def test_a_patch_a_thousand_levels_deep_is_refused() -> None:
    deep: Any = {}
    live: Obj = {}
    at_live, at = live, deep
    for _ in range(5000):
        at["x"], at_live["x"] = {}, {}
        at, at_live = at["x"], at_live["x"]
    for type_ in (PatchType.MERGE, PatchType.STRATEGIC):
        with pytest.raises(ApiError) as refused:
            patch.apply_patch(live, Patch(type_, deep), ANY)
        assert refused.value.code == 400


# --- merge patch ---------------------------------------------------------------------------------

_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from("ab")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=12,
)
_MAPS = st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _plain_lists(value: Any) -> Any:
    """Nulls only in maps that merge: a list that replaces a map keeps its nulls, one that replaces a list does not."""
    if isinstance(value, dict):
        return {key: _plain_lists(item) for key, item in value.items()}
    return _without_nulls(value)


@given(_MAPS.map(_without_nulls), _MAPS.map(_plain_lists))
def test_a_merge_patch_twice_is_a_merge_patch_once(live: Obj, sent: Obj) -> None:
    before = json.dumps([live, sent])
    once = json_patch.merge_patch(live, sent)
    assert json_patch.merge_patch(once, sent) == once
    assert json.dumps([live, sent]) == before


@given(_MAPS.map(_without_nulls))
def test_an_empty_merge_patch_changes_nothing_and_a_patch_of_nothing_is_what_it_adds(live: Obj) -> None:
    assert json_patch.merge_patch(live, {}) == live
    assert json_patch.merge_patch({}, live) == live
    assert json_patch.merge_patch(live, dict.fromkeys(live)) == {}


@pytest.mark.parametrize(
    ("live", "sent", "result"),
    [
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": "x"}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
        ({}, {"a": [{"b": None}, None]}, {"a": [{}, None]}),
        ({"a": {}}, {"a": [{"b": None}]}, {"a": [{"b": None}]}),
        ({"a": 1}, {"a": True}, {"a": True}),
    ],
)
def test_merge_patch_follows_upstream_where_the_rfc_leaves_room(live: Obj, sent: Obj, result: Obj) -> None:
    assert json_patch.merge_patch(live, sent) == result


# --- content types -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "custom", "details", "message"),
    [
        ("application/json", False, {}, "415: Unsupported Media Type"),
        ("", False, {}, "415: Unsupported Media Type"),
        ("application/strategic-merge-patch+json", True, None, "the body of the request was in an unknown format - "
         "accepted media types include: application/json-patch+json, application/merge-patch+json, "
         "application/apply-patch+yaml"),
    ],
)  # fmt: skip
def test_other_content_types_are_refused(header: str, custom: bool, details: Any, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        patch.patch_type(header, custom=custom)
    assert (refused.value.code, refused.value.details, refused.value.message) == (415, details, message)


def test_parameters_of_the_content_type_do_not_count() -> None:
    assert patch.patch_type("application/merge-patch+json; charset=utf-8") is PatchType.MERGE
