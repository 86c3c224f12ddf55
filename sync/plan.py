"""Plan: what to do about a virtual object and its twin on the host, as one total table.

States are found by `virtual_state` here and `ownership.classify`; nothing else
decides. Source: design §6. Three columns of the design are spelled out: stale and
deleting is WAIT whatever the row; what somebody has defaced gets its name back, or goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from sync import metadata as md
from sync.ownership import HostState
from vapi.gvk import Obj


class VirtualState(StrEnum):
    ABSENT = "absent"  # or not wanted on the host
    NEW = "new"  # no mark
    REALISED = "realised"  # marked: its twin has been seen
    ENDED = "ended"  # a Pod in a terminal phase, a finished Job
    DELETING = "deleting"  # of the kinds whose deletion goes out at once


class Action(StrEnum):
    FORGET = "forget"
    DELETE_HOST = "delete host"
    WAIT = "wait"
    IGNORE = "ignore"
    CREATE_HOST = "create host"
    CONVERGE = "converge"
    LOST = "lost"
    CONFLICT = "conflict"
    KEEP = "keep"
    OBSERVE = "observe"
    RELEASE_VIRTUAL = "release virtual"
    RESTORE = "restore"  # the labels and annotations by which it is ours


NEEDS_PROOF = frozenset({Action.LOST, Action.RELEASE_VIRTUAL})
"""That an informer does not know a twin proves nothing: these need a GET by name, or its DELETED event."""

HOST_POD_GONE = "HostPodDeleted"
"""status.reason of a Pod that we ended because its twin was lost; its deletion is still to come."""

_COLUMNS = (
    HostState.ABSENT,
    HostState.OURS,
    HostState.STALE,
    HostState.OURS_DELETING,
    HostState.FOREIGN,
)

_ROWS: Mapping[VirtualState, tuple[Action, ...]] = {
    VirtualState.ABSENT: (Action.FORGET, Action.DELETE_HOST, Action.DELETE_HOST, Action.WAIT, Action.IGNORE),
    VirtualState.NEW: (Action.CREATE_HOST, Action.CONVERGE, Action.DELETE_HOST, Action.LOST, Action.CONFLICT),
    VirtualState.REALISED: (Action.LOST, Action.CONVERGE, Action.DELETE_HOST, Action.LOST, Action.LOST),
    VirtualState.ENDED: (Action.KEEP, Action.OBSERVE, Action.DELETE_HOST, Action.KEEP, Action.KEEP),
    VirtualState.DELETING: (
        Action.RELEASE_VIRTUAL,
        Action.DELETE_HOST,
        Action.DELETE_HOST,
        Action.OBSERVE,
        Action.RELEASE_VIRTUAL,
    ),
}

_DEFACED: Mapping[VirtualState, Action] = {
    VirtualState.ABSENT: Action.DELETE_HOST,
    VirtualState.NEW: Action.RESTORE,
    VirtualState.REALISED: Action.RESTORE,
    VirtualState.ENDED: Action.RESTORE,
    VirtualState.DELETING: Action.DELETE_HOST,
}

PLAN: Mapping[VirtualState, Mapping[HostState, Action]] = MappingProxyType(
    {
        virtual: MappingProxyType(
            dict(zip(_COLUMNS, row, strict=True))
            | {HostState.STALE_DELETING: Action.WAIT, HostState.DEFACED: _DEFACED[virtual]}
        )
        for virtual, row in _ROWS.items()
    }
)


def plan(virtual: VirtualState, host: HostState) -> Action:
    return PLAN[virtual][host]


def virtual_state(
    virtual: Obj | None,
    *,
    wanted: bool,
    marks: bool,
    forwards_deletion: bool,
    irreplaceable: bool = False,
    ended: bool = False,
) -> VirtualState:
    """`marks`: the kind is marked (its loss is not RECREATE); `forwards_deletion`: it is in the table's last row.

    `irreplaceable`: this object is not made again, what it was is its mark (a claim that has been bound).
    `ended`: without a mark, too, there is nothing to do again (a finished Job).
    """
    if virtual is None or not wanted:
        return VirtualState.ABSENT
    if forwards_deletion and "deletionTimestamp" in virtual["metadata"]:
        return VirtualState.DELETING
    if irreplaceable:
        return VirtualState.REALISED
    if not marks:
        return VirtualState.ENDED if ended else VirtualState.NEW
    if _has_ended(virtual):
        return VirtualState.ENDED
    return VirtualState.REALISED if md.marked_host_uid(virtual) else VirtualState.NEW


def _has_ended(virtual: Obj) -> bool:
    """A terminal phase; not the one that we wrote for a lost twin, or a crash right after it would keep the Pod."""
    status = virtual.get("status") or {}
    return status.get("phase") in ("Succeeded", "Failed") and status.get("reason") != HOST_POD_GONE
