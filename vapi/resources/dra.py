"""Group resource.k8s.io, v1: dynamic resource allocation."""

from __future__ import annotations

from typing import Any

from vapi.resources import fields
from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("resource.k8s.io", "v1")


def _row(plural: str, name: str, *, namespaced: bool = False, **more: Any) -> Resource:
    return kind(
        V1,
        plural,
        name,
        namespaced=namespaced,
        delete_returns_object=name != "DeviceTaintRule",
        **more,
    )


ROWS: tuple[Resource, ...] = (
    _row("deviceclasses", "DeviceClass", has_generation=True),
    _row("devicetaintrules", "DeviceTaintRule", subresources=STATUS, has_generation=True),
    _row("resourceclaims", "ResourceClaim", namespaced=True, subresources=STATUS),
    _row("resourceclaimtemplates", "ResourceClaimTemplate", namespaced=True),
    _row(
        "resourceslices",
        "ResourceSlice",
        fields=fields.texts("spec.nodeName", "spec.driver"),
        has_generation=True,
    ),
)
