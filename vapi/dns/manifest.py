"""Manifest: the objects that make up the DNS of a tenant, by mode. Pure; the shape of CoreDNS is data/coredns.yaml."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from types import MappingProxyType

import yaml

from vapi import encoding
from vapi.gvk import GVR, Obj

SERVICES = GVR("", "v1", "services")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
ENDPOINT_SLICES = GVR("discovery.k8s.io", "v1", "endpointslices")

NAMESPACE = "kube-system"
SERVICE = "kube-dns"
"""Clients look for this name: it never changes (vcluster #1305)."""

RESOURCES = MappingProxyType(
    {
        "Service": SERVICES,
        "ServiceAccount": GVR("", "v1", "serviceaccounts"),
        "ClusterRole": GVR("rbac.authorization.k8s.io", "v1", "clusterroles"),
        "ClusterRoleBinding": GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
        "ConfigMap": GVR("", "v1", "configmaps"),
        "Deployment": DEPLOYMENTS,
        "EndpointSlice": ENDPOINT_SLICES,
    }
)
"""Every kind of `objects`."""

SERVICE_NAME = "kubernetes.io/service-name"
SLICE_MANAGER = "endpointslice.kubernetes.io/managed-by"


class Mode(StrEnum):
    COREDNS = "coredns"
    EMBEDDED = "embedded"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Settings:
    """`forward`: where other names are looked up; `address`: where pods reach the embedded server, if they do."""

    mode: Mode
    domain: str = "cluster.local"
    image: str = "registry.k8s.io/coredns/coredns:v1.14.7"
    forward: Sequence[str] = ("/etc/resolv.conf",)
    address: tuple[str, int] | None = None


def objects(settings: Settings) -> list[Obj]:
    """What must be there, in the order of installing. `none`: nothing of ours, and nothing is taken away."""
    match settings.mode:
        case Mode.COREDNS:
            return _coredns(settings)
        case Mode.EMBEDDED:
            return _embedded(settings)
        case Mode.NONE:
            return []


def surplus(settings: Settings) -> list[tuple[GVR, str]]:
    """Of NAMESPACE: what the other mode made and this one must not have, (resource, name)."""
    match settings.mode:
        case Mode.COREDNS:
            return [(ENDPOINT_SLICES, SERVICE)]
        case Mode.EMBEDDED:
            return [(DEPLOYMENTS, "coredns")]
        case Mode.NONE:
            return []


def corefile(domain: str, forward: Sequence[str]) -> str:
    """Answers of the tenant's zones are not cached: they come from CoreDNS's own memory, and would be old.

    `loop` ends a server that forwards to itself, `reload` follows the ConfigMap, coredns-custom included.
    """
    return f"""\
.:1053 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    prometheus :9153
    forward . {" ".join(forward)}
    cache 30 {{
        disable success {domain}
        disable denial {domain}
    }}
    loop
    reload
    loadbalance
    import /etc/coredns-custom/*.override
}}
import /etc/coredns-custom/*.server
"""


def _coredns(settings: Settings) -> list[Obj]:
    found = {obj["kind"]: obj for obj in _loaded()}
    found["ConfigMap"]["data"] = {"Corefile": corefile(settings.domain, settings.forward)}
    found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"] = settings.image
    return list(found.values())


def _embedded(settings: Settings) -> list[Obj]:
    """A Service without selector, and a slice of ours where pods can reach us."""
    service = next(obj for obj in _loaded() if obj["kind"] == "Service")
    del service["spec"]["selector"]
    del service["metadata"]["annotations"]
    service["spec"]["ports"] = [p for p in service["spec"]["ports"] if p["name"] != "metrics"]
    if settings.address is None:
        return [service]
    address, port = settings.address
    slice_: Obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {SERVICE_NAME: SERVICE, SLICE_MANAGER: "vapi.dev"},
        },
        "addressType": f"IPv{ipaddress.ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "port": port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": port, "protocol": "TCP"},
        ],
    }
    return [service, slice_]


@lru_cache(maxsize=1)
def _text() -> bytes:
    text = resources.files("vapi.dns").joinpath("data/coredns.yaml").read_text()
    return encoding.dumps(list(yaml.safe_load_all(text)))


def _loaded() -> list[Obj]:
    """Fresh: the caller may edit them."""
    loaded: list[Obj] = encoding.loads(_text())
    return loaded
