"""The controller on a plane of its own: what becomes of pods, and what is said of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.vapi.control.cluster import Cluster, cluster, namespace
from tests.vapi.control.scheduler.makers import HOSTNAME, ZONE, near, node, on_nodes
from tests.vapi.control.test_simulated_host import pod as simple_pod
from vapi.control import kinds
from vapi.control.controller import Context
from vapi.control.scheduler.binder import Binder, Declined, RegistryBinder
from vapi.control.scheduler.scheduler import AVOID_S, Scheduler
from vapi.gvk import Obj

CORE = "garbage-collector-controller"
GATE: dict[str, Any] = {"schedulingGates": [{"name": "example.com/wait"}]}


def pod(name: str, cpu: str = "", **spec: Any) -> Obj:
    made = simple_pod(name, **{"terminationGracePeriodSeconds": 0, **spec})
    if cpu:
        made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return made


@contextlib.asynccontextmanager
async def world(*nodes: Obj, binder: Callable[[Binder], Binder] | None = None) -> AsyncIterator[Cluster]:
    def scheduler(context: Context) -> Scheduler:
        return Scheduler(context, binder=binder(RegistryBinder(context.client)) if binder else None)

    async with cluster(CORE, more=[scheduler]) as it:
        for each in nodes:
            await it.create(kinds.NODES, each)
        await settled(it)
        yield it


async def settled(it: Cluster) -> None:
    await it.settle(kubelet=False)


async def passes(it: Cluster, seconds: float) -> None:
    it.clock.advance(seconds)
    for controller in it.manager.controllers:
        controller.queue.tick()
    await settled(it)


async def created(it: Cluster, *pods: Obj) -> None:
    for each in pods:
        await it.create(kinds.PODS, each)
    await settled(it)


async def where(it: Cluster, name: str) -> str:
    found: str = (await it.get(kinds.PODS, name))["spec"].get("nodeName", "")
    return found


async def condition(it: Cluster, name: str, kind: str = "PodScheduled") -> Obj:
    conditions = (await it.get(kinds.PODS, name))["status"].get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def small(name: str) -> Obj:
    return node(name, room={"cpu": "1"})


async def test_a_pod_is_bound_and_it_is_told() -> None:
    async with world(small("a")) as it:
        await created(it, pod("p"))
        assert await where(it, "p") == "a"
        assert (await condition(it, "p"))["status"] == "True"
        assert it.messages("Scheduled") == ["Successfully assigned default/p to a"]


async def test_a_pod_gets_the_zone_of_its_node_as_a_label() -> None:
    async with world(node("a", zone="z")) as it:
        await created(it, pod("p"))
        assert (await it.get(kinds.PODS, "p"))["metadata"]["labels"] == {ZONE: "z"}


async def test_a_pod_that_fits_nowhere_is_told_why_and_placed_when_there_is_a_node() -> None:
    async with world(small("a")) as it:
        await created(it, pod("big", "3"))
        message = (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 Preemption is not helpful for scheduling."
        )
        told = await condition(it, "big")
        assert (told["status"], told["reason"], told["message"]) == ("False", "Unschedulable", message)
        assert it.messages("FailedScheduling") == [message]
        await it.create(kinds.NODES, node("b"))
        await settled(it)
        assert await where(it, "big") == "b"


async def test_a_pod_waits_until_another_leaves_or_finishes() -> None:
    async with world(small("a")) as it:
        await created(it, pod("first", "1"), pod("second", "1"), pod("third", "1"))
        assert [await where(it, name) for name in ("first", "second", "third")] == ["a", "", ""]
        await it.client.delete(kinds.PODS, "default", "first", grace_period_s=0)
        await settled(it)
        placed = [name for name in ("second", "third") if await where(it, name)]
        assert len(placed) == 1
        finished = await it.get(kinds.PODS, placed[0])
        finished["status"]["phase"] = "Succeeded"
        await it.client.update(kinds.PODS, finished, subresource="status")
        await passes(it, 1)
        assert await where(it, "second") == await where(it, "third") == "a"


async def test_the_more_important_pod_is_placed_first_whoever_came_first() -> None:
    async with world() as it:
        await created(it, pod("less", "1", priority=1), pod("more", "1", priority=2))
        await it.create(kinds.NODES, small("a"))
        await passes(it, 1)
        assert [await where(it, name) for name in ("less", "more")] == ["", "a"]


async def test_gates_hold_a_pod_back_and_nothing_is_said_of_it() -> None:
    async with world(small("a")) as it:
        await created(it, pod("p", **GATE))
        assert (await where(it, "p"), it.messages("FailedScheduling")) == ("", [])
        waiting = await it.get(kinds.PODS, "p")
        waiting["spec"]["schedulingGates"] = []
        await it.client.update(kinds.PODS, waiting)
        await settled(it)
        assert await where(it, "p") == "a"


async def test_pods_of_another_scheduler_are_left_alone_but_count() -> None:
    async with world(small("a")) as it:
        await created(it, pod("theirs", "1", schedulerName="theirs"))
        assert (await where(it, "theirs"), await condition(it, "theirs")) == ("", {})
        theirs = await it.get(kinds.PODS, "theirs")
        await it.client.bind("default", "theirs", "a", uid=theirs["metadata"]["uid"])
        await created(it, pod("ours", "1"))
        assert await where(it, "ours") == ""


async def test_equal_pods_are_spread_over_equal_nodes() -> None:
    async with world(node("a"), node("b"), node("c")) as it:
        await created(it, *(pod(f"p{index}", "100m") for index in range(9)))
        placed = [await where(it, f"p{index}") for index in range(9)]
        assert sorted(placed) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


async def test_pods_that_exclude_each_other_are_placed_one_a_node_though_they_come_together() -> None:
    async with world(node("a"), node("b")) as it:
        apart: dict[str, Any] = {"affinity": {"podAntiAffinity": near({"app": "x"})}}
        three = [pod(f"p{index}", **apart) for index in range(3)]
        for each in three:
            each["metadata"]["labels"] = {"app": "x"}
        await created(it, *three)
        assert sorted([await where(it, f"p{index}") for index in range(3)]) == ["", "a", "b"]


async def test_a_cordon_and_taints_come_and_go() -> None:
    async with world(node("a", unschedulable=True)) as it:
        await created(it, pod("p"))
        assert "1 node(s) were unschedulable" in (await condition(it, "p"))["message"]
        cordoned = await it.get(kinds.NODES, "a", "")
        cordoned["spec"] = {"taints": [{"key": "k", "value": "", "effect": "NoSchedule"}]}
        await it.client.update(kinds.NODES, cordoned)
        await passes(it, 1)
        assert "1 node(s) had untolerated taint(s)" in (await condition(it, "p"))["message"]
        tainted = await it.get(kinds.NODES, "a", "")
        del tainted["spec"]["taints"]
        await it.client.update(kinds.NODES, tainted)
        await passes(it, 1)
        assert await where(it, "p") == "a"


async def test_a_pod_that_wants_to_be_near_another_waits_for_it() -> None:
    async with world(node("a"), node("b")) as it:
        await created(it, pod("p", affinity={"podAffinity": near({"app": "x"})}))
        assert "2 node(s) didn't match pod affinity rules" in (await condition(it, "p"))["message"]
        wanted = pod("x")
        wanted["metadata"]["labels"] = {"app": "x"}
        await created(it, wanted)
        await passes(it, 1)
        assert await where(it, "p") == await where(it, "x") != ""


async def test_labels_of_namespaces_count() -> None:
    async with world(node("a")) as it:
        await it.create(kinds.NAMESPACES, namespace("other"))
        await created(it, simple_pod("there"))
        term = near({}, namespaceSelector={"matchLabels": {"team": "red"}})
        await created(it, pod("p", affinity={"podAffinity": term}))
        assert await where(it, "p") == ""
        own = await it.get(kinds.NAMESPACES, "default", "")
        own["metadata"]["labels"] = {"team": "red"}
        await it.client.update(kinds.NAMESPACES, own)
        await passes(it, 1)
        assert await where(it, "p") == "a"


def volume(name: str, *nodes: str) -> Obj:
    affinity = on_nodes(*nodes)["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/x"},
        "nodeAffinity": {"required": affinity},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def claim(name: str, volume_name: str = "", mode: str = "ReadWriteOnce") -> Obj:
    spec = {
        "accessModes": [mode],
        "resources": {"requests": {"storage": "1Gi"}},
        **({"volumeName": volume_name} if volume_name else {}),
    }
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def with_claim(name: str, claim_name: str) -> Obj:
    return pod(name, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}])


async def test_a_bound_volume_says_where_its_pod_may_be() -> None:
    async with world(node("a"), node("b")) as it:
        await it.create(kinds.VOLUMES, volume("v", "b"))
        await it.create(kinds.CLAIMS, claim("c", "v"))
        await created(it, with_claim("p", "c"))
        assert await where(it, "p") == "b"
        await it.create(kinds.VOLUMES, volume("gone", "z"))
        await it.create(kinds.CLAIMS, claim("lost", "gone"))
        await created(it, with_claim("q", "lost"))
        told = (await condition(it, "q"))["message"]
        assert "2 node(s) didn't match PersistentVolume's node affinity" in told


async def test_a_claim_for_one_pod_keeps_others_out() -> None:
    async with world(node("a"), node("b")) as it:
        await it.create(kinds.CLAIMS, claim("c", mode="ReadWriteOncePod"))
        await created(it, with_claim("p", "c"), with_claim("q", "c"))
        assert sorted([bool(await where(it, "p")), bool(await where(it, "q"))]) == [False, True]
        first = "p" if await where(it, "p") else "q"
        await it.client.delete(kinds.PODS, "default", first, grace_period_s=0)
        await passes(it, 1)
        assert await where(it, "q" if first == "p" else "p")


async def test_a_more_important_pod_takes_the_place_of_a_less_important_one() -> None:
    async with world(small("a")) as it:
        await created(it, pod("low", "1", priority=1, terminationGracePeriodSeconds=30))
        uid = (await it.get(kinds.PODS, "low"))["metadata"]["uid"]
        await created(it, pod("high", "1", priority=2))
        low, high = await it.get(kinds.PODS, "low"), await it.get(kinds.PODS, "high")
        assert low["metadata"]["deletionGracePeriodSeconds"] == 30
        why = await condition(it, "low", "DisruptionTarget")
        assert (why["status"], why["reason"]) == ("True", "PreemptionByScheduler")
        assert why["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
        assert high["status"]["nominatedNodeName"] == "a"
        assert it.messages("Preempted") == [f"Preempted by pod {high['metadata']['uid']} on node a"]
        await it.client.delete(kinds.PODS, "default", "low", uid=uid, grace_period_s=0)
        await passes(it, 1)
        assert await where(it, "high") == "a"


async def test_the_place_is_kept_for_whom_it_was_made() -> None:
    async with world(small("a")) as it:
        await created(it, pod("low", "1", priority=1, terminationGracePeriodSeconds=30))
        await created(it, pod("high", "1", priority=9))
        await created(it, pod("middle", "1", priority=5))
        await it.client.delete(kinds.PODS, "default", "low", grace_period_s=0)
        await passes(it, 1)
        assert [await where(it, name) for name in ("high", "middle")] == ["a", ""]


async def test_a_restart_knows_the_pods_and_places_again() -> None:
    async with world(small("a"), small("b")) as it:
        await created(it, pod("p", "1"))
        await it.stop()
        await it.create(kinds.PODS, pod("q", "1"))
        it.start()
        await settled(it)
        assert sorted([await where(it, "p"), await where(it, "q")]) == ["a", "b"]


class DecliningBinder:
    """Takes no pod on node `a`."""

    def __init__(self, inner: Binder) -> None:
        self._inner = inner

    async def bind(self, pod: Obj, node: str) -> None:
        if node == "a":
            raise Declined("the host is full")
        await self._inner.bind(pod, node)


class PromisedBinder:
    """Had promised the pod to another node, as after a restart."""

    def __init__(self, inner: Binder) -> None:
        self._inner = inner

    async def bind(self, pod: Obj, node: str) -> None:
        await self._inner.bind(pod, "promised")


async def test_a_pod_that_was_promised_to_another_node_is_told_of_that_one() -> None:
    async with world(node("a"), binder=PromisedBinder) as it:
        await created(it, pod("p"))
        assert it.messages("Scheduled") == ["Successfully assigned default/p to promised"]


class SlowBinder:
    """Binds nobody until `go_on`."""

    def __init__(self, inner: Binder) -> None:
        self._inner = inner
        self.go_on = asyncio.Event()

    async def bind(self, pod: Obj, node: str) -> None:
        await self.go_on.wait()
        await self._inner.bind(pod, node)


async def test_a_declined_node_is_avoided_for_a_while() -> None:
    async with world(node("a"), node("b", room={"cpu": "1"}), binder=DecliningBinder) as it:
        await created(it, pod("p", "1"))
        assert await where(it, "p") == "b"
        assert it.messages("FailedScheduling") == ["node a declined the pod: the host is full"]
        await created(it, pod("q", "1"))
        assert "1 node(s) declined the pod: the host is full" in (await condition(it, "q"))["message"]
        await it.client.delete(kinds.PODS, "default", "p", grace_period_s=0)
        await passes(it, AVOID_S + 1)
        assert await where(it, "q") == "b"


async def test_pods_being_bound_take_their_room_already() -> None:
    binders: list[SlowBinder] = []

    def slow(inner: Binder) -> SlowBinder:
        binders.append(SlowBinder(inner))
        return binders[0]

    async with world(small("a"), binder=slow) as it:
        for index in range(3):
            await it.create(kinds.PODS, pod(f"p{index}", "1"))
        await it.turns(200)
        assert len(it.messages("FailedScheduling")) == 2
        assert not it.messages("Scheduled")
        binders[0].go_on.set()
        await settled(it)
        assert [await where(it, f"p{index}") for index in range(3)].count("a") == 1


async def test_a_pod_that_is_deleted_while_it_is_bound_leaves_its_room() -> None:
    binders: list[SlowBinder] = []

    def slow(inner: Binder) -> SlowBinder:
        binders.append(SlowBinder(inner))
        return binders[0]

    async with world(small("a"), binder=slow) as it:
        await it.create(kinds.PODS, pod("p", "1"))
        await it.turns(50)
        await it.client.delete(kinds.PODS, "default", "p")
        await it.turns(50)
        await it.create(kinds.PODS, pod("q", "1"))
        await it.turns(50)
        binders[0].go_on.set()
        await settled(it)
        assert await where(it, "q") == "a"


async def test_daemons_go_where_they_are_meant_to() -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": simple_pod("x")["spec"]}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    daemons = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": spec,
    }
    async with cluster(CORE, "daemonset-controller", more=[Scheduler]) as it:
        for name in ("a", "b", "c"):
            await it.create(kinds.NODES, node(name, unschedulable=name == "b"))
        await it.create(kinds.DAEMON_SETS, daemons)
        await settled(it)
        assert sorted(each["spec"]["nodeName"] for each in it.objects(kinds.PODS)) == ["a", "b", "c"]


async def test_a_selector_that_no_node_has_is_told_in_those_words() -> None:
    async with world(node("a"), node("b")) as it:
        await created(it, pod("p", nodeSelector={HOSTNAME: "z"}))
        assert (await condition(it, "p"))["message"] == (
            "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. preemption: "
            "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        )
