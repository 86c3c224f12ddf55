"""Pods get the tenant's nameserver: they wait for its number, and each dnsPolicy means what it does elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from storage.memory import MemoryStore
from sync.cluster_dns import AGAIN_S, PATIENCE_S, WAITS
from sync.names import host_name
from sync.services import HostAllocator
from sync.tenancy import Settings, Tenancy
from sync.tokens import IssuedToken
from sync.translator import Context
from sync.translators import pods
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import NAMESPACES, PODS, SERVICES, FakeClock, pod, schemas
from vapi.control.service_ip import ServiceAllocator
from vapi.gvk import Obj
from vapi.plane import running_plane
from vapi.registry.client import Client

SEARCHES = ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]
NDOTS = {"name": "ndots", "value": "5"}
OURS = {"nameservers": ["10.0.0.53"], "searches": SEARCHES, "options": [NDOTS]}
OWN = {
    "nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
    "searches": ["example.com"],
    "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
}


def translated(dns_ip: str | None, **spec: Any) -> Obj:
    virtual = pod("web")
    virtual["spec"] |= spec
    host: Obj = pods.to_host(virtual, Context(cluster="vc", host_namespace="h", dns_ip=dns_ip))["spec"]
    return {key: host[key] for key in ("dnsPolicy", "dnsConfig") if key in host}


@pytest.mark.parametrize(
    ("spec", "host"),
    [
        ({}, {"dnsPolicy": "None", "dnsConfig": OURS}),
        ({"dnsPolicy": "ClusterFirst"}, {"dnsPolicy": "None", "dnsConfig": OURS}),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, {"dnsPolicy": "None", "dnsConfig": OURS}),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, {"dnsPolicy": "ClusterFirst"}),
        ({"dnsPolicy": "Default"}, {"dnsPolicy": "Default"}),
        ({"dnsPolicy": "None", "dnsConfig": OWN}, {"dnsPolicy": "None", "dnsConfig": OWN}),
        ({"dnsPolicy": "Default", "dnsConfig": OWN}, {"dnsPolicy": "Default", "dnsConfig": OWN}),
        (
            {"dnsPolicy": "ClusterFirst", "dnsConfig": OWN},
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["10.0.0.53", "192.0.2.1", "192.0.2.2"],
                    "searches": [*SEARCHES, "example.com"],
                    "options": OWN["options"],
                },
            },
        ),
    ],
    ids=["none said", "ClusterFirst", "WithHostNet", "on the host's network", "Default", "None", "Default+", "First+"],
)
def test_a_dns_policy_on_the_host(spec: dict[str, Any], host: Obj) -> None:
    assert translated("10.0.0.53", **spec) == host


@pytest.mark.parametrize("policy", ["ClusterFirst", "ClusterFirstWithHostNet", "Default"])
def test_where_the_tenant_has_no_dns_the_policy_goes_out_as_it_is(policy: str) -> None:
    assert translated(None, dnsPolicy=policy) == {"dnsPolicy": policy}


@pytest.mark.parametrize(("count", "length", "kept"), [(40, 3, 32), (29, 100, 22)], ids=["too many", "too long"])
def test_searches_are_cut_where_the_host_would_refuse_them(count: int, length: int, kept: int) -> None:
    own = [f"{n:02}".rjust(length, "a") for n in range(count)]
    searches = translated("10.0.0.53", dnsConfig={"searches": own})["dnsConfig"]["searches"]
    assert searches[:3] == SEARCHES
    assert len(searches) == kept
    assert len(" ".join(searches)) <= 2048


# --- with a tenancy between two planes ----------------------------------------------------------------------


@dataclass
class World:
    tenancy: Tenancy
    tenant: Client
    host: Client
    clock: FakeClock
    events: list[tuple[str, str]] = field(default_factory=list)

    async def settle(self) -> None:
        quiet = 0
        while quiet < 50:
            await asyncio.sleep(0)
            self.tenancy.syncer.queue.tick()
            quiet = quiet + 1 if self.tenancy.syncer.queue.idle else 0

    def twin(self, name: str, namespace: str = "default") -> Obj | None:
        entry = self.host.cached(PODS, "h", host_name(name, namespace, "vc"))
        return entry.obj() if entry else None

    async def install(self) -> str:
        """The number of kube-dns."""
        ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
        made = await self.tenant.create(
            SERVICES,
            {"metadata": {"name": "kube-dns", "namespace": "kube-system"}, "spec": {"ports": ports}},
        )
        await self.settle()
        return str(made["spec"]["clusterIP"])


@contextlib.asynccontextmanager
async def world(*, dns: bool) -> AsyncIterator[World]:
    clock = FakeClock()
    numbers = HostAllocator(clock)
    async with (
        running_plane(
            MemoryStore(), clock=clock, schemas=schemas(), allocators=lambda _: {("", "services"): numbers}
        ) as tenant,
        running_plane(
            MemoryStore(),
            clock=clock,
            schemas=schemas(),
            allocators=lambda lookup: {("", "services"): ServiceAllocator(lookup, clock, ip_ranges=("10.7.0.0/24",))},
        ) as host,
    ):
        for namespace in ("default", "kube-system"):
            await tenant.client("test").create(NAMESPACES, {"metadata": {"name": namespace}})
        await host.client("test").create(NAMESPACES, {"metadata": {"name": "h"}})
        events: list[tuple[str, str]] = []
        tenancy = Tenancy(
            virtual=VirtualCluster(tenant.client("vapi-syncer")),
            host=InProcessCluster(host.client("vapi")),
            settings=Settings(cluster="vc", host_namespace="h", rate=0, dns=dns),
            store_id="store",
            events=lambda _component, obj, _type, _reason, said: events.append((obj["metadata"]["name"], said)),
            issue=lambda *_: IssuedToken("token", clock.now()),
            allocator=numbers,
            clock=clock,
        )
        await tenancy.connect()
        task = asyncio.create_task(tenancy.run())
        await tenancy.syncer.synced.wait()
        made = World(tenancy, tenant.client("tester"), host.client("admin"), clock, events)
        try:
            await made.settle()
            yield made
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_pod_waits_for_the_number_of_kube_dns_and_gets_it() -> None:
    async with world(dns=True) as w:
        await w.tenant.create(PODS, pod("web"))
        await w.settle()
        assert w.twin("web") is None
        number = await w.install()
        twin = w.twin("web")
        assert twin is not None
        assert twin["spec"]["dnsPolicy"] == "None"
        assert twin["spec"]["dnsConfig"]["nameservers"] == [number]


async def test_coredns_itself_does_not_wait() -> None:
    async with world(dns=True) as w:
        coredns = pod("coredns", "kube-system")
        coredns["spec"]["dnsPolicy"] = "Default"
        await w.tenant.create(PODS, coredns)
        await w.settle()
        assert w.twin("coredns", "kube-system") is not None


async def test_a_pod_that_waits_long_says_so_once() -> None:
    async with world(dns=True) as w:
        await w.tenant.create(PODS, pod("web"))
        await w.settle()
        assert w.events == []
        for _ in range(5):
            w.clock.advance(max(AGAIN_S, PATIENCE_S))
            await w.settle()
        assert w.events == [("web", WAITS)]


async def test_without_dns_a_pod_keeps_the_hosts() -> None:
    async with world(dns=False) as w:
        await w.tenant.create(PODS, pod("web"))
        await w.settle()
        twin = w.twin("web")
        assert twin is not None
        assert twin["spec"].get("dnsPolicy") in (None, "ClusterFirst")


async def test_a_kube_dns_that_the_tenant_installs_itself_is_used() -> None:
    async with world(dns=False) as w:
        number = await w.install()
        await w.tenant.create(PODS, pod("web"))
        await w.settle()
        twin = w.twin("web")
        assert twin is not None
        assert twin["spec"]["dnsConfig"]["nameservers"] == [number]


async def test_pods_that_run_go_on_while_the_service_is_made_anew() -> None:
    async with world(dns=True) as w:
        number = await w.install()
        await w.tenant.create(PODS, pod("web"))
        await w.settle()
        await w.tenant.delete(SERVICES, "kube-system", "kube-dns")
        labelled = w.tenant.cached(PODS, "default", "web")
        assert labelled is not None
        changed = labelled.obj()
        changed["metadata"]["labels"] = {"a": "b"}
        await w.tenant.update(PODS, changed)
        await w.settle()
        twin = w.twin("web")
        assert twin is not None
        assert twin["metadata"]["labels"]["a"] == "b"
        assert twin["spec"]["dnsConfig"]["nameservers"] == [number]
