"""A virtual cluster on a real host with a real node, used with stock kubectl: the containers really run.

What needs only the host's API is in test_host_api; the image and its pod are in test_real_host_image.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.host_cluster import AGNHOST, NGINX, HostCluster
from tests.integration.tenants import Tenant, configmap, deployment, pod, secret, service, shell, tenant
from tests.vapi_process import KubectlError, kubectl_binary, manifests, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
WHO_AM_I = '{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}'


@pytest.fixture(scope="module")
def a(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with tenant(node_host, tmp_path_factory.mktemp("tenants"), advertise=node_host.our_address()) as one:
        yield one


@pytest.fixture(scope="module")
def box(a: Tenant) -> Tenant:
    """With a running pod `box` that counts lines, and has a ConfigMap and a Secret in its environment and files."""
    count = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"
    variables = [
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
    ]
    mounts = [{"name": "settings", "mountPath": "/settings"}, {"name": "creds", "mountPath": "/creds"}]
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "creds", "secret": {"secretName": "creds"}},
    ]
    a.vapi.apply(
        configmap("settings", color="red", file="one"),
        secret("creds", password="hunter2"),
        service("before", ports=[{"port": 80}], selector={"app": "web"}),
        pod("box", *shell(count), container={"env": variables, "volumeMounts": mounts}, volumes=volumes),
    )
    ready(a, "pod/box")
    return a


def ready(a: Tenant, what: str) -> None:
    a.kubectl("wait", "--for=condition=Ready", what, "--timeout=60s")


def in_box(a: Tenant, script: str, **options: Any) -> str:
    return a.kubectl("exec", "box", "--", "sh", "-c", script, **options).strip()


# --- containers really run ------------------------------------------------------------------------------


def test_a_deployment_runs_restarts_and_rolls_back(a: Tenant) -> None:
    a.vapi.apply(deployment("web", 3, NGINX, ports=[{"containerPort": 80}]))
    a.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    first = {p["metadata"]["name"] for p in a.listed("pods", "-l", "app=web")}
    a.kubectl("rollout", "restart", "deployment/web")
    a.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    a.kubectl("set", "env", "deployment/web", "A=b")
    a.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    a.kubectl("rollout", "undo", "deployment/web")
    a.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = until(lambda: a.listed("pods", "-l", "app=web"), lambda found: len(found) == 3)
    assert first.isdisjoint(p["metadata"]["name"] for p in pods)
    assert all("env" not in p["spec"]["containers"][0] for p in pods)
    assert all(p["status"]["phase"] == "Running" and p["status"]["podIP"] for p in pods)
    assert [n["metadata"]["name"] for n in a.listed("nodes")] == [pods[0]["spec"]["nodeName"]]


def test_run_makes_a_pod_that_ends_by_itself(a: Tenant) -> None:
    a.kubectl("run", "once", f"--image={AGNHOST}", "--restart=Never", "--command", "--", "sh", "-c", "exit 3")
    done = until(lambda: a.get("pod", "once"), lambda p: p["status"].get("phase") == "Failed")
    assert done["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    a.kubectl("delete", "pod", "once")
    until(lambda: a.twin("pod", "once") is None)


def test_a_configmap_and_a_secret_are_seen_inside_and_their_updates_too(box: Tenant) -> None:
    assert in_box(box, "echo $COLOR $PASSWORD $ME $WHERE") == "red hunter2 box default"
    assert in_box(box, "cat /settings/file /creds/password") == "onehunter2"
    box.kubectl("patch", "configmap", "settings", "-p", '{"data":{"file":"two"}}')
    box.kubectl("patch", "secret", "creds", "-p", '{"stringData":{"password":"swordfish"}}')
    # the kubelet looks again within its syncFrequency, at most a minute and a half by default
    until(lambda: in_box(box, "cat /settings/file /creds/password"), lambda t: t == "twoswordfish", timeout_s=100)


# --- tunnels --------------------------------------------------------------------------------------------


def test_logs_are_there_and_can_be_followed(box: Tenant) -> None:
    assert box.kubectl("logs", "box").startswith("line 1\n")
    assert box.kubectl("logs", "box", "--tail=1").startswith("line ")
    with running(box, "logs", "-f", "box", "--tail=1") as follower:
        assert follower.stdout is not None
        seen = [follower.stdout.readline() for _ in range(5)]
    numbers = [int(line.split()[1]) for line in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_exec_passes_input_output_and_the_exit_code(box: Tenant) -> None:
    assert box.kubectl("exec", "-i", "box", "--", "cat", stdin="to and fro\n") == "to and fro\n"
    with pytest.raises(KubectlError) as failed:
        in_box(box, "echo wrong >&2; exit 7")
    assert failed.value.code == 7
    assert "wrong" in failed.value.stderr


def test_exec_with_a_terminal_is_a_session(box: Tenant) -> None:
    ours, theirs = pty.openpty()
    command = [kubectl_binary(), "--kubeconfig", str(box.vapi.kubeconfig), "exec", "-it", "box", "--", "sh"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as session:
        os.close(theirs)
        os.write(ours, b"tty; echo $((6 * 7)); exit 5\n")
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while chunk := os.read(ours, 1024):
                said += chunk
        assert session.wait(20) == 5
    os.close(ours)
    assert b"/dev/pts/" in said
    assert b"\n42" in said


def test_attach_joins_the_main_process(box: Tenant) -> None:
    with running(box, "attach", "box") as attached:
        assert attached.stdout is not None
        assert re.fullmatch(r"line \d+\n", attached.stdout.readline())


def test_cp_goes_both_ways(box: Tenant, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("a file\n" * 10_000)
    box.kubectl("cp", str(tmp_path / "there"), "box:/tmp/copied")
    box.kubectl("cp", "box:/tmp/copied", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == (tmp_path / "there").read_text()


def test_port_forward_reaches_a_pod_and_a_service(box: Tenant) -> None:
    box.vapi.apply(deployment("pages", 1, NGINX), service("pages", ports=[{"port": 80}], selector={"app": "pages"}))
    box.kubectl("rollout", "status", "deployment/pages", "--timeout=60s")
    for target in ("deployment/pages", "service/pages"):
        with running(box, "port-forward", target, ":80") as forward:
            assert forward.stdout is not None
            port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                assert b"Welcome to nginx" in answer.read()
    proxied = box.kubectl("get", "--raw", "/api/v1/namespaces/default/services/pages/proxy/")
    assert "Welcome to nginx" in proxied


@contextlib.contextmanager
def running(a: Tenant, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A kubectl that would not end by itself."""
    command = [kubectl_binary(), "--kubeconfig", str(a.vapi.kubeconfig), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        process.wait()


# --- the tenant's API and Services, from inside ----------------------------------------------------------


def test_a_pod_calls_the_tenants_api_with_its_token_and_the_host_refuses_it(box: Tenant) -> None:
    bearer = f'-H "Authorization: Bearer $(cat {TOKEN}/token)"'
    curl = f"curl -sS --cacert {TOKEN}/ca.crt {bearer} -H 'Content-Type: application/json'"
    review = "apis/authentication.k8s.io/v1/selfsubjectreviews"
    for server in ("$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT", "kubernetes.default.svc"):
        said = in_box(box, f"{curl} -d '{WHO_AM_I}' https://{server}/{review}")
        assert '"system:serviceaccount:default:default"' in said
        assert '"box"' in said
    refused = in_box(box, f"{curl} https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/default/secrets")
    assert '"reason":"Forbidden"' in refused.replace(" ", "")
    config = box.host.kubectl("config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.server}")
    address, _, port = config.removeprefix("https://").rpartition(":")
    if address == "127.0.0.1":
        address = box.host.our_address()
    at_host = in_box(box, f"curl -sSk {bearer} https://{address}:{port}/api/v1/namespaces")
    assert '"reason":"Unauthorized"' in at_host.replace(" ", "")
    assert in_box(box, f"cat {TOKEN}/namespace") == "default"


def test_services_are_reached_by_address_and_their_variables_are_there(box: Tenant) -> None:
    box.vapi.apply(deployment("web", 3, NGINX, ports=[{"containerPort": 80}]))
    box.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    address = box.get("service", "before")["spec"]["clusterIP"]
    assert in_box(box, "echo $BEFORE_SERVICE_HOST:$BEFORE_SERVICE_PORT") == f"{address}:80"
    until(lambda: in_box(box, "curl -sS -m 3 $BEFORE_SERVICE_HOST"), lambda page: "Welcome to nginx" in page)


def test_endpoints_without_a_selector_are_reached_through_their_service(box: Tenant) -> None:
    own = box.host.our_address()
    subsets = [{"addresses": [{"ip": own}], "ports": [{"port": box.vapi.port}]}]
    box.vapi.apply(
        service("by-hand", ports=[{"port": 443}]),
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"}, "subsets": subsets},
        service("by-slice", ports=[{"port": 443}]),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "by-slice-1", "labels": {"kubernetes.io/service-name": "by-slice"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [own]}],
            "ports": [{"port": box.vapi.port}],
        },
    )
    for name in ("by-hand", "by-slice"):
        script = f"curl -sSk -m 3 https://{box.get('service', name)['spec']['clusterIP']}/version"
        until(partial(in_box, box, script), lambda said: "1.37" in said)


