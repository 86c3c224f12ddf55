"""Virtual nodes: the tenant's scheduler chooses, the host binds or does not, and a choice outlives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from sync import metadata as md
from sync.hooks import NoHooks
from sync.placing import ABSENT_S, BIND_S, LOOK_S, SELECTED_NODE, VOLUMES_S, HostBinder
from sync.translator import CLAIMS
from sync.virtual import VirtualCluster
from tests.planes import PODS, pod
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.control.scheduler.binder import Declined
from vapi.errors import ApiError
from vapi.gvk import Obj


@dataclass
class Telling(NoHooks):
    """What Tenancy's hooks do."""

    bench: Bench

    async def after_create(self, virtual: Obj, host: Obj) -> None:
        self.bench.binder.created(virtual)


@dataclass
class Bench:
    """A rig with virtual nodes and a binder that can be killed with its syncer."""

    rig: Rig
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _binder: HostBinder | None = None

    @property
    def binder(self) -> HostBinder:
        assert self._binder is not None
        return self._binder

    async def start(self) -> None:
        r = self.rig
        r.before_start, r.hooks = self._attach, Telling(self)
        await r.start()

    def _attach(self, r: Rig) -> None:
        assert r.syncer is not None
        self._binder = HostBinder(
            virtual=VirtualCluster(r.tenant.client("vapi-syncer")),
            twin=r.syncer.twin,
            touch=r.syncer.touch,
            synced=r.syncer.synced,
            clock=r.clock,
        )
        r.syncer.use(chosen_node=self._binder.chosen)
        r.syncer.on_twin(self._binder.twin_changed)
        self.tasks.append(asyncio.create_task(self._binder.run()))

    async def kill(self) -> None:
        await self.rig.kill()
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Declined, ApiError):
                await task
        self.tasks.clear()

    async def place(self, name: str, node: str) -> asyncio.Task[None]:
        """What the scheduler does with a pod that it has chosen a node for."""
        task = asyncio.create_task(self.binder.bind(self.rig.the(PODS, name), node))
        self.tasks.append(task)
        await self.rig.settle()
        return task

    async def advance(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)
        for _ in range(2):
            self.binder.tick()
            await self.rig.settle()

    def node_of_twin(self, name: str) -> str:
        twin = self.rig.the_twin(PODS, name)
        (term,) = twin["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        (found,) = term["matchFields"][0]["values"]
        assert found == twin["metadata"]["annotations"][md.NODE]
        return str(found)


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    async with rig(started=False) as r:
        r.settings = {"virtual_nodes": True}
        made = Bench(r)
        try:
            await made.start()
            yield made
        finally:
            await made.kill()


async def a_pod(b: Bench, name: str = "web") -> Obj:
    made = await b.rig.virtual.create(PODS, pod(name))
    await b.rig.settle()
    return made


async def test_a_pod_that_nobody_has_placed_is_not_on_the_host() -> None:
    async with bench() as b:
        await a_pod(b)
        assert b.rig.twin(PODS, "web") is None


async def test_a_placed_pod_goes_out_with_its_node_and_is_bound_when_the_host_has_bound_it() -> None:
    async with bench() as b:
        await a_pod(b)
        task = await b.place("web", "n-1")
        assert b.node_of_twin("web") == "n-1"
        assert "nodeName" not in b.rig.the(PODS, "web")["spec"]
        assert not task.done()
        await b.rig.run_pod("web", "n-1")
        await task
        here = b.rig.the(PODS, "web")
        assert here["spec"]["nodeName"] == "n-1"
        assert here["status"]["phase"] == "Running"


async def test_nothing_of_a_twin_comes_back_before_it_is_bound() -> None:
    async with bench() as b:
        await a_pod(b)
        before = b.rig.the(PODS, "web")
        await b.place("web", "n-1")
        twin = b.rig.the_twin(PODS, "web")
        twin["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}
        await b.rig.admin.update(PODS, twin, subresource="status")
        await b.rig.settle()
        assert b.rig.the(PODS, "web") == before


async def test_a_twin_that_the_host_does_not_bind_is_taken_back_and_another_node_can_be_chosen() -> None:
    async with bench() as b:
        made = await a_pod(b)
        task = await b.place("web", "full")
        twin = b.rig.the_twin(PODS, "web")
        condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Too many pods."}
        twin["status"] = {"phase": "Pending", "conditions": [condition]}
        await b.rig.admin.update(PODS, twin, subresource="status")
        await b.advance(BIND_S - 1)
        assert not task.done()
        await b.advance(1)
        with pytest.raises(Declined, match="not bound it to node full within 30 s: 0/1 nodes are available"):
            await task
        assert b.rig.twin(PODS, "web") is None
        here = b.rig.the(PODS, "web")
        assert here["metadata"]["uid"] == made["metadata"]["uid"]
        assert here["status"]["phase"] == "Pending"
        again = await b.place("web", "free")
        assert b.node_of_twin("web") == "free"
        await b.rig.run_pod("web", "free")
        await again
        assert b.rig.the(PODS, "web")["spec"]["nodeName"] == "free"


async def with_a_claim_chosen_for(b: Bench, name: str, node: str) -> None:
    """A pod with a claim, for which the host's scheduler has chosen `node`: its volume is being made."""
    claim = {
        "metadata": {"name": f"{name}-data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await b.rig.virtual.create(CLAIMS, claim)
    mounting = pod(name)
    mounting["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": f"{name}-data"}}]
    await b.rig.virtual.create(PODS, mounting)
    await b.rig.settle()
    twin = b.rig.the_twin(CLAIMS, f"{name}-data")
    twin["metadata"]["annotations"][SELECTED_NODE] = node
    await b.rig.admin.update(CLAIMS, twin)
    await b.rig.settle()


async def test_a_twin_whose_volume_is_being_made_on_its_node_is_waited_for_as_the_hosts_scheduler_waits() -> None:
    async with bench() as b:
        await with_a_claim_chosen_for(b, "here", "n-1")
        await with_a_claim_chosen_for(b, "there", "n-1")
        here, there = await b.place("here", "n-1"), await b.place("there", "n-2")
        await b.advance(BIND_S)
        with pytest.raises(Declined, match="node n-2 within 30 s"):
            await there
        await b.advance(VOLUMES_S - BIND_S - 1)
        assert not here.done()
        await b.advance(1)
        with pytest.raises(Declined, match="node n-1 within 600 s"):
            await here


async def test_a_twin_whose_volume_takes_longer_than_a_binding_is_bound_where_it_was_placed() -> None:
    async with bench() as b:
        await with_a_claim_chosen_for(b, "web", "n-1")
        task = await b.place("web", "n-1")
        await b.advance(3 * BIND_S)
        assert not task.done()
        await b.rig.run_pod("web", "n-1")
        await task
        assert b.rig.the(PODS, "web")["spec"]["nodeName"] == "n-1"


async def test_the_reason_of_a_choice_that_was_declined_names_nothing_of_the_host() -> None:
    async with bench() as b:
        await a_pod(b)
        task = await b.place("web", "full")
        twin = b.rig.the_twin(PODS, "web")
        message = f'0/1 nodes are available: claim "disk-x-default-x-other" of {HOST_NAMESPACE}/web is in use'
        twin["status"] = {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}
        await b.rig.admin.update(PODS, twin, subresource="status")
        await b.advance(BIND_S)
        with pytest.raises(Declined) as declined:
            await task
        assert HOST_NAMESPACE not in declined.value.reason and "-x-" not in declined.value.reason


async def test_it_is_declined_only_when_the_twin_has_gone() -> None:
    async with bench() as b:
        await a_pod(b)
        task = await b.place("web", "full")
        host_name = b.rig.host_name("web")
        twin = b.rig.the_twin(PODS, "web")
        twin["metadata"]["finalizers"] = ["example.com/hold"]
        await b.rig.admin.update(PODS, twin)
        await b.rig.settle()
        await b.advance(BIND_S)
        await b.advance(LOOK_S)
        assert not task.done()
        twin = b.rig.the_twin(PODS, "web")
        assert "deletionTimestamp" in twin["metadata"]
        twin["metadata"]["finalizers"] = []
        await b.rig.admin.update(PODS, twin)
        await b.rig.settle()
        with pytest.raises(Declined):
            await task
        assert b.rig.here(PODS, "web") is not None
        assert host_name not in b.rig.host_names(PODS)


async def test_a_pod_that_is_deleted_while_it_is_placed_ends_the_placing_and_its_twin() -> None:
    async with bench() as b:
        await a_pod(b)
        task = await b.place("web", "n-1")
        await b.rig.virtual.delete(PODS, "default", "web")
        await b.rig.settle()
        with pytest.raises(ApiError, match="not found"):
            await task
        assert b.rig.twin(PODS, "web") is None


async def test_after_a_restart_a_pod_with_a_twin_keeps_its_node_whatever_the_scheduler_now_thinks() -> None:
    async with bench() as b:
        await a_pod(b)
        await b.place("web", "n-1")
        uid = b.rig.the_twin(PODS, "web")["metadata"]["uid"]
        await b.kill()
        await b.start()
        task = await b.place("web", "n-2")
        assert b.node_of_twin("web") == "n-1"
        await b.rig.run_pod("web", "n-1")
        await task
        assert b.rig.the_twin(PODS, "web")["metadata"]["uid"] == uid
        assert b.rig.the(PODS, "web")["spec"]["nodeName"] == "n-1"


async def test_what_the_host_bound_while_we_were_down_is_bound_before_the_scheduler_asks() -> None:
    async with bench() as b:
        await a_pod(b)
        await b.place("web", "n-1")
        await b.kill()
        twin = b.rig.the_twin(PODS, "web")
        await b.rig.admin.bind(HOST_NAMESPACE, twin["metadata"]["name"], "n-1", uid=twin["metadata"]["uid"])
        await b.start()
        assert b.rig.the(PODS, "web")["spec"]["nodeName"] == "n-1"


async def test_a_taking_back_that_a_restart_cut_off_is_finished_and_ends_no_pod() -> None:
    async with bench() as b:
        await a_pod(b)
        await b.place("web", "full")
        twin = b.rig.the_twin(PODS, "web")
        twin["metadata"]["finalizers"] = ["example.com/hold"]
        await b.rig.admin.update(PODS, twin)
        await b.rig.settle()
        await b.advance(BIND_S)
        await b.kill()
        await b.start()
        task = await b.place("web", "free")
        assert not task.done()
        twin = b.rig.the_twin(PODS, "web")
        twin["metadata"]["finalizers"] = []
        await b.rig.admin.update(PODS, twin)
        await b.rig.settle()
        with pytest.raises(Declined, match="taken back"):
            await task
        assert b.rig.the(PODS, "web")["status"]["phase"] == "Pending"
        await b.place("web", "free")
        assert b.node_of_twin("web") == "free"


async def test_a_pod_that_the_host_will_not_have_is_given_up_and_can_be_placed_again() -> None:
    async with bench() as b:
        foreign = {"metadata": {"name": b.rig.host_name("web"), "namespace": HOST_NAMESPACE}, "spec": pod("x")["spec"]}
        await b.rig.admin.create(PODS, foreign)
        await b.rig.virtual.create(PODS, pod("web"))
        task = await b.place("web", "n-1")
        await b.advance(ABSENT_S - 1)
        assert not task.done()
        await b.advance(1)
        with pytest.raises(Declined, match="the host has no pod of it"):
            await task
        await b.rig.admin.delete(PODS, HOST_NAMESPACE, b.rig.host_name("web"), grace_period_s=0)
        await b.place("web", "n-1")
        await b.advance(LOOK_S)
        assert b.node_of_twin("web") == "n-1"


async def test_a_pod_that_somebody_bound_in_the_tenant_goes_to_that_node() -> None:
    async with bench() as b:
        made = await a_pod(b)
        await b.rig.virtual.bind("default", "web", "n-3", uid=made["metadata"]["uid"])
        await b.rig.settle()
        assert b.node_of_twin("web") == "n-3"


# --- whatever happens -----------------------------------------------------------------------------------


class Walk:
    """Random histories: pods come, are placed, bound or refused, deleted; the process is killed at any point."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self._b = bench
        self._random = random.Random(seed)
        self.started: set[str] = set()
        """uids of tenant pods whose twin has been bound."""

    async def step(self) -> None:
        acts = (self._create, self._place, self._place, self._bind, self._bind, self._wait, self._delete, self._kill)
        await self._random.choice(acts)()

    def _name(self) -> str:
        return self._random.choice(("a", "b"))

    async def _create(self) -> None:
        with contextlib.suppress(ApiError):
            await self._b.rig.virtual.create(PODS, pod(self._name()))
            await self._turns()

    async def _place(self) -> None:
        name = self._name()
        here = self._b.rig.here(PODS, name)
        if here is not None and not here["spec"].get("nodeName"):
            node = self._random.choice(("n-1", "n-2"))
            self._b.tasks.append(asyncio.create_task(self._b.binder.bind(here, node)))
            await self._turns()

    async def _bind(self) -> None:
        name = self._name()
        twin = self._b.rig.twin(PODS, name)
        if twin is not None and "deletionTimestamp" not in twin["metadata"] and not twin["spec"].get("nodeName"):
            self.started.add(twin["metadata"]["annotations"][md.OBJECT_UID])
            await self._b.rig.run_pod(name, twin["metadata"]["annotations"][md.NODE])

    async def _wait(self) -> None:
        await self._b.advance(self._random.choice((1, LOOK_S, BIND_S)))

    async def _delete(self) -> None:
        with contextlib.suppress(ApiError):
            await self._b.rig.virtual.delete(PODS, "default", self._name(), grace_period_s=0)
            await self._turns()

    async def _kill(self) -> None:
        await self._b.kill()
        await self._b.start()

    async def _turns(self) -> None:
        """Sometimes to the end, sometimes not."""
        for _ in range(self._random.choice((1, 3, 10, 200))):
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_no_pod_is_lost_and_bound_pods_are_where_their_twins_are(seed: int) -> None:
    async with bench() as b:
        walk = Walk(b, seed)
        for _ in range(25):
            await walk.step()
        for _ in range(3):
            await b.advance(2 * BIND_S)
        for name in ("a", "b"):
            here, twin = b.rig.here(PODS, name), b.rig.twin(PODS, name)
            if here is None:
                assert twin is None or "deletionTimestamp" in twin["metadata"]
                continue
            assert here["status"]["phase"] in ("Pending", "Running")
            assert "deletionTimestamp" not in here["metadata"]
            bound = here["spec"].get("nodeName")
            assert bool(bound) == (here["metadata"]["uid"] in walk.started)
            if bound:
                assert twin is not None
                assert twin["spec"]["nodeName"] == bound
