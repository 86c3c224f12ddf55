"""Every pair of states has a plan, and states are what the objects say."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest

from sync import metadata as md
from sync.ownership import HostState, Identity, Twin, classify, make_twin
from sync.plan import HOST_POD_GONE, PLAN, Action, VirtualState, plan, virtual_state
from vapi.gvk import Obj

IDENTITY = Identity("vc", "Pod", "default", "web", "web-x-default-x-vc")


def host_pod(**changes: str) -> Obj:
    annotations = {
        md.OBJECT_KIND: "Pod",
        md.OBJECT_NAME: "web",
        md.OBJECT_NAMESPACE: "default",
        md.OBJECT_UID: "v1",
    } | {k: v for k, v in changes.items() if k.startswith("vapi.dev/object")}
    return {
        "metadata": {
            "name": changes.get("name", "web-x-default-x-vc"),
            "uid": "h1",
            "resourceVersion": "12",
            "labels": {md.MANAGED_BY: changes.get(md.MANAGED_BY, "vc")},
            "annotations": annotations,
            "ownerReferences": [{"uid": "anchor"}],
        }
    }


@pytest.mark.parametrize(("virtual", "host"), list(product(VirtualState, HostState)))
def test_every_pair_of_states_has_a_plan(virtual: VirtualState, host: HostState) -> None:
    assert plan(virtual, host) is PLAN[virtual][host]


@pytest.mark.parametrize("virtual", VirtualState)
def test_stale_twins_are_deleted_and_waited_for(virtual: VirtualState) -> None:
    assert plan(virtual, HostState.STALE) is Action.DELETE_HOST
    assert plan(virtual, HostState.STALE_DELETING) is Action.WAIT


@pytest.mark.parametrize("virtual", VirtualState)
def test_a_foreign_object_is_never_written(virtual: VirtualState) -> None:
    assert plan(virtual, HostState.FOREIGN) in {
        Action.IGNORE,
        Action.CONFLICT,
        Action.LOST,
        Action.KEEP,
        Action.RELEASE_VIRTUAL,
    }


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, HostState.OURS),
        ({md.OBJECT_UID: "v2"}, HostState.STALE),
        ({md.MANAGED_BY: "other"}, HostState.FOREIGN),
        ({md.OBJECT_KIND: "Service"}, HostState.FOREIGN),
        ({md.OBJECT_NAME: "api"}, HostState.FOREIGN),
        ({md.OBJECT_NAMESPACE: "kube-system"}, HostState.FOREIGN),
        ({"name": "web-x-default-x-other"}, HostState.FOREIGN),
    ],
)
def test_a_twin_is_ours_by_marker_kind_name_and_uid(changes: dict[str, str], state: HostState) -> None:
    assert classify(make_twin(host_pod(**changes)), IDENTITY, virtual_uid="v1") is state


def deleting(twin: Twin) -> Twin:
    return dataclasses.replace(twin, deletion_timestamp="2026-01-01T00:00:00Z")


def test_deleting_twins_are_told_apart() -> None:
    twin = deleting(make_twin(host_pod()))
    assert classify(twin, IDENTITY, virtual_uid="v1") is HostState.OURS_DELETING
    assert classify(twin, IDENTITY, virtual_uid="v2") is HostState.STALE_DELETING
    assert classify(twin, IDENTITY, virtual_uid="") is HostState.OURS_DELETING
    assert classify(None, IDENTITY, virtual_uid="v1") is HostState.ABSENT


def test_a_marked_pod_owns_only_the_twin_of_its_mark() -> None:
    twin = make_twin(host_pod())
    assert classify(twin, IDENTITY, virtual_uid="v1", marked_uid="h1") is HostState.OURS
    assert classify(twin, IDENTITY, virtual_uid="v1", marked_uid="h2") is HostState.STALE


OWNED = dataclasses.replace(IDENTITY, anchor_uid="anchor")


@pytest.mark.parametrize(
    "spoilt",
    [
        {md.MANAGED_BY: ""},
        {md.MANAGED_BY: "other"},
        {md.OBJECT_NAME: ""},
        {md.OBJECT_KIND: "Service"},
        {md.OBJECT_UID: ""},
        {md.OBJECT_NAMESPACE: "kube-system", md.OBJECT_UID: ""},
    ],
)
def test_a_twin_that_somebody_defaced_is_known_by_mark_or_anchor(spoilt: dict[str, str]) -> None:
    twin = make_twin(host_pod(**spoilt))
    assert classify(twin, IDENTITY, virtual_uid="v1", marked_uid="h1") is HostState.DEFACED
    assert classify(twin, OWNED, virtual_uid="v1") is HostState.DEFACED
    assert classify(twin, OWNED, virtual_uid="") is HostState.DEFACED
    assert classify(twin, OWNED, virtual_uid="v1", marked_uid="h2") is HostState.FOREIGN
    assert classify(twin, dataclasses.replace(IDENTITY, anchor_uid="elsewhere"), virtual_uid="v1") is HostState.FOREIGN
    assert classify(deleting(twin), OWNED, virtual_uid="v1", marked_uid="h1") is HostState.OURS_DELETING
    assert classify(deleting(twin), OWNED, virtual_uid="v1") is HostState.STALE_DELETING


def test_the_mark_proves_more_than_an_annotation() -> None:
    twin = make_twin(host_pod(**{md.OBJECT_UID: "edited"}))
    assert classify(twin, IDENTITY, virtual_uid="v1", marked_uid="h1") is HostState.OURS


def test_what_nothing_owns_is_known_by_the_uid_or_where_that_is_enough_by_its_label() -> None:
    unlabelled = make_twin(host_pod(**{md.MANAGED_BY: ""}))
    nameless = make_twin(host_pod(**{md.OBJECT_NAME: ""}))
    open_to_all = dataclasses.replace(IDENTITY, by_marker=True)
    assert classify(unlabelled, IDENTITY, virtual_uid="v1") is HostState.DEFACED
    assert classify(unlabelled, IDENTITY, virtual_uid="v2") is HostState.FOREIGN
    assert classify(nameless, IDENTITY, virtual_uid="v1") is HostState.FOREIGN
    assert classify(nameless, open_to_all, virtual_uid="v1") is HostState.DEFACED
    assert classify(unlabelled, open_to_all, virtual_uid="v2") is HostState.FOREIGN


def pod(*, mark: str = "", phase: str = "", reason: str = "", deleting: bool = False) -> Obj:
    metadata: Obj = {"name": "web", "uid": "v1", "annotations": {md.HOST_UID: mark} if mark else {}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"phase": phase, "reason": reason}}


@pytest.mark.parametrize(
    ("virtual", "wanted", "state"),
    [
        (None, True, VirtualState.ABSENT),
        (pod(), False, VirtualState.ABSENT),
        (pod(phase="Pending"), True, VirtualState.NEW),
        (pod(mark="other/h1"), True, VirtualState.NEW),
        (pod(mark="v1/h1", phase="Running"), True, VirtualState.REALISED),
        (pod(mark="v1/h1", phase="Succeeded"), True, VirtualState.ENDED),
        (pod(mark="v1/h1", phase="Failed", reason="Evicted"), True, VirtualState.ENDED),
        (pod(mark="v1/h1", phase="Failed", reason=HOST_POD_GONE), True, VirtualState.REALISED),
        (pod(mark="v1/h1", phase="Failed", deleting=True), True, VirtualState.DELETING),
    ],
)
def test_the_state_of_a_pod_follows_from_mark_phase_and_deletion(
    virtual: Obj | None, wanted: bool, state: VirtualState
) -> None:
    assert virtual_state(virtual, wanted=wanted, marks=True, forwards_deletion=True) is state


def test_a_kind_that_is_recreated_has_neither_mark_nor_deleting_row() -> None:
    assert virtual_state(pod(deleting=True), wanted=True, marks=False, forwards_deletion=False) is VirtualState.NEW


def test_of_a_partial_object_only_the_metadata_is_kept() -> None:
    twin = make_twin({"kind": "PartialObjectMetadata", **host_pod()})
    assert twin.value is None
    with pytest.raises(ValueError, match="only the metadata"):
        twin.obj()
    assert make_twin(host_pod()).obj()["metadata"]["uid"] == "h1"
