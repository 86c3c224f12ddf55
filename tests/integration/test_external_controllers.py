"""`--controllers-external true`: the real kube-controller-manager makes the workloads of a virtual cluster, and the
real kube-scheduler places pods on Nodes that nobody of ours knows. Both speak protobuf and ask for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.etcd_server import free_ports
from tests.host_cluster import AGNHOST, BINARIES, HostCluster
from tests.integration.tenants import Tenant, deployment, service, tenant
from tests.kube_components import (
    CONTROLLER_MANAGER,
    NOT_OF_VOLUMES,
    Component,
    controller_manager,
    kubeconfig_of,
    scheduler,
)
from tests.vapi_process import Vapi, serving, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        not (BINARIES / CONTROLLER_MANAGER).is_file(), reason=f"no {CONTROLLER_MANAGER}: shared/host/build makes it"
    ),
]
EXTERNAL = ("--controllers-external", "true")
MONITOR_GRACE_S = 50.0
"""After which its node-lifecycle-controller takes a silent Node for dead."""
BENIGN = (
    "The manifest file is empty",  # told at every start
    "is not as new as written version",  # it was faster than its own informer, and looks again
    "the object has been modified",
    "unexpected items still remain in namespace",  # pods with 1 s of grace a second after the namespace's deletion
    "because it is being terminated",  # of a namespace that its other controllers still fill
    "metrics.k8s.io",  # nobody serves it: autoscalers do nothing
)


@pytest.fixture(scope="module", params=["the admin", "its own user and service accounts"])
def vapi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vapi]:
    """On the embedded host. Its log must be clean at the end."""
    (port,) = free_ports(1)
    own = request.param != "the admin"
    with serving(tmp_path_factory.mktemp("external"), "--listen", f"127.0.0.1:{port}", *EXTERNAL, port=port) as running:
        kubeconfig = kubeconfig_of(running, "system:kube-controller-manager") if own else running.kubeconfig
        with controller_manager(running, kubeconfig, f"--use-service-account-credentials={str(own).lower()}") as beside:
            until(lambda: running.kubectl("-n", "default", "get", "serviceaccount", "default"), timeout_s=60)
            yield running
            assert unexpected(beside) == []


def unexpected(component: Component) -> list[str]:
    return [line for line in component.errors() if not any(text in line for text in BENIGN)]


def workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    made = deployment(name, 0)
    return {**made, "kind": kind, "spec": {k: v for k, v in made["spec"].items() if k != "replicas"} | spec}


def job(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": AGNHOST, "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}}


def in_namespace(vapi: Vapi, name: str) -> None:
    vapi.kubectl("create", "namespace", name)
    until(lambda: vapi.kubectl("-n", name, "get", "serviceaccount", "default"))


def test_it_leads_by_a_lease_and_ours_do_not_work_beside_it(vapi: Vapi) -> None:
    lease = until(lambda: vapi.json("-n", "kube-system", "get", "lease", CONTROLLER_MANAGER))
    assert lease["spec"]["holderIdentity"]
    until(lambda: vapi.json("-n", "default", "get", "configmap", "kube-root-ca.crt"))
    vapi.apply(deployment("leader", 1))
    vapi.kubectl("rollout", "status", "deployment/leader", "--timeout=30s")
    managers = vapi.json("get", "replicaset", "-l", "app=leader", "--show-managed-fields")["items"][0]["metadata"]
    assert {m["manager"] for m in managers["managedFields"]} == {CONTROLLER_MANAGER}
    vapi.kubectl("delete", "deployment", "leader")
    until(lambda: vapi.json("get", "pods", "-l", "app=leader")["items"] == [])


def test_workloads_of_every_kind_come_up_roll_over_and_go(vapi: Vapi) -> None:
    in_namespace(vapi, "work")

    def kubectl(*a: str) -> str:
        return vapi.kubectl("-n", "work", *a)

    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"}}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"}, "spec": {"hard": {"pods": "50"}}}
    cron = job("tick")["spec"]
    objects = [
        deployment("web", 3, ports=[{"containerPort": 80}]),
        service("web", selector={"app": "web"}, ports=[{"port": 80}]),
        workload("StatefulSet", "db", replicas=2, serviceName="db"),
        workload("DaemonSet", "agent"),
        job("once", completions=3, parallelism=2, completionMode="Indexed"),
        {**job("tick"), "kind": "CronJob", "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": cron}}},
        budget | {"spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}},
        quota,
    ]
    vapi.apply(*({**o, "metadata": {**o["metadata"], "namespace": "work"}} for o in objects))
    for what in ("deployment/web", "statefulset/db", "daemonset/agent"):
        kubectl("rollout", "status", what, "--timeout=40s")
    kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=40s")
    web = until(lambda: vapi.json("-n", "work", "get", "pods", "-l", "app=web")["items"], lambda p: len(p) == 3)
    addresses = sorted(p["status"]["podIP"] for p in web)
    assert until(lambda: endpoints(vapi), lambda found: found == addresses)
    until(lambda: vapi.json("-n", "work", "get", "pdb", "web")["status"]["disruptionsAllowed"], lambda n: n == 1)
    until(lambda: vapi.json("-n", "work", "get", "quota", "all")["status"]["used"]["pods"], lambda n: int(n) >= 8)

    kubectl("set", "env", "deployment/web", "A=b")
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    kubectl("rollout", "undo", "deployment/web")
    kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    kubectl("scale", "statefulset/db", "--replicas=3")
    kubectl("rollout", "status", "statefulset/db", "--timeout=40s")
    until(lambda: fired(vapi), timeout_s=75)

    kubectl("delete", "deployment", "web", "--cascade=orphan")
    orphans = until(
        lambda: vapi.json("-n", "work", "get", "replicasets")["items"], lambda rs: all(unowned(r) for r in rs)
    )
    assert len(orphans) == 2
    kubectl("delete", "statefulset", "db", "--cascade=foreground")
    assert vapi.json("-n", "work", "get", "pods", "-l", "app=db")["items"] == []
    kubectl("delete", "daemonset", "agent")
    until(lambda: vapi.json("-n", "work", "get", "pods", "-l", "app=agent")["items"] == [])
    vapi.kubectl("delete", "namespace", "work", "--timeout=90s", timeout_s=100)


def endpoints(vapi: Vapi) -> list[str]:
    slices = vapi.json("-n", "work", "get", "endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    return sorted(a for s in slices for e in s["endpoints"] or () for a in e["addresses"])


def fired(vapi: Vapi) -> bool:
    jobs = vapi.json("-n", "work", "get", "jobs")["items"]
    return any(j["metadata"]["name"].startswith("tick-") and j["status"].get("succeeded") for j in jobs)


def unowned(obj: Any) -> bool:
    return not obj["metadata"].get("ownerReferences")


def test_it_never_takes_our_nodes_for_dead(vapi: Vapi) -> None:
    vapi.apply(deployment("steady", 2))
    vapi.kubectl("rollout", "status", "deployment/steady", "--timeout=30s")
    time.sleep(MONITOR_GRACE_S)
    events = vapi.json("get", "events", "-A")["items"]
    assert [e["message"] for e in events if e["reason"] == "NodeNotReady"] == []
    for node in vapi.json("get", "nodes")["items"]:
        assert not node["spec"].get("taints")
        assert {c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"} == {"True"}


@pytest.fixture
def on_a_real_host(node_host: HostCluster, tmp_path: Path) -> Iterator[Tenant]:
    arguments = (*EXTERNAL, "--dns", "none")
    with tenant(node_host, tmp_path, name="ext", advertise=node_host.our_address(), arguments=arguments) as a:
        user = kubeconfig_of(a.vapi, "system:kube-controller-manager")
        with controller_manager(
            a.vapi, user, "--use-service-account-credentials=true", controllers=NOT_OF_VOLUMES
        ) as beside:
            until(lambda: a.kubectl("-n", "default", "get", "serviceaccount", "default"), timeout_s=60)
            yield a
            assert unexpected(beside) == []


def test_on_a_real_host_its_pods_really_run(on_a_real_host: Tenant) -> None:
    a = on_a_real_host
    a.vapi.apply(
        deployment("web", 3),
        service("web", selector={"app": "web"}, ports=[{"port": 80}]),
        with_claims(workload("StatefulSet", "db", replicas=2, serviceName="db")),
        workload("DaemonSet", "agent"),
        job("once", completions=2, parallelism=2),
    )
    for what in ("deployment/web", "statefulset/db", "daemonset/agent"):
        a.kubectl("rollout", "status", what, "--timeout=90s", timeout_s=100)
    a.kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=60s")
    assert {p["status"]["phase"] for p in a.twins("pods")} == {"Running", "Succeeded"}
    assert len([p for p in a.listed("pods") if p["metadata"]["name"].startswith("agent-")]) == 1
    a.kubectl("set", "env", "deployment/web", "A=b")
    a.kubectl("rollout", "status", "deployment/web", "--timeout=90s", timeout_s=100)
    a.kubectl("exec", "db-0", "--", "sh", "-c", "echo kept > /data/x")
    uid = a.get("pod", "db-0")["metadata"]["uid"]
    a.kubectl("delete", "pod", "db-0")
    until(lambda: a.get("pod", "db-0"), lambda p: p["metadata"]["uid"] != uid)
    a.kubectl("rollout", "status", "statefulset/db", "--timeout=90s", timeout_s=100)
    assert a.kubectl("exec", "db-0", "--", "cat", "/data/x").strip() == "kept"

    a.kubectl("delete", "deployment,statefulset,daemonset,job", "--all")
    until(lambda: a.listed("pods") == [], timeout_s=60)
    a.kubectl("delete", "pvc", "--all")
    until(lambda: a.twins("pods") == [] and a.listed("pvc") == [] == a.listed("pv"), timeout_s=60)


def with_claims(stateful_set: dict[str, Any]) -> dict[str, Any]:
    """Each pod with a volume at /data."""
    template = stateful_set["spec"]["template"]["spec"]
    template["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    stateful_set["spec"]["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": spec}]
    return stateful_set


def test_the_real_scheduler_places_pods_where_there_is_no_host(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    where = ("--listen", f"127.0.0.1:{port}", "--host", "none")
    with serving(tmp_path / "none", *where, port=port) as vapi, scheduler(vapi) as beside:
        for number in range(3):
            add_node(vapi, f"fake-{number}")
        vapi.apply(deployment("web", 6))
        pods = until(
            lambda: vapi.json("get", "pods")["items"],
            lambda found: len(found) == 6 and all(p["spec"].get("nodeName") for p in found),
        )
        assert {p["spec"]["nodeName"] for p in pods} == {"fake-0", "fake-1", "fake-2"}
        scheduled = until(
            lambda: [e for e in vapi.json("get", "events")["items"] if e["reason"] == "Scheduled"],
            lambda events: len(events) == 6,
        )
        assert {e["reportingComponent"] for e in scheduled} == {"default-scheduler"}
        vapi.apply(deployment("large", 1, resources={"requests": {"cpu": "100"}}))
        until(
            lambda: vapi.json("get", "events")["items"], lambda es: any(e["reason"] == "FailedScheduling" for e in es)
        )
        assert unexpected(beside) == []


def add_node(vapi: Vapi, name: str) -> None:
    """Ready and without the taint that admission gives new Nodes."""
    resources = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
    labels = {"kubernetes.io/hostname": name}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}
    vapi.call("POST", "/api/v1/nodes", node)
    vapi.kubectl("taint", "node", name, "node.kubernetes.io/not-ready-")
