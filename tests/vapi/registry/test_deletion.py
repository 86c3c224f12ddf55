"""What a DELETE does: grace, finalizers, propagation and preconditions, as decisions on one object."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.caller import DeleteOptions, Preconditions
from vapi.registry.deletion import Act, Deletion, check_preconditions, decide
from vapi.resources.builtin import builtin_catalog
from vapi.resources.resource import Propagation

CATALOG = builtin_catalog()
CONFIGMAPS = CATALOG.row("", "v1", "configmaps")
DEPLOYMENTS = CATALOG.row("apps", "v1", "deployments")
JOBS = CATALOG.row("batch", "v1", "jobs")
NAMESPACES = CATALOG.row("", "v1", "namespaces")
PODS = CATALOG.row("", "v1", "pods")
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(seconds=10)


def pod(*, node: str = "n", phase: str = "Running", **metadata: Any) -> Obj:
    spec = {"nodeName": node} if node else {}
    return {"metadata": {"name": "p", "generation": 1, **metadata}, "spec": spec, "status": {"phase": phase}}


def deleting(grace_s: int, **metadata: Any) -> Obj:
    """A pod that was deleted with that grace at NOW."""
    ends = (NOW + dt.timedelta(seconds=grace_s)).isoformat().replace("+00:00", "Z")
    return pod(deletionTimestamp=ends, deletionGracePeriodSeconds=grace_s, **metadata)


def shown(deletion: Deletion) -> tuple[Act, Any, Any]:
    metadata = deletion.obj["metadata"]
    return deletion.act, metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")


@pytest.mark.parametrize(
    ("obj", "grace_s", "expected"),
    [
        (pod(), None, (Act.MARK, "2026-01-01T00:00:30Z", 30)),
        (pod(), 5, (Act.MARK, "2026-01-01T00:00:05Z", 5)),
        (pod(), 0, (Act.REMOVE, "2026-01-01T00:00:00Z", 0)),
        (pod(), -1, (Act.MARK, "2026-01-01T00:00:01Z", 1)),
        (pod(node=""), None, (Act.REMOVE, "2026-01-01T00:00:00Z", 0)),
        (pod(phase="Succeeded"), None, (Act.REMOVE, "2026-01-01T00:00:00Z", 0)),
        (pod(phase="Failed"), 20, (Act.REMOVE, "2026-01-01T00:00:00Z", 0)),
        (pod(node="", finalizers=["ex.io/f"]), None, (Act.MARK, "2026-01-01T00:00:00Z", 0)),
    ],
    ids=["its own", "given", "none", "negative", "nowhere", "succeeded", "failed", "held"],
)
def test_only_a_pod_that_runs_has_grace(obj: Obj, grace_s: int | None, expected: tuple[Act, str, int]) -> None:
    assert shown(decide(PODS, obj, DeleteOptions(grace_period_s=grace_s), NOW)) == expected


def test_a_removed_pod_is_shown_as_it_would_have_been_marked() -> None:
    deletion = decide(PODS, pod(node=""), DeleteOptions(), NOW)
    assert (deletion.edited, deletion.obj["metadata"]["generation"]) == (True, 2)


@pytest.mark.parametrize(
    ("grace_s", "expected"),
    [
        (10, (Act.MARK, "2026-01-01T00:00:10Z", 10)),
        (60, (Act.NOTHING, "2026-01-01T00:00:30Z", 30)),
        (None, (Act.NOTHING, "2026-01-01T00:00:30Z", 30)),
        (0, (Act.REMOVE, "2026-01-01T00:00:10Z", 0)),
    ],
    ids=["shorter", "longer", "none given", "at once"],
)
def test_a_second_delete_may_only_shorten_the_grace(grace_s: int | None, expected: tuple[Act, str, int]) -> None:
    deletion = decide(PODS, deleting(30), DeleteOptions(grace_period_s=grace_s), LATER)
    assert shown(deletion) == expected
    assert deletion.obj["metadata"]["generation"] == 1


def test_finalizers_hold_what_is_deleted_twice() -> None:
    held: Obj = {"metadata": {"name": "c", "finalizers": ["ex.io/f"]}}
    first = decide(CONFIGMAPS, held, DeleteOptions(), NOW)
    assert shown(first) == (Act.MARK, "2026-01-01T00:00:00Z", 0)
    assert shown(decide(CONFIGMAPS, first.obj, DeleteOptions(), LATER)) == (Act.NOTHING, "2026-01-01T00:00:00Z", 0)


@pytest.mark.parametrize(
    ("row", "options", "finalizers"),
    [
        (DEPLOYMENTS, DeleteOptions(), None),
        (DEPLOYMENTS, DeleteOptions(propagation=Propagation.BACKGROUND), None),
        (DEPLOYMENTS, DeleteOptions(propagation=Propagation.FOREGROUND), ["foregroundDeletion"]),
        (DEPLOYMENTS, DeleteOptions(propagation=Propagation.ORPHAN), ["orphan"]),
        (DEPLOYMENTS, DeleteOptions(orphan_dependents=True), ["orphan"]),
        (DEPLOYMENTS, DeleteOptions(orphan_dependents=False), None),
        (JOBS, DeleteOptions(), ["orphan"]),
        (JOBS, DeleteOptions(propagation=Propagation.BACKGROUND), None),
    ],
)
def test_propagation_is_a_finalizer(row: Any, options: DeleteOptions, finalizers: list[str] | None) -> None:
    deletion = decide(row, {"metadata": {"name": "x", "generation": 4}, "spec": {}}, options, NOW)
    assert deletion.obj["metadata"].get("finalizers") == finalizers
    assert deletion.act is (Act.MARK if finalizers else Act.REMOVE)
    assert deletion.obj["metadata"]["generation"] == (5 if finalizers else 4)


def test_the_last_word_on_propagation_counts_and_none_leaves_it() -> None:
    orphaning: Obj = {"metadata": {"name": "x", "finalizers": ["orphan"]}, "spec": {}}
    marked = decide(DEPLOYMENTS, orphaning, DeleteOptions(), NOW).obj
    assert marked["metadata"]["finalizers"] == ["orphan"]
    changed = decide(DEPLOYMENTS, marked, DeleteOptions(propagation=Propagation.FOREGROUND), NOW)
    assert (changed.act, changed.obj["metadata"]["finalizers"]) == (Act.MARK, ["foregroundDeletion"])
    gone = decide(DEPLOYMENTS, changed.obj, DeleteOptions(propagation=Propagation.BACKGROUND), NOW)
    assert gone.act is Act.REMOVE


def test_a_namespace_ends_without_grace_once_its_controller_has_emptied_it() -> None:
    namespace: Obj = {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    marked = decide(NAMESPACES, namespace, DeleteOptions(), NOW)
    assert shown(marked) == (Act.MARK, "2026-01-01T00:00:00Z", None)
    assert marked.obj["status"]["phase"] == "Terminating"
    assert decide(NAMESPACES, marked.obj, DeleteOptions(), NOW).act is Act.NOTHING
    emptied = {**marked.obj, "spec": {"finalizers": []}}
    assert decide(NAMESPACES, emptied, DeleteOptions(), NOW).act is Act.REMOVE


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Preconditions(uid="v"), "the UID in the precondition (v) does not match the UID in record (u). "),
        (Preconditions(resource_version="6"), "the ResourceVersion in the precondition (6) does not match "),
    ],
)
def test_preconditions_name_the_kind_with_its_group(wanted: Preconditions, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_preconditions(DEPLOYMENTS, "d", "u", 7, wanted)
    assert (caught.value.code, caught.value.reason) == (409, "Conflict")
    assert caught.value.message.startswith(f'Operation cannot be fulfilled on Deployment.apps "d": {why}')
    assert caught.value.details == {"name": "d", "group": "apps", "kind": "Deployment"}


def test_preconditions_that_hold_say_nothing() -> None:
    check_preconditions(DEPLOYMENTS, "d", "u", 7, Preconditions())
    check_preconditions(DEPLOYMENTS, "d", "u", 7, Preconditions(uid="u", resource_version="7"))
