"""Real control planes for tests: the in-process core on a store of choice, and short hands to use it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator

from storage.memory import MemoryStore
from storage.store import Store
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.schema.schemas import Schemas, load_schemas

CONFIGMAPS = GVR("", "v1", "configmaps")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
NAMESPACES = GVR("", "v1", "namespaces")
PODS = GVR("", "v1", "pods")
SECRETS = GVR("", "v1", "secrets")
SERVICES = GVR("", "v1", "services")

_schemas: list[Schemas] = []


def schemas() -> Schemas:
    """Loaded once for all tests: they are immutable."""
    if not _schemas:
        _schemas.append(load_schemas())
    return _schemas[0]


class FakeClock:
    """Stands still until told; timers of the loop still run in real time."""

    def __init__(self) -> None:
        self.time = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        self.seconds = 1_000.0

    def now(self) -> dt.datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.time += dt.timedelta(seconds=seconds)
        self.seconds += seconds


@contextlib.asynccontextmanager
async def plane(store: Store | None = None, clock: FakeClock | None = None) -> AsyncIterator[ControlPlane]:
    """A plane with the namespace `default`, no controllers, no plugins."""
    own = store or MemoryStore()
    try:
        async with running_plane(own, clock=clock, schemas=schemas()) as running:
            if running.registry.cached(NAMESPACES, "", "default") is None:
                await running.client("test").create(NAMESPACES, {"metadata": {"name": "default"}})
            yield running
    finally:
        if store is None:
            await own.close()


async def turns(count: int = 5) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


def configmap(name: str, namespace: str = "default", **data: str) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "data": data}


def pod(name: str, namespace: str = "default", **labels: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
