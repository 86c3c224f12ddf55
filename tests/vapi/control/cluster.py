"""A plane with a memory store, its controllers and a kubelet of a few lines: what the tests of controllers run on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from storage.memory import MemoryStore
from tests.vapi.control.clock import FakeClock
from vapi.cacher.entry import Change, ChangeType
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.control.controller import Context, Controller
from vapi.control.controllers import CONTROLLERS, ControllerManager, Settings
from vapi.control.daemonset_plan import target_of
from vapi.control.service_ip import ServiceAllocator
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.registry.admission import AdmissionPlugin, Lookup
from vapi.registry.allocator import Allocator
from vapi.schema.schemas import Schemas, load_schemas

ROOT_CA = "-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"


@lru_cache
def schemas() -> Schemas:
    return load_schemas()


Plugins = Sequence[AdmissionPlugin]
Factory = Callable[[Context], Controller[Any]]


class Kubelet:
    """Binds every pod to its node, says it runs and is ready, and ends it when it is deleted.

    `ready(pod)` decides what becomes ready; `hold` keeps deleted pods terminating.
    """

    def __init__(self, plane: ControlPlane, clock: FakeClock) -> None:
        self._registry = plane.registry
        self._client = client = plane.client("kubelet")
        self._clock = clock
        self._keys: dict[tuple[str, str], None] = {}
        self.ready: Callable[[Obj], bool] = lambda _pod: True
        self.hold = False
        client.on_change(kinds.PODS, self._changed)

    def _changed(self, change: Change) -> None:
        if change.type is not ChangeType.DELETED:
            self._keys[change.entry.namespace, change.entry.name] = None

    def look_at_all(self) -> None:
        for entry in self._client.entries(kinds.PODS):
            self._keys[entry.namespace, entry.name] = None

    @property
    def idle(self) -> bool:
        return not self._keys

    async def work(self) -> None:
        while self._keys:
            key = next(iter(self._keys))
            del self._keys[key]
            entry = self._client.cached(kinds.PODS, *key)
            if entry is not None:
                with contextlib.suppress(ApiError):
                    await self._look(entry.obj())

    async def _bind(self, namespace: str, name: str) -> Obj:
        def bound(pod: Obj) -> Obj:
            pod["spec"]["nodeName"] = target_of(pod) or "node-1"
            return pod

        row = self._client.row(kinds.PODS)
        written = await self._registry.change(self._client.caller(), row, namespace, name, bound, subresource="binding")
        return written.entry.obj()

    async def _look(self, pod: Obj) -> None:
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            if not self.hold:
                await self._client.delete(kinds.PODS, metadata["namespace"], metadata["name"], grace_period_s=0)
            return
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return
        if not pod["spec"].get("nodeName"):
            pod = await self._bind(metadata["namespace"], metadata["name"])
        status = pod.setdefault("status", {})
        ready = "True" if self.ready(pod) else "False"
        known = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
        if status.get("phase") == "Running" and known is not None and known["status"] == ready:
            return
        number = int(metadata["resourceVersion"])
        address = f"10.1.{number // 250 % 250}.{number % 250 + 1}"
        status.update(
            phase="Running", podIP=status.get("podIP", address), podIPs=[{"ip": status.get("podIP", address)}]
        )
        now = rfc3339(self._clock.now())
        status["conditions"] = [{"type": "Ready", "status": ready, "lastTransitionTime": now}]
        await self._client.update(kinds.PODS, pod, subresource="status")


def namespace(name: str) -> Obj:
    """As the namespace strategy completes it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


class Cluster:
    """`client` is a user's; `settle` runs the loop until nobody has anything to do."""

    def __init__(self, plane: ControlPlane, clock: FakeClock, names: Iterable[str], more: Iterable[Factory]) -> None:
        self.plane = plane
        self.clock = clock
        self.client = plane.client("test")
        self.kubelet = Kubelet(plane, clock)
        self._names = tuple(names)
        self._more = tuple(more)
        self._manager: ControllerManager | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def manager(self) -> ControllerManager:
        assert self._manager is not None
        return self._manager

    def start(self) -> None:
        client = self.plane.client("controllers")
        self._manager = ControllerManager(client, Settings(root_ca=ROOT_CA), clock=self.clock, only=self._names)
        self._manager.controllers.extend(factory(self._manager.context) for factory in self._more)
        self._task = asyncio.create_task(self._manager.run())

    async def stop(self) -> None:
        """At once, wherever the controllers are."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def settle(self, *, kubelet: bool = True) -> None:
        """Nothing waits but for a time to come. Fails after far too many turns: something goes round in circles."""
        quiet = 0
        for _ in range(20_000):
            if kubelet:
                await self.kubelet.work()
            await asyncio.sleep(0)
            idle = self._task is None or (self.manager.idle and not self._task.done())
            quiet = quiet + 1 if idle and (not kubelet or self.kubelet.idle) else 0
            if quiet > 20 and not self._retries_soon():
                return
        raise AssertionError("the controllers do not come to rest")

    def _retries_soon(self) -> bool:
        """Time passes for keys that backed off after a lost race, if it is less than a second."""
        if self._task is None:
            return False
        dues = [due for controller in self.manager.controllers if (due := controller.queue.next_due_s()) is not None]
        if not dues or min(dues) >= 1:
            return False
        self.clock.advance(min(dues))
        self._tick()
        return True

    def _tick(self) -> None:
        for controller in self.manager.controllers:
            controller.queue.tick()

    async def turns(self, count: int) -> None:
        """Just so many turns of the loop: to stop somewhere in the middle."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Time passes, delayed keys become due, everybody settles."""
        self.clock.advance(seconds)
        self._tick()
        await self.settle()

    # --- shorthands -----------------------------------------------------------------------------------

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        return await self.client.create(gvr, obj)

    async def get(self, gvr: GVR, name: str, namespace: str = "default") -> Obj:
        return await self.client.get(gvr, namespace, name)

    def has(self, gvr: GVR, name: str, namespace: str = "default") -> bool:
        return self.client.cached(gvr, namespace, name) is not None

    def objects(self, gvr: GVR, namespace: str = "") -> list[Obj]:
        return [entry.obj() for entry in self.client.entries(gvr, namespace)]

    def messages(self, reason: str) -> list[str]:
        """Of the events with `reason`, in order of their names' times."""
        events = [each for each in self.objects(kinds.EVENTS) if each["reason"] == reason]
        return [each["message"] for each in sorted(events, key=lambda each: each["metadata"]["name"].rsplit(".", 1)[1])]


def service_allocators(lookup: Lookup, clock: FakeClock) -> Mapping[tuple[str, str], Allocator]:
    return {("", "services"): ServiceAllocator(lookup, clock, pick=random.Random(1))}


@contextlib.asynccontextmanager
async def cluster(*names: str, plugins: Plugins = (), more: Sequence[Factory] = ()) -> AsyncIterator[Cluster]:
    """With the controllers of these names, all if there are none, those of `more`, and the namespace `default`."""
    clock = FakeClock()
    store = MemoryStore()
    allocators = partial(service_allocators, clock=clock)
    async with running_plane(
        store, clock=clock, schemas=schemas(), allocators=allocators, plugins=lambda _: plugins
    ) as plane:
        made = Cluster(plane, clock, names or CONTROLLERS, more)
        await made.create(kinds.NAMESPACES, namespace("default"))
        made.start()
        try:
            await made.settle()
            yield made
        finally:
            await made.stop()
    await store.close()
