"""The system of the seeds, point by point: two virtual clusters, one with dedicated and one with virtual nodes at once.

All on one real host: its node runs the pods, and a second, fake Node of it shows where they must not go.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.host_cluster import AGNHOST, NGINX, HostCluster
from tests.integration.tenants import Tenant, deployment, pod, service, tenant
from tests.vapi_process import KubectlError, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

FAKE = "seeds-fake-node"
POOL = "seeds.example.com/pool"
TENANTS_POOL = f"{POOL}=vc-0003"
MY_SERVICE = "my-service.default.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class Clusters:
    """`shared`: two of them; `real` is the name of the host's real node."""

    one: Tenant
    two: Tenant
    dedicated: Tenant
    virtual: Tenant
    host: HostCluster
    real: str


@pytest.fixture(scope="module")
def clusters(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    directory, address = tmp_path_factory.mktemp("seeds"), node_host.our_address()
    with contextlib.ExitStack() as stack:
        real = stack.enter_context(_two_nodes(node_host))

        def started(name: str, *arguments: str) -> Tenant:
            return stack.enter_context(tenant(node_host, directory, name=name, advertise=address, arguments=arguments))

        yield Clusters(
            started("vc-0001"),
            started("vc-0002"),
            started("vc-0003", "--sync-nodes-selector", TENANTS_POOL),
            started(
                "vc-0004", "--sync-nodes-mode", "virtual", "--sync-nodes-selector", f"kubernetes.io/hostname={real}"
            ),
            node_host,
            real,
        )


@contextlib.contextmanager
def _two_nodes(host: HostCluster) -> Iterator[str]:
    """The real one, in the pool of the dedicated cluster, and a fake one that says it is ready."""
    real = next(n["metadata"]["name"] for n in host.json("get", "nodes")["items"] if n["metadata"]["name"] != FAKE)
    host.kubectl("label", "node", real, TENANTS_POOL, "--overwrite")
    fake = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": FAKE, "labels": {POOL: "others"}},
        "spec": {"taints": [{"key": POOL, "effect": "NoSchedule"}]},  # or every cluster's pods would wait there
    }
    host.kubectl("apply", "-f", "-", stdin=json.dumps(fake))
    ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"}]
    room = {"cpu": "8", "memory": "8Gi", "pods": "110"}
    status = json.dumps({"status": {"conditions": ready, "capacity": room, "allocatable": room}})
    host.kubectl("patch", "node", FAKE, "--subresource=status", "--type=merge", "-p", status)
    try:
        yield real
    finally:
        host.kubectl("delete", "node", FAKE, "--ignore-not-found", "--wait=false")
        host.kubectl("label", "node", real, f"{POOL}-")


def nginx_pod() -> dict[str, Any]:
    made = pod("nginx", container={"name": "nginx", "image": NGINX, "ports": [{"containerPort": 80}]})
    del made["spec"]["containers"][0]["command"]
    return made


def node_exporter() -> dict[str, Any]:
    """With a stand-in image, and for every node whatever its taints."""
    container = {"name": "node-exporter", "image": AGNHOST, "args": ["netexec", "--http-port=9100"]}
    template = {
        "metadata": {"labels": {"app": "node-exporter"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{**container, "ports": [{"containerPort": 9100}]}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "node-exporter", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "node-exporter"}}, "template": template},
    }


def web() -> tuple[dict[str, Any], dict[str, Any]]:
    """A Deployment that tells its pod's name, behind `my-service`."""
    return (
        deployment("my-app", 1, AGNHOST, args=["netexec", "--http-port=8080"]),
        service("my-service", selector={"app": "my-app"}, ports=[{"port": 80, "targetPort": 8080}]),
    )


def ready(one: Tenant, what: str) -> None:
    one.kubectl("wait", "--for=condition=Ready", what, "--timeout=60s")


def inside(one: Tenant, script: str) -> str:
    return one.kubectl("exec", "box", "--", "sh", "-c", script).strip()


@pytest.fixture(scope="module")
def pair(clusters: Clusters) -> tuple[Tenant, Tenant]:
    """Both with the same Service name, the same ports, and a pod to ask from."""
    both = (clusters.one, clusters.two)
    for one in both:
        one.vapi.apply(*web(), pod("box"))
    for one in both:
        ready(one, "pod/box")
        one.kubectl("rollout", "status", "deployment/my-app", "--timeout=60s")
    return both


@pytest.fixture(params=(0, 1), ids=("first", "second"))
def each(request: pytest.FixtureRequest, pair: tuple[Tenant, Tenant]) -> Tenant:
    found: Tenant = pair[request.param]
    return found


# --- pods ---------------------------------------------------------------------------------------------


