"""Tracking of creates, updates and patches, and what it costs."""

from __future__ import annotations

import copy
import json
import timeit
from typing import Any

import pytest

from tests.vapi.registry.life import NOW, entries, schema_of, zero_of
from vapi.gvk import GVK, Obj
from vapi.registry import managed_fields, scale_fields, typed
from vapi.registry.managed_fields import UPDATE, Entry, Key, track_update, with_entries, with_known
from vapi.schema.types import ListType, SchemaType, Shape

POD = GVK("", "v1", "Pod")
CONFIG_MAP = GVK("", "v1", "ConfigMap")
LATER = "2026-01-01T00:01:00Z"


def _config_map(data: Obj, **metadata: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "u", **metadata}, "data": data}


def _entry(manager: str, fields: Obj, **more: Any) -> Obj:
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": NOW,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


def _track(old: Obj | None, new: Obj, manager: str, *, now: str = LATER, **more: Any) -> list[Obj]:
    before = json.dumps([old, new])
    made = track_update(
        old=old,
        new=new,
        schema=schema_of(CONFIG_MAP),
        manager=manager,
        api_version="v1",
        now=now,
        zero=zero_of(CONFIG_MAP),
        **more,
    )
    assert json.dumps([old, new]) == before
    return made


def _tracked(data: Obj, **metadata: Any) -> Obj:
    obj = _config_map(data, **metadata)
    return with_entries(obj, _track(None, obj, "one", now=NOW))


