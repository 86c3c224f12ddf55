"""Two virtual clusters of one name, each on an embedded host, in one process: nothing of the one is in the other.

Design, law 8: no module holds mutable state.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.integration.tenants import configmap, deployment, service
from vapi.config import load
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.main import RunningCluster, virtual_cluster
from vapi.registry.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

CONFIGMAPS = GVR("", "v1", "configmaps")
SERVICES = GVR("", "v1", "services")
PODS = GVR("", "v1", "pods")
DEPLOYMENTS = GVR("apps", "v1", "deployments")


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[RunningCluster]:
    flags = {"name": "same", "data_dir": str(directory), "store": "memory", "listen": "127.0.0.1:0", "dns": "none"}
    async with virtual_cluster(load(flags, None, {})) as cluster:
        yield cluster


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - real clusters have their own time
            await asyncio.sleep(0.02)


def in_default(obj: Obj, color: str) -> Obj:
    metadata = {**obj["metadata"], "namespace": "default", "labels": {"color": color}}
    return {**obj, "metadata": metadata}


async def fill(client: Client, color: str, replicas: int) -> None:
    """The same names in both, with something of each one's own inside."""
    await client.create(CONFIGMAPS, in_default(configmap("settings", color=color), color))
    await until(lambda: client.cached(GVR("", "v1", "serviceaccounts"), "default", "default"))
    await client.create(DEPLOYMENTS, in_default(deployment("web", replicas), color))
    async with asyncio.timeout(30):
        while True:  # 503 until the host is known
            try:
                await client.create(
                    SERVICES, in_default(service("web", ports=[{"port": 80}], selector={"app": "web"}), color)
                )
                return
            except ApiError as error:
                if error.code != 503:
                    raise
                await asyncio.sleep(0.05)


def pods(client: Client) -> list[Obj]:
    return [entry.obj() for entry in client.entries(PODS, "default")]


def run(client: Client, count: int) -> bool:
    found = pods(client)
    return len(found) == count and all(p["status"].get("phase") == "Running" for p in found)


async def test_two_clusters_of_one_name_in_one_process_do_not_mix(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as a, contextlib.AsyncExitStack() as stack:
        b = await stack.enter_async_context(running(tmp_path / "b"))
        clients = {"red": (a.plane.client("t"), 2), "blue": (b.plane.client("t"), 3)}
        await asyncio.gather(*(fill(client, color, count) for color, (client, count) in clients.items()))
        for color, (client, count) in clients.items():
            await until(lambda client=client, count=count: run(client, count))  # type: ignore[misc]
            settings = client.cached(CONFIGMAPS, "default", "settings")
            assert settings is not None
            assert settings.obj()["data"] == {"color": color}
        uids = [{p["metadata"]["uid"] for p in pods(client)} for client, _ in clients.values()]
        assert uids[0].isdisjoint(uids[1])
        assert a.api.port != b.api.port
        assert a.kubeconfig.read_text() != b.kubeconfig.read_text()
        assert a.plane.catalog is not b.plane.catalog
        await stack.aclose()  # the other goes on
        red = clients["red"][0]
        await red.delete(PODS, "default", pods(red)[0]["metadata"]["name"], grace_period_s=0)
        await until(lambda: run(red, 2))
