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
        not_acted_on="IngressClasses are stored but not acted on yet",
    ),
    kind(
        V1,
        "ingresses",
        "Ingress",
        short_names=("ing",),
        subresources=STATUS,
        has_generation=True,
        not_acted_on="Ingresses are stored but not brought to the host yet",
    ),
    kind(
        V1,
        "ipaddresses",
        "IPAddress",
        namespaced=False,
        short_names=("ip",),
        not_acted_on="IPAddresses are stored but no Service claims them yet",
    ),
    kind(
        V1,
        "networkpolicies",
        "NetworkPolicy",
        short_names=("netpol",),
        has_generation=True,
        not_acted_on="NetworkPolicies are stored but not enforced yet",
    ),
    kind(
        V1,
        "servicecidrs",
        "ServiceCIDR",
        namespaced=False,
        subresources=STATUS,
        not_acted_on="ServiceCIDRs are stored but no addresses are taken from them yet",
    ),
)
