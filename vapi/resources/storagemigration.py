"""Group storagemigration.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("storagemigration.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "storageversionmigrations",
        "StorageVersionMigration",
        namespaced=False,
        subresources=STATUS,
        update_needs_version=True,
    ),
)
