"""The numbers of Services come from the host, before the commit; its errors are told in the tenant's names."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from storage.memory import MemoryStore
from sync import metadata as md
from sync.cluster import Cluster, ClusterError, Unreachable
from sync.services import HostAllocator, keep_numbers
from sync.translator import Context
from sync.virtual import InProcessCluster
from tests.planes import NAMESPACES, SERVICES, FakeClock, plane, schemas
from vapi.control.service_ip import ServiceAllocator
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.registry.client import Client

HOST_NAMESPACE = "host-ns"
HOST_RANGE = "10.99.0.0/24"


@dataclass
class Bench:
    tenant: ControlPlane
    host: ControlPlane
    allocator: HostAllocator
    clock: FakeClock

    @property
    def client(self) -> Client:
        return self.tenant.client("tester")

    def twin(self, name: str) -> Obj | None:
        entry = self.host.registry.cached(SERVICES, HOST_NAMESPACE, f"{name}-x-default-x-vc")
        return entry.obj() if entry else None

    def the_twin(self, name: str) -> Obj:
        twin = self.twin(name)
        assert twin is not None
        return twin


def context() -> Context:
    return Context(cluster="vc", host_namespace=HOST_NAMESPACE)


@contextlib.asynccontextmanager
async def bench(around: Callable[[Cluster], Cluster] = lambda host: host) -> AsyncIterator[Bench]:
    """A tenant whose numbers a host gives, which is another plane; no syncer runs."""
    clock = FakeClock()
    allocator = HostAllocator(clock)
    async with (
        plane(clock=clock) as _,
        running_plane(
            MemoryStore(), clock=clock, schemas=schemas(), allocators=lambda _: {("", "services"): allocator}
        ) as tenant,
        running_plane(
            MemoryStore(),
            clock=clock,
            schemas=schemas(),
            allocators=lambda lookup: {("", "services"): ServiceAllocator(lookup, clock, ip_ranges=(HOST_RANGE,))},
        ) as host,
    ):
        await tenant.client("test").create(NAMESPACES, {"metadata": {"name": "default"}})
        await host.client("test").create(NAMESPACES, {"metadata": {"name": HOST_NAMESPACE}})
        allocator.attach(around(InProcessCluster(host.client("vapi"))), context)
        yield Bench(tenant, host, allocator, clock)


def service(name: str, **spec: object) -> Obj:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}], **spec}}


async def test_a_service_has_the_address_and_node_port_of_its_twin() -> None:
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web", type="NodePort"))
        twin = b.the_twin("web")
        assert made["spec"]["clusterIP"].startswith("10.99.0.")
        for key in ("clusterIP", "clusterIPs", "ports"):
            assert made["spec"][key] == twin["spec"][key]
        assert twin["metadata"]["annotations"][md.OBJECT_UID] == made["metadata"]["uid"]
        assert md.ALLOCATED_AT in twin["metadata"]["annotations"]


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "externalName": "example.com"}])
async def test_what_needs_no_number_does_not_ask_the_host(spec: dict[str, object]) -> None:
    async with bench() as b:
        await b.client.create(SERVICES, service("web", **spec))
        assert b.twin("web") is None


async def test_a_taken_address_is_the_hosts_error_in_the_tenants_names() -> None:
    async with bench() as b:
        first = await b.client.create(SERVICES, service("first"))
        with pytest.raises(ApiError) as refused:
            await b.client.create(SERVICES, service("second", clusterIP=first["spec"]["clusterIP"]))
        assert refused.value.code == 422
        assert refused.value.message.startswith('Service "second" is invalid: spec.clusterIP')
        (cause,) = (refused.value.details or {})["causes"]
        assert "already allocated" in cause["message"]
        assert HOST_NAMESPACE not in refused.value.message
        assert b.tenant.registry.cached(SERVICES, "default", "second") is None
        assert b.twin("second") is None


async def test_an_update_that_needs_another_number_changes_the_twin_first() -> None:
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web"))
        address, uid = made["spec"]["clusterIP"], b.the_twin("web")["metadata"]["uid"]
        made["spec"]["type"] = "NodePort"
        turned = await b.client.update(SERVICES, made)
        twin = b.the_twin("web")
        assert twin["metadata"]["uid"] == uid
        assert turned["spec"]["clusterIP"] == address
        assert turned["spec"]["ports"][0]["nodePort"] == twin["spec"]["ports"][0]["nodePort"]


async def test_a_dry_run_takes_nothing() -> None:
    async with bench() as b:
        caller = b.client.caller()
        caller.dry_run = True
        await b.tenant.registry.create(caller, b.client.row(SERVICES), "default", service("web"))
        assert b.twin("web") is None


async def test_the_twin_of_a_predecessor_makes_way() -> None:
    async with bench() as b:
        await b.client.create(SERVICES, service("web"))
        before = b.the_twin("web")["metadata"]["uid"]
        await b.client.delete(SERVICES, "default", "web")
        made = await b.client.create(SERVICES, service("web"))
        twin = b.the_twin("web")
        assert twin["metadata"]["uid"] != before
        assert twin["metadata"]["annotations"][md.OBJECT_UID] == made["metadata"]["uid"]


async def test_a_foreign_service_on_the_name_is_a_conflict_and_stays() -> None:
    async with bench() as b:
        foreign = service("web-x-default-x-vc")
        foreign["metadata"]["namespace"] = HOST_NAMESPACE
        theirs = await b.host.client("admin").create(SERVICES, foreign)
        with pytest.raises(ApiError) as refused:
            await b.client.create(SERVICES, service("web"))
        assert refused.value.code == 409
        assert b.the_twin("web")["metadata"]["uid"] == theirs["metadata"]["uid"]


class Away(InProcessCluster):
    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        raise Unreachable("no route")


async def test_without_the_host_it_is_503_and_nothing_is_stored() -> None:
    async with bench(lambda host: Away(host._client)) as b:  # type: ignore[attr-defined]
        with pytest.raises(ApiError) as refused:
            await b.client.create(SERVICES, service("web"))
        assert (refused.value.code, refused.value.retry_after_s) == (503, 1)
        assert b.tenant.registry.cached(SERVICES, "default", "web") is None


class LosesAnswers(InProcessCluster):
    """The first create takes effect and its answer is lost as a refusal of the second try would be: 409."""

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        with contextlib.suppress(ClusterError):
            await super().create(gvr, obj)
        raise ClusterError(409, "AlreadyExists", "already exists")


async def test_a_create_whose_answer_was_lost_is_taken_over() -> None:
    async with bench(lambda host: LosesAnswers(host._client)) as b:  # type: ignore[attr-defined]
        made = await b.client.create(SERVICES, service("web"))
        assert made["spec"]["clusterIP"] == b.the_twin("web")["spec"]["clusterIP"]


def test_an_update_that_leaves_numbers_out_means_the_old_ones() -> None:
    old = {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [port(80, 30_080)]}
    spec: dict[str, object] = {"type": "NodePort", "ports": [port(80), port(81)]}
    keep_numbers(spec, old)
    assert spec["clusterIP"] == "10.0.0.1"
    assert spec["ports"] == [port(80, 30_080), port(81)]


def port(number: int, node_port: int = 0) -> dict[str, int]:
    return {"port": number, "nodePort": node_port} if node_port else {"port": number}
