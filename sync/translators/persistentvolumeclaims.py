"""PersistentVolumeClaims: asked for on the host, bound there; a bound one is never made again empty.

The spec goes out as it is created, later only the size asked for and the volume attributes class. The volume, its
annotations and the status come back. Its twin is not the anchor's: removing a virtual cluster keeps the data.
Deletion goes out at once; what uses a claim holds it on both sides (pvc-protection). Source: sync-behaviour §2.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sync import metadata as md
from sync.translator import (
    ATTRIBUTESCLASSES,
    CLAIMS,
    STORAGECLASSES,
    VOLUMES,
    Context,
    Ref,
    Translator,
    Untranslatable,
    Withheld,
    Write,
)
from vapi.gvk import GVK, Obj
from vapi.schema import quantity

GVK_CLAIM = GVK("", "v1", "PersistentVolumeClaim")

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
"""The annotation that spec.storageClassName replaced; it still wins over it."""

_HOSTS_KEYS = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
"""Annotations of the binder, the scheduler and provisioners: the host's alone. A tenant's would bind a claim to
whatever it names, or pass over the host's scheduler."""

_HOSTS_CONDITIONS = frozenset(
    {
        "Resizing",
        "FileSystemResizePending",
        "ControllerResizeError",
        "NodeResizeError",
        "ModifyVolumeError",
        "ModifyingVolume",
        "Unused",
    }
)
"""Types of the claim's conditions that are Kubernetes' own. Source: api/core/v1 PersistentVolumeClaimConditionType."""

_SPEC = ("accessModes", "resources", "selector", "volumeMode", "volumeAttributesClassName", "volumeName")


# --- virtual → host -----------------------------------------------------------------------------------


def to_host(virtual: Obj, context: Context) -> Obj:
    """Raises Untranslatable."""
    metadata = context.host_metadata(virtual, GVK_CLAIM)
    metadata.pop("ownerReferences", None)
    annotations = without_hosts_keys(metadata["annotations"])
    annotations[md.STORE_ID] = context.store_id
    annotations[md.KEYS] = md.keys_text(
        md.tenant_labels(virtual, context.from_host), [k for k in annotations if not md.reserved(k)], ()
    )
    metadata["annotations"] = annotations
    spec = host_spec(virtual, virtual["metadata"]["namespace"], context)
    return {"apiVersion": "v1", "kind": GVK_CLAIM.kind, "metadata": metadata, "spec": spec}


def without_hosts_keys(annotations: Mapping[str, str]) -> dict[str, str]:
    """Those that may go out."""
    return {k: v for k, v in annotations.items() if not k.startswith(_HOSTS_KEYS)}


def host_spec(virtual: Obj, namespace: str, context: Context) -> Obj:
    """Of a claim, or of a template of one in `namespace`. Raises Untranslatable."""
    source: Obj = virtual["spec"]
    spec: dict[str, Any] = {k: source[k] for k in _SPEC if source.get(k) is not None}
    name = storage_class(virtual)
    if name is None:
        name = context.default_storage_class() or None
    if name is not None:
        spec["storageClassName"] = name
    reference = source.get("dataSourceRef") or source.get("dataSource")
    if reference:
        spec["dataSource"] = _data_source(reference, namespace, context)
    return spec


def storage_class(virtual: Obj) -> str | None:
    """The class that it names, None if it names none ("" asks for a volume without class)."""
    annotated: str | None = (virtual["metadata"].get("annotations") or {}).get(BETA_CLASS)
    named: str | None = virtual["spec"].get("storageClassName")
    return annotated if annotated is not None else named


def _data_source(reference: Obj, namespace: str, context: Context) -> Obj:
    if reference.get("namespace", namespace) != namespace:
        raise Untranslatable("dataSourceRef: sources in another namespace are not supported")
    if reference.get("apiGroup") or reference["kind"] != GVK_CLAIM.kind:
        raise Untranslatable(f"dataSource: {reference['kind']} objects are not synced")
    return {"kind": GVK_CLAIM.kind, "name": context.host_name(reference["name"], namespace)}


def references(virtual: Obj) -> Iterable[Ref]:
    """The claim that it copies."""
    reference = virtual["spec"].get("dataSourceRef") or virtual["spec"].get("dataSource") or {}
    if reference.get("kind") == GVK_CLAIM.kind and not reference.get("namespace"):
        yield Ref(CLAIMS, virtual["metadata"]["namespace"], reference["name"])


def wanted(virtual: Obj, _context: Context) -> bool:
    """Not what the host's controllers made."""
    return not md.is_child(virtual)


def admit(virtual: Obj, context: Context) -> None:
    """Raises Withheld for a class, or a volume, that is not the host's or not for this tenant."""
    why = _withheld(virtual, context)
    if why:
        claim = virtual["metadata"]["name"]
        raise Withheld(f'did not sync persistent volume claim "{claim}" to host because {why}')


