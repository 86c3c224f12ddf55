"""Our own Service on the host: the address under which the host's pods reach the tenant's API server.

In the host cluster a manifest makes it, with a selector for our pod. Where we run outside of the host it has no
selector, and an EndpointSlice of ours with the advertised address; both belong to the anchor then. `Keeper` puts back
what somebody deletes, under its old address, and what somebody edits of what is ours.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sync import metadata as md
from sync import names
from sync.cluster import Cluster, ClusterError, PatchType, Unreachable
from sync.translator import ENDPOINTSLICES, NAMESPACES, SERVICES
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

PORT = 443
PORT_NAME = "https"
CHECK_S = 10.0
"""Between two looks at our Service and its slice, two GETs: the tenant's pods miss its API for no longer."""


@dataclass(frozen=True, slots=True)
class OwnService:
    """`ip` "" where the Service is headless."""

    ip: str
    port: int


async def ensure_own_service(
    host: Cluster, *, cluster: str, host_namespace: str, advertise: tuple[str, int] | None, address: str = ""
) -> OwnService:
    """The Service NAME in HOSTNS, made if it is not there: at `address`, if that can be had. Raises ClusterError."""
    try:
        service = await host.get(SERVICES, host_namespace, cluster)
    except ClusterError as error:
        if error.code != 404:
            raise
        service = await _create(host, cluster, host_namespace, address)
    if advertise is not None and not service["spec"].get("selector"):
        await _advertise(host, _slice(cluster, host_namespace, advertise))
    return _own(service)


def _own(service: Obj) -> OwnService:
    ports = service["spec"].get("ports") or [{}]
    ip = service["spec"].get("clusterIP") or ""
    return OwnService("" if ip == "None" else ip, ports[0].get("port", PORT))


class Keeper:
    """Looks every `CHECK_S` until cancelled. What a manifest made is the operator's to edit; deleted, it comes back."""

    def __init__(
        self,
        host: Cluster,
        *,
        cluster: str,
        host_namespace: str,
        advertise: tuple[str, int] | None,
        anchor_uid: Callable[[], str],
        moved: Callable[[OwnService], Awaitable[None]],
    ) -> None:
        """`moved`: it came back, and its old address could not be had."""
        self._host = host
        self._cluster = cluster
        self._namespace = host_namespace
        self._advertise = advertise
        self._anchor_uid = anchor_uid
        self._moved = moved
        self._last: Obj | None = None
        """As it was seen last."""
        self._said = ""

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except ClusterError as error:
                if not isinstance(error, Unreachable) and error.message != self._said:
                    log.warning("our own Service cannot be looked after", extra={"error": error.message})
                self._said = error.message
            await asyncio.sleep(CHECK_S)

    async def look(self) -> None:
        """Raises ClusterError."""
        try:
            service = await self._host.get(SERVICES, self._namespace, self._cluster)
        except ClusterError as error:
            if error.code != 404:
                raise
            service = await self._bring_back()
        ours = not (self._last or service)["spec"].get("selector")
        if ours and "deletionTimestamp" not in service["metadata"]:
            service = await self._put_right(service)
            if self._advertise is not None:
                piece = _slice(self._cluster, self._namespace, self._advertise)
                piece["metadata"]["ownerReferences"] = self._owners()
                await _advertise(self._host, piece)
        self._last = service

    async def _bring_back(self) -> Obj:
        """Under its old address: that is what the pods know."""
        service = _service(self._cluster, self._namespace)
        if self._last is not None:
            spec = self._last["spec"]
            service["metadata"]["labels"] = self._last["metadata"].get("labels") or {}
            service["spec"] = {
                k: spec[k] for k in ("type", "selector", "ports", "clusterIP", "clusterIPs") if k in spec
            }
        try:
            back = await self._host.create(SERVICES, service)
        except ClusterError as error:
            if error.code != 422:
                raise
            ports = [{k: v for k, v in port.items() if k != "nodePort"} for port in service["spec"]["ports"]]
            selector = service["spec"].get("selector") or {}
            service["spec"] = {"ports": ports, **({"selector": selector} if selector else {})}
            back = await self._host.create(SERVICES, service)
        own = _own(back)
        log.warning("our own Service had been deleted on the host: it is back", extra={"address": own.ip})
        if self._last is not None and own != _own(self._last):
            await self._moved(own)
        return back

    async def _put_right(self, service: Obj) -> Obj:
        """Owned by the anchor, with our port, and without a selector, which would lead to somebody else's pods."""
        patch: Obj = {}
        if not service["metadata"].get("ownerReferences"):
            patch["metadata"] = {"ownerReferences": self._owners()}
        mine = [(p.get("name"), p.get("port")) for p in service["spec"].get("ports") or ()]
        if (PORT_NAME, PORT) not in mine:
            patch["spec"] = {"ports": _service(self._cluster, self._namespace)["spec"]["ports"]}
        if service["spec"].get("selector"):
            patch.setdefault("spec", {})["selector"] = None
        if not patch:
            return service
        patch.setdefault("metadata", {})["uid"] = service["metadata"]["uid"]
        return await self._host.patch(SERVICES, self._namespace, self._cluster, patch, content_type=PatchType.MERGE)

    def _owners(self) -> list[Obj]:
        uid = self._anchor_uid()
        if not uid:
            return []
        anchor = names.anchor_name(self._cluster)
        return [md.owner_reference(anchor=anchor, anchor_uid=uid, controller=False)]


async def _advertise(host: Cluster, slice_: Obj) -> None:
    """A refused address (loopback) is told; all works but the way of pods to us. Raises ClusterError."""
    try:
        await _put(host, ENDPOINTSLICES, slice_)
    except ClusterError as error:
        if error.code != 422:
            raise
        log.warning("pods cannot reach this server: the host refuses --advertise", extra={"error": error.message})


async def _create(host: Cluster, cluster: str, host_namespace: str, address: str) -> Obj:
    service = _service(cluster, host_namespace)
    try:
        return await _create_at(host, service, address)
    except ClusterError as error:
        if error.code != 404:
            raise
    namespace: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": host_namespace}}
    await host.create(NAMESPACES, namespace)
    return await _create_at(host, service, address)


async def _create_at(host: Cluster, service: Obj, address: str) -> Obj:
    if address:
        try:
            return await host.create(SERVICES, {**service, "spec": {**service["spec"], "clusterIP": address}})
        except ClusterError as error:
            if error.code != 422:
                raise
    return await host.create(SERVICES, service)


def _service(cluster: str, host_namespace: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": cluster, "namespace": host_namespace},
        "spec": {"ports": [{"name": PORT_NAME, "port": PORT, "protocol": "TCP"}]},
    }


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
    labels, owners = metadata["labels"], metadata.get("ownerReferences") or []
    if (
        all(found.get(key) == obj[key] for key in ("endpoints", "ports", "addressType"))
        and labels.items() <= (found["metadata"].get("labels") or {}).items()
        and (not owners or found["metadata"].get("ownerReferences"))
    ):
        return
    await host.delete(gvr, metadata["namespace"], metadata["name"], uid=found["metadata"]["uid"])
    await host.create(gvr, obj)
