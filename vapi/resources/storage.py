"""Group storage.k8s.io, v1."""

from __future__ import annotations

from typing import Any

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("storage.k8s.io", "v1")


def _row(plural: str, name: str, *, namespaced: bool = False, **more: Any) -> Resource:
    return kind(
        V1,
        plural,
        name,
        namespaced=namespaced,
        delete_returns_object=name != "CSIStorageCapacity",
        **more,
    )


ROWS: tuple[Resource, ...] = (
    _row("csidrivers", "CSIDriver", update_needs_version=True),
    _row("csinodes", "CSINode", subresources=STATUS, update_needs_version=True),
    _row("csistoragecapacities", "CSIStorageCapacity", namespaced=True, update_needs_version=True),
    _row("storageclasses", "StorageClass", short_names=("sc",)),
    _row("volumeattachments", "VolumeAttachment", subresources=STATUS, update_needs_version=True),
    _row("volumeattributesclasses", "VolumeAttributesClass", short_names=("vac",)),
)