def test_the_nginx_pod_of_each_cluster_really_runs_in_a_namespace_of_its_own(clusters: Clusters) -> None:
    both = (clusters.one, clusters.two)
    for one in both:
        one.vapi.apply(nginx_pod())
    for one in both:
        ready(one, "pod/nginx")
        here, there = one.get("pod", "nginx"), one.twin("pod", "nginx")
        assert here["metadata"]["namespace"] == "default"
        assert there["metadata"]["namespace"] == one.namespace
        assert there["metadata"]["labels"]["vapi.dev/managed-by"] == one.name
        assert here["status"]["podIP"] == there["status"]["podIP"]
        assert here["spec"]["nodeName"] == clusters.real
    assert len({one.twin("pod", "nginx")["metadata"]["name"] for one in both}) == 2


# --- DaemonSets ---------------------------------------------------------------------------------------


def test_the_hosts_controller_makes_the_pods_of_a_daemonset_and_they_appear_in_each_tenant(each: Tenant) -> None:
    each.vapi.apply(node_exporter())
    on_host = until(lambda: each.twin("daemonset", "node-exporter"))
    assert on_host["metadata"]["namespace"] == each.namespace
    here = until(lambda: each.get("daemonset", "node-exporter"), lambda d: d["status"].get("numberReady", 0) >= 1)
    assert here["status"]["desiredNumberScheduled"] >= 1
    assert here["status"]["observedGeneration"] == here["metadata"]["generation"]
    theirs = each.host.json("-n", each.namespace, "get", "pods", "-l", "app=node-exporter")["items"]
    assert {o["uid"] for p in theirs for o in p["metadata"]["ownerReferences"]} == {on_host["metadata"]["uid"]}
    mirrored = each.listed("pods", "-l", "app=node-exporter")
    assert len(mirrored) == len(theirs)
    owner = mirrored[0]["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("DaemonSet", "node-exporter", here["metadata"]["uid"])
    assert mirrored[0]["metadata"]["namespace"] == "default"


# --- Services, ports and names --------------------------------------------------------------------------


def test_the_same_service_name_is_another_service_in_each_cluster(pair: tuple[Tenant, Tenant]) -> None:
    ips = [one.get("service", "my-service")["spec"]["clusterIP"] for one in pair]
    assert ips[0] != ips[1]
    assert [one.twin("service", "my-service")["spec"]["clusterIP"] for one in pair] == ips


def test_its_name_resolves_to_its_own_address_and_pods(each: Tenant) -> None:
    ip = each.get("service", "my-service")["spec"]["clusterIP"]
    assert until(lambda: inside(each, f"getent hosts {MY_SERVICE} || nslookup {MY_SERVICE}"), lambda t: ip in t)
    (backend,) = each.listed("pods", "-l", "app=my-app")
    answered = until(lambda: inside(each, f"wget -qO- -T 2 http://{MY_SERVICE}/hostname"))
    assert answered == backend["metadata"]["name"]


def test_each_cluster_has_a_dns_of_its_own_on_container_port_1053(pair: tuple[Tenant, Tenant]) -> None:
    addresses = set()
    for one in pair:
        found = one.get("service", "kube-dns", "kube-system")
        assert {(p["protocol"], p["port"]) for p in found["spec"]["ports"]} >= {("UDP", 53), ("TCP", 53)}
        pods = one.listed("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")
        ports = {p["containerPort"] for each in pods for c in each["spec"]["containers"] for p in c.get("ports", ())}
        assert 1053 in ports and 53 not in ports
        addresses.add(found["spec"]["clusterIP"])
        assert f"nameserver {found['spec']['clusterIP']}" in inside(one, "cat /etc/resolv.conf")
    assert len(addresses) == 2


def test_node_ports_are_the_hosts_and_never_the_same(pair: tuple[Tenant, Tenant]) -> None:
    exposed = service("exposed", type="NodePort", selector={"app": "my-app"}, ports=[{"port": 80, "targetPort": 8080}])
    for one in pair:
        one.vapi.apply(exposed)
    here = [one.get("service", "exposed")["spec"]["ports"][0]["nodePort"] for one in pair]
    there = [one.twin("service", "exposed")["spec"]["ports"][0]["nodePort"] for one in pair]
    assert here == there and here[0] != here[1]
    clash = service("clash", type="NodePort", selector={"app": "x"}, ports=[{"port": 80, "nodePort": here[0]}])
    with pytest.raises(KubectlError) as refused:
        pair[1].vapi.apply(clash)
    assert "provided port is already allocated" in refused.value.stderr
    assert pair[0].namespace not in refused.value.stderr and pair[1].namespace not in refused.value.stderr
    assert pair[1].find("service", "clash") is None and pair[1].twin("service", "clash") is None


def test_host_ports_clash_only_on_one_node_and_the_event_tells_it_in_tenant_names(pair: tuple[Tenant, Tenant]) -> None:
    asks = {"ports": [{"containerPort": 8080, "hostPort": 28080}]}
    first, second = pair
    first.vapi.apply(pod("taker", container=asks))
    ready(first, "pod/taker")
    second.vapi.apply(pod("loser", container=asks))
    told = until(
        lambda: [e for e in second.listed("events") if e["involvedObject"]["name"] == "loser"],
        lambda events: any("free ports" in e["message"] for e in events),
    )
    assert second.get("pod", "loser")["status"]["phase"] == "Pending"
    assert all(second.namespace not in e["message"] and "-x-" not in e["message"] for e in told)
    first.kubectl("delete", "pod", "taker")
    second.kubectl("wait", "--for=condition=Ready", "pod/loser", "--timeout=60s")


# --- tenancy models -------------------------------------------------------------------------------------


def test_a_dedicated_cluster_sees_and_uses_its_own_nodes_only(clusters: Clusters) -> None:
    one = clusters.dedicated
    one.vapi.apply(node_exporter(), pod("anywhere"), pod("elsewhere", nodeSelector={POOL: "others"}))
    ready(one, "pod/anywhere")
    assert [n["metadata"]["name"] for n in one.listed("nodes")] == [clusters.real]
    placed = until(lambda: one.listed("pods", "-l", "app=node-exporter"))
    assert {p["spec"].get("nodeName") for p in placed} <= {clusters.real}
    twins = clusters.host.json("-n", one.namespace, "get", "pods")["items"]
    assert {t["spec"].get("nodeName") for t in twins} <= {clusters.real, None}
    assert all(t["spec"]["nodeSelector"][POOL] == "vc-0003" for t in twins)
    assert one.get("pod", "elsewhere")["status"]["phase"] == "Pending"


def test_a_shared_cluster_may_use_every_node(clusters: Clusters) -> None:
    """Beside the dedicated one: its DaemonSet has a pod for the fake Node, too."""
    one = clusters.one
    one.vapi.apply(node_exporter())
    placed = until(
        lambda: one.host.json("-n", one.namespace, "get", "pods", "-l", "app=node-exporter")["items"],
        lambda pods: len(pods) >= 2,
    )
    assert FAKE in json.dumps(placed)


def test_taints_and_cordons_of_virtual_nodes_stay_in_the_tenant(clusters: Clusters) -> None:
    one = clusters.virtual
    until(lambda: one.listed("nodes"))
    before = clusters.host.json("get", "node", clusters.real)["spec"]
    one.kubectl("taint", "node", clusters.real, "dedicated=gpu:NoSchedule")
    tolerates = [{"key": "dedicated", "operator": "Exists"}]
    one.vapi.apply(pod("tolerant", tolerations=tolerates), pod("plain"))
    ready(one, "pod/tolerant")
    until(
        lambda: one.get("pod", "plain")["status"],
        lambda s: any(c["type"] == "PodScheduled" and c["status"] == "False" for c in s.get("conditions", ())),
    )
    assert one.twin("pod", "plain") is None
    assert clusters.host.json("get", "node", clusters.real)["spec"] == before
    one.kubectl("taint", "node", clusters.real, "dedicated-")
    ready(one, "pod/plain")


# --- across the border -----------------------------------------------------------------------------------


def test_a_service_of_one_cluster_can_be_mapped_into_another(
    clusters: Clusters, pair: tuple[Tenant, Tenant], tmp_path: Path
) -> None:
    first, _ = pair
    source = f"{first.namespace}/{first.host_name('my-service')}"
    with tenant(
        clusters.host,
        tmp_path,
        name="vc-0005",
        advertise=clusters.host.our_address(),
        arguments=(
            "--service-mapping-from-host",
            f"{source}=partner/db",
            "--service-mapping-to-host",
            "default/web=web",
        ),
    ) as one:
        mapped = until(lambda: one.find("service", "db", "partner"))
        assert mapped["spec"]["clusterIP"] == first.get("service", "my-service")["spec"]["clusterIP"]
        one.vapi.apply(pod("box"), service("web", selector={"app": "box"}, ports=[{"port": 80}]))
        ready(one, "pod/box")
        (backend,) = first.listed("pods", "-l", "app=my-app")
        answered = until(lambda: inside(one, "wget -qO- -T 2 http://db.partner/hostname"))
        assert answered == backend["metadata"]["name"]
        outside = until(lambda: one.host_kubectl("get", "endpoints", "web", "-o", "json"))
        addresses = [a["ip"] for s in json.loads(outside).get("subsets", ()) for a in s.get("addresses", ())]
        assert addresses == [one.get("pod", "box")["status"]["podIP"]]
