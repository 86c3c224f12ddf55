"""Our own Service on the host comes back under its address, and nobody leads it elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from storage.memory import MemoryStore
from sync.own_service import Keeper, OwnService, ensure_own_service
from sync.translator import ENDPOINTSLICES
from sync.virtual import InProcessCluster
from tests.planes import NAMESPACES, SERVICES, FakeClock, schemas
from vapi.control.service_ip import ServiceAllocator
from vapi.gvk import Obj
from vapi.plane import running_plane
from vapi.registry.client import Client

NAMESPACE = "host-ns"
ADVERTISE = ("192.0.2.1", 6443)


class Bench:
    def __init__(self, admin: Client, keeper: Keeper, moved: list[OwnService]) -> None:
        self.admin, self.keeper, self.moved = admin, keeper, moved

    async def service(self) -> Obj:
        return await self.admin.get(SERVICES, NAMESPACE, "vc")

    async def slice(self) -> Obj:
        return await self.admin.get(ENDPOINTSLICES, NAMESPACE, "vc")


@contextlib.asynccontextmanager
async def bench(*, manifest: Obj | None = None) -> AsyncIterator[Bench]:
    """`manifest`: the spec of the Service that somebody has made already, and we advertise nothing."""
    clock = FakeClock()
    async with running_plane(
        MemoryStore(),
        clock=clock,
        schemas=schemas(),
        allocators=lambda lookup: {("", "services"): ServiceAllocator(lookup, clock)},
    ) as host:
        cluster, moved = InProcessCluster(host.client("vapi")), list[OwnService]()
        advertise = None if manifest else ADVERTISE
        admin = host.client("admin")
        if manifest:
            await admin.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
            await admin.create(SERVICES, {"metadata": {"name": "vc", "namespace": NAMESPACE}, "spec": manifest})
        await ensure_own_service(cluster, cluster="vc", host_namespace=NAMESPACE, advertise=advertise)

        async def tell(own: OwnService) -> None:
            moved.append(own)

        keeper = Keeper(
            cluster,
            cluster="vc",
            host_namespace=NAMESPACE,
            advertise=advertise,
            anchor_uid=lambda: "anchor-uid",
            moved=tell,
        )
        await keeper.look()
        yield Bench(admin, keeper, moved)


async def test_what_is_ours_belongs_to_the_anchor() -> None:
    async with bench() as b:
        for obj in (await b.service(), await b.slice()):
            assert [o["uid"] for o in obj["metadata"]["ownerReferences"]] == ["anchor-uid"]


async def test_a_deleted_one_is_back_under_its_address_with_its_slice() -> None:
    async with bench() as b:
        before = await b.service()
        await b.admin.delete(SERVICES, NAMESPACE, "vc")
        await b.admin.delete(ENDPOINTSLICES, NAMESPACE, "vc")
        await b.keeper.look()
        assert (await b.service())["spec"]["clusterIP"] == before["spec"]["clusterIP"]
        assert (await b.slice())["endpoints"][0]["addresses"] == [ADVERTISE[0]]
        assert b.moved == []


async def test_one_whose_address_is_taken_moves_and_says_so() -> None:
    async with bench() as b:
        before = await b.service()
        await b.admin.delete(SERVICES, NAMESPACE, "vc")
        thief = {"clusterIP": before["spec"]["clusterIP"], "ports": [{"port": 1}]}
        await b.admin.create(SERVICES, {"metadata": {"name": "thief", "namespace": NAMESPACE}, "spec": thief})
        await b.keeper.look()
        (own,) = b.moved
        assert own.ip == (await b.service())["spec"]["clusterIP"] != before["spec"]["clusterIP"]


async def test_edits_of_what_is_ours_are_put_back() -> None:
    async with bench() as b:
        service, piece = await b.service(), await b.slice()
        service["spec"]["selector"] = {"app": "other"}
        service["spec"]["ports"] = [{"name": "x", "port": 80}]
        await b.admin.update(SERVICES, service)
        piece["endpoints"][0]["addresses"] = ["192.0.2.9"]
        await b.admin.update(ENDPOINTSLICES, piece)
        await b.keeper.look()
        put_back = (await b.service())["spec"]
        assert "selector" not in put_back
        assert [(p["name"], p["port"]) for p in put_back["ports"]] == [("https", 443)]
        assert (await b.slice())["endpoints"][0]["addresses"] == [ADVERTISE[0]]


async def test_what_a_manifest_made_is_the_operators_and_comes_back_as_it_was() -> None:
    manifest: Obj = {"selector": {"app": "vapi"}, "ports": [{"name": "https", "port": 443, "targetPort": 8443}]}
    async with bench(manifest=manifest) as b:
        edited = await b.service()
        edited["spec"]["type"] = "NodePort"
        edited = await b.admin.update(SERVICES, edited)
        await b.keeper.look()
        assert await b.service() == edited
        await b.admin.delete(SERVICES, NAMESPACE, "vc")
        await b.keeper.look()
        assert (await b.service())["spec"] == edited["spec"]


async def test_one_that_went_while_we_were_down_is_made_at_the_address_that_the_tenant_shows() -> None:
    async with bench() as b:
        before = (await b.service())["spec"]["clusterIP"]
        host, where = InProcessCluster(b.admin), {"cluster": "vc", "host_namespace": NAMESPACE}
        for expected in (True, False):
            await b.admin.delete(SERVICES, NAMESPACE, "vc")
            if not expected:
                thief = {"clusterIP": before, "ports": [{"port": 1}]}
                await b.admin.create(SERVICES, {"metadata": {"name": "thief", "namespace": NAMESPACE}, "spec": thief})
            own = await ensure_own_service(host, advertise=ADVERTISE, address=before, **where)
            assert (own.ip == before) is expected
