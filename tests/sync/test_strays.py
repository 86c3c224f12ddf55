"""What the host's controllers made for a Service goes when it loses its selector, and the tenant's goes out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sync.strays import AGAIN_S, NOT_YET_S, Strays
from sync.translator import ENDPOINTS, ENDPOINTSLICES
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import SERVICES, turns
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.gvk import Obj


@contextlib.asynccontextmanager
async def looking() -> AsyncIterator[tuple[Rig, Strays]]:
    async with rig() as r:
        assert r.syncer is not None
        syncer = r.syncer
        strays = Strays(
            virtual=VirtualCluster(r.tenant.client("vapi-syncer")),
            host=InProcessCluster(r.host.client("vapi")),
            limiter=syncer.limiter,
            context=lambda: syncer.context,
            informers=lambda: syncer.informers,
            touch=syncer.touch,
            clock=r.clock,
        )
        task = asyncio.create_task(strays.run())
        try:
            yield r, strays
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def pass_time(r: Rig, strays: Strays, seconds: float) -> None:
    await r.advance(seconds)
    strays.queue.tick()
    await turns(50)
    await r.settle()


async def host_made(r: Rig, **labels: str) -> tuple[Obj, Obj]:
    """As the host's controllers do: with the labels of its Service."""
    service = r.the_twin(SERVICES, "web")["metadata"]
    metadata = {"namespace": HOST_NAMESPACE, "labels": {**service["labels"], **labels}}
    owner = {"apiVersion": "v1", "kind": "Service", "name": service["name"], "uid": service["uid"]}
    endpoints = await r.admin.create(
        ENDPOINTS,
        {
            "metadata": {"name": service["name"], **metadata},
            "subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}],
        },
    )
    piece = await r.admin.create(
        ENDPOINTSLICES,
        {
            "metadata": {"name": f"{service['name']}-abcde", **metadata, "ownerReferences": [owner]},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.1.1"]}],
        },
    )
    await r.settle()
    return endpoints, piece


MANAGED = {
    "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
}
SPEC = {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]}


async def without_selector(r: Rig) -> None:
    changed = r.the(SERVICES, "web")
    del changed["spec"]["selector"]
    await r.virtual.update(SERVICES, changed)
    await r.settle()


async def test_they_go_with_the_selector_and_the_tenants_take_their_place() -> None:
    async with looking() as (r, strays):
        await r.virtual.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": SPEC})
        mine = {"metadata": {"name": "web", "namespace": "default"}, "subsets": [{"addresses": [{"ip": "10.2.2.2"}]}]}
        await r.virtual.create(ENDPOINTS, mine)
        await r.settle()
        _, piece = await host_made(r, **MANAGED)
        await without_selector(r)
        await pass_time(r, strays, NOT_YET_S)
        await pass_time(r, strays, AGAIN_S)
        assert r.the_twin(ENDPOINTS, "web")["subsets"][0]["addresses"] == [{"ip": "10.2.2.2"}]
        assert piece["metadata"]["name"] not in r.host_names(ENDPOINTSLICES)


async def test_they_stay_while_it_has_one() -> None:
    async with looking() as (r, strays):
        await r.virtual.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": SPEC})
        await r.settle()
        endpoints, piece = await host_made(r, **MANAGED)
        await pass_time(r, strays, AGAIN_S)
        assert r.host_names(ENDPOINTS) == [endpoints["metadata"]["name"]]
        assert r.host_names(ENDPOINTSLICES) == [piece["metadata"]["name"]]


async def test_what_no_controller_made_is_somebody_elses() -> None:
    async with looking() as (r, strays):
        await r.virtual.create(SERVICES, {"metadata": {"name": "web", "namespace": "default"}, "spec": SPEC})
        await r.settle()
        _, piece = await host_made(r)
        await without_selector(r)
        await pass_time(r, strays, AGAIN_S)
        assert r.host_names(ENDPOINTSLICES) == [piece["metadata"]["name"]]
