"""The numbers of Services come from the host, before the commit; its errors are told in the tenant's names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from storage.memory import MemoryStore
from sync import metadata as md
from sync.actions import RESERVED_S
from sync.cluster import Cluster, ClusterError, Unreachable
from sync.ownership import make_twin
from sync.services import NO_HOST, STILL_GOING, HostAllocator
from sync.syncer import Syncer
from sync.translator import Context, Ref
from sync.translators import services
from sync.translators.services import NUMBERS
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import NAMESPACES, SERVICES, FakeClock, plane, schemas
from tests.sync.rig import rig
from vapi.clock import rfc3339
from vapi.control.service_ip import DRY_RUN_PORT, ServiceAllocator
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane, running_plane
from vapi.registry.admission import Lookup
from vapi.registry.allocator import Allocator
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
            MemoryStore(), clock=clock, schemas=schemas(), allocators=lambda lookup: _given(allocator, lookup)
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


def _given(allocator: HostAllocator, lookup: Lookup) -> dict[tuple[str, str], Allocator]:
    allocator.use(lookup)
    return {("", "services"): allocator}


@contextlib.asynccontextmanager
async def synced(b: Bench, host: Cluster | None = None, told: list[str] | None = None) -> AsyncIterator[Syncer]:
    """With a syncer that looks at what the allocator does."""
    syncer = Syncer(
        virtual=VirtualCluster(b.tenant.client("vapi-syncer")),
        host=host or InProcessCluster(b.host.client("vapi")),
        context=context(),
        store_id="s",
        events=lambda *event: told.append(event[-1]) if told is not None else None,
        rate=0,
        gate=b.allocator.gate,
    )
    b.allocator.attach(
        host or InProcessCluster(b.host.client("vapi")),
        lambda: syncer.context,
        lambda: syncer.informers[SERVICES].twins(),
    )
    task = asyncio.create_task(syncer.run())
    await syncer.synced.wait()
    try:
        yield syncer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - many things, and none has an event of its own
            await asyncio.sleep(0)


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


async def test_what_needs_no_number_does_not_ask_the_host() -> None:
    async with bench() as b:
        await b.client.create(SERVICES, service("web", type="ExternalName", externalName="example.com"))
        assert b.twin("web") is None


async def test_a_headless_service_has_the_families_of_the_host() -> None:
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web", clusterIP="None", selector={"a": "b"}))
        twin = b.the_twin("web")
        assert [made["spec"][key] for key in NUMBERS[:4]] == ["None", ["None"], ["IPv4"], "SingleStack"]
        assert all(made["spec"].get(key) == twin["spec"].get(key) for key in NUMBERS)


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


async def test_a_dry_run_shows_what_the_host_would_give_and_takes_nothing() -> None:
    async with bench() as b:
        shown = await b.client.rehearsing().create(SERVICES, service("web", type="NodePort"))
        assert shown["spec"]["clusterIP"].startswith("10.99.0.")
        assert shown["spec"]["ports"][0]["nodePort"] > DRY_RUN_PORT
        assert b.twin("web") is None
        assert b.tenant.registry.cached(SERVICES, "default", "web") is None


async def test_a_dry_run_of_an_update_changes_no_twin() -> None:
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web"))
        before = b.the_twin("web")
        shown = await b.client.rehearsing().update(SERVICES, {**made, "spec": {**made["spec"], "type": "NodePort"}})
        assert shown["spec"]["ports"][0]["nodePort"]
        assert b.the_twin("web") == before


async def test_a_dry_run_is_refused_as_the_write_would_be() -> None:
    async with bench() as b:
        with pytest.raises(ApiError) as refused:
            await b.client.rehearsing().create(SERVICES, service("web", clusterIP="192.168.0.1"))
        assert refused.value.code == 422


async def test_a_second_service_of_a_name_is_refused_and_the_first_keeps_its_twin() -> None:
    async with bench() as b:
        await b.client.create(SERVICES, service("web"))
        before = b.the_twin("web")
        with pytest.raises(ApiError, match=r'^services "web" already exists$'):
            await b.client.create(SERVICES, service("web", type="NodePort"))
        assert b.the_twin("web") == before


async def test_of_two_creates_at_once_one_wins_and_the_twin_is_its() -> None:
    async with bench() as b:
        answers = await asyncio.gather(
            *(b.client.create(SERVICES, service("web")) for _ in range(5)), return_exceptions=True
        )
        (won,) = [a for a in answers if isinstance(a, dict)]
        lost = [a for a in answers if isinstance(a, ApiError)]
        assert {a.reason for a in lost} == {"AlreadyExists"}
        assert b.the_twin("web")["metadata"]["annotations"][md.OBJECT_UID] == won["metadata"]["uid"]
        assert b.the_twin("web")["spec"]["clusterIP"] == won["spec"]["clusterIP"]
        assert not b.allocator.gate.busy(("default", "web"))


async def test_the_address_of_a_deleted_service_is_free_at_once() -> None:
    """Under its own name and under another, although its twin is still there: nothing else deletes it here."""
    async with bench() as b:
        first = await b.client.create(SERVICES, service("web", type="NodePort"))
        numbers = {"clusterIP": first["spec"]["clusterIP"], "type": "NodePort", "ports": first["spec"]["ports"]}
        await b.client.delete(SERVICES, "default", "web")
        again = await b.client.create(SERVICES, service("web", **numbers))
        assert again["spec"]["clusterIP"] == numbers["clusterIP"]
        assert again["spec"]["ports"] == numbers["ports"]
        await b.client.delete(SERVICES, "default", "web")
        twins = [make_twin(b.the_twin("web"))]
        b.allocator.attach(InProcessCluster(b.host.client("vapi")), context, lambda: twins)
        other = await b.client.create(SERVICES, service("other", **numbers))
        assert other["spec"]["clusterIP"] == numbers["clusterIP"]
        assert b.twin("web") is None


async def test_the_address_of_a_living_service_is_not_taken_from_it() -> None:
    async with bench() as b, synced(b) as syncer:
        first = await b.client.create(SERVICES, service("web"))
        await until(lambda: syncer.twin(Ref(SERVICES, "default", "web")))
        with pytest.raises(ApiError, match="already allocated"):
            await b.client.create(SERVICES, service("other", clusterIP=first["spec"]["clusterIP"]))
        assert b.twin("web") is not None


async def test_a_predecessor_that_does_not_go_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a load balancer, whose finalizer holds it."""
    monkeypatch.setattr("sync.services.ANSWER_S", 0.2)
    async with bench() as b:
        await b.client.create(SERVICES, service("web"))
        twin = b.the_twin("web")
        twin["metadata"]["finalizers"] = ["service.kubernetes.io/load-balancer-cleanup"]
        await b.host.client("admin").update(SERVICES, twin)
        await b.client.delete(SERVICES, "default", "web")
        with pytest.raises(ApiError) as refused:
            await b.client.create(SERVICES, service("web"))
        assert (refused.value.code, refused.value.message) == (503, STILL_GOING)
        held = b.the_twin("web")
        del held["metadata"]["finalizers"]
        await b.host.client("admin").update(SERVICES, held)
        made = await b.client.create(SERVICES, service("web"))
        assert b.the_twin("web")["metadata"]["annotations"][md.OBJECT_UID] == made["metadata"]["uid"]


