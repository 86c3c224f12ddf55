"""Service mapping: a host's Service in the tenant, and a tenant's under a name of the host, each put back and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import product

import pytest

from sync import metadata as md
from sync.cluster import ClusterEvent, ClusterEventType
from sync.limiter import Limiter
from sync.service_mapping import ServiceMapping, from_host, host_service, tenant_endpoints, tenant_service, to_host
from sync.translator import ENDPOINTS, SERVICES, Context
from sync.translators import endpoints, services
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import NAMESPACES, FakeClock, plane, turns
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane

LOOKS = 200
"""Turns of the loop in which a change is followed in memory."""
IN = from_host([("data/db", "default/db")])
OUT = to_host([("default/web", "web")])
CONTEXT = Context(
    cluster="vc", host_namespace="host-ns", anchor_uid="anchor-uid", mapped=frozenset({("default", "db")})
)


def service(name: str, namespace: str, **spec: object) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "sql", "port": 5432, "protocol": "TCP", "targetPort": 9000}], **spec},
    }


DATABASE = service("db", "data", clusterIP="10.0.0.7", clusterIPs=["10.0.0.7"], selector={"app": "db"})
HEADLESS = service("db", "data", clusterIP="None", clusterIPs=["None"])
WEB = service("web", "default", clusterIP="10.0.0.9", selector={"app": "web"})
POD_SUBSETS = [
    {
        "addresses": [
            {"ip": "10.1.0.3", "nodeName": "n", "hostname": "db-0", "targetRef": {"kind": "Pod", "name": "x"}}
        ],
        "ports": [{"port": 9000}],
    }
]


def test_the_tenant_reaches_a_mapped_service_at_the_address_that_it_has_on_the_host() -> None:
    made = tenant_service(IN[0], DATABASE)
    assert made["spec"] == {
        "type": "ClusterIP",
        "clusterIP": "10.0.0.7",
        "clusterIPs": ["10.0.0.7"],
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
    }
    behind = tenant_endpoints(IN[0], DATABASE, None)
    assert behind is not None
    assert behind["subsets"] == [
        {"addresses": [{"ip": "10.0.0.7"}], "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}
    ]


def test_of_a_headless_source_the_endpoints_come_without_what_names_the_hosts_pods() -> None:
    behind = tenant_endpoints(IN[0], HEADLESS, {"subsets": POD_SUBSETS})
    assert behind is not None
    assert behind["subsets"] == [{"addresses": [{"ip": "10.1.0.3", "hostname": "db-0"}], "ports": [{"port": 9000}]}]
    assert "subsets" not in (tenant_endpoints(IN[0], HEADLESS, None) or {})


def test_a_load_balancer_is_shown_and_an_external_name_stays_one() -> None:
    ingress = {"ingress": [{"ip": "192.0.2.1"}]}
    balanced = {**DATABASE, "spec": {**DATABASE["spec"], "type": "LoadBalancer"}, "status": {"loadBalancer": ingress}}
    made = tenant_service(IN[0], balanced)
    assert (made["spec"]["type"], made["status"]["loadBalancer"]) == ("LoadBalancer", ingress)
    named = service("db", "data", type="ExternalName", externalName="db.example.com")
    assert tenant_service(IN[0], named)["spec"] == {"type": "ExternalName", "externalName": "db.example.com"}
    assert tenant_endpoints(IN[0], named, None) is None


def test_nothing_tells_the_tenant_where_on_the_host_a_service_comes_from() -> None:
    source = {**DATABASE, "metadata": {"name": "oracle", "namespace": "crown-jewels"}}
    mapped = from_host([("crown-jewels/oracle", "default/db")])[0]
    told = json.dumps([tenant_service(mapped, source), tenant_endpoints(mapped, source, None)])
    assert "oracle" not in told and "crown-jewels" not in told


def test_a_service_on_the_host_selects_pods_of_its_own_tenant_namespace_only() -> None:
    made = host_service(OUT[0], WEB, CONTEXT)
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("web", "host-ns")
    assert made["spec"]["selector"] == {"app": "web", md.MANAGED_BY: "vc", md.NAMESPACE: "default"}
    assert made["spec"]["ports"] == [{"name": "sql", "port": 5432, "protocol": "TCP", "targetPort": 9000}]
    assert [o["uid"] for o in made["metadata"]["ownerReferences"]] == ["anchor-uid"]
    assert "clusterIP" not in made["spec"]


def test_a_mapped_service_is_not_sent_to_the_host_but_one_that_only_has_its_name_is() -> None:
    mapped = tenant_service(IN[0], DATABASE)
    tenants_own = service("db", "default")
    seen = Context(cluster="vc", host_namespace="host-ns", mapped=CONTEXT.mapped, service=lambda *_: mapped)
    assert not services.wanted(mapped, seen)
    assert services.wanted(tenants_own, seen)
    assert not endpoints.wanted({"metadata": {"name": "db", "namespace": "default"}}, seen)


# --- at work ------------------------------------------------------------------------------------------


@dataclass
class Bench:
    tenant: ControlPlane
    host: ControlPlane
    clock: FakeClock
    mapping: ServiceMapping
    task: asyncio.Task[None]
    events: list[str] = field(default_factory=list)

    def here(self, gvr: GVR, name: str, namespace: str = "default") -> Obj | None:
        entry = self.tenant.registry.cached(gvr, namespace, name)
        return entry.obj() if entry else None

    def there(self, name: str) -> Obj | None:
        entry = self.host.registry.cached(SERVICES, "host-ns", name)
        return entry.obj() if entry else None

    async def on_host(self, obj: Obj, gvr: GVR = SERVICES) -> None:
        await self.host.client("admin").create(gvr, obj)
        await turns(LOOKS)

    async def in_tenant(self, obj: Obj) -> None:
        await self.tenant.client("tester").create(SERVICES, obj)
        await turns(LOOKS)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.mapping.tick()
        await turns(LOOKS)


class WithoutEndpoints(InProcessCluster):
    """A host that lets Services be read, but no Endpoints."""

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        if gvr == ENDPOINTS:
            yield ClusterEvent(ClusterEventType.REFUSED, message="no right")
            await asyncio.Event().wait()
        async for event in super().watch(gvr, namespace):
            yield event


@contextlib.asynccontextmanager
async def bench(
    *, configured: bool = True, before: tuple[Obj, ...] = (), cluster: type[InProcessCluster] = InProcessCluster
) -> AsyncIterator[Bench]:
    clock = FakeClock()
    async with plane(clock=clock) as tenant, plane(clock=clock) as host:
        for namespace in ("data", "host-ns"):
            await host.client("admin").create(NAMESPACES, {"metadata": {"name": namespace}})
        for obj in before:
            await tenant.client("tester").create(SERVICES, obj)
        events: list[str] = []
        mapping = ServiceMapping(
            virtual=VirtualCluster(tenant.client("vapi-syncer")),
            host=cluster(host.client("vapi")),
            limiter=Limiter(0, clock),
            context=lambda: CONTEXT,
            from_host=IN if configured else (),
            to_host=OUT if configured else (),
            events=lambda _component, _obj, _type, _reason, message: events.append(message),
            clock=clock,
        )
        task = asyncio.create_task(mapping.run())
        await turns(LOOKS)
        try:
            yield Bench(tenant, host, clock, mapping, task, events)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_source_on_the_host_comes_and_goes_in_the_tenant() -> None:
    async with bench() as at:
        assert at.here(SERVICES, "db") is None
        await at.on_host(DATABASE)
        mapped = at.here(SERVICES, "db")
        assert mapped is not None and mapped["spec"]["clusterIP"] == "10.0.0.7"
        assert at.here(ENDPOINTS, "db") is not None
        await at.host.client("admin").delete(SERVICES, "data", "db")
        await turns(LOOKS)
        assert (at.here(SERVICES, "db"), at.here(ENDPOINTS, "db")) == (None, None)


async def test_what_a_tenant_does_to_a_mapped_service_is_put_back() -> None:
    async with bench() as at:
        await at.on_host(DATABASE)
        tester = at.tenant.client("tester")
        mapped = at.here(SERVICES, "db")
        assert mapped is not None
        await tester.update(SERVICES, {**mapped, "spec": {**mapped["spec"], "ports": [{"port": 1}]}})
        await turns(LOOKS)
        again = at.here(SERVICES, "db")
        assert again is not None and [p["port"] for p in again["spec"]["ports"]] == [5432]
        await tester.delete(SERVICES, "default", "db")
        await turns(LOOKS)
        assert at.here(SERVICES, "db") is not None


SHAPES = {
    "with an address": DATABASE,
    "headless": HEADLESS,
    "load balancer": {**DATABASE, "spec": {**DATABASE["spec"], "type": "LoadBalancer"}},
    "external name": {
        **DATABASE,
        "spec": {"type": "ExternalName", "externalName": "db.example.com", "sessionAffinity": "None"},
    },
}


@pytest.mark.parametrize(("before", "after"), [pair for pair in product(SHAPES, SHAPES) if pair[0] != pair[1]])
async def test_a_source_that_becomes_another_sort_of_service_is_followed(before: str, after: str) -> None:
    async with bench() as at:
        await at.on_host(SHAPES[before])
        await at.host.client("admin").delete(SERVICES, "data", "db")
        await at.host.client("admin").create(SERVICES, SHAPES[after])
        await turns(LOOKS)
        await at.advance(1)
        source = at.host.registry.cached(SERVICES, "data", "db")
        mapped = at.here(SERVICES, "db")
        assert source is not None and mapped is not None
        for key in ("type", "clusterIP", "externalName", "selector"):
            wanted = None if key == "selector" else source.obj()["spec"].get(key)
            assert mapped["spec"].get(key) == wanted, key
        assert not at.task.done()


async def test_a_selector_that_the_tenant_adds_to_a_mapped_service_is_taken_out() -> None:
    async with bench() as at:
        await at.on_host(DATABASE)
        mapped = at.here(SERVICES, "db")
        assert mapped is not None
        spec = {**mapped["spec"], "selector": {"app": "mine"}, "externalIPs": ["192.0.2.7"]}
        await at.tenant.client("tester").update(SERVICES, {**mapped, "spec": spec})
        await turns(LOOKS)
        again = at.here(SERVICES, "db")
        assert again is not None and not again["spec"].keys() & {"selector", "externalIPs"}


async def test_a_mapped_service_waits_for_its_namespace_to_go_and_then_makes_it_anew() -> None:
    async with bench() as at:
        await at.on_host(DATABASE)
        tester = at.tenant.client("tester")
        await tester.delete(NAMESPACES, "", "default")
        await tester.delete(SERVICES, "default", "db")
        await at.advance(20)
        assert at.here(SERVICES, "db") is None
        going = at.tenant.registry.cached(NAMESPACES, "", "default")
        assert going is not None and going.deleting
        await tester.update(NAMESPACES, {**going.obj(), "spec": {"finalizers": []}}, subresource="finalize")
        assert at.tenant.registry.cached(NAMESPACES, "", "default") is None
        await at.advance(6)
        assert at.here(SERVICES, "db") is not None


async def test_endpoints_that_may_not_be_read_matter_only_where_a_source_has_no_address() -> None:
    async with bench(cluster=WithoutEndpoints) as at:
        await at.on_host(DATABASE)
        assert at.here(SERVICES, "db") is not None
    async with bench(cluster=WithoutEndpoints) as at:
        await at.on_host(HEADLESS)
        assert at.here(SERVICES, "db") is None


async def test_endpoints_of_a_headless_source_are_followed() -> None:
    async with bench() as at:
        await at.on_host(HEADLESS)
        await at.on_host({"metadata": {"name": "db", "namespace": "data"}, "subsets": POD_SUBSETS}, ENDPOINTS)
        behind = at.here(ENDPOINTS, "db")
        assert behind is not None and behind["subsets"][0]["addresses"] == [{"ip": "10.1.0.3", "hostname": "db-0"}]
        await at.host.client("admin").delete(ENDPOINTS, "data", "db")
        await turns(LOOKS)
        assert not (at.here(ENDPOINTS, "db") or {}).get("subsets")


async def test_a_tenants_own_service_of_the_targets_name_is_left_alone_until_it_goes() -> None:
    async with bench(before=(service("db", "default", selector={"app": "mine"}),)) as at:
        await at.on_host(DATABASE)
        mine = at.here(SERVICES, "db")
        assert mine is not None and mine["spec"]["selector"] == {"app": "mine"}
        assert len(at.events) == 1 and "another Service of that name" in at.events[0]
        await at.tenant.client("tester").delete(SERVICES, "default", "db")
        await at.advance(31)
        mapped = at.here(SERVICES, "db")
        assert mapped is not None and mapped["spec"]["clusterIP"] == "10.0.0.7"


async def test_a_tenants_service_stands_under_its_name_on_the_host_while_it_exists() -> None:
    async with bench() as at:
        await at.in_tenant(service("web", "default", selector={"app": "web"}))
        assert at.there("web") is not None
        await at.host.client("admin").delete(SERVICES, "host-ns", "web")
        await turns(LOOKS)
        assert at.there("web") is not None
        await at.tenant.client("tester").delete(SERVICES, "default", "web")
        await turns(LOOKS)
        assert at.there("web") is None


async def test_a_port_that_the_tenant_takes_away_goes_on_the_host_too() -> None:
    async with bench() as at:
        ports = [{"name": "sql", "port": 5432}, {"name": "web", "port": 80}]
        await at.in_tenant(service("web", "default", selector={"app": "web"}, ports=ports))
        mine = at.here(SERVICES, "web")
        assert mine is not None
        spec = {**mine["spec"], "ports": mine["spec"]["ports"][:1]}
        await at.tenant.client("tester").update(SERVICES, {**mine, "spec": spec})
        await turns(LOOKS)
        there = at.there("web")
        assert there is not None and [port["name"] for port in there["spec"]["ports"]] == ["sql"]


async def test_what_somebody_adds_to_a_mapped_service_on_the_host_is_taken_out() -> None:
    async with bench() as at:
        await at.in_tenant(service("web", "default", selector={"app": "web"}))
        made = at.there("web")
        assert made is not None
        more = {"selector": {**made["spec"]["selector"], "tier": "theirs"}, "externalIPs": ["192.0.2.7"]}
        spec = {**made["spec"], **more, "type": "NodePort", "publishNotReadyAddresses": True}
        await at.host.client("admin").update(SERVICES, {**made, "spec": spec})
        await turns(LOOKS)
        again = at.there("web")
        assert again is not None and again["metadata"]["uid"] == made["metadata"]["uid"]
        assert again["spec"] == made["spec"]


async def test_a_foreign_service_on_the_host_is_never_touched() -> None:
    async with bench() as at:
        await at.on_host(service("web", "host-ns", selector={"app": "theirs"}))
        await at.in_tenant(service("web", "default", selector={"app": "web"}))
        theirs = at.there("web")
        assert theirs is not None and theirs["spec"]["selector"] == {"app": "theirs"}
        assert len(at.events) == 1


async def test_a_service_without_selector_cannot_go_out_and_says_so() -> None:
    async with bench() as at:
        await at.in_tenant(service("web", "default"))
        assert at.there("web") is None
        assert at.events == ["only a Service with a selector can be mapped to the host"]


async def test_what_is_no_longer_configured_ends_at_the_next_start() -> None:
    left = tenant_service(IN[0], DATABASE)
    async with bench(configured=False, before=({k: v for k, v in left.items() if k != "status"},)) as at:
        assert at.here(SERVICES, "db") is None


async def test_a_copy_that_somebody_made_of_a_mapped_service_is_not_taken_for_one() -> None:
    mapped = {k: v for k, v in tenant_service(IN[0], HEADLESS).items() if k != "status"}
    copy = {**mapped, "metadata": {**mapped["metadata"], "name": "mine"}}
    async with bench(configured=False, before=(copy,)) as at:
        assert at.here(SERVICES, "mine") is not None
