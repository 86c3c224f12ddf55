"""Group scheduling.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import kind

V1 = ("scheduling.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(V1, "priorityclasses", "PriorityClass", namespaced=False, short_names=("pc",), has_generation=True),
)