def _withheld(virtual: Obj, context: Context) -> str:
    spec = virtual["spec"]
    volume = spec.get("volumeName")
    if volume and not context.is_mirror(VOLUMES, volume):
        return f'the persistent volume "{volume}" is not one of the host\'s'
    name = storage_class(virtual)
    if name is None:
        name = context.default_storage_class()
    elif not name:
        return ""  # volumes without class: whoever made them for everybody named none
    why = context.withheld_class(STORAGECLASSES, name)
    attributes = spec.get("volumeAttributesClassName")
    return why or (context.withheld_class(ATTRIBUTESCLASSES, attributes) if attributes else "")


def update(desired: Obj, host: Obj) -> Iterable[Write]:
    metadata = _metadata(desired, host)
    spec = _spec(desired["spec"], host)
    if metadata:
        yield Write({"metadata": {"uid": host["metadata"]["uid"], **metadata}})
    if spec:
        yield Write({"metadata": {"uid": host["metadata"]["uid"]}, "spec": spec}, optional=True)


def _metadata(desired: Obj, host: Obj) -> Obj:
    """Labels and annotations that differ, and those of ours that the tenant has removed."""
    sent = md.sent_keys(host)
    changes: Obj = {}
    for kind, ours_before in (("labels", sent.labels), ("annotations", sent.annotations)):
        want: Mapping[str, str] = desired["metadata"].get(kind) or {}
        have: Mapping[str, str] = host["metadata"].get(kind) or {}
        change: dict[str, str | None] = {k: v for k, v in want.items() if have.get(k) != v}
        change |= {k: None for k in ours_before if k in have and k not in want}
        if change:
            changes[kind] = change
    return changes


def _spec(want: Obj, host: Obj) -> Obj:
    """A larger size; a smaller one only down to what it has by now, which is how a failed expansion is taken back.

    Less than it has is what somebody at the host has given it: nobody can shrink a volume.
    """
    have, changes = host["spec"], {}
    asked, there = _storage(want.get("resources")), _storage(have.get("resources"))
    bound = (host.get("status") or {}).get("phase") == "Bound"
    capacity = _nanos(((host.get("status") or {}).get("capacity") or {}).get("storage", "0"))
    if bound and _nanos(asked) != _nanos(there) and (_nanos(asked) > _nanos(there) or _nanos(asked) > capacity):
        changes["resources"] = {"requests": {"storage": asked}}
    attributes = want.get("volumeAttributesClassName")
    if bound and attributes and attributes != have.get("volumeAttributesClassName"):
        changes["volumeAttributesClassName"] = attributes
    return changes


def _storage(resources: Any) -> str:
    return str(((resources or {}).get("requests") or {}).get("storage", "0"))


def _nanos(text: str) -> int:
    return quantity.parse(text).nanos


# --- host → virtual -----------------------------------------------------------------------------------


def status(virtual: Obj, host: Obj) -> Obj:
    """The host's; conditions of types that are not Kubernetes' stay the tenant's."""
    theirs: Obj = {k: v for k, v in (host.get("status") or {}).items() if k != "conditions"}
    conditions = list((host.get("status") or {}).get("conditions") or ())
    taken = _HOSTS_CONDITIONS | {c["type"] for c in conditions}
    conditions += [c for c in (virtual.get("status") or {}).get("conditions") or () if c["type"] not in taken]
    return theirs | ({"conditions": conditions} if conditions else {})


def brought_back(virtual: Obj, host: Obj) -> Obj:
    """The volume, the class that was chosen for it, and who bound them. Raises Untranslatable."""
    spec, theirs = virtual["spec"], host["spec"]
    changes: dict[str, Any] = {}
    volume, bound = spec.get("volumeName"), theirs.get("volumeName")
    if volume and bound and volume != bound:
        raise Untranslatable(f'the host bound its claim to volume "{bound}", this one is bound to "{volume}"')
    if bound and not volume:
        changes["spec"] = {"volumeName": bound}
    if storage_class(virtual) is None and theirs.get("storageClassName"):
        changes.setdefault("spec", {})["storageClassName"] = theirs["storageClassName"]
    annotations = dict(_changed_annotations(virtual, host))
    if annotations:
        changes["metadata"] = {"annotations": annotations}
    return changes


def _changed_annotations(virtual: Obj, host: Obj) -> Iterator[tuple[str, str | None]]:
    here = virtual["metadata"].get("annotations") or {}
    there = host["metadata"].get("annotations") or {}
    for key in here.keys() | there.keys():
        if key.startswith(_HOSTS_KEYS) and key != BETA_CLASS and here.get(key) != there.get(key):
            yield key, there.get(key)


def lost_status(virtual: Obj) -> Obj | None:
    """Of a claim that has been bound: there were data. Source: pv_controller.go updateClaimStatus without a volume."""
    now: Obj = virtual.get("status") or {}
    if now.get("phase") not in ("Bound", "Lost"):
        return None
    return {k: v for k, v in now.items() if k not in ("accessModes", "capacity")} | {"phase": "Lost"}


TRANSLATOR = Translator(
    resource=CLAIMS,
    gvk=GVK_CLAIM,
    to_host=to_host,
    references=references,
    wanted=wanted,
    admit=admit,
    status=status,
    brought_back=brought_back,
    lost_status=lost_status,
    update=update,
    forwards_deletion=True,
    keeps_body=True,
    anchored=False,
    priority=1,
)