class Slow(InProcessCluster):
    """Its answer to an apply takes effect long before it is heard."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.applied, self.heard = asyncio.Event(), asyncio.Event()

    async def apply(self, gvr: GVR, obj: Obj, *, force: bool = True, subresource: str = "") -> Obj:
        answer = await super().apply(gvr, obj, force=force, subresource=subresource)
        if gvr == SERVICES and obj["spec"]["type"] == "NodePort" and not self.heard.is_set():
            self.applied.set()
            await self.heard.wait()
        return answer


async def test_the_engine_takes_nothing_back_from_a_write_under_way() -> None:
    async with bench() as b:
        host = Slow(b.host.client("vapi"))
        async with synced(b, host) as syncer:
            made = await b.client.create(SERVICES, service("web"))
            await until(lambda: syncer.twin(Ref(SERVICES, "default", "web")))
            made["spec"]["type"] = "NodePort"
            write = asyncio.create_task(b.client.update(SERVICES, made))
            await host.applied.wait()
            given = b.the_twin("web")["spec"]["ports"][0]["nodePort"]
            for _ in range(200):
                await asyncio.sleep(0)
            assert b.the_twin("web")["spec"]["ports"][0]["nodePort"] == given
            host.heard.set()
            assert (await write)["spec"]["ports"][0]["nodePort"] == given


async def test_a_write_that_is_given_up_leaves_the_twin_as_it_was() -> None:
    async with bench() as b:
        host = Slow(b.host.client("vapi"))
        async with synced(b, host):
            made = await b.client.create(SERVICES, service("web"))
            made["spec"]["type"] = "NodePort"
            write = asyncio.create_task(b.client.update(SERVICES, made))
            await host.applied.wait()
            write.cancel()
            host.heard.set()
            await until(lambda: b.the_twin("web")["spec"]["type"] == "ClusterIP")


async def rob(b: Bench, twin: Obj) -> None:
    """Somebody deletes the twin and takes its numbers, before anybody can do anything about it."""
    thief = service("thief", type="NodePort", clusterIP=twin["spec"]["clusterIP"], ports=twin["spec"]["ports"])
    thief["metadata"]["namespace"] = HOST_NAMESPACE
    await b.host.client("admin").delete(SERVICES, HOST_NAMESPACE, twin["metadata"]["name"])
    await b.host.client("admin").create(SERVICES, thief)


async def test_a_twin_whose_numbers_are_gone_has_others_and_so_has_the_tenant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web", type="NodePort"))
        await rob(b, b.the_twin("web"))
        monkeypatch.setattr("sync.converge.RETREAT_S", 0.5)
        async with synced(b, told=told):
            await until(lambda: told)
        after, twin = await b.client.get(SERVICES, "default", "web"), b.the_twin("web")
        assert after["metadata"]["uid"] == made["metadata"]["uid"]
        assert after["spec"]["clusterIP"] != made["spec"]["clusterIP"]
        assert after["spec"]["ports"][0]["nodePort"] != made["spec"]["ports"][0]["nodePort"]
        for key in ("clusterIP", "clusterIPs", "ports"):
            assert after["spec"][key] == twin["spec"][key]
        assert made["spec"]["clusterIP"] in told[0]


async def test_a_syncer_that_died_between_the_new_numbers_and_the_tenant_ends_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin has numbers of its own by then; the tenant's are still somebody else's."""
    monkeypatch.setattr("sync.converge.RETREAT_S", 0.5)
    async with bench() as b:
        await b.client.create(SERVICES, service("web", type="NodePort"))
        twin = b.the_twin("web")
        await rob(b, twin)
        other = {**twin, "spec": {**twin["spec"], "clusterIP": "", "clusterIPs": [], "ports": [{"port": 80}]}}
        other["metadata"] = {k: v for k, v in twin["metadata"].items() if k not in ("resourceVersion", "uid")}
        await b.host.client("vapi").create(SERVICES, other)
        async with synced(b) as syncer:
            await until(lambda: syncer.twin(Ref(SERVICES, "default", "web")))
            await until(lambda: same_address(b))