def test_events_of_the_host_are_told_in_the_tenants_names(box: Tenant) -> None:
    def told() -> str:
        return box.kubectl("describe", "pod", "box").partition("Events:")[2]

    events = until(told, lambda t: all(reason in t for reason in ("Scheduled", "Created", "Started")))
    assert "assigned default/box to" in events
    assert box.namespace not in events
    assert "-x-" not in events


# --- deletions ------------------------------------------------------------------------------------------


def test_deleting_the_host_pod_ends_the_tenants_pod_and_its_replicaset_makes_another(a: Tenant) -> None:
    a.vapi.apply(deployment("drained", 1))
    a.kubectl("rollout", "status", "deployment/drained", "--timeout=60s")
    (before,) = a.listed("pods", "-l", "app=drained")
    name = before["metadata"]["name"]
    a.host_kubectl("delete", "pod", a.host_name(name))
    until(lambda: a.find("pod", name) is None)
    a.kubectl("rollout", "status", "deployment/drained", "--timeout=60s")
    (after,) = until(lambda: a.listed("pods", "-l", "app=drained"), lambda found: len(found) == 1)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


def test_a_host_pod_deleted_by_force_ends_the_tenants_pod_as_failed(a: Tenant) -> None:
    held = pod("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    a.vapi.apply(held)
    ready(a, "pod/held")
    a.host_kubectl("delete", "pod", a.host_name("held"), "--grace-period=0", "--force")
    ended = until(lambda: a.get("pod", "held"), lambda p: "deletionTimestamp" in p["metadata"])
    assert ended["status"]["phase"] == "Failed"
    assert "DisruptionTarget" in [c["type"] for c in ended["status"]["conditions"]]
    a.kubectl("patch", "pod", "held", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    until(lambda: a.find("pod", "held") is None)


def test_a_deletion_by_the_tenant_has_its_grace_and_ends_with_the_container(a: Tenant) -> None:
    deaf = "trap '' TERM; while true; do sleep 0.2; done"
    a.vapi.apply(pod("deaf", *shell(deaf), terminationGracePeriodSeconds=60))
    ready(a, "pod/deaf")
    began = time.monotonic()
    a.kubectl("delete", "pod", "deaf", "--grace-period=3", "--wait=false")
    twin = until(lambda: a.twin("pod", "deaf"), lambda t: "deletionTimestamp" in t["metadata"])
    assert twin["metadata"]["deletionGracePeriodSeconds"] == 3
    assert a.get("pod", "deaf")["metadata"]["deletionGracePeriodSeconds"] == 3
    until(lambda: a.find("pod", "deaf") is None)
    assert time.monotonic() - began >= 3
    assert a.twin("pod", "deaf") is None


def test_a_namespace_takes_all_of_its_twins_along(a: Tenant) -> None:
    a.kubectl("create", "namespace", "team")
    a.kubectl("-n", "team", "apply", "-f", "-", stdin=manifests([deployment("d", 2)]))
    a.kubectl("-n", "team", "rollout", "status", "deployment/d", "--timeout=60s")
    a.kubectl("-n", "team", "expose", "deployment", "d", "--port=80")
    a.kubectl("delete", "namespace", "team")
    assert [t for kind in ("pods", "services") for t in a.twins(kind) if of_namespace(t, "team")] == []


def of_namespace(twin: Any, namespace: str) -> bool:
    return bool(twin["metadata"]["labels"]["vapi.dev/namespace"] == namespace)


# --- two tenants ----------------------------------------------------------------------------------------


def test_two_virtual_clusters_with_the_same_names_do_not_see_each_other(
    box: Tenant, node_host: HostCluster, tmp_path: Path
) -> None:
    with tenant(node_host, tmp_path, name="a", advertise=node_host.our_address()) as other:
        other.vapi.apply(
            configmap("settings", color="blue"),
            pod("box", "sh", "-c", "sleep 1000", container={"envFrom": [{"configMapRef": {"name": "settings"}}]}),
            service("before", ports=[{"port": 80}], selector={"app": "web"}),
        )
        ready(other, "pod/box")
        assert other.kubectl("exec", "box", "--", "sh", "-c", "echo $color").strip() == "blue"
        assert in_box(box, "echo $COLOR") == "red"
        assert [
            p["metadata"]["name"]
            for p in other.listed("pods", "-A", "--field-selector=metadata.namespace!=kube-system")
        ] == ["box"]
        addresses = [t.get("service", "before")["spec"]["clusterIP"] for t in (box, other)]
        assert addresses[0] != addresses[1]
        theirs = other.kubectl("exec", "box", "--", "sh", "-c", f"cat {TOKEN}/token")
        bearer = f'-H "Authorization: Bearer {theirs}"'
        refused = in_box(box, f"curl -sSk {bearer} https://$KUBERNETES_SERVICE_HOST/api")
        assert '"Unauthorized"' in refused
        other.kubectl("delete", "pod", "box")
        assert box.get("pod", "box")["status"]["phase"] == "Running"
