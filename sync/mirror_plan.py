"""Mirror plan: what to do about an object that comes from the host and its mirror in the tenant, as one total table.

The counterpart of `plan`, for the other direction: Nodes, classes and volumes, and what host controllers make of
workloads. A mirror says which host object it shows (its source: that one's uid), so both sides are told apart by
values alone. What a tenant's deletion means differs: classes, volumes and Nodes are put back, the children of
workloads are deleted on the host. A host object that the tenant may not see (a selector, a claim of somebody else)
is ABSENT. Pure. Source: design §6, "From the host".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class VirtualMirror(StrEnum):
    """What the tenant has under the mirror's name."""

    ABSENT = "absent"
    MIRROR = "mirror"  # of the present host object
    OTHER = "other"  # a mirror of another uid, or of a host object that is gone
    OWN = "own"  # the tenant's own object
    ENDED = "ended"  # as MIRROR, and a client of the tenant says of the pod that it has ended, which the host's has not
    DELETING = "deleting"  # a mirror, whichever it shows, with a deletionTimestamp
    REMOVED = "removed"  # the mirror of the present host object was deleted at once, and the host not told yet


class HostOriginal(StrEnum):
    ABSENT = "absent"  # or nothing that the tenant may see
    PRESENT = "present"
    DELETING = "deleting"


class TenantDeletes(StrEnum):
    """What it means that the tenant deletes a mirror."""

    PUT_BACK = "put back"  # the host has it, so it is there: Nodes, classes, volumes
    FORWARD = "forward"  # the host's is deleted: Pods, ReplicaSets, Jobs and claims of host workloads


class MirrorAction(StrEnum):
    NOTHING = "nothing"
    CREATE_VIRTUAL = "create virtual"
    CONVERGE_VIRTUAL = "converge virtual"  # what the host owns, which puts back a tenant's edits
    END_VIRTUAL = "end virtual"  # the host's is gone, or going: the mirror follows
    REPLACE_VIRTUAL = "replace virtual"  # it shows another uid: delete it, the next look makes it anew
    RELEASE_VIRTUAL = "release virtual"  # the tenant deletes it and the host has none: nothing holds it any more
    PUT_BACK = "put back"  # the tenant deletes it and the host has it: let it go, the next look makes it anew
    DELETE_HOST = "delete host"  # with the tenant's grace; its own where the tenant deletes nothing
    OBSERVE = "observe"  # both sides are deleting: what the host says still comes back
    CONFLICT = "conflict"  # the tenant's own stays; say so


_COLUMNS = (HostOriginal.ABSENT, HostOriginal.PRESENT, HostOriginal.DELETING)

_Rows = Mapping[VirtualMirror, tuple[MirrorAction, MirrorAction, MirrorAction]]

_PUT_BACK: _Rows = {
    VirtualMirror.ABSENT: (MirrorAction.NOTHING, MirrorAction.CREATE_VIRTUAL, MirrorAction.NOTHING),
    VirtualMirror.MIRROR: (MirrorAction.END_VIRTUAL, MirrorAction.CONVERGE_VIRTUAL, MirrorAction.CONVERGE_VIRTUAL),
    VirtualMirror.ENDED: (MirrorAction.END_VIRTUAL, MirrorAction.CONVERGE_VIRTUAL, MirrorAction.CONVERGE_VIRTUAL),
    VirtualMirror.OTHER: (MirrorAction.END_VIRTUAL, MirrorAction.REPLACE_VIRTUAL, MirrorAction.END_VIRTUAL),
    VirtualMirror.OWN: (MirrorAction.NOTHING, MirrorAction.CONFLICT, MirrorAction.NOTHING),
    VirtualMirror.DELETING: (MirrorAction.RELEASE_VIRTUAL, MirrorAction.PUT_BACK, MirrorAction.PUT_BACK),
    VirtualMirror.REMOVED: (MirrorAction.NOTHING, MirrorAction.CREATE_VIRTUAL, MirrorAction.NOTHING),
}
"""A volume that is deleting on the host is still in use there: its mirror goes with it, not before."""

_FORWARD: _Rows = {
    VirtualMirror.ABSENT: (MirrorAction.NOTHING, MirrorAction.CREATE_VIRTUAL, MirrorAction.NOTHING),
    VirtualMirror.MIRROR: (MirrorAction.END_VIRTUAL, MirrorAction.CONVERGE_VIRTUAL, MirrorAction.END_VIRTUAL),
    VirtualMirror.ENDED: (MirrorAction.END_VIRTUAL, MirrorAction.DELETE_HOST, MirrorAction.END_VIRTUAL),
    VirtualMirror.OTHER: (MirrorAction.END_VIRTUAL, MirrorAction.REPLACE_VIRTUAL, MirrorAction.END_VIRTUAL),
    VirtualMirror.OWN: (MirrorAction.NOTHING, MirrorAction.CONFLICT, MirrorAction.NOTHING),
    VirtualMirror.DELETING: (MirrorAction.RELEASE_VIRTUAL, MirrorAction.DELETE_HOST, MirrorAction.OBSERVE),
    VirtualMirror.REMOVED: (MirrorAction.NOTHING, MirrorAction.DELETE_HOST, MirrorAction.NOTHING),
}

"""A terminal phase is never left, so what a tenant has called ended cannot go on; what makes pods replaces it."""

MIRROR_PLAN: Mapping[TenantDeletes, Mapping[VirtualMirror, Mapping[HostOriginal, MirrorAction]]] = MappingProxyType(
    {
        deletes: MappingProxyType(
            {virtual: MappingProxyType(dict(zip(_COLUMNS, row, strict=True))) for virtual, row in rows.items()}
        )
        for deletes, rows in ((TenantDeletes.PUT_BACK, _PUT_BACK), (TenantDeletes.FORWARD, _FORWARD))
    }
)


def mirror_plan(virtual: VirtualMirror, host: HostOriginal, *, deletes: TenantDeletes) -> MirrorAction:
    return MIRROR_PLAN[deletes][virtual][host]


def virtual_mirror(
    *, source: str | None, deleting: bool, host_uid: str, removed: str = "", ended: bool = False
) -> VirtualMirror:
    """`source`: the host uid that the tenant's object shows, "" if it is the tenant's own, None if there is none.

    `host_uid`: of the host object that the tenant may see, "" without one. `removed`: the source of a mirror that the
    tenant deleted at once (with no grace and no finalizer), as far as it is remembered. `ended`: a terminal phase
    that the host's has not.
    """
    if source is None:
        return VirtualMirror.REMOVED if removed and removed == host_uid else VirtualMirror.ABSENT
    if not source:
        return VirtualMirror.OWN
    if deleting:
        return VirtualMirror.DELETING
    if source != host_uid:
        return VirtualMirror.OTHER
    return VirtualMirror.ENDED if ended else VirtualMirror.MIRROR


def host_original(*, uid: str, deleting: bool) -> HostOriginal:
    """`uid`: as for `virtual_mirror`."""
    if not uid:
        return HostOriginal.ABSENT
    return HostOriginal.DELETING if deleting else HostOriginal.PRESENT
