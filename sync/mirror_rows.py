"""Mirror rows: one row a kind that comes from the host: its mirror, and which annotation of it makes a default.

Pure functions of dicts. The host owns every field of a mirror; what the operator of the host wrote for himself
(annotations other than those that say something of the object, names of Secrets) does not come along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from sync import metadata as md
from sync.ownership import Twin
from sync.translator import (
    ATTRIBUTESCLASSES,
    INGRESSCLASSES,
    PRIORITYCLASSES,
    RUNTIMECLASSES,
    STORAGECLASSES,
    VOLUMES,
)
from vapi.gvk import GVK, GVR, Obj
from vapi.resources.strategies.mirrors import MIRROR

CLAIM_UID = "vapi.dev/host-claim-uid"
"""On the mirror of a volume: the uid of the host's claim that it was made for, which outlives that claim."""

SYSTEM_CLASSES = "system-"
"""PriorityClasses that every cluster has of its own."""

Keep = Callable[[str], bool]
"""Whether an annotation of that key comes along."""


@dataclass(frozen=True, slots=True)
class MirrorRow:
    """`fields`: top-level keys that are copied as they are. `group`: whose settings govern it, as in Config."""

    resource: GVR
    gvk: GVK
    group: str
    words: str
    """For messages: `storage class`."""
    fields: tuple[str, ...]
    defaults: tuple[str, ...] = ()
    """Annotations that make an object the default one of its kind, in every spelling."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields with a value of ours."""
    annotations: tuple[str, ...] = ()
    """Patterns of those that say something of the object."""
    needed: bool = False
    """Where the tenant may not see the kind at all, a name of it does not go out either."""


STORAGE_DEFAULTS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)

CLASSES: tuple[MirrorRow, ...] = (
    MirrorRow(
        STORAGECLASSES,
        GVK("storage.k8s.io", "v1", "StorageClass"),
        "storage_classes",
        "storage class",
        fields=(
            "provisioner",
            "parameters",
            "reclaimPolicy",
            "mountOptions",
            "allowVolumeExpansion",
            "volumeBindingMode",
            "allowedTopologies",
        ),
        defaults=STORAGE_DEFAULTS,
    ),
    MirrorRow(
        ATTRIBUTESCLASSES,
        GVK("storage.k8s.io", "v1", "VolumeAttributesClass"),
        "storage_classes",
        "volume attributes class",
        fields=("driverName", "parameters"),
    ),
    MirrorRow(
        INGRESSCLASSES,
        GVK("networking.k8s.io", "v1", "IngressClass"),
        "ingress_classes",
        "ingress class",
        fields=("spec",),
        defaults=("ingressclass.kubernetes.io/is-default-class",),
    ),
    MirrorRow(
        RUNTIMECLASSES,
        GVK("node.k8s.io", "v1", "RuntimeClass"),
        "runtime_classes",
        "runtime class",
        fields=("handler", "overhead", "scheduling"),
        needed=True,
    ),
    MirrorRow(
        PRIORITYCLASSES,
        GVK("scheduling.k8s.io", "v1", "PriorityClass"),
        "priority_classes",
        "priority class",
        fields=("value", "description", "preemptionPolicy"),
        fixed=MappingProxyType({"globalDefault": False}),
    ),
)

PERSISTENT_VOLUMES = MirrorRow(
    VOLUMES,
    GVK("", "v1", "PersistentVolume"),
    "persistent_volume_claims",
    "persistent volume",
    fields=(),
    annotations=("pv.kubernetes.io/*", "volume.kubernetes.io/*"),
)

_SECRET_NAMES = frozenset(
    {
        "volume.kubernetes.io/provisioner-deletion-secret-name",
        "volume.kubernetes.io/provisioner-deletion-secret-namespace",
    }
)
_HIDDEN = "hidden"


