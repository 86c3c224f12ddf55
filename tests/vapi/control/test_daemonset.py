"""DaemonSets on a real plane: which nodes, rollouts, ended pods, status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.gvk import Obj

SETS = ("daemonset-controller", "garbage-collector-controller")


def template(image: str = "agent:1", **spec: Any) -> Obj:
    containers = [{"name": "c", "image": image}]
    return {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": containers, **spec}}


def daemon_set(pod: Obj | None = None, **spec: Any) -> Obj:
    wanted = {"selector": {"matchLabels": {"app": "agent"}}, "template": pod or template(), **spec}
    metadata = {"name": "agent", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": wanted}


async def add_nodes(it: Cluster, *names: str, **spec: Any) -> None:
    for name in names:
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
        await it.create(kinds.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})


async def change_node(it: Cluster, name: str, **spec: Any) -> None:
    node = await it.get(kinds.NODES, name, "")
    node["spec"] = spec
    await it.client.update(kinds.NODES, node)
    await it.settle()


async def edit(it: Cluster, **spec: Any) -> None:
    obj = await it.get(kinds.DAEMON_SETS, "agent")
    obj["spec"].update(spec)
    await it.client.update(kinds.DAEMON_SETS, obj)
    await it.settle()


async def status(it: Cluster) -> Obj:
    found: Obj = (await it.get(kinds.DAEMON_SETS, "agent"))["status"]
    return found


def images(it: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in it.objects(kinds.PODS):
        found.setdefault(pod["spec"]["nodeName"], []).append(pod["spec"]["containers"][0]["image"])
    return {node: sorted(found[node]) for node in sorted(found)}


def rolling(**limits: Any) -> Obj:
    return {"type": "RollingUpdate", "rollingUpdate": limits}


async def test_each_node_has_one_pod_and_a_new_node_gets_one() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1", "node-2")
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.settle()
        assert await status(it) == {
            "desiredNumberScheduled": 2,
            "currentNumberScheduled": 2,
            "numberMisscheduled": 0,
            "numberReady": 2,
            "numberAvailable": 2,
            "updatedNumberScheduled": 2,
            "observedGeneration": 1,
        }
        pod = it.objects(kinds.PODS)[0]
        assert pod["metadata"]["name"].startswith("agent-")
        assert pod["metadata"]["labels"]["pod-template-generation"] == "1"
        (revision,) = it.objects(kinds.CONTROLLER_REVISIONS)
        assert pod["metadata"]["labels"]["controller-revision-hash"] in revision["metadata"]["name"]
        keys = {each["key"] for each in pod["spec"]["tolerations"]}
        assert {"node.kubernetes.io/unschedulable", "node.kubernetes.io/disk-pressure"} <= keys
        await add_nodes(it, "node-3")
        await it.settle()
        assert list(images(it)) == ["node-1", "node-2", "node-3"]
        assert len(it.messages("SuccessfulCreate")) == 3


async def test_selectors_taints_and_cordons_decide_as_for_daemons() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1")
        await add_nodes(it, "cordoned", unschedulable=True)
        await add_nodes(it, "tainted", taints=[{"key": "gpu", "effect": "NoSchedule"}])
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.settle()
        assert list(images(it)) == ["cordoned", "node-1"]
        await change_node(it, "node-1", taints=[{"key": "gpu", "effect": "NoSchedule"}])
        assert list(images(it)) == ["cordoned", "node-1"]
        assert (await status(it))["numberMisscheduled"] == 1
        await change_node(it, "node-1", taints=[{"key": "gpu", "effect": "NoExecute"}])
        assert list(images(it)) == ["cordoned"]
        await edit(it, template=template(tolerations=[{"key": "gpu", "operator": "Exists"}]))
        assert list(images(it)) == ["cordoned", "node-1", "tainted"]
        await edit(it, template=template(nodeSelector={"kubernetes.io/hostname": "tainted"}))
        assert list(images(it)) == []


async def test_a_rollout_takes_one_node_at_a_time() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1", "node-2", "node-3")
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.settle()
        it.kubelet.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "agent:2"
        await edit(it, template=template("agent:2"))
        found = [image for there in images(it).values() for image in there]
        assert sorted(found) == ["agent:1", "agent:1", "agent:2"]
        assert (await status(it))["updatedNumberScheduled"] == 1
        it.kubelet.ready = lambda _pod: True
        it.kubelet.look_at_all()
        await it.settle()
        assert {image for there in images(it).values() for image in there} == {"agent:2"}


async def test_with_surge_the_new_pod_comes_before_the_old_one_goes() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1", "node-2")
        await it.create(kinds.DAEMON_SETS, daemon_set(updateStrategy=rolling(maxSurge=1, maxUnavailable=0)))
        await it.settle()
        it.clock.advance(1)  # of two pods on a node the older one counts
        it.kubelet.ready = lambda pod: pod["spec"]["containers"][0]["image"] != "agent:2"
        await edit(it, template=template("agent:2"))
        assert sorted(map(len, images(it).values())) == [1, 2]
        assert (await status(it))["numberAvailable"] == 2
        it.kubelet.ready = lambda _pod: True
        it.kubelet.look_at_all()
        await it.settle()
        assert images(it) == {"node-1": ["agent:2"], "node-2": ["agent:2"]}


async def test_on_delete_waits_for_somebody() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1", "node-2")
        await it.create(kinds.DAEMON_SETS, daemon_set(updateStrategy={"type": "OnDelete"}))
        await it.settle()
        await edit(it, template=template("agent:2"))
        assert {image for there in images(it).values() for image in there} == {"agent:1"}
        first = it.objects(kinds.PODS)[0]
        await it.client.delete(kinds.PODS, "default", first["metadata"]["name"])
        await it.settle()
        assert images(it)[first["spec"]["nodeName"]] == ["agent:2"]


async def test_a_rollback_takes_the_old_revision_up_again() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1")
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.settle()
        await edit(it, template=template("agent:2"))
        await edit(it, template=template("agent:1"))
        assert images(it) == {"node-1": ["agent:1"]}
        assert sorted(each["revision"] for each in it.objects(kinds.CONTROLLER_REVISIONS)) == [2, 3]


async def test_a_failed_pod_is_replaced_with_a_growing_delay() -> None:
    async def fail() -> str:
        pod = it.objects(kinds.PODS)[0]
        pod["status"]["phase"] = "Failed"
        await it.client.update(kinds.PODS, pod, subresource="status")
        await it.settle()
        return str(it.objects(kinds.PODS)[0]["metadata"]["uid"])

    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1")
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.settle()
        before = it.objects(kinds.PODS)[0]["metadata"]["uid"]
        after = await fail()
        assert after != before
        assert it.messages("FailedDaemonPod")[0].endswith("on node node-1, will try to kill it")
        assert await fail() == after
        await it.advance(1)
        assert it.objects(kinds.PODS)[0]["metadata"]["uid"] != after


async def test_a_node_that_goes_leaves_its_bound_pod_to_the_garbage_collector() -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1", "node-2")
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.settle()
        await it.client.delete(kinds.NODES, "", "node-2")
        await it.settle()
        found = await status(it)
        assert (found["desiredNumberScheduled"], len(it.objects(kinds.PODS))) == (1, 2)


@pytest.mark.parametrize("turns", [1, 5, 17, 61, 191])
async def test_it_goes_on_after_a_stop_anywhere(turns: int) -> None:
    async with cluster(*SETS) as it:
        await add_nodes(it, "node-1", "node-2", "node-3")
        await it.create(kinds.DAEMON_SETS, daemon_set())
        await it.turns(turns)
        await it.stop()
        it.start()
        await it.settle()
        obj = await it.get(kinds.DAEMON_SETS, "agent")
        obj["spec"]["template"] = template("agent:2")
        await it.client.update(kinds.DAEMON_SETS, obj)
        for _ in range(4):
            await it.turns(turns)
            await it.kubelet.work()
            await it.stop()
            it.start()
        await it.settle()
        assert images(it) == {node: ["agent:2"] for node in ("node-1", "node-2", "node-3")}
        assert len(it.objects(kinds.CONTROLLER_REVISIONS)) == 2
