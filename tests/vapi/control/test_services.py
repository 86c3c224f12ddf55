"""Endpoints, EndpointSlices and their mirrors on a real plane."""

from __future__ import annotations

from typing import Any

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.gvk import Obj

CONTROLLERS = (
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
)


def service(name: str = "web", **spec: Any) -> Obj:
    wanted = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}
    given = {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"], "type": "ClusterIP"}
    metadata = {"name": name, "namespace": "default", "labels": {"tier": "front"}}
    merged = {key: value for key, value in {**given, **wanted, **spec}.items() if value is not None}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": merged}


def pod(name: str, app: str = "web", port: int = 8080) -> Obj:
    container = {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}
    metadata = {"name": name, "namespace": "default", "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def only_slice(it: Cluster) -> Obj:
    (found,) = it.objects(kinds.ENDPOINT_SLICES)
    return found


async def test_a_service_without_pods_has_one_empty_slice_and_empty_endpoints() -> None:
    async with cluster(*CONTROLLERS) as it:
        await it.create(kinds.SERVICES, service())
        await it.settle()
        found = only_slice(it)
        assert found["endpoints"] == []
        assert found["metadata"]["labels"] == {
            "tier": "front",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        assert found["metadata"]["name"].startswith("web-")
        assert (await it.get(kinds.ENDPOINTS, "web")).get("subsets", []) == []
        await it.client.delete(kinds.SERVICES, "default", "web")
        await it.settle()
        assert it.objects(kinds.ENDPOINT_SLICES) == []
        assert not it.has(kinds.ENDPOINTS, "web")


async def test_ready_pods_become_endpoints_at_their_named_port() -> None:
    async with cluster(*CONTROLLERS) as it:
        it.kubelet.ready = lambda each: each["metadata"]["name"] != "b"
        await it.create(kinds.SERVICES, service())
        for name in ("a", "b"):
            await it.create(kinds.PODS, pod(name))
        await it.create(kinds.PODS, pod("other", app="db"))
        await it.settle()
        found = only_slice(it)
        by_name = {each["targetRef"]["name"]: each for each in found["endpoints"]}
        assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert by_name["a"]["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert by_name["b"]["conditions"] == {"ready": False, "serving": False, "terminating": False}
        assert by_name["a"]["nodeName"] == "node-1"
        (subset,) = (await it.get(kinds.ENDPOINTS, "web"))["subsets"]
        assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert [each["targetRef"]["name"] for each in subset["addresses"]] == ["a"]
        assert [each["targetRef"]["name"] for each in subset["notReadyAddresses"]] == ["b"]


async def test_a_terminating_pod_serves_on_in_slices_but_leaves_endpoints() -> None:
    async with cluster(*CONTROLLERS) as it:
        await it.create(kinds.SERVICES, service())
        await it.create(kinds.PODS, pod("a"))
        await it.settle()
        it.kubelet.hold = True
        await it.client.delete(kinds.PODS, "default", "a")
        await it.settle()
        (endpoint,) = only_slice(it)["endpoints"]
        assert endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
        assert (await it.get(kinds.ENDPOINTS, "web")).get("subsets", []) == []


async def test_two_hundred_and_fifty_pods_make_three_slices() -> None:
    async with cluster("endpointslice-controller") as it:
        await it.create(kinds.SERVICES, service())
        for number in range(250):
            await it.create(kinds.PODS, pod(f"p{number}"))
        await it.settle()
        slices = it.objects(kinds.ENDPOINT_SLICES)
        assert sorted(len(each["endpoints"]) for each in slices) == [50, 100, 100]
        names = {each["targetRef"]["name"] for found in slices for each in found["endpoints"]}
        assert len(names) == 250


async def test_headless_services_are_labelled_and_publish_hostnames() -> None:
    async with cluster(*CONTROLLERS) as it:
        headless = service(clusterIP="None", clusterIPs=["None"], ports=None)
        await it.create(kinds.SERVICES, headless)
        named = pod("a")
        named["spec"].update(hostname="a-0", subdomain="web")
        await it.create(kinds.PODS, named)
        await it.settle()
        found = only_slice(it)
        assert found["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
        assert found["endpoints"][0]["hostname"] == "a-0"
        endpoints = await it.get(kinds.ENDPOINTS, "web")
        assert endpoints["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
        assert endpoints["subsets"][0]["addresses"][0]["hostname"] == "a-0"
        assert "ports" not in endpoints["subsets"][0]


async def test_a_pod_that_no_longer_matches_leaves() -> None:
    async with cluster(*CONTROLLERS) as it:
        await it.create(kinds.SERVICES, service())
        await it.create(kinds.PODS, pod("a"))
        await it.settle()
        changed = await it.get(kinds.PODS, "a")
        changed["metadata"]["labels"] = {"app": "gone"}
        await it.client.update(kinds.PODS, changed)
        await it.settle()
        assert only_slice(it)["endpoints"] == []


async def test_endpoints_by_hand_are_mirrored_unless_they_say_no() -> None:
    async with cluster(*CONTROLLERS) as it:
        await it.create(kinds.SERVICES, service("byhand", selector=None))
        endpoints = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "byhand", "namespace": "default", "labels": {"x": "y"}},
            "subsets": [{"addresses": [{"ip": "10.2.3.4"}], "ports": [{"port": 8443, "protocol": "TCP"}]}],
        }
        await it.create(kinds.ENDPOINTS, endpoints)
        await it.settle()
        found = only_slice(it)
        assert found["endpoints"] == [{"addresses": ["10.2.3.4"], "conditions": {"ready": True}}]
        assert found["ports"] == [{"name": "", "port": 8443, "protocol": "TCP"}]
        labels = found["metadata"]["labels"]
        assert labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
        assert (labels["kubernetes.io/service-name"], labels["x"]) == ("byhand", "y")
        stored = await it.get(kinds.ENDPOINTS, "byhand")
        stored["subsets"][0]["addresses"].append({"ip": "10.2.3.5"})
        await it.client.update(kinds.ENDPOINTS, stored)
        await it.settle()
        assert len(only_slice(it)["endpoints"]) == 2
        stored = await it.get(kinds.ENDPOINTS, "byhand")
        stored["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true"
        await it.client.update(kinds.ENDPOINTS, stored)
        await it.settle()
        assert it.objects(kinds.ENDPOINT_SLICES) == []


async def test_a_service_has_its_numbers_when_it_is_created_and_gives_them_back() -> None:
    async with cluster("endpoints-controller") as it:
        plain = service(clusterIP=None, clusterIPs=None, ipFamilies=None, type="NodePort")
        made = await it.create(kinds.SERVICES, plain)
        address, port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
        assert (await it.get(kinds.SERVICES, "web"))["spec"] == made["spec"]
        await it.client.delete(kinds.SERVICES, "default", "web")
        wanted = service(clusterIP=address, clusterIPs=[address], type="NodePort")
        wanted["spec"]["ports"][0]["nodePort"] = port
        again = await it.create(kinds.SERVICES, wanted)
        assert again["spec"]["clusterIP"] == address