def mirror_of(row: MirrorRow, host: Obj, patterns: md.KeyPatterns, *, may_default: bool) -> Obj:
    """The tenant's object. `may_default`: it is the default one where the host's is; the tenant has none of its own."""
    metadata = host["metadata"]
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if not md.reserved(k)}
    body: Obj = {
        "apiVersion": row.gvk.api_version,
        "kind": row.gvk.kind,
        "metadata": {
            "name": metadata["name"],
            "uid": metadata["uid"],
            "creationTimestamp": metadata.get("creationTimestamp"),
            "labels": labels | {MIRROR: metadata["uid"]},
            "annotations": _annotations(row, metadata.get("annotations") or {}, patterns, may_default=may_default),
        },
    }
    for key in row.fields:
        if host.get(key) is not None:
            body[key] = _shown(host[key])
    body |= row.fixed
    return body


def _shown(field: Any) -> Any:
    """Without what names Secrets, or other objects of the host (an IngressClass' parameters)."""
    if not isinstance(field, dict):
        return field
    return {
        k: v
        for k, v in field.items()
        if "secret" not in k.lower() and not (k == "parameters" and "controller" in field)
    }


def _annotations(
    row: MirrorRow, there: Mapping[str, str], patterns: md.KeyPatterns, *, may_default: bool
) -> dict[str, str]:
    kept = {}
    for key, value in there.items():
        if key in row.defaults:
            if may_default:
                kept[key] = value
        elif md.reserved(key) or key in md.NEVER_SENT or key in _SECRET_NAMES:
            continue
        elif md.owned_by_host(key, patterns.annotations) or any(fnmatchcase(key, p) for p in row.annotations):
            kept[key] = value
    return kept


def is_the_hosts(row: MirrorRow, host: Obj) -> bool:
    """Not what a virtual cluster, this one or another, has made there; and not what every cluster has."""
    metadata = host["metadata"]
    if row.resource == PRIORITYCLASSES and metadata["name"].startswith(SYSTEM_CLASSES):
        return False
    return md.MANAGED_BY not in (metadata.get("labels") or {})


def is_default(row: MirrorRow, obj: Obj) -> bool:
    annotations = obj["metadata"].get("annotations") or {}
    return any(annotations.get(key) == "true" for key in row.defaults)


# --- volumes ------------------------------------------------------------------------------------------


def claim_of(volume: Obj) -> tuple[str, str, str]:
    """(namespace, name, uid) on the host of the claim that a volume is bound to."""
    reference = (volume.get("spec") or {}).get("claimRef") or {}
    return reference.get("namespace", ""), reference.get("name", ""), reference.get("uid", "")


def claim_reference(twin: Twin) -> Obj:
    """spec.claimRef in the tenant, for the host's claim `twin`."""
    return child_reference(twin.object_namespace, twin.object_name, twin.object_uid)


def child_reference(namespace: str, name: str, uid: str) -> Obj:
    """The same for the tenant's claim of that name."""
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    return {**kind, "namespace": namespace, "name": name, "uid": uid}


def stays_without_claim(volume: Obj) -> bool:
    """Whether the data are kept after the claim."""
    return (volume.get("spec") or {}).get("persistentVolumeReclaimPolicy") != "Delete"


def volume_of(host: Obj, reference: Obj, patterns: md.KeyPatterns) -> Obj:
    """The tenant's PersistentVolume, with status. `reference`: its claimRef there."""
    body = mirror_of(PERSISTENT_VOLUMES, host, patterns, may_default=False)
    body["metadata"]["annotations"][CLAIM_UID] = claim_of(host)[2]
    body["spec"] = {**_without_secrets(host["spec"]), "claimRef": reference}
    body["status"] = host.get("status") or {}
    return body


def _without_secrets(value: Any) -> Any:
    """Names of Secrets, of claims and namespaces of the host, wherever a source has them."""
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, below in value.items():
        if key.endswith(("ecretRef", "ecretNamespace")) or key.startswith("csi.storage.k8s.io/"):
            continue
        kept[key] = _HIDDEN if key == "secretName" else _without_secrets(below)
    return kept
