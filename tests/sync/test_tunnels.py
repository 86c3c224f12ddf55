"""Tunnels: where a tenant's logs, exec and the like go on the host; only to the twin and its tenant's containers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from sync.cluster import ClusterError
from sync.translator import Context
from sync.tunnels import HostPath, Tunnels
from sync.virtual import InProcessCluster, VirtualCluster
from tests.planes import PODS, SERVICES, pod
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.gvk import Obj


@dataclass
class Bench:
    rig: Rig
    tunnels: Tunnels


def two_containers(name: str) -> Obj:
    made = pod(name)
    made["spec"]["containers"] = [{"name": "main", "image": "i"}, {"name": "side", "image": "i"}]
    made["spec"]["initContainers"] = [{"name": "first", "image": "i"}]
    return made


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """With running pods `web` (one container) and `two`, and one that nobody has placed: `waiting`."""
    async with rig() as r:
        await r.virtual.create(PODS, pod("web"))
        await r.virtual.create(PODS, two_containers("two"))
        await r.virtual.create(PODS, pod("waiting"))
        await r.settle()
        await r.run_pod("web")
        await r.run_pod("two")
        tunnels = Tunnels(
            virtual=VirtualCluster(r.tenant.client("vapi-syncer")),
            host=InProcessCluster(r.host.client("vapi")),
            context=lambda: Context(cluster=r.name, host_namespace=HOST_NAMESPACE),
        )
        yield Bench(r, tunnels)


def on_host(name: str, subresource: str) -> str:
    return f"/api/v1/namespaces/{HOST_NAMESPACE}/pods/{name}-x-default-x-vc/{subresource}"


async def test_logs_go_to_the_twin_and_name_its_only_container() -> None:
    async with bench() as b:
        found = await b.tunnels.pod("default", "web", "log", "follow=true")
        assert found == HostPath(on_host("web", "log"), "follow=true&container=c")


async def test_a_query_that_names_a_container_is_left_as_it_is() -> None:
    async with bench() as b:
        query = "command=ls&command=-l&container=side&stdout=true"
        assert await b.tunnels.pod("default", "two", "exec", query) == HostPath(on_host("two", "exec"), query)


async def test_port_forwarding_names_no_container() -> None:
    async with bench() as b:
        assert (await b.tunnels.pod("default", "two", "portforward", "")).query == ""


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("container=istio-proxy", "container istio-proxy is not valid for pod two"),
        (
            "",
            "a container name must be specified for pod two, choose one of: [main side]"
            " or one of the init containers: [first]",
        ),
    ],
)
async def test_only_containers_of_the_tenants_pod_are_reached(query: str, message: str) -> None:
    async with bench() as b:
        with pytest.raises(ClusterError) as refused:
            await b.tunnels.pod("default", "two", "log", query)
        assert (refused.value.code, refused.value.message) == (400, message)


async def test_a_pod_that_nobody_placed_has_an_empty_log_and_no_exec() -> None:
    async with bench() as b:
        assert (await b.tunnels.pod("default", "waiting", "log", "")).path == ""
        with pytest.raises(ClusterError) as refused:
            await b.tunnels.pod("default", "waiting", "exec", "command=ls")
        assert refused.value.message == "pod waiting does not have a host assigned"


async def test_a_pod_that_is_not_there_is_not_found() -> None:
    async with bench() as b:
        with pytest.raises(ClusterError) as refused:
            await b.tunnels.pod("default", "nobody", "log", "")
        assert (refused.value.code, refused.value.message) == (404, 'pods "nobody" not found')


async def test_a_host_pod_that_is_not_the_twin_is_not_dialled() -> None:
    async with bench() as b:
        await b.rig.kill()
        name = b.rig.host_name("web")
        await b.rig.admin.delete(PODS, HOST_NAMESPACE, name, grace_period_s=0)
        impostor = pod(name, HOST_NAMESPACE)
        await b.rig.admin.create(PODS, impostor)
        with pytest.raises(ClusterError) as refused:
            await b.tunnels.pod("default", "web", "exec", "command=id")
        assert refused.value.code == 404
        assert name not in refused.value.message


async def test_a_proxy_keeps_scheme_port_and_path() -> None:
    async with bench() as b:
        found = await b.tunnels.pod("default", "https:web:8443", "proxy", "a=b", "/x%20y")
        assert found.path == (f"/api/v1/namespaces/{HOST_NAMESPACE}/pods/https:web-x-default-x-vc:8443/proxy/x%20y")
        assert found.query == "a=b"


async def test_the_proxy_of_a_service_goes_to_its_twin() -> None:
    async with bench() as b:
        spec = {"ports": [{"port": 80}], "clusterIP": "10.0.0.1"}
        await b.rig.virtual.create(SERVICES, {"metadata": {"name": "front", "namespace": "default"}, "spec": spec})
        await b.rig.settle()
        found = await b.tunnels.service("default", "front:80", "", "/")
        assert found.path == f"/api/v1/namespaces/{HOST_NAMESPACE}/services/front-x-default-x-vc:80/proxy/"
        with pytest.raises(ClusterError) as refused:
            await b.tunnels.service("default", "nobody", "")
        assert refused.value.code == 503
