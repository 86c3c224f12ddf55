"""Group networking.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, kind

V1 = ("networking.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "ingressclasses",
        "IngressClass",
        namespaced=False,
        has_generation=True,
    ),
    kind(
        V1,
        "ingresses",
        "Ingress",
        short_names=("ing",),
        subresources=STATUS,
        has_generation=True,
    ),
    kind(
        V1,
        "ipaddresses",
        "IPAddress",
        namespaced=False,
        short_names=("ip",),
    ),
    kind(
        V1,
        "networkpolicies",
        "NetworkPolicy",
        short_names=("netpol",),
        has_generation=True,
    ),
    kind(
        V1,
        "servicecidrs",
        "ServiceCIDR",
        namespaced=False,
        subresources=STATUS,
    ),
)
