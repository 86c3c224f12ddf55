"""Defaults of volumes and storage: sources shared by pods and PersistentVolumes, claims, classes, drivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vapi.gvk import Obj
from vapi.schema.defaulting.values import child, fill, round_requirements, round_resources

_SOURCES: Mapping[str, Mapping[str, Any]] = {
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def _fill_with(source: Any, defaults: Mapping[str, Any]) -> None:
    fill(source, defaults)


VOLUME_DEFAULTS: Mapping[str, Callable[[Any], None]] = {
    name: partial(_fill_with, defaults=defaults) for name, defaults in _SOURCES.items()
}

_CSI_DRIVER = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
    "preventPodSchedulingIfMissing": False,
}


def persistent_volume(obj: Obj) -> None:
    child(obj, "status").setdefault("phase", "Pending")
    spec = child(obj, "spec")
    fill(spec, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
    volume_source(spec)


def volume_source(spec: Obj) -> None:
    """The source of a PersistentVolume, also inline in a VolumeAttachment."""
    round_resources(spec.get("capacity"))
    for name, handle in VOLUME_DEFAULTS.items():
        if name in spec:
            handle(spec[name])


def claim(obj: Obj) -> None:
    child(obj, "status").setdefault("phase", "Pending")
    claim_spec(child(obj, "spec"))
    round_resources(obj["status"].get("capacity"))
    round_resources(obj["status"].get("allocatedResources"))


def claim_spec(spec: Obj) -> None:
    spec.setdefault("volumeMode", "Filesystem")
    round_requirements(spec.get("resources"))


def storage_class(obj: Obj) -> None:
    fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def csi_driver(obj: Obj) -> None:
    spec = child(obj, "spec")
    fill(spec, _CSI_DRIVER)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def volume_attachment(obj: Obj) -> None:
    source = child(child(obj, "spec"), "source")
    if "inlineVolumeSpec" in source:
        volume_source(source["inlineVolumeSpec"])
