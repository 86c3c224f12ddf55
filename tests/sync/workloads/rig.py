"""A tenant whose workloads the host's controllers run: these are ours, on the host's plane."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from storage.memory import MemoryStore
from sync.hooks import NoHooks
from sync.ownership import Twin
from sync.translators.table import TRANSLATORS
from sync.virtual import InProcessCluster
from sync.workloads.mirrors import ChildMirrors
from sync.workloads.rows import ROWS, idle_controllers, rows
from tests.planes import NAMESPACES, PODS, FakeClock, plane
from tests.sync.rig import HOST_NAMESPACE, QUIET_TURNS, Rig
from vapi.control import kinds
from vapi.control.controllers import ControllerManager, Settings
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane

WORKLOAD_CONTROLLERS = (
    "garbage-collector-controller",
    "deployment-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "cronjob-controller",
)


class _Hooks(NoHooks):
    def __init__(self, rig: WorkloadRig) -> None:
        self._rig = rig

    def propagation(self, twin: Twin) -> str:
        assert self._rig.children is not None
        return self._rig.children.propagation(twin)


@dataclass
class WorkloadRig(Rig):
    """`ways`: the kinds that go to the host."""

    ways: tuple[str, ...] = ()
    children: ChildMirrors | None = None
    happened: bool = False
    """Of tests that kill at a write: what was to happen has."""
    managers: list[ControllerManager] = field(default_factory=list)
    _beside: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.rows = (*TRANSLATORS, *rows(self.ways))
        self.before_start = self._add_children
        self.hooks = _Hooks(self)
        await super().start()

    def _add_children(self, _rig: Rig) -> None:
        assert self.syncer is not None
        syncer = self.syncer
        host = self.host_cluster or InProcessCluster(self.host.client("vapi"))
        children = self.children = ChildMirrors(engine=syncer.engine, host=host, kinds=self.ways, rows=rows(self.ways))
        syncer.on_twin(children.workload_changed)

        async def run() -> None:
            await syncer.synced.wait()
            await children.run()

        self._beside = asyncio.create_task(run())

    async def kill(self) -> None:
        if self._beside is not None:
            self._beside.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beside
            self._beside = None
        await super().kill()

    async def settle(self) -> None:
        assert self.syncer is not None
        assert self.children is not None
        quiet = 0
        while quiet < 2 * QUIET_TURNS:
            await asyncio.sleep(0)
            for queue in (self.syncer.queue, self.children.queue):
                queue.tick()
            self.syncer.limiter.tick()
            for manager in self.managers:
                for controller in manager.controllers:
                    controller.queue.tick()
            idle = self.syncer.queue.idle and self.children.queue.idle and all(m.idle for m in self.managers)
            quiet = quiet + 1 if idle else 0

    # --- looking --------------------------------------------------------------------------------------------

    def mirrors(self, gvr: GVR) -> list[Obj]:
        return sorted((e.obj() for e in self.tenant.registry.entries(gvr)), key=lambda o: str(o["metadata"]["name"]))

    def on_host(self, gvr: GVR) -> list[Obj]:
        found = (e.obj() for e in self.host.registry.entries(gvr, self.host_namespace))
        return sorted(found, key=lambda o: str(o["metadata"]["name"]))

    def of_host(self, gvr: GVR, mirror: Obj) -> Obj:
        """The host's object that a mirror shows."""
        return next(o for o in self.on_host(gvr) if o["metadata"]["uid"] == mirror["metadata"]["uid"])

    # --- doing ----------------------------------------------------------------------------------------------

    async def run_pods(self, phase: str = "Running") -> None:
        """What the host's scheduler and kubelets do, until nothing is left to run."""
        for _ in range(10):
            waiting = [p for p in self.on_host(PODS) if _waits(p)]
            if not waiting:
                return
            for pod in waiting:
                await self._run_one(pod, phase)
            await self.settle()

    async def _run_one(self, pod: Obj, phase: str) -> None:
        metadata = pod["metadata"]
        if not pod["spec"].get("nodeName"):
            await self.admin.bind(self.host_namespace, metadata["name"], "node-1", uid=metadata["uid"])
        entry = self.host.registry.cached(PODS, self.host_namespace, metadata["name"])
        assert entry is not None
        ready = "True" if phase == "Running" else "False"
        conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        status = {"phase": phase, "podIP": "10.1.1.1", "conditions": conditions}
        await self.admin.update(PODS, {**entry.obj(), "status": status}, subresource="status")

    async def kubelets_end(self) -> None:
        """The host's pods that are deleting are gone."""
        for pod in self.on_host(PODS):
            if "deletionTimestamp" in pod["metadata"]:
                with contextlib.suppress(ApiError):
                    await self.admin.delete(PODS, self.host_namespace, pod["metadata"]["name"], grace_period_s=0)
        await self.settle()

    async def roll(self) -> None:
        """Pods run and end until nothing changes any more."""
        still = 0
        for _ in range(12):
            await self.settle()
            before = self.host.feed.revision, self.tenant.feed.revision
            await self.run_pods()
            await self.kubelets_end()
            await self.advance(1)
            after = self.host.feed.revision, self.tenant.feed.revision
            still = still + 1 if before == after else 0
            if still == 2:
                return


def _waits(pod: Obj) -> bool:
    gates = pod["spec"].get("schedulingGates")
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return phase == "Pending" and not gates and "deletionTimestamp" not in pod["metadata"]


@contextlib.asynccontextmanager
async def workload_rig(*ways: str, started: bool = True) -> AsyncIterator[WorkloadRig]:
    """`ways`: the kinds that go to the host; the others have our controllers in the tenant."""
    clock = FakeClock()
    async with plane(MemoryStore(), clock) as tenant, plane(MemoryStore(), clock) as host:
        await host.client("test").create(NAMESPACES, {"metadata": {"name": HOST_NAMESPACE}})
        await host.client("test").create(kinds.NODES, {"metadata": {"name": "node-1"}})
        made = WorkloadRig(tenant, host, clock, ways=ways or tuple(ROWS))
        idle = idle_controllers(made.ways)
        async with (
            _controllers(made, host, WORKLOAD_CONTROLLERS),
            _controllers(made, tenant, tuple(n for n in WORKLOAD_CONTROLLERS if n not in idle)),
        ):
            try:
                if started:
                    await made.start()
                yield made
            finally:
                await made.kill()


@contextlib.asynccontextmanager
async def _controllers(rig: WorkloadRig, where: ControlPlane, only: tuple[str, ...]) -> AsyncIterator[None]:
    manager = ControllerManager(where.client("controllers"), Settings(), clock=rig.clock, only=only)
    rig.managers.append(manager)
    task = asyncio.create_task(manager.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
