"""What a DELETE does to an object: a pure decision on its finalizers, grace and propagation.

Source: apiserver registry/rest/delete.go and generic/registry/store.go (deletionFinalizersForGarbageCollection).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from vapi import errors
from vapi.clock import rfc3339
from vapi.gvk import Obj
from vapi.registry.caller import DeleteOptions, Preconditions
from vapi.resources.resource import Propagation, Resource

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
DEFAULT_POD_GRACE_S = 30


class Act(StrEnum):
    REMOVE = "remove"
    """Take it out of the store at once."""
    MARK = "mark"
    """Store `Deletion.obj`: deletionTimestamp set, finalizers changed."""
    NOTHING = "nothing"
    """It is deleting already and this request changes nothing."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """`edited`: `obj` differs from what is stored (a graceful kind shows its last deletionTimestamp in any case)."""

    act: Act
    obj: Obj
    edited: bool = False


def decide(row: Resource, obj: Obj, options: DeleteOptions, now: dt.datetime) -> Deletion:
    """`obj` is private and may come back edited."""
    metadata = obj["metadata"]
    was_deleting = "deletionTimestamp" in metadata
    finalizers = _finalizers(row, metadata.get("finalizers") or [], options)
    grace_s = _grace_s(row, obj, options)
    changed = finalizers != (metadata.get("finalizers") or [])
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    if was_deleting:
        shorter = row.graceful and grace_s < metadata.get("deletionGracePeriodSeconds", 0)
        if shorter:
            _mark(row, obj, grace_s, now, first=False)
        if not finalizers and (grace_s == 0 or not row.graceful) and not _has_spec_finalizers(row, obj):
            return Deletion(Act.REMOVE, obj, edited=shorter)
        return Deletion(Act.MARK if shorter or changed else Act.NOTHING, obj)
    if not finalizers and grace_s == 0 and not _has_spec_finalizers(row, obj):
        if row.graceful:
            _mark(row, obj, 0, now, first=True)
        return Deletion(Act.REMOVE, obj, edited=row.graceful)
    _mark(row, obj, grace_s, now, first=True)
    return Deletion(Act.MARK, obj)


def _mark(row: Resource, obj: Obj, grace_s: int, now: dt.datetime, *, first: bool) -> None:
    metadata = obj["metadata"]
    if first:
        deadline = now + dt.timedelta(seconds=grace_s)
    else:
        # a shorter grace moves the time back, counted from when the deletion began
        began = dt.datetime.fromisoformat(metadata["deletionTimestamp"].replace("Z", "+00:00")) - dt.timedelta(
            seconds=metadata.get("deletionGracePeriodSeconds", 0)
        )
        deadline = max(began + dt.timedelta(seconds=grace_s), now if grace_s == 0 else began)
    metadata["deletionTimestamp"] = rfc3339(deadline)
    if _has_spec_finalizers(row, obj):
        obj.setdefault("status", {})["phase"] = "Terminating"
        return
    metadata["deletionGracePeriodSeconds"] = grace_s
    if first and row.has_generation:
        metadata["generation"] = metadata.get("generation", 0) + 1


def _has_spec_finalizers(row: Resource, obj: Obj) -> bool:
    """Namespaces wait for `spec.finalizers`, which the namespace controller empties through /finalize."""
    return row.kind == "Namespace" and not row.gvr.group and bool(obj.get("spec", {}).get("finalizers"))


def _grace_s(row: Resource, obj: Obj, options: DeleteOptions) -> int:
    """Only for graceful kinds (Pods). Source: pkg/registry/core/pod/strategy.go CheckGracefulDelete."""
    if not row.graceful:
        return 0
    spec = obj.get("spec", {})
    if options.grace_period_s is not None:
        grace_s = options.grace_period_s
    else:
        grace_s = spec.get("terminationGracePeriodSeconds", DEFAULT_POD_GRACE_S)
    if not spec.get("nodeName") or obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    return 1 if grace_s < 0 else int(grace_s)


def _finalizers(row: Resource, current: list[str], options: DeleteOptions) -> list[str]:
    policy = options.propagation
    if policy is None and options.orphan_dependents is not None:
        policy = Propagation.ORPHAN if options.orphan_dependents else Propagation.BACKGROUND
    if policy is None:
        if ORPHAN_FINALIZER in current or FOREGROUND_FINALIZER in current:
            return list(current)
        policy = row.default_propagation
    kept = [f for f in current if f not in (ORPHAN_FINALIZER, FOREGROUND_FINALIZER)]
    if policy is Propagation.FOREGROUND:
        kept.append(FOREGROUND_FINALIZER)
    elif policy is Propagation.ORPHAN:
        kept.append(ORPHAN_FINALIZER)
    return kept


def check_preconditions(row: Resource, name: str, uid: str, revision: int, wanted: Preconditions) -> None:
    """Raises ApiError 409, worded with the Kind where an update names the plural."""
    if wanted.uid and wanted.uid != uid:
        raise _precondition_failed(
            row,
            name,
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated",
        )
    if wanted.resource_version and wanted.resource_version != str(revision):
        raise _precondition_failed(
            row,
            name,
            f"the ResourceVersion in the precondition ({wanted.resource_version}) does not match the "
            f"ResourceVersion in record ({revision}). The object might have been modified",
        )


def _precondition_failed(row: Resource, name: str, why: str) -> errors.ApiError:
    kind = f"{row.kind}.{row.gvr.group}" if row.gvr.group else row.kind
    details = {"name": name, "group": row.gvr.group, "kind": row.kind}
    if not row.gvr.group:
        del details["group"]
    return errors.ApiError(409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": {why}', details)
