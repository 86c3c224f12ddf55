"""Hosts are opened, or it is told in one line why not."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sync.cluster import Cluster
from tests import planes
from vapi import hosts
from vapi.clock import SystemClock
from vapi.config import HostChoice
from vapi.gvk import GVR, Obj
from vapi.hosts import Host, HostError

NODES = GVR("", "v1", "nodes")
DEADLINE_S = 20.0


def opened(
    choice: HostChoice, directory: Path, *, durable: bool = False, nodes: int = 3
) -> AbstractAsyncContextManager[Host]:
    return hosts.opened(
        choice, data_dir=directory, durable=durable, nodes=nodes, schemas=planes.schemas(), clock=SystemClock()
    )


async def ready_nodes(cluster: Cluster, count: int) -> list[str]:
    """Once there are so many."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = await cluster.list(NODES)
            names = [n["metadata"]["name"] for n in found if n.get("status", {}).get("conditions")]
            if len(names) == count:
                return sorted(names)
            await asyncio.sleep(0)


async def running(cluster: Cluster, name: str) -> Obj:
    """The pod once it runs; the host's own loops turn meanwhile."""
    async with asyncio.timeout(DEADLINE_S):
        async for event in cluster.watch(planes.PODS, "default"):
            obj = event.obj
            if obj and obj["metadata"]["name"] == name and obj.get("status", {}).get("phase") == "Running":
                return obj
    raise AssertionError("the watch ended")


async def test_a_pod_of_the_embedded_host_is_placed_and_runs(tmp_path: Path) -> None:
    async with opened(HostChoice("embedded"), tmp_path) as host:
        await host.cluster.create(planes.PODS, planes.pod("p"))
        pod = await running(host.cluster, "p")
        nodes = [node["metadata"]["name"] for node in await host.cluster.list(NODES)]
    assert pod["spec"]["nodeName"] in nodes
    assert host.every_node


async def test_the_embedded_host_has_as_many_nodes_as_wanted_and_never_fewer_than_it_had(tmp_path: Path) -> None:
    async with opened(HostChoice("embedded"), tmp_path, durable=True, nodes=5) as host:
        five = await ready_nodes(host.cluster, 5)
    async with opened(HostChoice("embedded"), tmp_path, durable=True, nodes=1) as host:
        assert await ready_nodes(host.cluster, 5) == five == [f"node-{n}" for n in range(1, 6)]
        await host.cluster.create(planes.PODS, planes.pod("p"))
        assert (await running(host.cluster, "p"))["spec"]["nodeName"] in five


@pytest.mark.parametrize(("durable", "kept"), [(True, ["p"]), (False, [])], ids=["durable", "in memory"])
async def test_an_embedded_host_outlives_the_process_as_its_tenant_does(
    tmp_path: Path, durable: bool, kept: list[str]
) -> None:
    async with opened(HostChoice("embedded"), tmp_path, durable=durable) as host:
        await host.cluster.create(planes.PODS, planes.pod("p"))
        await running(host.cluster, "p")
    async with opened(HostChoice("embedded"), tmp_path, durable=durable) as host:
        pods = await host.cluster.list(planes.PODS, "default")
    assert [pod["metadata"]["name"] for pod in pods] == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        "- a\n",
        "apiVersion: v1\nkind: Config\n",
        "apiVersion: v1\nkind: Config\ncurrent-context: none\nclusters: []\ncontexts: []\nusers: []\n",
    ],
    ids=["empty", "text", "no YAML", "a list", "nothing in it", "a context that is not there"],
)
async def test_a_file_that_is_no_kubeconfig_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(HostError) as raised:
        async with opened(HostChoice("kubeconfig", file), tmp_path):
            pass
    message = str(raised.value)
    assert message.startswith(f"--host: kubeconfig {file}: ") and "\n" not in message


async def test_a_host_that_does_not_answer_is_told_with_its_address(tmp_path: Path) -> None:
    file = tmp_path / "config"
    cluster = "{name: c, cluster: {server: 'http://127.0.0.1:1'}}"
    context = "{name: c, context: {cluster: c, user: u}}"
    file.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{cluster}]\ncontexts: [{context}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    )
    with pytest.raises(HostError) as raised:
        async with opened(HostChoice("kubeconfig", file), tmp_path):
            pass
    message = str(raised.value)
    assert message.startswith("--host: http://127.0.0.1:1: ") and "\n" not in message
