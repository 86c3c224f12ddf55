"""What holds for every row, whatever its kind, and the tables of the contract that single out some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vapi.gvk import GVR
from vapi.resources.builtin import builtin_catalog
from vapi.resources.resource import Propagation, Resource, Verb
from vapi.resources.rows import storage_version_hash
from vapi.schema.schemas import load_schemas

ROWS = builtin_catalog().rows
STORED = [row for row in ROWS if row.stored and Verb.CREATE in row.verbs]


def _id(row: Resource) -> str:
    return f"{row.gvr.api_version}/{row.gvr.resource}"


def _names(choose: Callable[[Resource], object]) -> set[str]:
    return {row.gvr.group_resource for row in ROWS if choose(row)}


def _line(row: Resource) -> str:
    """A row as a line of facts/resources.txt, which was made from the discovery of a real server."""
    subresources = []
    for sub in row.subresources.values():
        gvk = sub.gvk or row.gvk
        foreign = f".{gvk.version}.{gvk.group}" if gvk.group_version != row.gvr.group_version else ""
        subresources.append(f"{sub.name}:{gvk.kind}{foreign}:{','.join(sub.verbs)}")
    scope = "Namespaced" if row.namespaced else "Cluster"
    names = (f"short={','.join(row.short_names)}", f"in={','.join(row.categories)}")
    head = (row.gvr.api_version, row.gvr.resource, row.kind, scope, row.singular, ",".join(sorted(row.verbs)))
    return " ".join((*head, *names, *subresources))


def test_rows_are_what_a_real_server_serves_in_its_order() -> None:
    facts = (Path(__file__).parent / "facts" / "resources.txt").read_text().splitlines()
    assert [_line(row) for row in ROWS] == facts


def test_every_resource_and_every_kind_is_there_once() -> None:
    assert len(ROWS) == 72
    assert len({row.gvr for row in ROWS}) == len({row.gvk for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_names_follow_from_the_kind(row: Resource) -> None:
    assert row.singular == row.kind.lower()
    assert row.gvr.resource == row.gvr.resource.lower()
    assert row.list_kind == row.kind + "List"


@pytest.mark.parametrize("row", STORED, ids=_id)
def test_a_stored_kind_has_all_verbs(row: Resource) -> None:
    missing = frozenset(Verb) - row.verbs
    assert missing == ({Verb.DELETECOLLECTION} if row.kind == "Namespace" else frozenset())


@pytest.mark.parametrize("row", STORED, ids=_id)
def test_a_row_fits_its_stored_kind(row: Resource) -> None:
    assert row.stored is not None
    assert row.stored.plural == row.gvr.resource
    assert row.stored.namespaced == row.namespaced
    assert row.converts == (row.stored.gvk != row.gvk) == (row.to_stored is not None)
    assert row.storage_version_hash == storage_version_hash(row.stored.gvk)
    assert set(row.field_labels.values()) <= set(row.stored.fields)


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_subresources_are_sorted_and_named_by_their_key(row: Resource) -> None:
    assert list(row.subresources) == sorted(row.subresources)
    for name, sub in row.subresources.items():
        assert sub.name == name
        assert list(sub.verbs) == sorted(sub.verbs)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.stored], ids=_id)
def test_what_is_not_stored_cannot_be_changed(row: Resource) -> None:
    assert row.verbs in ({Verb.CREATE}, {Verb.GET, Verb.LIST})
    assert not row.storage_version_hash


def test_no_two_stored_kinds_share_a_key() -> None:
    prefixes = [kind.prefix for kind in builtin_catalog().stored_kinds()]
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and b.startswith(a)]


def test_short_names_are_only_shared_by_views_of_one_stored_kind() -> None:
    owners: dict[str, set[str]] = {}
    for row in STORED:
        assert row.stored is not None
        for name in row.short_names:
            owners.setdefault(name, set()).add(row.stored.prefix)
    assert all(len(found) == 1 for found in owners.values())


def test_the_preferred_version_of_a_group_is_its_first_row() -> None:
    preferred = builtin_catalog().preferred("autoscaling", "horizontalpodautoscalers")
    assert preferred is not None
    assert preferred.gvr == GVR("autoscaling", "v2", "horizontalpodautoscalers")


def test_a_put_creates_what_the_contract_says() -> None:
    assert _names(lambda row: row.update_creates) == {
        "services",
        "endpoints",
        "limitranges",
        "events",
        "events.events.k8s.io",
        "leases.coordination.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "runtimeclasses.node.k8s.io",
    }


def test_dependents_are_orphaned_by_the_two_old_kinds() -> None:
    orphaning = _names(lambda row: row.default_propagation is Propagation.ORPHAN)
    assert orphaning == {"replicationcontrollers", "jobs.batch"}


def test_only_pods_end_gracefully_and_only_events_expire() -> None:
    assert _names(lambda row: row.graceful) == {"pods"}
    assert _names(lambda row: row.ttl_s) == {"events", "events.events.k8s.io"}


@pytest.mark.parametrize(
    ("resource", "obj", "expected"),
    [
        (
            "pods",
            {"spec": {"nodeName": "n1"}},
            {"spec.nodeName": "n1", "spec.hostNetwork": "false", "status.phase": ""},
        ),
        ("pods", {"spec": {"hostNetwork": True}, "status": None}, {"spec.hostNetwork": "true", "status.podIPs": ""}),
        ("nodes", {"spec": {"unschedulable": True}}, {"spec.unschedulable": "true"}),
        ("replicationcontrollers", {}, {"status.replicas": "0"}),
        ("replicationcontrollers", {"status": {"replicas": 3}}, {"status.replicas": "3"}),
        ("events", {"source": {"component": "kubelet"}, "reportingComponent": "x"}, {"source": "kubelet"}),
        ("events", {"source": {}, "reportingComponent": "x"}, {"source": "x", "reportingComponent": "x"}),
    ],
)
def test_field_selectors_read_what_a_typed_object_would_hold(
    resource: str, obj: dict[str, object], expected: dict[str, str]
) -> None:
    stored = builtin_catalog().row("", "v1", resource).stored
    assert stored is not None
    assert {label: stored.fields[label](obj) for label in expected} == expected


def test_a_field_has_the_name_of_its_version() -> None:
    pods = builtin_catalog().row("", "v1", "pods")
    assert pods.field_labels["spec.host"] == "spec.nodeName"
    events = builtin_catalog().row("events.k8s.io", "v1", "events")
    assert events.field_labels["regarding.name"] == "involvedObject.name"
    assert "source" not in events.field_labels


def test_a_row_fills_in_the_defaults_of_its_own_version() -> None:
    """v1 and v2 of one stored kind default differently; each row asks for its own."""
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3}
    filled = {}
    for version in ("v1", "v2"):
        obj: dict[str, Any] = {"metadata": {"name": "h"}, "spec": dict(spec)}
        builtin_catalog().row("autoscaling", version, "horizontalpodautoscalers").strategy.default(obj)
        filled[version] = set(obj["spec"]) - set(spec)
    assert filled["v1"] == {"minReplicas", "targetCPUUtilizationPercentage"}
    assert filled["v2"] == {"minReplicas", "metrics"}


def test_with_schemas_a_row_also_writes_what_is_always_written() -> None:
    obj: dict[str, Any] = {"metadata": {"name": "e"}, "involvedObject": {}}
    builtin_catalog(load_schemas()).row("", "v1", "events").strategy.default(obj)
    assert obj["eventTime"] is None and obj["reportingComponent"] == "" and obj["source"] == {}
