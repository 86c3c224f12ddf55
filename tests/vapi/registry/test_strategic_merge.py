"""Strategic merge patch, as kubectl's three-way patches use it, and its corners."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vapi.registry.life import schema_of
from vapi.errors import ApiError
from vapi.gvk import GVK, Obj
from vapi.registry.strategic_merge import strategic_merge
from vapi.schema.types import SchemaType, Shape

DEPLOYMENT = GVK("apps", "v1", "Deployment")


def _merge(live: Obj, patch: Any) -> Obj:
    before = json.dumps([live, patch])
    merged = strategic_merge(live, patch, schema_of(DEPLOYMENT))
    assert json.dumps([live, patch]) == before
    return merged


def _pod(containers: list[Obj], **metadata: Any) -> Obj:
    return {"metadata": metadata, "spec": {"template": {"spec": {"containers": containers}}}}


def _containers(obj: Obj) -> list[Obj]:
    found: list[Obj] = obj["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    ("live", "patch", "result"),
    [
        ([{"name": "a"}, {"name": "b"}], [{"name": "c"}], [{"name": "c"}, {"name": "a"}, {"name": "b"}]),
        ([{"name": "a"}, {"name": "b"}], [{"name": "b", "image": "i"}], [{"name": "a"}, {"name": "b", "image": "i"}]),
        ([{"name": "a"}], [{"$patch": "delete", "name": "a"}], []),
        ([{"name": "a"}], [{"$patch": "delete", "name": "z"}], [{"name": "a"}]),
        ([{"name": "a"}], [{"$patch": "replace"}], []),
        ([{"name": "a"}], [{"name": "b"}, {"$patch": "replace"}], [{"name": "b"}]),
        ([{"name": "a", "args": ["x"]}], [{"name": "a", "args": ["y"]}], [{"name": "a", "args": ["y"]}]),
        ([{"name": "a", "args": ["x"]}], [{"name": "a", "args": None}], [{"name": "a"}]),
        ([{"name": "a"}], [{"name": "a", "resources": {"limits": None}}], [{"name": "a", "resources": {}}]),
    ],
)
def test_lists_are_merged_by_key(live: list[Obj], patch: list[Obj], result: list[Obj]) -> None:
    assert _containers(_merge(_pod(live), _pod(patch))) == result


def test_a_live_item_stays_between_its_neighbours_when_the_patch_gives_an_order() -> None:
    live = [{"name": "a"}, {"name": "mine"}, {"name": "b"}]
    patch = _pod([{"name": "c", "image": "i"}])
    patch["spec"]["template"]["spec"]["$setElementOrder/containers"] = [{"name": n} for n in "acb"]
    assert [c["name"] for c in _containers(_merge(_pod(live), patch))] == ["a", "c", "mine", "b"]


def test_an_order_alone_moves_what_is_there() -> None:
    patch = {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}}}
    assert [c["name"] for c in _containers(_merge(_pod([{"name": "a"}, {"name": "b"}]), patch))] == ["b", "a"]


def test_a_delete_beside_an_add_moves_the_live_items_as_a_real_server_does() -> None:
    service = schema_of(GVK("", "v1", "Service"))
    live = {"spec": {"ports": [{"port": 80}, {"port": 81}, {"port": 82}]}}
    patch = {
        "spec": {
            "ports": [{"port": 80, "protocol": "UDP"}, {"port": 80, "$patch": "delete"}, {"port": 81}],
            "$setElementOrder/ports": [{"port": 80}, {"port": 81}],
        }
    }
    assert [p["port"] for p in strategic_merge(live, patch, service)["spec"]["ports"]] == [82, 80, 81]


@pytest.mark.parametrize(
    ("live", "patch", "result"),
    [
        (["a", "b"], {"finalizers": ["c"]}, ["c", "a", "b"]),
        (["a", "b"], {"$deleteFromPrimitiveList/finalizers": ["a"]}, ["b"]),
        (["a", "b"], {"finalizers": ["b", "b", "a"]}, ["b", "a"]),
        (["a"], {"$deleteFromPrimitiveList/finalizers": None}, None),
        (["a"], {"finalizers": None}, None),
    ],
)
def test_lists_of_scalars_are_sets(live: list[str], patch: Obj, result: Any) -> None:
    assert _merge({"metadata": {"finalizers": live}}, {"metadata": patch})["metadata"].get("finalizers") == result


@pytest.mark.parametrize(
    ("live", "patch", "result"),
    [
        ({"a": "1"}, {"$patch": "replace", "b": "2"}, {"b": "2"}),
        ({"a": "1"}, {"$patch": "delete"}, {}),
        ({"a": "1"}, {"b": None, "a": None}, {}),
        (None, {"b": None, "c": "1"}, {"c": "1"}),
        (None, {"$patch": "delete"}, None),
    ],
)
def test_maps_know_directives(live: Any, patch: Obj, result: Any) -> None:
    metadata = {} if live is None else {"labels": live}
    assert _merge({"metadata": metadata}, {"metadata": {"labels": patch}})["metadata"].get("labels") == result


def test_null_patches_change_nothing() -> None:
    assert _merge({"a": 1}, None) == {"a": 1}


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        (_pod([{"image": "x", "env": [{"name": "A"}]}]), 500,
         "map: map[env:[map[name:A]] image:x] does not contain declared merge key: name"),
        (_pod([{"name": "c", "$patch": "foo"}]), 500, "unknown patch type: foo in map: map[$patch:foo name:c]"),
        (_pod([{"name": "c", "$patch": "merge"}]), 500, "merging lists cannot yet be specified in the patch"),
        (_pod([{"$patch": "delete"}]), 500, "map: map[$patch:delete] does not contain declared merge key: name"),
        ({"metadata": {"$patch": "foo"}}, 500, "unknown patch type: foo in map: map[$patch:foo]"),
        ({"spec": {"$retainKeys": "x"}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": ["paused"], "replicas": 1}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "z"}],
                                         "containers": [{"name": "c"}]}}}}, 500,
         "The order in patch list:\n[map[name:c]]\n doesn't match $setElementOrder list:\n[map[name:z]]\n"),
        ({"spec": {"template": {"spec": {"$setElementOrder/containers": "x"}}}}, 500,
         "expected a []interface {}, but received a string"),
        ({"spec": {"$setElementOrder/foo": []}}, 500,
         'unable to find api field in struct DeploymentSpec for the json field "foo"'),
        ({"spec": {"$setElementOrder": []}}, 400, "invalid patch format of setElementOrder list"),
        ({"metadata": {"$deleteFromPrimitiveListX/finalizers": []}}, 400, "invalid patch format of primitive list"),
        ({"metadata": {"finalizers": [["x"]]}}, 422, "the server rejected our request due to an error in our request"),
        ({"metadata": {"finalizers": [1]}}, 500, "list element types are not identical: [[a] [1]]"),
    ],
)  # fmt: skip
def test_errors_are_worded_as_upstream(patch: Obj, code: int, message: str) -> None:
    live = _pod([{"name": "c"}], finalizers=["a"])
    with pytest.raises(ApiError) as refused:
        _merge(live, patch)
    assert (refused.value.code, refused.value.message) == (code, message)


# --- kubectl apply -------------------------------------------------------------------------------


def _three_way(last: Obj, wanted: Obj, live: Obj, schema: SchemaType | None) -> Obj:
    """What client-side apply sends: wanted over live, and deletions of what was applied last time and is no longer."""
    patch: Obj = {}
    for key, value in wanted.items():
        field = (schema.fields.get(key) or schema.element) if schema else None
        if key not in live or type(live[key]) is not type(value):
            patch[key] = value
        elif isinstance(value, dict):
            below = _three_way(last.get(key) or {}, value, live[key], field)
            if below and field and "retainKeys" in field.patch_strategy:
                below["$retainKeys"] = sorted(value)
            if below:
                patch[key] = below
        elif isinstance(value, list) and field and "merge" in field.patch_strategy:
            patch.update(_three_way_list(key, last.get(key) or [], value, live[key], field))
        elif live[key] != value:
            patch[key] = value
    patch.update({key: None for key in last if key not in wanted})
    return patch


def _three_way_list(key: str, last: list[Any], wanted: list[Any], live: list[Any], field: SchemaType) -> Obj:
    name = field.patch_merge_key
    if not name:
        gone = [item for item in last if item not in wanted]
        if not gone and live == wanted:
            return {}
        patch: Obj = {f"$setElementOrder/{key}": wanted, key: [item for item in wanted if item not in live]}
        return {**patch, f"$deleteFromPrimitiveList/{key}": gone} if gone else patch
    items = []
    for item in wanted:
        found = next((other for other in live if other[name] == item[name]), None)
        before: Obj = next((other for other in last if other[name] == item[name]), {})
        change = item if found is None else _three_way(before, item, found, field.element)
        if change:
            items.append({**change, name: item[name]})
    kept = [item[name] for item in wanted]
    items += [{name: item[name], "$patch": "delete"} for item in last if item[name] not in kept]
    if not items and [item[name] for item in live] == kept:
        return {}
    return {key: items, f"$setElementOrder/{key}": [{name: value} for value in kept]}


_TEXT = st.sampled_from(["1", "2"])
_LABELS = st.dictionaries(st.sampled_from("abc"), _TEXT, max_size=3)


def _keyed(key: str, keys: Any, **fields: Any) -> Any:
    item = st.fixed_dictionaries({key: keys}, optional=fields)
    return st.lists(item, max_size=3, unique_by=lambda i: str(i[key]))


_ENV = _keyed("name", st.sampled_from("ABCD"), value=_TEXT)
_CONTAINERS = _keyed(
    "name",
    st.sampled_from("cde"),
    image=_TEXT,
    env=_ENV,
    args=st.lists(_TEXT, max_size=2),
    ports=_keyed("containerPort", st.sampled_from([80, 81]), name=_TEXT),
)
_STRATEGY = st.sampled_from([{"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}])
_DEPLOYMENTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {}, optional={"labels": _LABELS, "finalizers": st.lists(st.sampled_from("xyz"), max_size=2, unique=True)}
        ),
        "spec": st.fixed_dictionaries(
            {"template": st.fixed_dictionaries({"spec": st.fixed_dictionaries({"containers": _CONTAINERS})})},
            optional={"replicas": st.integers(0, 2), "strategy": _STRATEGY},
        ),
    }
)


def _has(whole: Any, part: Any, schema: SchemaType | None) -> bool:
    """Whether everything that was applied is there; lists that merge may hold more."""
    if schema is None or schema.shape is Shape.SCALAR or type(whole) is not type(part):
        return bool(whole == part)
    if isinstance(part, dict):
        return all(
            key in whole and _has(whole[key], value, schema.fields.get(key) or schema.element)
            for key, value in part.items()
        )
    if "merge" not in schema.patch_strategy:
        return bool(whole == part)
    name = schema.patch_merge_key
    if not name:
        return all(item in whole for item in part)
    return all(any(o[name] == i[name] and _has(o, i, schema.element) for o in whole) for i in part)


@given(_DEPLOYMENTS, _DEPLOYMENTS, _DEPLOYMENTS)
def test_a_three_way_patch_brings_what_was_wanted_and_takes_what_was_dropped(
    last: Obj, other: Obj, wanted: Obj
) -> None:
    schema = schema_of(DEPLOYMENT)
    live = strategic_merge(last, other, schema)  # what others wrote since
    merged = _merge(live, _three_way(last, wanted, live, schema))
    assert _has(merged, wanted, schema)
    for key in last["metadata"].get("labels", {}).keys() - wanted["metadata"].get("labels", {}).keys():
        assert key not in merged["metadata"].get("labels", {})
    gone = {c["name"] for c in _containers(last)} - {c["name"] for c in _containers(wanted)}
    assert not gone & {c["name"] for c in _containers(merged)}
    assert (
        _three_way(wanted, wanted, merged, schema) == {}
        or _merge(merged, _three_way(wanted, wanted, merged, schema)) == merged
    )
