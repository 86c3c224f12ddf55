"""Group node.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import kind

V1 = ("node.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "runtimeclasses",
        "RuntimeClass",
        namespaced=False,
        update_creates=True,
        update_needs_version=True,
    ),
)