async def test_numbers_that_are_free_a_moment_later_are_had_again() -> None:
    told: list[str] = []
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web", type="NodePort"))
        await rob(b, b.the_twin("web"))
        async with synced(b, told=told) as syncer:
            await until(lambda: syncer.queue.delayed)
            await b.host.client("admin").delete(SERVICES, HOST_NAMESPACE, "thief")
            await until(lambda: b.twin("web"))
        assert b.the_twin("web")["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        assert told == []


def same_address(b: Bench) -> bool:
    entry, twin = b.tenant.registry.cached(SERVICES, "default", "web"), b.twin("web")
    return entry is not None and twin is not None and entry.obj()["spec"]["clusterIP"] == twin["spec"]["clusterIP"]


async def test_a_type_without_an_address_gives_it_back_before_the_answer() -> None:
    async with bench() as b:
        made = await b.client.create(SERVICES, service("web"))
        address = made["spec"]["clusterIP"]
        made["spec"].update(type="ExternalName", externalName="example.com")
        turned = await b.client.update(SERVICES, made)
        assert "clusterIP" not in turned["spec"]
        taken = await b.client.create(SERVICES, service("other", clusterIP=address))
        assert taken["spec"]["clusterIP"] == address


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ClusterError(401, "Unauthorized", "Unauthorized"), 503, NO_HOST),
        (ClusterError(403, "Forbidden", 'services is forbidden: User "x" cannot create'), 503, NO_HOST),
        (ClusterError(404, "NotFound", 'namespaces "host-ns" not found'), 503, NO_HOST),
        (
            ClusterError(403, "Forbidden", 'services "web-x-default-x-vc" is forbidden: exceeded quota: q'),
            403,
            'services "web" is forbidden: exceeded quota: q',
        ),
    ],
    ids=["our credentials", "our rights", "our namespace", "a quota of the host"],
)
async def test_what_the_host_says_of_us_is_no_answer_to_the_tenant(error: ClusterError, code: int, told: str) -> None:
    class Says(InProcessCluster):
        async def create(self, gvr: GVR, obj: Obj) -> Obj:
            raise error

    async with bench(lambda host: Says(host._client)) as b:  # type: ignore[attr-defined]
        with pytest.raises(ApiError) as refused:
            await b.client.create(SERVICES, service("web"))
        assert (refused.value.code, refused.value.message) == (code, told)


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


async def test_a_twin_whose_service_never_came_to_be_is_released_after_two_minutes() -> None:
    """We died between the host's answer and the commit."""
    async with rig() as r:
        lost = service("web")
        lost["metadata"]["uid"] = "v-1"
        twin = services.to_host(lost, context())
        twin["metadata"]["annotations"][md.ALLOCATED_AT] = rfc3339(r.clock.now())
        await r.admin.create(SERVICES, twin)
        await r.settle()
        await r.advance(RESERVED_S - 1)
        assert r.twin(SERVICES, "web") is not None
        await r.advance(2)
        assert r.twin(SERVICES, "web") is None


async def test_a_cancelled_create_ends_with_nothing_in_the_way_of_the_next() -> None:
    async with bench() as b:
        host = Slow(b.host.client("vapi"))
        b.allocator.attach(host, context)
        writing = asyncio.create_task(b.client.create(SERVICES, service("web")))
        await until(lambda: b.allocator.gate.busy(("default", "web")))
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
        assert not b.allocator.gate.busy(("default", "web"))
        made = await b.client.create(SERVICES, service("web"))
        assert b.the_twin("web")["metadata"]["annotations"][md.OBJECT_UID] == made["metadata"]["uid"]
