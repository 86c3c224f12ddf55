"""The embedded host: nodes, scheduler, kubelet and storage that are only written down."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from tests.vapi.control.test_statefulset import claim_template, stateful_set
from vapi.control import kinds
from vapi.control.simulated_kubelet import (
    CONTROLLERS,
    FOR_EVER_S,
    RUNS_FOR_S,
    SimulatedKubelet,
    SimulatedNodes,
    runs_for_s,
    simulated_scheduler,
)
from vapi.gvk import Obj

CORE = "garbage-collector-controller"
WORKLOADS = ("statefulset-controller", "daemonset-controller", "job-controller", "cronjob-controller")


def pod(name: str, **spec: Any) -> Obj:
    wanted = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": wanted}


async def phase(it: Cluster, name: str) -> str:
    found: str = (await it.get(kinds.PODS, name))["status"]["phase"]
    return found


async def later(it: Cluster, seconds: float) -> None:
    """Time passes, and the rig's own kubelet keeps out of it."""
    it.clock.advance(seconds)
    for controller in it.manager.controllers:
        controller.queue.tick()
    await it.settle(kubelet=False)


async def test_a_pod_is_placed_starts_and_ends() -> None:
    async with cluster(CORE, more=CONTROLLERS) as it:
        await it.create(kinds.PODS, pod("stays"))
        await it.create(kinds.PODS, pod("ends", restartPolicy="Never"))
        await it.settle(kubelet=False)
        assert (await phase(it, "stays"), await phase(it, "ends")) == ("Running", "Running")
        await later(it, 1)
        assert (await phase(it, "stays"), await phase(it, "ends")) == ("Running", "Succeeded")
        await it.client.delete(kinds.PODS, "default", "stays")
        await it.settle(kubelet=False)
        assert not it.has(kinds.PODS, "stays")


async def test_the_number_of_nodes_is_chosen_when_the_parts_are_made() -> None:
    names = [f"n{index}" for index in range(50)]
    more = [partial(kind, nodes=names) for kind in (SimulatedNodes, simulated_scheduler, SimulatedKubelet)]
    async with cluster(CORE, more=more) as it:
        for index in range(100):
            await it.create(kinds.PODS, pod(f"p{index}"))
        await it.settle(kubelet=False)
        assert len(it.objects(kinds.NODES)) == 50
        placed = [each["spec"]["nodeName"] for each in it.objects(kinds.PODS)]
        assert {placed.count(name) for name in names} == {2}


async def test_a_stateful_set_gets_volumes_and_its_claims_give_them_back() -> None:
    async with cluster(CORE, *WORKLOADS, more=CONTROLLERS) as it:
        await it.create(kinds.STATEFUL_SETS, stateful_set(2, volumeClaimTemplates=[claim_template()]))
        await it.settle(kubelet=False)
        await later(it, 2)
        await later(it, 2)
        status = (await it.get(kinds.STATEFUL_SETS, "web"))["status"]
        assert status["readyReplicas"] == 2
        claims = it.objects(kinds.CLAIMS)
        assert [each["status"]["phase"] for each in claims] == ["Bound", "Bound"]
        volume = await it.get(kinds.VOLUMES, claims[0]["spec"]["volumeName"], "")
        assert volume["spec"]["claimRef"]["uid"] == claims[0]["metadata"]["uid"]
        assert volume["status"]["phase"] == "Bound"
        await it.client.delete(kinds.CLAIMS, "default", "data-web-1")
        await it.settle(kubelet=False)
        assert len(it.objects(kinds.VOLUMES)) == 1


async def test_a_daemon_set_has_a_pod_on_each_of_the_three_nodes() -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod("x")["spec"]}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    metadata = {"name": "agent", "namespace": "default"}
    async with cluster(CORE, *WORKLOADS, more=CONTROLLERS) as it:
        await it.create(
            kinds.DAEMON_SETS, {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec}
        )
        await it.settle(kubelet=False)
        assert sorted(each["spec"]["nodeName"] for each in it.objects(kinds.PODS)) == ["node-1", "node-2", "node-3"]
        assert (await it.get(kinds.DAEMON_SETS, "agent"))["status"]["numberReady"] == 3


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (["true"], RUNS_FOR_S),
        (["sleep", "300"], 300),
        (["sh", "-c", "echo a; sleep 2m && exit 0"], 120),
        (["sh", "-c", "sleep 1.5s; sleep 2"], 3.5),
        (["sleep", "infinity"], FOR_EVER_S),
        (["asleep", "7"], RUNS_FOR_S),
    ],
)
def test_a_container_takes_as_long_as_its_command_sleeps(command: list[str], seconds: float) -> None:
    quick = {"name": "a", "command": ["true"]}
    assert runs_for_s({"containers": [quick, {"name": "b", "command": command[:1], "args": command[1:]}]}) == seconds
