"""Ownership: whose is the object that stands on a translated name.

`Twin` is what is kept of a host object; `classify` is pure and looks at nothing
but it, the identity that the name should have, and the virtual uid and mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sync import metadata as md
from vapi import encoding
from vapi.gvk import Obj


class HostState(StrEnum):
    ABSENT = "absent"
    OURS = "ours"
    STALE = "stale"  # the twin of an object of the same name that is gone
    OURS_DELETING = "ours, deleting"
    STALE_DELETING = "stale, deleting"
    DEFACED = "ours, defaced"  # proven ours, but its labels or annotations no longer say so
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which virtual object a host name stands for; `kind` as in metadata.kind_text.

    `anchor_uid`: that of what owns the twins of its kind; "": nothing does. `by_marker`: there is nothing in it that
    could be somebody else's, so its label and its name are proof enough.
    """

    cluster: str
    kind: str
    namespace: str
    name: str
    host_name: str
    store_id: str = ""
    anchor_uid: str = ""
    by_marker: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """A host object as the syncer keeps it: the facts that decide, and its body as bytes where it is needed.

    `value` is None where only the metadata was sent. `revision` is the resourceVersion (hosts since 1.35 promise
    integers that can be compared; older ones do it); 0 if it is no number.
    """

    name: str
    uid: str
    revision: int
    deletion_timestamp: str
    grace_s: int | None
    managed_by: str
    kind: str
    object_namespace: str
    object_name: str
    object_uid: str
    desired: str
    applied: bool
    """Our managedFields entry is one of Apply already."""
    allocated_at: str
    owners: tuple[str, ...]
    controller: str
    """uid of the owner that controls it, or ""."""
    mirrored: str
    """`namespace/name` of its mirror, once there was one (children of workloads)."""
    finalizers: tuple[str, ...]
    store_id: str
    value: bytes | None

    @property
    def deleting(self) -> bool:
        return bool(self.deletion_timestamp)

    def obj(self) -> Obj:
        """A private copy of the body. Raises ValueError without one."""
        if self.value is None:
            raise ValueError(f"only the metadata of {self.name} is kept")
        body: Obj = encoding.loads(self.value)
        return body


def make_twin(obj: Obj) -> Twin:
    """From a host object, or the PartialObjectMetadata of one; `obj` is only read."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    partial = obj.get("kind") == "PartialObjectMetadata"
    version = metadata.get("resourceVersion", "")
    return Twin(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        revision=int(version) if version.isdigit() else 0,
        deletion_timestamp=metadata.get("deletionTimestamp") or "",
        grace_s=metadata.get("deletionGracePeriodSeconds"),
        managed_by=(metadata.get("labels") or {}).get(md.MANAGED_BY, ""),
        kind=annotations.get(md.OBJECT_KIND, ""),
        object_namespace=annotations.get(md.OBJECT_NAMESPACE, ""),
        object_name=annotations.get(md.OBJECT_NAME, ""),
        object_uid=annotations.get(md.OBJECT_UID, ""),
        desired=annotations.get(md.DESIRED, ""),
        applied=any(map(_is_our_apply, metadata.get("managedFields") or ())),
        allocated_at=annotations.get(md.ALLOCATED_AT, ""),
        owners=tuple(r.get("uid", "") for r in metadata.get("ownerReferences") or ()),
        controller=next((r.get("uid", "") for r in metadata.get("ownerReferences") or () if r.get("controller")), ""),
        mirrored=annotations.get(md.MIRRORED, ""),
        finalizers=tuple(metadata.get("finalizers") or ()),
        store_id=annotations.get(md.STORE_ID, ""),
        value=None if partial else _body(obj),
    )


def _is_our_apply(entry: Any) -> bool:
    return (
        entry.get("manager") == md.FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource")
    )


def applier_patch(live: Obj) -> list[dict[str, Any]]:
    """A JSON patch that turns our managedFields entry of a POST into one of Apply; [] where there is nothing to turn.

    Before the first apply: else what the tenant removes stays, owned by the old entry.
    Source: client-go util/csaupgrade.
    """
    metadata = live["metadata"]
    fields: list[Obj] = metadata.get("managedFields") or []
    ours = [f for f in fields if f.get("manager") == md.FIELD_MANAGER and not f.get("subresource")]
    if not ours or any(f.get("operation") == "Apply" for f in ours):
        return []
    changed = [{**f, "operation": "Apply"} if f is ours[0] else f for f in fields if f is ours[0] or f not in ours[1:]]
    return [
        {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": changed},
    ]


def _body(obj: Obj) -> bytes:
    metadata = obj["metadata"]
    if "managedFields" in metadata:
        metadata = {k: v for k, v in metadata.items() if k != "managedFields"}
        obj = {**obj, "metadata": metadata}
    return encoding.dumps(obj)


def classify(twin: Twin | None, identity: Identity, *, virtual_uid: str, marked_uid: str = "") -> HostState:
    """`virtual_uid` "" when the virtual object is absent; `marked_uid` the host uid of its mark, "" without one."""
    if twin is None:
        return HostState.ABSENT
    if twin.managed_by != identity.cluster or not twin.object_uid or not _named(twin, identity):
        return _unnamed(twin, identity, virtual_uid, marked_uid)
    fits = twin.uid == marked_uid if marked_uid else virtual_uid in ("", twin.object_uid)
    if fits:
        return HostState.OURS_DELETING if twin.deleting else HostState.OURS
    return HostState.STALE_DELETING if twin.deleting else HostState.STALE


def _unnamed(twin: Twin, identity: Identity, virtual_uid: str, marked_uid: str) -> HostState:
    if not is_defaced(twin, identity, virtual_uid=virtual_uid, marked_uid=marked_uid):
        return HostState.FOREIGN
    if not twin.deleting:
        return HostState.DEFACED
    return HostState.OURS_DELETING if marked_uid else HostState.STALE_DELETING


def is_defaced(twin: Twin, identity: Identity, *, virtual_uid: str, marked_uid: str) -> bool:
    """Whether it is ours but for the label or the annotations that somebody took off or changed.

    Proven by the mark, else by the anchor owning what stands on our name. Where nothing owns the kind, the uid of the
    virtual object in its annotations proves it, or the label if that is enough.
    """
    if twin.name != identity.host_name or twin.store_id not in ("", identity.store_id):
        return False
    if marked_uid:
        return twin.uid == marked_uid
    if identity.anchor_uid:
        return identity.anchor_uid in twin.owners
    if twin.managed_by == "" and _named(twin, identity) and twin.object_uid == virtual_uid != "":
        return True
    return identity.by_marker and twin.managed_by == identity.cluster


def _named(twin: Twin, identity: Identity) -> bool:
    return (
        twin.name == identity.host_name
        and twin.kind == identity.kind
        and twin.object_name == identity.name
        and twin.object_namespace == identity.namespace
        and (not twin.store_id or twin.store_id == identity.store_id)
    )
