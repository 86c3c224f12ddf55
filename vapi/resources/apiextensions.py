"""Group apiextensions.k8s.io, v1. The rows that a CustomResourceDefinition adds at run time come from elsewhere."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("apiextensions.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "customresourcedefinitions",
        "CustomResourceDefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=STATUS,
        has_generation=True,
        update_needs_version=True,
    ),
)
