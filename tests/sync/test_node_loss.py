"""A node of the host that goes takes its pods with it in the tenant, even if their host pods never end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sync.actions import OVERDUE_S
from sync.hooks import NoHooks
from sync.nodes import ASK_AGAIN_S, GONE_S, Nodes
from sync.nodes_copy import NodeRules
from sync.plan import HOST_POD_GONE
from sync.translator import NODES
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import PODS, pod, turns
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.control.controllers import ControllerManager, Settings
from vapi.control.pod_gc import QUARANTINE_S
from vapi.gvk import Obj

LOOKS = 200


@dataclass
class Hooks(NoHooks):
    nodes: Nodes

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        await self.nodes.before_bind(virtual, node_name)


@dataclass
class Bench:
    rig: Rig
    nodes: Nodes
    manager: ControllerManager

    async def advance(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)
        for controller in self.manager.controllers:
            controller.queue.tick()
        self.nodes.tick()
        await turns(LOOKS)
        await self.rig.settle()

    async def hanging_pod(self, name: str) -> None:
        """One that runs on `n-1` and whose host pod nothing ever ends."""
        await self.rig.virtual.create(PODS, pod(name))
        await self.rig.settle()
        await self.rig.run_pod(name, "n-1")
        twin = self.rig.the_twin(PODS, name)
        twin["metadata"]["finalizers"] = ["example.com/hold"]
        await self.rig.admin.update(PODS, twin)
        await self.rig.settle()

    async def lose(self, name: str) -> None:
        await self.rig.admin.delete(NODES, "", name)
        await turns(LOOKS)


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with rig(started=False) as r:
        await r.admin.create(NODES, {"metadata": {"name": "n-1"}})
        nodes = Nodes(
            virtual=VirtualCluster(r.tenant.client("vapi-syncer")),
            host=InProcessCluster(r.host.client("vapi")),
            clock=r.clock,
            rules=NodeRules(),
        )
        r.hooks = Hooks(nodes)
        only = ["pod-garbage-collector-controller"]
        manager = ControllerManager(r.tenant.client("controllers"), Settings(), clock=r.clock, only=only)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(nodes.run()), group.create_task(manager.run())]
            await r.start()
            yield Bench(r, nodes, manager)
            for task in tasks:
                task.cancel()


async def test_the_mirror_goes_at_once_and_the_pods_when_the_node_stays_away() -> None:
    async with bench() as b:
        await b.hanging_pod("web")
        assert b.rig.here(NODES, "n-1", "") is not None
        await b.lose("n-1")
        assert b.rig.here(NODES, "n-1", "") is None
        await b.advance(QUARANTINE_S - 1)
        assert b.rig.the(PODS, "web")["status"]["phase"] == "Running"
        held = b.rig.the(PODS, "web")
        held["metadata"]["finalizers"] = ["example.com/look"]
        await b.rig.virtual.update(PODS, held)
        await b.advance(1)
        here = b.rig.the(PODS, "web")
        assert here["status"]["phase"] == "Failed"
        assert "DisruptionTarget" in [c["type"] for c in here["status"]["conditions"]]
        assert "deletionTimestamp" in here["metadata"]


async def test_a_pod_that_hangs_in_deletion_goes_too_and_its_name_is_free() -> None:
    async with bench() as b:
        await b.hanging_pod("web")
        await b.rig.virtual.delete(PODS, "default", "web", grace_period_s=5)
        await b.rig.settle()
        await b.lose("n-1")
        await b.advance(QUARANTINE_S)
        assert b.rig.here(PODS, "web") is None
        await b.rig.virtual.create(PODS, pod("web"))
        await b.rig.settle()
        assert b.rig.the(PODS, "web")["status"]["phase"] == "Pending"


async def test_the_host_pod_is_deleted_without_grace_in_the_end() -> None:
    async with bench() as b:
        await b.hanging_pod("web")
        await b.lose("n-1")
        await b.advance(QUARANTINE_S)
        assert b.rig.here(PODS, "web") is None
        await b.advance(b.rig.the_twin(PODS, "web")["metadata"]["deletionGracePeriodSeconds"])
        await b.advance(OVERDUE_S)
        assert b.rig.the_twin(PODS, "web")["metadata"]["deletionGracePeriodSeconds"] == 0


async def test_a_node_that_registers_anew_in_time_keeps_its_pods() -> None:
    async with bench() as b:
        await b.hanging_pod("web")
        uid = b.rig.the(PODS, "web")["metadata"]["uid"]
        await b.lose("n-1")
        await b.advance(QUARANTINE_S / 2)
        await b.rig.admin.create(NODES, {"metadata": {"name": "n-1"}})
        await turns(LOOKS)
        await b.advance(QUARANTINE_S)
        assert b.rig.here(NODES, "n-1", "") is not None
        assert b.rig.the(PODS, "web")["metadata"]["uid"] == uid


async def test_a_pod_whose_host_pod_was_bound_to_a_node_that_is_no_more_ends() -> None:
    async with bench() as b:
        made = await b.rig.virtual.create(PODS, pod("web"))
        made["metadata"]["finalizers"] = ["example.com/look"]
        await b.rig.virtual.update(PODS, made)
        await b.rig.settle()
        twin = b.rig.the_twin(PODS, "web")
        await b.rig.admin.bind(HOST_NAMESPACE, twin["metadata"]["name"], "gone", uid=twin["metadata"]["uid"])
        await b.rig.settle()
        for _ in range(int(GONE_S // ASK_AGAIN_S)):
            assert b.rig.the(PODS, "web")["status"]["phase"] == "Pending"
            await b.advance(ASK_AGAIN_S)
        here = b.rig.the(PODS, "web")
        assert (here["status"]["phase"], here["status"]["reason"]) == ("Failed", HOST_POD_GONE)
        assert b.rig.here(NODES, "gone", "") is None
