"""What keeps the DNS of a tenant in its kube-system: installed once, put back, and the tenant's own left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from storage.memory import MemoryStore
from tests.planes import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, SERVICES, FakeClock, schemas
from vapi.control.controllers import ControllerManager
from vapi.control.controllers import Settings as ControllerSettings
from vapi.control.service_ip import ServiceAllocator
from vapi.dns.installer import DnsInstaller
from vapi.dns.manifest import ENDPOINT_SLICES, RESOURCES, Mode, Settings, objects
from vapi.errors import service_unavailable
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.registry.allocator import Release
from vapi.registry.caller import Caller
from vapi.registry.client import Client

COREDNS = Settings(Mode.COREDNS)
EMBEDDED = Settings(Mode.EMBEDDED, address=("192.0.2.9", 1053))
KEY = ("kube-system", "coredns")
KUBE_DNS = ("kube-system", "kube-dns")


class LateAllocator:
    """As of a host that is not there at first."""

    def __init__(self, inner: ServiceAllocator) -> None:
        self.inner = inner
        self.there = True

    async def allocate(self, caller: Caller, obj: Obj, old: Obj | None) -> Release:
        if not self.there:
            raise service_unavailable("no host", retry_after_s=1)
        return await self.inner.allocate(caller, obj, old)

    async def released(self, obj: Obj) -> None:
        await self.inner.released(obj)


class World:
    def __init__(self, running: ControlPlane, allocator: LateAllocator, clock: FakeClock) -> None:
        self.running = running
        self.allocator = allocator
        self.clock = clock
        self.client: Client = running.client("kubectl")

    async def settle(self, manager: ControllerManager) -> None:
        quiet = 0
        while quiet < 30:
            await asyncio.sleep(0)
            quiet = quiet + 1 if manager.idle else 0

    @contextlib.asynccontextmanager
    async def installed(self, settings: Settings, *, quick: bool = False) -> AsyncIterator[ControllerManager]:
        manager = ControllerManager(self.client, ControllerSettings(), clock=self.clock, only=())
        manager.controllers.append(DnsInstaller(manager.context, settings, lambda: quick or self.allocator.there))
        task = asyncio.create_task(manager.run())
        try:
            await asyncio.sleep(0)
            await self.settle(manager)
            yield manager
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def find(self, gvr: GVR, namespace: str, name: str) -> Obj | None:
        entry = self.client.cached(gvr, namespace, name)
        return entry.obj() if entry is not None else None

    def the(self, gvr: GVR, namespace: str, name: str) -> Obj:
        found = self.find(gvr, namespace, name)
        assert found is not None
        return found

    def versions(self, settings: Settings) -> dict[str, str | None]:
        found = {}
        for obj in objects(settings):
            here = self.find(RESOURCES[obj["kind"]], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            found[obj["kind"]] = here["metadata"]["resourceVersion"] if here else None
        return found


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    made: list[LateAllocator] = []

    def allocators(lookup: object) -> dict[tuple[str, str], LateAllocator]:
        made.append(LateAllocator(ServiceAllocator(lookup, clock, ip_ranges=("10.0.0.0/24",))))  # type: ignore[arg-type]
        return {("", "services"): made[0]}

    store = MemoryStore()
    async with running_plane(store, clock=clock, schemas=schemas(), allocators=allocators) as running:
        await running.client("test").create(NAMESPACES, {"metadata": {"name": "kube-system"}})
        yield World(running, made[0], clock)
    await store.close()


async def test_everything_is_installed_and_a_second_start_writes_nothing() -> None:
    async with world() as w:
        async with w.installed(COREDNS):
            before = w.versions(COREDNS)
        async with w.installed(COREDNS):
            assert w.versions(COREDNS) == before
    assert all(before.values())


async def test_what_the_tenant_deletes_is_installed_again() -> None:
    async with world() as w, w.installed(COREDNS) as manager:
        uid = w.the(DEPLOYMENTS, *KEY)["metadata"]["uid"]
        for obj in objects(COREDNS):
            metadata = obj["metadata"]
            await w.client.delete(RESOURCES[obj["kind"]], metadata.get("namespace", ""), metadata["name"])
        await w.settle(manager)
        assert all(w.versions(COREDNS).values())
        assert w.the(DEPLOYMENTS, *KEY)["metadata"]["uid"] != uid


async def test_the_tenants_own_fields_stay_and_ours_are_put_back() -> None:
    async with world() as w, w.installed(COREDNS) as manager:
        deployment = w.the(DEPLOYMENTS, *KEY)
        deployment["spec"]["replicas"] = 3
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
        await w.client.update(DEPLOYMENTS, deployment)
        config = w.the(CONFIGMAPS, *KEY)
        config["data"] = {"Corefile": "mine", "NodeHosts": "192.0.2.1 node"}
        await w.client.update(CONFIGMAPS, config)
        await w.settle(manager)
        deployment = w.the(DEPLOYMENTS, *KEY)
        assert deployment["spec"]["replicas"] == 3
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == COREDNS.image
        data = w.the(CONFIGMAPS, *KEY)["data"]
        assert data["NodeHosts"] == "192.0.2.1 node"
        assert data["Corefile"].startswith(".:1053")


async def test_a_new_image_is_rolled_out() -> None:
    async with world() as w:
        async with w.installed(COREDNS):
            pass
        async with w.installed(Settings(Mode.COREDNS, image="example.com/coredns:2")):
            (container,) = w.the(DEPLOYMENTS, *KEY)["spec"]["template"]["spec"]["containers"]
            assert container["image"] == "example.com/coredns:2"


@pytest.mark.parametrize("quick", [False, True], ids=["waits", "is refused"])
async def test_the_service_is_made_once_the_host_gives_numbers(quick: bool) -> None:
    async with world() as w:
        w.allocator.there = False
        async with w.installed(COREDNS, quick=quick) as manager:
            assert w.find(SERVICES, *KUBE_DNS) is None
            assert w.find(DEPLOYMENTS, *KEY) is not None
            w.allocator.there = True
            w.clock.advance(60)
            for controller in manager.controllers:
                controller.queue.tick()
            await w.settle(manager)
            assert w.the(SERVICES, *KUBE_DNS)["spec"]["clusterIP"]


async def test_the_other_mode_takes_over_the_address_and_removes_what_was_ours() -> None:
    async with world() as w:
        async with w.installed(COREDNS):
            first = w.the(SERVICES, *KUBE_DNS)
        async with w.installed(EMBEDDED):
            second = w.the(SERVICES, *KUBE_DNS)
            assert w.find(DEPLOYMENTS, *KEY) is None
            assert w.find(ENDPOINT_SLICES, *KUBE_DNS) is not None
        async with w.installed(COREDNS):
            third = w.the(SERVICES, *KUBE_DNS)
            assert w.find(DEPLOYMENTS, *KEY) is not None
            assert w.find(ENDPOINT_SLICES, *KUBE_DNS) is None
    assert "selector" not in second["spec"]
    assert third["spec"]["selector"]
    assert first["spec"]["clusterIP"] == second["spec"]["clusterIP"] == third["spec"]["clusterIP"]
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


@pytest.mark.parametrize("quick", [False, True], ids=["waits", "is refused"])
async def test_the_address_stays_where_the_host_is_away_during_the_change(quick: bool) -> None:
    """It is away before the Service is deleted, or from then on."""
    async with world() as w:
        async with w.installed(COREDNS):
            first = w.the(SERVICES, *KUBE_DNS)
        w.allocator.there = False
        async with w.installed(EMBEDDED, quick=quick) as manager:
            assert (w.find(SERVICES, *KUBE_DNS) is None) is quick
            w.allocator.there = True
            w.clock.advance(60)
            for controller in manager.controllers:
                controller.queue.tick()
            await w.settle(manager)
            second = w.the(SERVICES, *KUBE_DNS)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["spec"]["clusterIP"] == first["spec"]["clusterIP"]


async def test_a_deployment_named_coredns_that_is_the_tenants_own_stays() -> None:
    async with world() as w:
        own = next(o for o in objects(COREDNS) if o["kind"] == "Deployment")
        await w.client.create(DEPLOYMENTS, own)
        async with w.installed(EMBEDDED):
            assert w.find(DEPLOYMENTS, *KEY) is not None


async def test_with_no_dns_nothing_is_installed_and_nothing_removed() -> None:
    async with world() as w:
        async with w.installed(Settings(Mode.NONE)):
            assert not any(w.versions(COREDNS).values())
        async with w.installed(COREDNS):
            pass
        async with w.installed(Settings(Mode.NONE)):
            assert all(w.versions(COREDNS).values())
