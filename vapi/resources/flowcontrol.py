"""Group flowcontrol.apiserver.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("flowcontrol.apiserver.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "flowschemas",
        "FlowSchema",
        namespaced=False,
        subresources=STATUS,
        has_generation=True,
    ),
    kind(
        V1,
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
        namespaced=False,
        subresources=STATUS,
        has_generation=True,
    ),
)
