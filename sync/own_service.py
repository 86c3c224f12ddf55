"""Our own Service on the host: the address under which the host's pods reach the tenant's API server.

In the host cluster a manifest makes it, with a selector for our pod. Where we
run outside of the host it has no selector, and an EndpointSlice of ours with the advertised address.
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass

from sync.cluster import Cluster, ClusterError
from sync.translator import ENDPOINTSLICES, NAMESPACES, SERVICES
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

PORT = 443
PORT_NAME = "https"


@dataclass(frozen=True, slots=True)
class OwnService:
    """`ip` "" where the Service is headless."""

    ip: str
    port: int


async def ensure_own_service(
    host: Cluster, *, cluster: str, host_namespace: str, advertise: tuple[str, int] | None
) -> OwnService:
    """The Service NAME in HOSTNS, made if it is not there. Raises ClusterError."""
    try:
        service = await host.get(SERVICES, host_namespace, cluster)
    except ClusterError as error:
        if error.code != 404:
            raise
        service = await _create(host, cluster, host_namespace)
    if advertise is not None and not service["spec"].get("selector"):
        await _advertise(host, _slice(cluster, host_namespace, advertise))
    ports = service["spec"].get("ports") or [{}]
    ip = service["spec"].get("clusterIP") or ""
    return OwnService("" if ip == "None" else ip, ports[0].get("port", PORT))


async def _advertise(host: Cluster, slice_: Obj) -> None:
    """A refused address (loopback) is told; all works but the way of pods to us. Raises ClusterError."""
    try:
        await _put(host, ENDPOINTSLICES, slice_)
    except ClusterError as error:
        if error.code != 422:
            raise
        log.warning("pods cannot reach this server: the host refuses --advertise", extra={"error": error.message})


async def _create(host: Cluster, cluster: str, host_namespace: str) -> Obj:
    service: Obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": cluster, "namespace": host_namespace},
        "spec": {"ports": [{"name": PORT_NAME, "port": PORT, "protocol": "TCP"}]},
    }
    try:
        return await host.create(SERVICES, service)
    except ClusterError as error:
        if error.code != 404:
            raise
    namespace: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": host_namespace}}
    await host.create(NAMESPACES, namespace)
    return await host.create(SERVICES, service)


def _slice(cluster: str, host_namespace: str, advertise: tuple[str, int]) -> Obj:
    address, port = advertise
    try:
        family = f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        family = "FQDN"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": cluster,
            "namespace": host_namespace,
            "labels": {
                "kubernetes.io/service-name": cluster,
                "endpointslice.kubernetes.io/managed-by": "vapi.dev",
            },
        },
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
    }


async def _put(host: Cluster, gvr: GVR, obj: Obj) -> None:
    metadata = obj["metadata"]
    try:
        found = await host.get(gvr, metadata["namespace"], metadata["name"])
    except ClusterError as error:
        if error.code != 404:
            raise
        await host.create(gvr, obj)
        return
    if all(found.get(key) == obj[key] for key in ("endpoints", "ports", "addressType")):
        return
    await host.delete(gvr, metadata["namespace"], metadata["name"], uid=found["metadata"]["uid"])
    await host.create(gvr, obj)
