"""Hosts: the cluster that runs the pods, opened by kind: a real one, or an embedded one with simulated nodes.

The embedded host is a second plane of ours in this process with a store of its own: nothing listens for it, and
its pods are statuses only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage import compactor
from storage.factory import open_store
from sync.cluster import Cluster, ClusterError
from sync.metadata import FIELD_MANAGER
from sync.tunnels import Tunnels
from sync.virtual import InProcessCluster
from vapi import errors
from vapi.clock import Clock
from vapi.config import HostChoice
from vapi.control import simulated_kubelet, simulated_volumes
from vapi.control.controllers import ControllerManager, Settings
from vapi.control.service_ip import ServiceAllocator
from vapi.control.taint_eviction import TaintEvictionController
from vapi.endpoints.http import ApiResponse, text_response
from vapi.endpoints.proxy import TunnelTarget, Upstream
from vapi.gvk import GVR
from vapi.plane import running_plane
from vapi.schema.schemas import Schemas

if TYPE_CHECKING:
    from sync.host import HostCluster

log = logging.getLogger(__name__)

NAMESPACES = GVR("", "v1", "namespaces")
STORAGECLASSES = GVR("storage.k8s.io", "v1", "storageclasses")
NODES = GVR("", "v1", "nodes")
REACH_S = 10.0
EMBEDDED_CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "service-account-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "expiry-controller",
)
EMBEDDED_RANGE = "10.96.0.0/16"
EMBEDDED_FILE = "host.db"


class HostError(Exception):
    """The host cannot be used; one line for the person who started us."""


@dataclass(frozen=True, slots=True)
class Host:
    """`every_node`: the tenant sees all nodes, also before it runs anything there (embedded)."""

    cluster: Cluster
    every_node: bool
    real: HostCluster | None = None


@contextlib.asynccontextmanager
async def opened(
    choice: HostChoice, *, data_dir: Path, durable: bool, nodes: int, schemas: Schemas, clock: Clock
) -> AsyncIterator[Host]:
    """The host until the block ends. `durable`: an embedded one outlives the process, as its tenant does.

    `nodes`: of an embedded one; more that it has from before stay.

    Raises HostError where a real one is not there at the start, StorageError, OSError.
    """
    if choice.kind == "embedded":
        url = f"sqlite://{(data_dir / EMBEDDED_FILE).resolve()}" if durable else "memory://"
        async with _embedded(url, nodes, schemas, clock) as cluster:
            yield Host(cluster, every_node=True)
        return
    async with _real(choice, data_dir) as real:
        yield Host(real, every_node=False, real=real)


@contextlib.asynccontextmanager
async def _embedded(url: str, nodes: int, schemas: Schemas, clock: Clock) -> AsyncIterator[Cluster]:
    store = await open_store(url)
    try:
        async with running_plane(
            store,
            clock=clock,
            schemas=schemas,
            allocators=lambda lookup: {("", "services"): ServiceAllocator(lookup, clock, ip_ranges=(EMBEDDED_RANGE,))},
        ) as plane:
            client = plane.client(FIELD_MANAGER)
            if client.cached(NAMESPACES, "", "default") is None:
                await client.create(NAMESPACES, {"metadata": {"name": "default"}})
            if client.cached(STORAGECLASSES, "", simulated_volumes.STORAGE_CLASS) is None:
                await client.create(STORAGECLASSES, simulated_volumes.storage_class())
            manager = ControllerManager(client, Settings(), clock=clock, only=EMBEDDED_CONTROLLERS)
            there = sum(1 for _ in client.entries(NODES))
            manager.controllers.extend(simulated_kubelet.controllers(manager.context, max(nodes, there)))
            manager.controllers.append(TaintEvictionController(manager.context))
            async with asyncio.TaskGroup() as group:
                running = (
                    group.create_task(manager.run(), name="embedded host"),
                    group.create_task(compactor.run(store), name="embedded compactor"),
                )
                try:
                    yield InProcessCluster(client)
                finally:
                    for task in running:
                        task.cancel()
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _real(choice: HostChoice, temp_dir: Path) -> AsyncIterator[HostCluster]:
    # on demand: the client's import costs 0.5 s and 46 MB, and only a real host needs it
    from sync.host import HostConfigError, open_host

    try:
        cluster = await open_host(kubeconfig=choice.path, temp_dir=temp_dir)
    except HostConfigError as error:
        raise HostError(f"--host: {error}") from None
    try:
        await _reach(cluster)
        yield cluster
    finally:
        await cluster.close()


async def _reach(cluster: HostCluster) -> None:
    """One request, so that a wrong address or missing rights are told at once."""
    where = (await cluster.connection()).url
    try:
        async with asyncio.timeout(REACH_S):
            await cluster.get(NAMESPACES, "", "default")
    except TimeoutError:
        raise HostError(f"--host: {where} did not answer within {REACH_S:.0f} s") from None
    except ClusterError as error:
        if error.code not in (403, 404):  # it answered: which rights we need is seen where they are
            raise HostError(f"--host: {where}: {error.message}") from None


class HostTunnel:
    """`endpoints.proxy.Tunnel` to a real host."""

    def __init__(self, tunnels: Tunnels, host: HostCluster) -> None:
        self._tunnels = tunnels
        self._host = host

    async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
        """Raises ApiError."""
        try:
            if target.resource == "pods":
                found = await self._tunnels.pod(
                    target.namespace, target.name, target.subresource, target.query, target.rest
                )
            elif target.resource == "services":
                found = await self._tunnels.service(target.namespace, target.name, target.query, target.rest)
            else:
                raise errors.forbidden(
                    GVR("", "v1", target.resource), target.name, "a virtual cluster does not reach the host's nodes"
                )
        except ClusterError as error:
            raise errors.ApiError(error.code, error.reason, error.message, {}) from None
        if not found.path:
            return text_response(204, "")
        connection = await self._host.connection()
        query = f"?{found.query}" if found.query else ""
        return Upstream(
            f"{connection.url.rstrip('/')}{found.path}{query}",
            tuple(connection.headers.items()),
            connection.ssl_context,
            found.path.removesuffix(target.rest) if target.subresource == "proxy" else "",
            found.say,
        )


class SimulatedTunnel:
    """Of the embedded host: nothing runs in its pods."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
        """Raises ApiError; the log of a simulated pod is empty."""
        try:
            if target.resource == "pods":
                await self._tunnels.pod(target.namespace, target.name, target.subresource, target.query)
        except ClusterError as error:
            raise errors.ApiError(error.code, error.reason, error.message, {}) from None
        if target.subresource == "log":
            return text_response(200, "")
        raise errors.ApiError(
            501,
            "NotImplemented",
            "the embedded host only simulates pods: there is no container to connect to (use --host kubeconfig=PATH)",
            {},
        )
