"""A tenant and a host, two real control planes in one process, with a syncer between them that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.memory import MemoryStore
from sync import names
from sync.cluster import Cluster
from sync.converge import MARK_WITHIN_S
from sync.hooks import PodHooks
from sync.syncer import Syncer
from sync.translator import Context, Translator
from sync.translators.table import TRANSLATORS
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import NAMESPACES, PODS, FakeClock, plane
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane
from vapi.registry.client import Client

HOST_NAMESPACE = "host-ns"

QUIET_TURNS = 30
"""Turns of the loop without work after which nothing is under way: a write to a memory store takes a few."""


@dataclass
class Rig:
    tenant: ControlPlane
    host: ControlPlane
    clock: FakeClock
    name: str = "vc"
    host_namespace: str = HOST_NAMESPACE
    store_id: str = "store-1"
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """(object, reason, message)."""
    hooks: PodHooks | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the context, beyond its name and namespace."""
    rows: Sequence[Translator] = TRANSLATORS
    before_start: Callable[[Rig], None] | None = None
    """Called with each new syncer before it runs."""
    syncer: Syncer | None = None
    host_cluster: Cluster | None = None
    virtual_cluster: VirtualCluster | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def virtual(self) -> Client:
        return self.tenant.client("tester")

    @property
    def admin(self) -> Client:
        """Somebody at the host."""
        return self.host.client("admin")

    async def start(self) -> None:
        """A fresh syncer, as after a start of the process; returns when it has nothing left to do."""
        self.syncer = Syncer(
            virtual=self.virtual_cluster or VirtualCluster(self.tenant.client("vapi-syncer")),
            host=self.host_cluster or InProcessCluster(self.host.client("vapi")),
            context=Context(cluster=self.name, host_namespace=self.host_namespace, **self.settings),
            store_id=self.store_id,
            events=self._record,
            hooks=self.hooks,
            rate=0,
            clock=self.clock,
            rows=self.rows,
        )
        if self.before_start is not None:
            self.before_start(self)
        self._task = asyncio.create_task(self.syncer.run())
        await asyncio.wait([self._task, asyncio.create_task(self.syncer.synced.wait())], return_when="FIRST_COMPLETED")
        if self._task.done():
            task, self._task = self._task, None
            task.result()
        await self.settle()

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    @property
    def running(self) -> bool:
        return self._task is not None

    async def ended(self) -> None:
        """Until the syncer ends by itself. Raises why."""
        task, self._task = self._task, None
        assert task is not None
        async with asyncio.timeout(5):
            await task

    async def settle(self) -> None:
        """Until nothing is queued or under way, the mark of a new pod included; what is delayed for longer stays so."""
        assert self.syncer is not None
        quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            self.syncer.queue.tick()
            self.syncer.limiter.tick()
            quiet = quiet + 1 if self.syncer.queue.idle else 0
            due_s = self.syncer.queue.next_due_s()
            if quiet == QUIET_TURNS and due_s is not None and due_s <= MARK_WITHIN_S:
                self.clock.advance(1 / 32)  # a power of two: sums of waits stay exact
                quiet = 0

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    def _record(self, component: str, obj: Obj, event_type: str, reason: str, message: str) -> None:
        assert component
        assert event_type == "Warning"
        self.events.append((obj["metadata"]["name"], reason, message))

    # --- looking ------------------------------------------------------------------------------------------

    def host_name(self, name: str, namespace: str = "default") -> str:
        return names.host_name(name, namespace, self.name)

    def twin(self, gvr: GVR, name: str, namespace: str = "default") -> Obj | None:
        entry = self.host.registry.cached(gvr, self.host_namespace, self.host_name(name, namespace))
        return entry.obj() if entry else None

    def here(self, gvr: GVR, name: str, namespace: str = "default") -> Obj | None:
        entry = self.tenant.registry.cached(gvr, namespace, name)
        return entry.obj() if entry else None

    def host_names(self, gvr: GVR) -> list[str]:
        return [e.name for e in self.host.registry.entries(gvr, self.host_namespace)]

    def the_twin(self, gvr: GVR, name: str, namespace: str = "default") -> Obj:
        twin = self.twin(gvr, name, namespace)
        assert twin is not None
        return twin

    def the(self, gvr: GVR, name: str, namespace: str = "default") -> Obj:
        obj = self.here(gvr, name, namespace)
        assert obj is not None
        return obj

    # --- doing --------------------------------------------------------------------------------------------

    async def run_pod(self, name: str, node: str = "node-1", phase: str = "Running") -> None:
        """What scheduler and kubelet of the host do."""
        host_name = self.host_name(name)
        pod = self.the_twin(PODS, name)
        if not pod["spec"].get("nodeName"):
            await self.admin.bind(self.host_namespace, host_name, node, uid=pod["metadata"]["uid"])
        pod = self.the_twin(PODS, name)
        pod["status"] = {
            "phase": phase,
            "podIP": "10.1.1.1",
            "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}],
            "containerStatuses": [{"name": "c", "ready": phase == "Running"}],
        }
        await self.admin.update(PODS, pod, subresource="status")
        await self.settle()

    async def kubelet_is_done(self, name: str) -> None:
        """The host's pod, which is deleting, is gone."""
        with contextlib.suppress(ApiError):
            await self.admin.delete(PODS, self.host_namespace, self.host_name(name), grace_period_s=0)
        await self.settle()


@contextlib.asynccontextmanager
async def rig(*, started: bool = True) -> AsyncIterator[Rig]:
    clock = FakeClock()
    async with plane(MemoryStore(), clock) as tenant, plane(MemoryStore(), clock) as host:
        await host.client("test").create(NAMESPACES, {"metadata": {"name": HOST_NAMESPACE}})
        made = Rig(tenant, host, clock)
        try:
            if started:
                await made.start()
            yield made
        finally:
            await made.kill()
