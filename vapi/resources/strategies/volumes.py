"""PersistentVolumes: exactly one source, which stays. Source: pkg/apis/core/validation (1.37).

Of the sources that were never ported to CSI drivers only that they are alone is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from vapi.clock import rfc3339
from vapi.errors import Cause, field_forbidden, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, claims, godump, quantities
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import paths, scheduling, volumes
from vapi.resources.strategy import WriteContext

_RECLAIM = ("Delete", "Recycle", "Retain")
_SECRETS = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)


def prepare_create(obj: Obj, context: WriteContext) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": rfc3339(context.now)}


def prepare_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The time of the phase: the client's if it sets one, else now where the phase changes."""
    if context.subresource != "status":
        return
    status, stored = new.setdefault("status", {}), old.get("status") or {}
    sent, before = status.get("lastPhaseTransitionTime"), stored.get("lastPhaseTransitionTime")
    if status.get("phase") == stored.get("phase"):
        if not sent and before:
            status["lastPhaseTransitionTime"] = before
    elif not sent or sent == before:
        status["lastPhaseTransitionTime"] = rfc3339(context.now)


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec(causes, "spec", obj.get("spec") or {}, inline=False)
    return causes


def spec(causes: Causes, path: str, wanted: Obj, *, inline: bool) -> None:
    """`inline`: in a VolumeAttachment."""
    if inline:
        _not_inline(causes, path, wanted, "claimRef", "capacity")
        if wanted.get("csi") is None:
            causes.append(field_required(f"{path}.csi", f"has to be specified {_WHERE}"))
    modes = wanted.get("accessModes") or ()
    checks.required(causes, f"{path}.accessModes", modes)
    claims.access_modes(causes, f"{path}.accessModes", modes)
    if inline:
        if wanted.get("persistentVolumeReclaimPolicy", "Retain") != "Retain":
            causes.append(field_forbidden(f"{path}.persistentVolumeReclaimPolicy", f"may only be Retain {_WHERE}"))
        _not_inline(causes, path, wanted, "nodeAffinity")
        _source(causes, path, wanted)
        _not_inline(causes, path, wanted, "storageClassName")
        if wanted.get("volumeMode", "Filesystem") != "Filesystem":
            detail = f"may not specify volumeMode other than Filesystem {_WHERE}"
            causes.append(field_forbidden(f"{path}.volumeMode", detail))
    else:
        _capacity(causes, f"{path}.capacity", wanted.get("capacity") or {})
        policy = wanted.get("persistentVolumeReclaimPolicy")
        checks.one_of(causes, f"{path}.persistentVolumeReclaimPolicy", policy, _RECLAIM)
        _affinity(causes, f"{path}.nodeAffinity", wanted.get("nodeAffinity"))
        _source(causes, path, wanted)
        if wanted.get("storageClassName"):
            checks.dns_subdomain(causes, f"{path}.storageClassName", wanted["storageClassName"])
        checks.one_of(causes, f"{path}.volumeMode", wanted.get("volumeMode"), claims.VOLUME_MODES)
    attributes = wanted.get("volumeAttributesClassName")
    if attributes is not None:
        here = f"{path}.volumeAttributesClassName"
        if checks.required(causes, here, attributes, "an empty string is disallowed"):
            checks.dns_subdomain(causes, here, attributes)
        if "csi" not in wanted:
            detail = "has to be specified when using volumeAttributesClassName"
            causes.append(field_required(f"{path}.csi", detail))


_WHERE = "in the context of inline volumes"


def _not_inline(causes: Causes, path: str, wanted: Obj, *keys: str) -> None:
    causes.extend(field_forbidden(f"{path}.{key}", f"may not be specified {_WHERE}") for key in keys if wanted.get(key))


def _affinity(causes: Causes, path: str, affinity: Obj | None) -> None:
    if affinity is None:
        return
    if affinity.get("required") is None:
        causes.append(field_required(f"{path}.required", "must specify required node constraints"))
    else:
        scheduling.node_selector(causes, f"{path}.required", affinity["required"])


