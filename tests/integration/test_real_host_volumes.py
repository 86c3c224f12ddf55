"""Claims, volumes and classes on a real host with a real node and its provisioner: data outlive pods and kill -9."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host_cluster import AGNHOST, HostCluster
from tests.integration.tenants import Tenant, pod, shell, tenant
from tests.vapi_process import KubectlError, manifests, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
CLASSES: dict[str, dict[str, Any]] = {
    "storageclass": {
        "apiVersion": "storage.k8s.io/v1",
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": {"of": "a test"},
    },
    "ingressclass": {"apiVersion": "networking.k8s.io/v1", "spec": {"controller": "example.com/nobody"}},
    "runtimeclass": {"apiVersion": "node.k8s.io/v1", "handler": "runc"},
    "priorityclass": {"apiVersion": "scheduling.k8s.io/v1", "value": 3, "description": "first"},
}
KINDS = {
    "storageclass": "StorageClass",
    "ingressclass": "IngressClass",
    "runtimeclass": "RuntimeClass",
    "priorityclass": "PriorityClass",
}


@pytest.fixture(scope="module")
def a(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with tenant(node_host, tmp_path_factory.mktemp("tenants"), name="vol", advertise=node_host.our_address()) as one:
        until(lambda: one.find("storageclass", "local-path", ""))
        yield one


def stateful_set(name: str, replicas: int, **spec: Any) -> dict[str, Any]:
    """Each pod appends its name to a file of its own claim, at every start."""
    container = {
        "name": "main",
        "image": AGNHOST,
        "command": list(shell("echo $HOSTNAME >> /data/log; sleep 1000")),
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": SPEC}],
            **spec,
        },
    }


def claim(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {**SPEC, **spec},
    }


def with_claim(name: str, claim_name: str, script: str = "sleep 1000") -> dict[str, Any]:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim_name}}]
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    return pod(name, *shell(script), container=mounts, volumes=volumes, terminationGracePeriodSeconds=0)


def ready(one: Tenant, what: str) -> None:
    one.kubectl("wait", "--for=condition=Ready", what, "--timeout=90s")


def lines(one: Tenant, name: str) -> list[str]:
    return one.kubectl("exec", name, "--", "cat", "/data/log").split()


def said(one: Tenant, name: str, reason: str) -> list[str]:
    """Messages of events about `name`."""
    query = f"involvedObject.name={name},reason={reason}"
    return [e["message"] for e in one.listed("events", "--field-selector", query)]


def host_volume(one: Tenant, name: str) -> Any:
    try:
        return one.host.json("get", "pv", name)
    except KubectlError:
        return None


# --- data ---------------------------------------------------------------------------------------------


def test_a_stateful_set_keeps_its_data_over_new_pods_and_kill_9(a: Tenant) -> None:
    a.vapi.apply(stateful_set("web", 2))
    a.kubectl("rollout", "status", "statefulset/web", "--timeout=120s")
    assert lines(a, "web-0") == ["web-0"]
    volumes = {name: a.get("pvc", f"data-{name}")["spec"]["volumeName"] for name in ("web-0", "web-1")}
    for name, volume in volumes.items():
        here, there = a.get("pvc", f"data-{name}"), a.twin("pvc", f"data-{name}")
        assert here["status"] == there["status"]
        assert here["spec"]["storageClassName"] == "local-path"
        shown = a.get("pv", volume)
        assert shown["status"]["phase"] == "Bound"
        assert shown["spec"]["claimRef"]["uid"] == here["metadata"]["uid"]
        assert shown["spec"]["claimRef"]["name"] == f"data-{name}"
    a.kubectl("delete", "pod", "web-0")
    ready(a, "pod/web-0")
    assert lines(a, "web-0") == ["web-0", "web-0"]
    a.vapi.kill()
    a.host_kubectl("delete", "pod", a.host_name("web-1"), "--wait=false")
    a.vapi.start()
    until(lambda: lines(a, "web-1"), lambda found: found == ["web-1", "web-1"], timeout_s=90)
    assert {name: a.get("pvc", f"data-{name}")["spec"]["volumeName"] for name in volumes} == volumes
    a.kubectl("delete", "statefulset", "web")


def test_a_deleted_claim_waits_for_its_pod_then_takes_copy_and_volume_along(a: Tenant) -> None:
    a.vapi.apply(claim("gone"), with_claim("user", "gone"))
    ready(a, "pod/user")
    volume = a.get("pvc", "gone")["spec"]["volumeName"]
    a.kubectl("delete", "pvc", "gone", "--wait=false")
    until(lambda: a.twin("pvc", "gone")["metadata"].get("deletionTimestamp"))
    assert a.get("pvc", "gone")["status"]["phase"] == "Bound"
    a.kubectl("delete", "pod", "user")
    until(lambda: a.find("pvc", "gone") is None and a.twin("pvc", "gone") is None)
    until(lambda: a.find("pv", volume, "") is None)
    until(lambda: host_volume(a, volume) is None, timeout_s=60)


def test_a_bound_claim_that_the_host_loses_is_lost_and_never_an_empty_disk(a: Tenant) -> None:
    a.vapi.apply(claim("lost"), with_claim("writer", "lost", "echo precious > /data/x; sleep 1000"))
    ready(a, "pod/writer")
    a.kubectl("delete", "pod", "writer")
    a.host_kubectl("delete", "pvc", a.host_name("lost"))
    until(lambda: a.get("pvc", "lost")["status"]["phase"] == "Lost")
    until(lambda: said(a, "lost", "ClaimLost"))
    a.vapi.apply(with_claim("reader", "lost"))
    a.vapi.kill()
    a.vapi.start()
    until(lambda: said(a, "reader", "SyncWarning"), timeout_s=60)
    assert "persistentvolumeclaims lost" in said(a, "reader", "SyncWarning")[0]
    assert a.get("pod", "reader")["status"]["phase"] == "Pending"
    assert a.twin("pvc", "lost") is None
    assert a.get("pvc", "lost")["status"]["phase"] == "Lost"
    a.kubectl("delete", "pod/reader", "pvc/lost")


def test_an_unbound_claim_is_made_again_and_edits_are_put_back(a: Tenant) -> None:
    a.vapi.apply(claim("waiting"))
    first = until(lambda: a.twin("pvc", "waiting"))
    a.host_kubectl("delete", "pvc", a.host_name("waiting"))
    until(lambda: (a.twin("pvc", "waiting") or first)["metadata"]["uid"] != first["metadata"]["uid"])
    a.kubectl("annotate", "pvc", "waiting", "note=mine")
    until(lambda: a.twin("pvc", "waiting")["metadata"]["annotations"].get("note") == "mine")
    a.host_kubectl("annotate", "pvc", a.host_name("waiting"), "note=theirs", "--overwrite")
    until(lambda: a.twin("pvc", "waiting")["metadata"]["annotations"]["note"] == "mine")
    until(lambda: said(a, "waiting", "WaitForFirstConsumer"))
    a.kubectl("delete", "pvc", "waiting")
    until(lambda: a.twin("pvc", "waiting") is None)


def test_an_ephemeral_volume_lives_with_its_pod(a: Tenant) -> None:
    volume = {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": SPEC}}}
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    a.vapi.apply(pod("eph", *shell("echo x > /data/x; sleep 1000"), container=mounts, volumes=[volume]))
    ready(a, "pod/eph")
    assert a.get("pvc", "eph-data")["metadata"]["ownerReferences"][0]["name"] == "eph"
    a.kubectl("delete", "pod", "eph")
    until(lambda: a.find("pvc", "eph-data") is None and a.twin("pvc", "eph-data") is None)


def test_nobody_sees_volumes_of_others_or_touches_what_is_shown(a: Tenant) -> None:
    others = a.host.json("get", "pv")["items"]
    mine = {c["spec"].get("volumeName") for c in a.listed("pvc", "-A")}
    assert {v["metadata"]["name"] for v in a.listed("pv")} <= mine
    assert all(v["metadata"]["name"] in {o["metadata"]["name"] for o in others} for v in a.listed("pv"))
    for command in (("delete", "storageclass", "local-path"), ("label", "storageclass", "local-path", "a=b")):
        with pytest.raises(KubectlError) as refused:
            a.kubectl(*command)
        assert "can be changed only there" in refused.value.stderr


def test_what_stays_in_the_tenant_is_told(a: Tenant) -> None:
    mine = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "mine"},
        "provisioner": "x/y",
    }
    a.vapi.apply(mine, claim("own", storageClassName="mine"), claim("fixed", volumeName="pv-1"))
    until(lambda: said(a, "own", "SyncWarning") and said(a, "fixed", "SyncWarning"))
    assert 'the host has no storage class "mine"' in said(a, "own", "SyncWarning")[0]
    assert 'the persistent volume "pv-1" is not one of the host' in said(a, "fixed", "SyncWarning")[0]
    assert a.twin("pvc", "own") is None and a.twin("pvc", "fixed") is None
    a.kubectl("delete", "pvc/own", "pvc/fixed", "storageclass/mine")


# --- classes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mark() -> str:
    return f"vol-{secrets.token_hex(3)}"


@pytest.fixture(scope="module")
def classes(node_host: HostCluster, mark: str) -> Iterator[None]:
    """At the host: of each kind `<mark>-one` with the label that the selectors ask for, and `<mark>-two` without."""
    made = [
        {**body, "kind": KINDS[kind], "metadata": {"name": f"{mark}-{which}", "labels": {"value": f"{mark}-{which}"}}}
        for kind, body in CLASSES.items()
        for which in ("one", "two")
    ]
    node_host.kubectl("create", "-f", "-", stdin=manifests(made))
    try:
        yield
    finally:
        with contextlib.suppress(KubectlError):
            node_host.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=manifests(made))


@pytest.fixture(scope="module")
def b(node_host: HostCluster, classes: None, mark: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    words = [f"{kind.removesuffix('class')}-classes" for kind in CLASSES]
    arguments = tuple(
        argument for word in words for argument in (f"--sync-from-host-{word}-selector", f"value={mark}-one")
    )
    arguments += ("--sync-from-host-priority-classes-enabled", "true", "--dns", "none")
    directory = tmp_path_factory.mktemp("tenants")
    with tenant(node_host, directory, name="cls", advertise=node_host.our_address(), arguments=arguments) as one:
        yield one


@pytest.mark.parametrize("kind", CLASSES)
def test_of_each_kind_of_class_the_selected_one_is_seen(b: Tenant, mark: str, kind: str) -> None:
    until(lambda: b.find(kind, f"{mark}-one", ""))
    assert b.find(kind, f"{mark}-two", "") is None


def test_a_claim_of_the_excluded_class_stays_here_and_one_of_the_other_does_not(b: Tenant, mark: str) -> None:
    b.vapi.apply(claim("bad", storageClassName=f"{mark}-two"), claim("good", storageClassName=f"{mark}-one"))
    until(lambda: b.twin("pvc", "good"))
    text = (
        f'did not sync persistent volume claim "bad" to host because the storage class "{mark}-two" in the host does '
        "not match the selector under 'sync.fromHost.storageClasses.selector'"
    )
    until(lambda: said(b, "bad", "SyncWarning") == [text])
    assert b.twin("pvc", "bad") is None


def test_pods_of_excluded_classes_are_refused_and_others_have_theirs(b: Tenant, mark: str) -> None:
    with pytest.raises(KubectlError) as refused:
        b.vapi.apply(pod("p", runtimeClassName=f"{mark}-two"))
    assert f'pods "p" is forbidden: pod rejected: RuntimeClass "{mark}-two" not found' in refused.value.stderr
    with pytest.raises(KubectlError) as refused:
        b.vapi.apply(pod("p", priorityClassName=f"{mark}-two"))
    assert f"no PriorityClass with name {mark}-two was found" in refused.value.stderr
    b.vapi.apply(pod("p", runtimeClassName=f"{mark}-one", priorityClassName=f"{mark}-one"))
    ready(b, "pod/p")
    spec = b.twin("pod", "p")["spec"]
    assert (spec["runtimeClassName"], spec["priorityClassName"], spec["priority"]) == (f"{mark}-one", f"{mark}-one", 3)


def test_changes_of_a_class_reach_the_tenant_and_a_lost_label_ends_it(b: Tenant, mark: str) -> None:
    patch = json.dumps({"description": "second"})
    b.host.kubectl("patch", "priorityclass", f"{mark}-one", "-p", patch)
    until(lambda: b.get("priorityclass", f"{mark}-one", "").get("description") == "second")
    for kind in CLASSES:
        b.host.kubectl("label", kind, f"{mark}-one", "value=other", "--overwrite")
        until(lambda kind=kind: b.find(kind, f"{mark}-one", "") is None)  # type: ignore[misc]
        b.host.kubectl("label", kind, f"{mark}-one", f"value={mark}-one", "--overwrite")
        until(lambda kind=kind: b.find(kind, f"{mark}-one", ""))  # type: ignore[misc]