def test_a_creator_owns_what_the_object_says_but_not_what_every_object_has() -> None:
    made = _track(None, _config_map({"a": "1"}, labels={"l": "x"}, generation=1, resourceVersion="7"), "one", now=NOW)
    assert made == [_entry("one", {"f:data": {".": {}, "f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}})]


def test_an_object_with_nothing_to_own_has_no_managed_fields() -> None:
    bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    assert _track(None, bare, "one") == []


def test_changed_fields_move_and_removed_ones_leave_everybody() -> None:
    old = _tracked({"a": "1", "b": "1", "c": "1"})
    made = _track(old, _config_map({"a": "2", "b": "1"}), "two")
    assert made == [
        _entry("one", {"f:data": {".": {}, "f:b": {}}}),
        _entry("two", {"f:data": {"f:a": {}}}, time=LATER),
    ]


def test_the_time_moves_only_with_the_set() -> None:
    old = _tracked({"a": "1"})
    assert _track(old, with_entries(_config_map({"a": "1"}), []), "one") == entries(old)
    assert _track(old, _config_map({"a": "2"}), "one")[0]["time"] == LATER


def test_an_entry_left_without_fields_goes() -> None:
    old = with_entries(_config_map({"a": "1"}), [_entry("one", {"f:data": {"f:a": {}}})])
    assert [e["manager"] for e in _track(old, _config_map({"a": "2"}), "two")] == ["two"]


@pytest.mark.parametrize("sent", [[], [{}], [{"manager": ""}]])
def test_empty_managed_fields_clear_them_for_good(sent: list[Obj]) -> None:
    old = _tracked({"a": "1"})
    cleared = _config_map({"a": "2"}, managedFields=sent)
    assert _track(old, cleared, "two") == []
    assert _track(with_entries(cleared, []), _config_map({"a": "3"}), "two") == []


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [{"manager": "x"}],
        [_entry("x", {"bad": {}})],
        [_entry("x", {}, operation="Apple")],
        [_entry("x", {}, apiVersion="")],
        [_entry("x", {}, fieldsType="")],
        "nonsense",
    ],
)
def test_managed_fields_that_cannot_be_read_count_as_not_sent(sent: Any) -> None:
    old = _tracked({"a": "1"})
    assert _track(old, _config_map({"a": "1"}, managedFields=sent), "two") == entries(old)


def test_readable_managed_fields_of_the_client_replace_the_stored() -> None:
    old = _tracked({"a": "1"})
    mine = [_entry("other", {"f:data": {"f:a": {}, 'k:{"b":1, "a":2}': {}}})]
    made = _track(old, _config_map({"a": "1"}, managedFields=mine), "two")
    assert made == [_entry("other", {"f:data": {"f:a": {}, 'k:{"a":2,"b":1}': {}}})]


def test_a_subresource_cannot_write_managed_fields() -> None:
    old = _tracked({"a": "1"})
    made = _track(old, _config_map({"a": "2"}, managedFields=[{}]), "two", subresource="status")
    assert [(e["manager"], e.get("subresource")) for e in made] == [("one", None), ("two", "status")]


def test_a_manager_without_name_is_unknown() -> None:
    assert _track(None, _config_map({"a": "1"}), "")[0]["manager"] == "unknown"


def test_fields_that_the_endpoint_ignores_are_not_tracked() -> None:
    old = _tracked({"a": "1"})
    assert _track(old, _config_map({"a": "2"}), "two", ignored={"f:data": {}}) == entries(old)


def test_the_eleventh_updater_merges_the_two_oldest() -> None:
    obj = _tracked({f"k{n}": "0" for n in range(12)})
    for n in range(12):
        new = with_entries({**obj, "data": {**obj["data"], f"k{n}": "1"}}, entries(obj))
        obj = with_entries(new, _track(obj, new, f"m{n:02}", now=f"2026-01-01T01:00:{n:02}Z"))
    assert [e["manager"] for e in entries(obj)] == ["ancient-changes", *(f"m{n:02}" for n in range(3, 12))]
    assert entries(obj)[0]["fieldsV1"] == {"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}}}
    assert entries(obj)[0]["time"] == "2026-01-01T01:00:02Z"


def test_entries_stand_in_kubernetes_order() -> None:
    sent = [
        _entry("z", {"f:data": {}}, time=None),
        _entry("b", {"f:data": {}}),
        _entry("a", {"f:data": {}}),
        _entry("a", {"f:data": {}}, subresource="status"),
        _entry("y", {"f:data": {}}, operation="Apply", time=LATER),
    ]
    made = managed_fields.encode(managed_fields.decode(sent))
    assert [(e["operation"], e["manager"], e.get("subresource", "")) for e in made] == [
        ("Apply", "y", ""),
        ("Update", "z", ""),
        ("Update", "a", ""),
        ("Update", "a", "status"),
        ("Update", "b", ""),
    ]
    assert "time" not in made[1]


def test_an_entry_of_another_version_is_compared_in_that_version() -> None:
    old = with_entries(_config_map({"a": "1"}), [_entry("one", {"f:values": {"f:a": {}}}, apiVersion="v0")])
    other = SchemaType(
        Shape.STRUCT,
        name="V0",
        fields={"values": SchemaType(Shape.MAP, element=SchemaType(Shape.SCALAR, json_type="string"))},
    )

    def convert(obj: Obj, api_version: str) -> tuple[Obj, SchemaType] | None:
        return ({**obj, "values": obj["data"]}, other) if api_version == "v0" else None

    assert [e["manager"] for e in _track(old, _config_map({"a": "2"}), "two", convert=convert)] == ["two"]


def test_an_entry_of_a_version_that_is_not_known_stays() -> None:
    stays = _entry("one", {"f:values": {"f:a": {}}}, apiVersion="v0")
    old = with_entries(_config_map({"a": "1"}), [stays])
    assert _track(old, _config_map({"a": "2"}), "two")[0] == stays


def test_a_value_that_does_not_fit_its_type_keeps_the_old_entries() -> None:
    old = _tracked({"a": "1"})
    assert _track(old, {**old, "data": "text"}, "two") == entries(old)


@pytest.mark.parametrize(
    ("before", "after"), [(True, 1), (1, True), (0, False), ([True], [1]), ({"x": 1}, {"x": True})]
)
def test_true_is_not_one_where_the_schema_allows_both(before: Any, after: Any) -> None:
    schema = SchemaType(Shape.STRUCT, fields={"any": SchemaType(Shape.ANY)})
    changed, removed = typed.compare({"any": before}, {"any": after}, schema)
    assert changed in ({"f:any": {}}, {"f:any": {"f:x": {}}})
    assert removed == {}


_TEXT = SchemaType(Shape.SCALAR, json_type="string")
_LIST_OF_MAPS = SchemaType(
    Shape.LIST,
    element=SchemaType(Shape.STRUCT, fields={"k": _TEXT, "v": _TEXT}),
    list_type=ListType.MAP,
    list_map_keys=("k",),
)


@pytest.mark.parametrize(
    ("before", "after", "changed", "removed"),
    [
        (["a", "a"], ["a"], {'k:{"k":"a"}': {".": {}, "f:k": {}, "f:v": {}}}, {'k:{"k":"a"}': {}}),
        (["a"], ["a", "a"], {'k:{"k":"a"}': {}}, {'k:{"k":"a"}': {".": {}, "f:k": {}, "f:v": {}}}),
        (["a", "a"], ["a", "a"], None, None),
        (["a", "a"], ["a", "a", "a"], {'k:{"k":"a"}': {}}, None),
        ([], ["a", "a"], {'k:{"k":"a"}': {}}, None),
    ],
)
def test_items_with_one_key_are_one_value(before: list[str], after: list[str], changed: Any, removed: Any) -> None:
    node = typed.node_for(_LIST_OF_MAPS)
    assert node is not None
    made = node.diff([{"k": k, "v": "1"} for k in before], [{"k": k, "v": "1"} for k in after])
    assert made == (changed, removed)


def test_a_write_that_changes_only_times_keeps_the_old_ones() -> None:
    old = _tracked({"a": "1"})
    new = with_entries(_config_map({"a": "1"}), [{**entries(old)[0], "time": LATER}])
    assert managed_fields.keep_times(old, new) == old
    other = {**new, "data": {"a": "2"}}
    assert managed_fields.keep_times(old, other) is other


def test_a_scale_write_moves_replicas_and_leaves_the_rest() -> None:
    paths: scale_fields.Paths = {"apps/v1": ("f:spec", "f:replicas")}
    parent = [_entry("m", {"f:spec": {"f:replicas": {}, "f:paused": {}}}, operation="Apply", apiVersion="apps/v1")]
    scale = scale_fields.to_scale(parent, paths)
    assert [(e["manager"], e["apiVersion"], e["fieldsV1"]) for e in scale] == [
        ("m", "autoscaling/v1", {"f:spec": {"f:replicas": {}}})
    ]
    won = [_entry("hpa", {"f:spec": {"f:replicas": {}}}, apiVersion="autoscaling/v1", subresource="scale")]
    moved = scale_fields.to_parent(parent, won, api_version="apps/v1", paths=paths)
    assert [e["fieldsV1"]["f:spec"] for e in moved] == [{"f:paused": {}}, {"f:replicas": {}}]
    assert "time" not in moved[1]
    unchanged = scale_fields.to_parent(parent, scale, api_version="apps/v1", paths=paths)
    assert unchanged == parent


# --- what it costs -------------------------------------------------------------------------------


def _pod() -> Obj:
    container = {
        "name": "c",
        "image": "nginx",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always",
        "volumeMounts": [{"name": "t", "mountPath": "/var/run/secrets", "readOnly": True}],
    }
    spec = {
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
        "volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        "priority": 0,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
    }
    metadata = {"name": "p", "namespace": "default", "uid": "u", "labels": {"app": "x"}, "creationTimestamp": NOW}
    status = {"phase": "Pending", "qosClass": "BestEffort"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def test_tracking_a_small_pod_costs_less_than_25_microseconds() -> None:
    schema, zero, pod = schema_of(POD), zero_of(POD), _pod()

    def create() -> list[Obj]:
        return track_update(
            old=None,
            new=pod,
            schema=schema,
            manager="m",
            api_version="v1",
            now=NOW,
            zero=zero,
            ignored={"f:status": {}},
        )

    old = with_entries(pod, create())
    new = copy.deepcopy(old)
    new["metadata"]["labels"]["app"] = "y"
    new["spec"]["containers"][0]["image"] = "i:2"

    def update() -> list[Obj]:
        return track_update(
            old=old, new=new, schema=schema, manager="n", api_version="v1", now=LATER, ignored={"f:status": {}}
        )

    assert len(update()) == 2
    for work in (create, update):
        best_us = min(timeit.repeat(work, number=200, repeat=20)) / 200 * 1e6
        assert best_us < 25, f"{work.__name__} took {best_us:.1f} µs"


def test_owners_by_a_version_that_the_object_has_no_longer_are_forgotten() -> None:
    """Recorded: an Event written through the other of its two groups."""
    managers = {
        Key("a", UPDATE, "events.k8s.io/v1", ""): Entry("events.k8s.io/v1", None, {"f:note": {}}),
        Key("a", UPDATE, "v1", ""): Entry("v1", None, {"f:count": {}}),
    }
    assert list(with_known(managers, "v1".__eq__)) == [Key("a", UPDATE, "v1", "")]
    assert with_known(managers, None) == managers
