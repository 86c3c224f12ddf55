"""Group apiregistration.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("apiregistration.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "apiservices",
        "APIService",
        namespaced=False,
        categories=("api-extensions",),
        subresources=STATUS,
        update_needs_version=True,
    ),
)
