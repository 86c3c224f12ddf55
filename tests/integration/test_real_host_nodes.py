"""Whose nodes are whose on a real host: dedicated to a tenant, its own over the host's, and lost.

Beside the one real node stands a fake one: Ready as long as somebody says so, with a taint that keeps everybody
else's pods away. Pods that are bound to it never run.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host_cluster import HostCluster
from tests.integration.tenants import Tenant, deployment, pod, tenant
from tests.vapi_process import KubectlError, manifests, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

POOL = "nodes-test"
BEAT_S = 10.0
"""A node that says nothing for 40 s is Unknown."""
NO_DNS = ("--dns", "none")


class FakeNode:
    """A Node without a kubelet, and who posts its status."""

    def __init__(self, host: HostCluster) -> None:
        self.name = f"fake-{secrets.token_hex(3)}"
        self._host = host
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, name=self.name, daemon=True)

    @property
    def toleration(self) -> dict[str, str]:
        return {"key": POOL, "operator": "Equal", "value": self.name, "effect": "NoSchedule"}

    def create(self) -> None:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": {"kubernetes.io/hostname": self.name, POOL: self.name}},
            "spec": {"taints": [{"key": POOL, "value": self.name, "effect": "NoSchedule"}]},
        }
        self._host.kubectl("create", "-f", "-", stdin=manifests([node]))
        self._post()
        self._beats.start()
        until(lambda: self._taints() == [POOL])

    def _taints(self) -> list[str]:
        """not-ready is taken off by the host's node lifecycle controller."""
        return [t["key"] for t in self._host.json("get", "node", self.name)["spec"].get("taints") or ()]

    def _post(self) -> None:
        resources = {"cpu": "4", "memory": "8Gi", "pods": "20"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"}
        ready["lastHeartbeatTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
        self._host.kubectl(
            "patch", "node", self.name, "--subresource=status", "--type=merge", "-p", manifests([{"status": status}])
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with contextlib.suppress(KubectlError):
                self._post()

    def delete(self) -> None:
        self._ended.set()
        self._host.kubectl("delete", "node", self.name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def fake(node_host: HostCluster) -> Iterator[FakeNode]:
    node = FakeNode(node_host)
    try:
        node.create()
        yield node
    finally:
        node.delete()


@contextlib.contextmanager
def serving(host: HostCluster, directory: Path, name: str, *arguments: str) -> Iterator[Tenant]:
    with tenant(host, directory, name=name, arguments=(*NO_DNS, *arguments)) as one:
        yield one


def real_node(host: HostCluster) -> str:
    """The first that has a kubelet."""
    nodes = host.json("get", "nodes")["items"]
    name: str = next(n["metadata"]["name"] for n in nodes if n["status"]["nodeInfo"]["kubeletVersion"])
    return name


def nodes_of(one: Tenant) -> list[str]:
    return sorted(n["metadata"]["name"] for n in one.listed("nodes"))


def place_of(one: Tenant, name: str) -> str:
    found: str = one.get("pod", name)["spec"].get("nodeName", "")
    return found


def is_running(one: Tenant, name: str) -> bool:
    return bool(one.get("pod", name)["status"].get("phase") == "Running")


def messages(one: Tenant, name: str) -> str:
    found = one.listed("events", "--field-selector", f"involvedObject.name={name}")
    return "\n".join(e.get("message", "") for e in found if e["reason"] == "FailedScheduling")


def stays_pending(one: Tenant, name: str) -> None:
    """The scheduler has looked at it, and it is nowhere."""
    until(lambda: messages(one, name), lambda text: "nodes are available" in text)
    assert place_of(one, name) == ""


def daemonset(name: str, *tolerations: dict[str, Any]) -> dict[str, Any]:
    made = deployment(name, 1)
    made["kind"] = "DaemonSet"
    del made["spec"]["replicas"]
    made["spec"]["template"]["spec"]["tolerations"] = list(tolerations)
    return made


# --- dedicated nodes ------------------------------------------------------------------------------------


def test_a_dedicated_cluster_sees_its_nodes_alone_and_its_pods_go_nowhere_else(
    node_host: HostCluster, fake: FakeNode, tmp_path: Path
) -> None:
    real = real_node(node_host)
    with serving(node_host, tmp_path, "nd-a", "--sync-nodes-selector", f"kubernetes.io/hostname={real}") as a:
        until(lambda: nodes_of(a) == [real])
        every: list[Any] = [{"operator": "Exists"}]
        a.vapi.apply(
            pod("plain"),
            pod("wide", tolerations=every),
            pod("elsewhere", tolerations=every, nodeSelector={"kubernetes.io/hostname": fake.name}),
            pod("named", tolerations=every, nodeName=fake.name),
            deployment("web", 3),
        )
        a.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        until(lambda: is_running(a, "plain") and is_running(a, "wide"))
        stays_pending(a, "elsewhere")
        until(lambda: "nodes are available" in messages(a, "named"))
        assert {t["spec"].get("nodeName", real) for t in a.twins("pods")} == {real}
        assert nodes_of(a) == [real]


@pytest.mark.parametrize("way", ["host", "virtual"])
def test_a_daemonset_of_a_dedicated_cluster_is_on_its_nodes_alone_whoever_runs_it(
    node_host: HostCluster, fake: FakeNode, tmp_path: Path, way: str
) -> None:
    real = real_node(node_host)
    settings = ("--sync-nodes-selector", f"kubernetes.io/hostname={real}", "--workloads-daemonsets", way)
    with serving(node_host, tmp_path, "nd-ds", *settings) as one:
        one.vapi.apply(daemonset("agent", {"operator": "Exists"}))
        one.kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
        assert one.get("daemonset", "agent")["status"]["desiredNumberScheduled"] == 1
        assert len(one.twins("daemonsets")) == (1 if way == "host" else 0)
        pods = one.host.json("-n", one.namespace, "get", "pods", "-l", "app=agent")["items"]
        assert [p["spec"]["nodeName"] for p in pods] == [real]
        (here,) = one.listed("pods", "-l", "app=agent")
        assert here["spec"]["nodeName"] == real


def test_nodes_and_taints_follow_selector_and_tolerations_and_a_node_that_goes_takes_its_pods(
    node_host: HostCluster, fake: FakeNode, tmp_path: Path
) -> None:
    settings = ("--sync-nodes-selector", f"{POOL}={fake.name}", "--sync-nodes-tolerations", f"{POOL}:NoSchedule")
    with serving(node_host, tmp_path, "nd-b", *settings) as b:
        until(lambda: nodes_of(b) == [fake.name])
        assert "taints" not in b.get("node", fake.name)["spec"]
        b.vapi.apply(pod("web"), deployment("many", 2))
        until(lambda: place_of(b, "web") == fake.name)
        first = {p["metadata"]["uid"] for p in b.listed("pods")}
        # a host pod that will not go, whatever happens
        hold = '{"metadata":{"finalizers":["vapi.dev/test-hold"]}}'
        b.host_kubectl("patch", "pod", b.host_name("web"), "-p", hold)
        try:
            node_host.kubectl("label", "node", fake.name, f"{POOL}-")
            until(lambda: nodes_of(b) == [])
            node_host.kubectl("label", "node", fake.name, f"{POOL}={fake.name}")
            until(lambda: nodes_of(b) == [fake.name])
            fake.delete()
            until(lambda: nodes_of(b) == [])
            until(lambda: b.find("pod", "web") is None, timeout_s=70)
            left = until(lambda: b.listed("pods", "-l", "app=many"), lambda found: len(found) == 2)
            assert first.isdisjoint(p["metadata"]["uid"] for p in left)
            assert b.twin("pod", "web") is not None
            stays_pending(b, left[0]["metadata"]["name"])
        finally:
            release = '{"metadata":{"finalizers":null}}'
            b.host_kubectl("patch", "pod", b.host_name("web"), "--type=merge", "-p", release)


def test_with_all_nodes_the_tenants_are_the_hosts(node_host: HostCluster, fake: FakeNode, tmp_path: Path) -> None:
    """NODE-1 to NODE-3 of the checklist; the fake one has no address on the host either."""
    with serving(node_host, tmp_path, "nd-c", "--sync-nodes-mode", "all") as c:
        names = {fake.name, real_node(node_host)}
        until(lambda: set(nodes_of(c)) >= names)
        for name in names:
            node, original = c.get("node", name), node_host.json("get", "node", name)
            labels = {k: v for k, v in node["metadata"]["labels"].items() if not k.startswith("vapi.dev/")}
            assert labels == original["metadata"]["labels"]
            assert node["status"].get("addresses") == original["status"].get("addresses")


def test_an_invented_node_tells_nothing_of_the_host(node_host: HostCluster, tmp_path: Path) -> None:
    with serving(node_host, tmp_path, "nd-d", "--sync-nodes-mode", "invented") as d:
        assert nodes_of(d) == []
        d.vapi.apply(pod("web"))
        until(lambda: is_running(d, "web"))
        (node,) = d.listed("nodes")
        assert node["metadata"]["name"] == real_node(node_host)
        assert {a["type"] for a in node["status"]["addresses"]} == {"Hostname"}
        assert node["status"]["capacity"]["cpu"] == "16"
        assert "Ready" in d.kubectl("get", "nodes")


# --- virtual nodes --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """With nodes of its own over the real one."""
    selector = f"kubernetes.io/hostname={real_node(node_host)}"
    settings = ("--sync-nodes-mode", "virtual", "--sync-nodes-selector", selector)
    with serving(node_host, tmp_path_factory.mktemp("own"), "nd-v", *settings) as one:
        until(lambda: nodes_of(one) != [])
        yield one


def spec_on_host(one: Tenant) -> dict[str, Any]:
    found: dict[str, Any] = one.host.json("get", "node", *nodes_of(one))["spec"]
    return {key: found.get(key) for key in ("taints", "unschedulable")}


def test_a_taint_of_the_tenant_keeps_its_pods_away_and_the_host_knows_nothing_of_it(own: Tenant) -> None:
    """SCH-1 to SCH-3 of the checklist."""
    (node,) = nodes_of(own)
    before = spec_on_host(own)
    own.kubectl("taint", "node", node, "mine=1:NoSchedule")
    own.vapi.apply(pod("may", tolerations=[{"key": "mine", "operator": "Exists"}]), pod("may-not"))
    until(lambda: is_running(own, "may"))
    stays_pending(own, "may-not")
    assert own.twin("pod", "may-not") is None
    assert spec_on_host(own) == before
    own.kubectl("taint", "node", node, "mine-")
    until(lambda: is_running(own, "may-not"))
    own.kubectl("delete", "pod", "may", "may-not")


def test_labels_of_the_tenant_are_placed_by_and_do_not_leave_it(own: Tenant) -> None:
    (node,) = nodes_of(own)
    own.vapi.apply(pod("here", nodeSelector={"rack": "7"}))
    stays_pending(own, "here")
    own.kubectl("label", "node", node, "rack=7")
    until(lambda: is_running(own, "here"))
    assert "rack" not in own.host.json("get", "node", node)["metadata"]["labels"]
    twin = own.twin("pod", "here")
    assert "rack" not in twin["spec"].get("nodeSelector", {})
    own.kubectl("delete", "pod", "here")


def test_cordon_and_drain_work_in_the_tenant_and_never_touch_the_host(own: Tenant) -> None:
    (node,) = nodes_of(own)
    before = spec_on_host(own)
    own.vapi.apply(deployment("web", 2))
    own.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    own.kubectl("drain", node, "--ignore-daemonsets", "--timeout=60s")
    left = until(lambda: own.listed("pods", "-l", "app=web"), lambda found: len(found) == 2)
    for each in left:
        stays_pending(own, each["metadata"]["name"])
    assert "SchedulingDisabled" in own.kubectl("get", "nodes")
    assert spec_on_host(own) == before
    own.kubectl("uncordon", node)
    own.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    own.kubectl("delete", "deployment", "web")


def test_a_no_execute_taint_of_the_tenant_drives_its_pods_away(own: Tenant) -> None:
    (node,) = nodes_of(own)
    own.vapi.apply(pod("goes"), pod("stays", tolerations=[{"key": "out", "operator": "Exists"}]))
    until(lambda: is_running(own, "goes") and is_running(own, "stays"))
    own.kubectl("taint", "node", node, "out=1:NoExecute")
    until(lambda: own.find("pod", "goes") is None and own.twin("pod", "goes") is None)
    assert is_running(own, "stays")
    own.kubectl("taint", "node", node, "out-")
    own.kubectl("delete", "pod", "stays")


def test_a_claim_that_waits_for_its_first_consumer_is_bound(own: Tenant) -> None:
    """VOL-6 of the checklist."""
    classes = own.host.json("get", "storageclasses")["items"]
    name = next((c["metadata"]["name"] for c in classes if c["volumeBindingMode"] == "WaitForFirstConsumer"), None)
    if name is None:
        pytest.skip("the host has no class that waits for its first consumer")
    stateful = deployment("data", 1, volumeMounts=[{"name": "d", "mountPath": "/d"}])
    stateful["kind"] = "StatefulSet"
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": name, "resources": {"requests": {"storage": "1Mi"}}}
    stateful["spec"] |= {"serviceName": "data", "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": claim}]}
    own.vapi.apply(stateful)
    own.kubectl("rollout", "status", "statefulset/data", "--timeout=100s")
    assert own.get("pvc", "d-data-0")["status"]["phase"] == "Bound"
    own.kubectl("delete", "statefulset", "data")
    own.kubectl("delete", "pvc", "d-data-0")


def test_a_daemonset_counts_the_tenants_nodes(own: Tenant) -> None:
    own.vapi.apply(daemonset("agent"))
    own.kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
    assert own.get("daemonset", "agent")["status"]["desiredNumberScheduled"] == 1
    assert own.twins("daemonsets") == []
    own.kubectl("delete", "daemonset", "agent")


def test_a_kill_in_the_middle_of_a_rollout_leaves_every_pod_its_node(own: Tenant) -> None:
    def twins() -> set[str]:
        return {t["metadata"]["uid"] for t in own.twins("pods") if t["metadata"]["labels"].get("app") == "web"}

    own.vapi.apply(deployment("web", 6))
    until(lambda: len(twins()) >= 2)
    own.vapi.kill()
    before = twins()
    own.vapi.start()
    own.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(own.listed("pods", "-l", "app=web")) == 6
    after = twins()
    assert len(after) == 6
    assert before <= after
    own.kubectl("delete", "deployment", "web")
    until(lambda: twins() == set())


def test_a_node_that_the_host_refuses_is_left_for_another(
    node_host: HostCluster, fake: FakeNode, tmp_path: Path
) -> None:
    """Another tenant's pod has the room that this one believes in: the host says so after 30 s."""
    real = real_node(node_host)
    tolerations = ("--sync-nodes-tolerations", f"{POOL}:NoSchedule")
    with serving(node_host, tmp_path, "nd-w", "--sync-nodes-mode", "virtual", *tolerations) as w:
        until(lambda: set(nodes_of(w)) >= {real, fake.name})
        foreign = pod("foreign", container={"resources": {"requests": {"cpu": "3"}}}, nodeName=fake.name)
        w.host_kubectl("create", "-f", "-", stdin=manifests([foreign]))
        wish = {"matchExpressions": [{"key": POOL, "operator": "In", "values": [fake.name]}]}
        both = {"key": "kubernetes.io/hostname", "operator": "In", "values": [fake.name, real]}
        affinity = {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": wish}],
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [both]}]},
            }
        }
        # less than the real node certainly has left, more than the fake one has
        wanted = {"resources": {"requests": {"memory": "16Mi", "cpu": "10m"}}}
        heavy = pod("foreign-pods", container={"resources": {"requests": {"cpu": "995m"}}}, nodeName=fake.name)
        w.host_kubectl("create", "-f", "-", stdin=manifests([heavy]))
        w.vapi.apply(pod("web", container=wanted, affinity=affinity))
        until(lambda: is_running(w, "web"), timeout_s=60)
        assert place_of(w, "web") == real
        assert f"the host has not bound it to node {fake.name} within 30 s" in messages(w, "web")
        w.host_kubectl("delete", "pod", "foreign", "foreign-pods", "--force", "--grace-period=0")