def _capacity(causes: Causes, path: str, capacity: Obj) -> None:
    checks.required(causes, path, capacity)
    if set(capacity) != {"storage"}:
        shown = godump.text(dict(sorted(capacity.items())) or None)
        detail = f'Unsupported value: {shown}: supported values: "storage"'
        causes.append(Cause("FieldValueNotSupported", detail, path))
    for name, value in capacity.items():
        if checks.nanos(value) < 0:
            whole = -(-checks.nanos(value) // 10**9)
            causes.append(field_invalid(f"{path}[{name}]", whole, "must be a valid resource quantity"))
        quantities.positive(causes, f"{path}[{name}]", value)


def _source(causes: Causes, path: str, wanted: Obj) -> None:
    kinds = [kind for kind in _SOURCES if wanted.get(kind) is not None]
    if not kinds:
        causes.append(field_required(path, "must specify a volume type"))
        return
    first = kinds[0]
    shown = "persistentDisk" if first == "gcePersistentDisk" else first
    _SOURCES[first](causes, f"{path}.{shown}", wanted[first])
    if first == "local" and wanted.get("nodeAffinity") is None:
        causes.append(field_required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    for kind in kinds[1:]:
        causes.append(field_forbidden(f"{path}.{kind}", "may not specify more than 1 volume type"))
    root = (wanted.get("hostPath") or {}).get("path", "").rstrip("/") == "" and "hostPath" in wanted
    if root and wanted["hostPath"].get("path") and wanted.get("persistentVolumeReclaimPolicy") == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        causes.append(field_forbidden(f"{path}.persistentVolumeReclaimPolicy", detail))


def _local(causes: Causes, path: str, source: Obj) -> None:
    if checks.required(causes, f"{path}.path", source.get("path")):
        paths.no_backsteps(causes, f"{path}.path", source["path"])


def _csi(causes: Causes, path: str, source: Obj) -> None:
    claims.driver_name(causes, f"{path}.driver", source.get("driver", ""))
    checks.required(causes, f"{path}.volumeHandle", source.get("volumeHandle"))
    for key in _SECRETS:
        secret = source.get(key)
        if secret is None:
            continue
        for name, check in (("name", checks.dns_subdomain), ("namespace", checks.dns_label)):
            if checks.required(causes, f"{path}.{key}.{name}", secret.get(name)):
                check(causes, f"{path}.{key}.{name}", secret[name])


def _needs(causes: Causes, path: str, source: Obj, *, fields: tuple[str, ...]) -> None:
    for name in fields:
        checks.required(causes, f"{path}.{name}", source.get(name))


# in the order in which Kubernetes looks
_SOURCES: Mapping[str, Callable[[Causes, str, Obj], None]] = {
    "hostPath": volumes.host_path,
    "gcePersistentDisk": partial(_needs, fields=("pdName",)),
    "awsElasticBlockStore": partial(_needs, fields=("volumeID",)),
    "glusterfs": partial(_needs, fields=("endpoints", "path")),
    "flocker": partial(_needs, fields=()),
    "nfs": volumes.nfs,
    "rbd": partial(_needs, fields=("monitors", "image")),
    "quobyte": partial(_needs, fields=()),
    "cephfs": partial(_needs, fields=("monitors",)),
    "iscsi": partial(_needs, fields=("targetPortal", "iqn")),
    "cinder": partial(_needs, fields=("volumeID",)),
    "fc": partial(_needs, fields=()),
    "flexVolume": partial(_needs, fields=("driver",)),
    "azureFile": partial(_needs, fields=("secretName", "shareName")),
    "vsphereVolume": partial(_needs, fields=("volumePath",)),
    "photonPersistentDisk": partial(_needs, fields=("pdID",)),
    "portworxVolume": partial(_needs, fields=("volumeID",)),
    "azureDisk": partial(_needs, fields=("diskName", "diskURI")),
    "scaleIO": partial(_needs, fields=("gateway", "system", "volumeName")),
    "local": _local,
    "storageos": partial(_needs, fields=("volumeName",)),
    "csi": _csi,
}


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    wanted, stored = new["spec"], old["spec"]
    after, before = ({kind: each[kind] for kind in _SOURCES if kind in each} for each in (wanted, stored))
    if "csi" in before and "csi" in after and "controllerExpandSecretRef" not in before["csi"]:
        after["csi"] = {k: v for k, v in after["csi"].items() if k != "controllerExpandSecretRef"}
    if after != before:
        shown = godump.diff("core.PersistentVolumeSource", before, after)
        detail = f"spec.persistentvolumesource is immutable after creation\n{shown}"
        causes.append(field_forbidden("spec.persistentvolumesource", detail))
    checks.immutable(causes, "volumeMode", wanted.get("volumeMode"), stored.get("volumeMode"))
    name = "volumeAttributesClassName"
    if stored.get(name) is not None and wanted.get(name) is None:
        causes.append(field_forbidden(f"spec.{name}", "update from non-nil value to nil is forbidden"))
    return causes
