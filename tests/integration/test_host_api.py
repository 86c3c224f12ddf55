"""A virtual cluster on a real host API without nodes: numbers of Services, outages, restarts, whose host it is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.etcd_server import free_ports
from tests.host_cluster import HostCluster
from tests.integration.tenants import Tenant, configmap, pod, secret, service, tenant
from tests.vapi_process import REPO, KubectlError, Refused, Vapi, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

OUTAGE_S = 5.0
PROMPT_S = 2.0
"""What the tenant's API may take for a request that needs no host, on a loaded machine."""


@pytest.fixture(scope="module")
def a(api_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with tenant(api_host, tmp_path_factory.mktemp("tenants")) as one:
        yield one


def waiting_pod(name: str, config: str = "") -> dict[str, Any]:
    made = pod(name)
    if config:
        made["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": config}}]
    return made


# --- Services -------------------------------------------------------------------------------------------


def test_the_host_gives_services_their_numbers(a: Tenant) -> None:
    a.vapi.apply(
        service("plain", ports=[{"port": 80}]),
        service("node-port", type="NodePort", ports=[{"port": 80}]),
        service("headless", clusterIP="None", ports=[{"port": 80}]),
        service("elsewhere", type="ExternalName", externalName="example.com"),
    )
    for name in ("plain", "node-port"):
        here, there = a.get("service", name)["spec"], a.twin("service", name)["spec"]
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "ports"):
            assert here[key] == there[key]
    assert a.get("service", "node-port")["spec"]["ports"][0]["nodePort"] >= 30_000
    assert until(lambda: a.twin("service", "headless"))["spec"]["clusterIP"] == "None"
    assert until(lambda: a.twin("service", "elsewhere"))["spec"]["externalName"] == "example.com"


def test_a_number_that_is_taken_gives_the_hosts_error_in_the_tenants_names(a: Tenant) -> None:
    a.host_kubectl("create", "service", "nodeport", "foreign", "--tcp=80")
    taken = a.host.json("-n", a.namespace, "get", "service", "foreign")["spec"]
    port = taken["ports"][0]["nodePort"]
    with pytest.raises(KubectlError) as refused:
        a.kubectl("create", "service", "nodeport", "wish", "--tcp=80", f"--node-port={port}")
    assert 'Service "wish" is invalid: spec.ports[0].nodePort' in refused.value.stderr
    assert "provided port is already allocated" in refused.value.stderr
    with pytest.raises(KubectlError) as refused:
        a.kubectl("create", "service", "clusterip", "wish", "--tcp=80", f"--clusterip={taken['clusterIP']}")
    assert "provided IP is already allocated" in refused.value.stderr
    assert a.find("service", "wish") is None
    a.vapi.apply(service("wish", ports=[{"port": 80}]))
    assert a.twin("service", "wish") is not None


def test_a_service_that_becomes_a_node_port_and_back_follows_the_host(a: Tenant) -> None:
    a.vapi.apply(service("turning", ports=[{"port": 80}]))
    address = a.get("service", "turning")["spec"]["clusterIP"]
    a.kubectl("patch", "service", "turning", "-p", '{"spec":{"type":"NodePort"}}')
    turned = a.get("service", "turning")["spec"]
    assert turned["clusterIP"] == address
    assert turned["ports"][0]["nodePort"] == a.twin("service", "turning")["spec"]["ports"][0]["nodePort"]
    a.kubectl("patch", "service", "turning", "-p", '{"spec":{"type":"ClusterIP"}}')
    assert "nodePort" not in a.get("service", "turning")["spec"]["ports"][0]
    until(lambda: "nodePort" not in a.twin("service", "turning")["spec"]["ports"][0])
    a.kubectl("delete", "service", "turning")
    until(lambda: a.twin("service", "turning") is None)


# --- whose host it is -------------------------------------------------------------------------------------


def test_another_store_of_the_same_name_does_not_start_and_touches_nothing(a: Tenant, tmp_path: Path) -> None:
    a.vapi.apply(waiting_pod("precious"))
    twin = until(lambda: a.twin("pod", "precious"))
    done = _serve(a.host, tmp_path, "--name", a.name, "--host-namespace", a.namespace)
    assert done.returncode == 1
    assert "belongs to another store" in done.stderr.splitlines()[-1]
    assert a.twin("pod", "precious")["metadata"]["uid"] == twin["metadata"]["uid"]


def test_a_host_that_does_not_answer_at_the_start_is_told_in_one_line(a: Tenant, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    text = a.host.kubeconfig.read_text()
    server = a.host.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    (tmp_path / "kubeconfig").write_text(text.replace(server, f"https://127.0.0.1:{port}"))
    done = _serve(HostCluster(tmp_path / "kubeconfig"), tmp_path / "data")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port}" in done.stderr


def _serve(host: HostCluster, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "vapi", "serve", "--data-dir", str(directory), "--listen", "127.0.0.1:0",
            "--host", f"kubeconfig={host.kubeconfig}", "--log-level", "error", *arguments,
        ],
        cwd=REPO, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


# --- while we were down ------------------------------------------------------------------------------------


def test_changes_of_both_sides_while_the_syncer_was_down_are_reconciled_by_owner(
    api_host: HostCluster, tmp_path: Path
) -> None:
    with tenant(api_host, tmp_path, name="d") as one:
        one.vapi.apply(
            configmap("settings", color="red"),
            secret("creds", password="hunter2"),
            service("front", type="NodePort", ports=[{"port": 80}]),
            waiting_pod("kept", "settings"),
            waiting_pod("lost"),
            waiting_pod("left"),
        )
        one.kubectl("set", "env", "--list", "pod/kept")
        for name in ("kept", "lost", "left"):
            until(lambda name=name: one.twin("pod", name))  # type: ignore[misc]
        numbers = one.get("service", "front")["spec"]
        uid = one.twin("pod", "kept")["metadata"]["uid"]
        one.vapi.stop()
        _change_the_tenant(one)
        _change_the_host(one)
        one.vapi.start()
        # the tenant owns data and labels
        until(lambda: one.twin("configmap", "settings")["data"], lambda data: data == {"color": "blue"})
        labels = until(lambda: one.twin("pod", "kept")["metadata"]["labels"], lambda found: found.get("app") == "kept")
        assert labels["tenant"] == "new"
        assert labels["host"] == "own"
        assert one.twin("pod", "kept")["metadata"]["uid"] == uid
        # what the host lost
        until(lambda: one.find("pod", "lost") is None)
        again = until(lambda: one.twin("service", "front"))["spec"]
        assert (again["clusterIP"], again["ports"]) == (numbers["clusterIP"], numbers["ports"])
        # what the tenant deleted and made
        until(lambda: one.twin("pod", "left") is None)
        until(lambda: one.twin("pod", "fresh"))
        assert one.get("service", "kubernetes")["spec"]["clusterIP"] == _own_address(one)


def _change_the_tenant(one: Tenant) -> None:
    """Its API without a host: nothing is synced."""
    (port,) = free_ports(1)
    alone = Vapi(one.vapi.directory, "--name", one.name, "--host", "none", "--listen", f"127.0.0.1:{port}", port=port)
    try:
        alone.start()
        alone.kubectl("patch", "configmap", "settings", "-p", '{"data":{"color":"blue"}}')
        alone.kubectl("label", "pod", "kept", "tenant=new")
        alone.kubectl("delete", "pod", "left", "--wait=false", "--grace-period=0", "--force")
        alone.apply(waiting_pod("fresh", "settings"))
    finally:
        alone.stop()


def _change_the_host(one: Tenant) -> None:
    one.host_kubectl("label", "pod", one.host_name("kept"), "app=edited", "host=own", "--overwrite")
    one.host_kubectl("patch", "configmap", one.host_name("settings"), "-p", '{"data":{"color":"green"}}')
    one.host_kubectl("delete", "pod", one.host_name("lost"), "--grace-period=0", "--force")
    one.host_kubectl("delete", "service", one.host_name("front"))


def _own_address(one: Tenant) -> str:
    address: str = one.host.json("-n", one.namespace, "get", "service", one.name)["spec"]["clusterIP"]
    return address


# --- a host that goes away ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["silent", "gone"])
def test_a_host_that_goes_away_does_not_stop_the_tenants_api_and_sync_resumes(a: Tenant, how: str) -> None:
    a.vapi.apply(configmap(f"for-{how}", k="v"))
    command: list[str] = []
    if how == "silent":
        a.host.freeze()
    else:
        command = a.host.kill_api()
    try:
        ends = time.monotonic() + OUTAGE_S
        for number in range(1_000):
            began = time.monotonic()
            a.vapi.call("POST", "/api/v1/namespaces/default/pods", waiting_pod(f"{how}-{number}", f"for-{how}"))
            assert any(p["metadata"]["name"] == f"{how}-{number}" for p in _pods(a))
            assert time.monotonic() - began < PROMPT_S
            if time.monotonic() > ends:
                break
            time.sleep(0.2)
        assert a.vapi.open("GET", "/readyz").read() == b"ok"
        with pytest.raises(Refused) as refused:
            a.vapi.call("POST", "/api/v1/namespaces/default/services", service(f"early-{how}", ports=[{"port": 80}]))
        assert refused.value.code == 503
        assert "the host cluster cannot be reached" in refused.value.body
    finally:
        if how == "silent":
            a.host.thaw()
        else:
            a.host.start_api(command)
    until(lambda: a.twin("pod", f"{how}-0"))
    wanted = {p["metadata"]["uid"] for p in _pods(a)}
    until(lambda: {t["metadata"]["annotations"]["vapi.dev/object-uid"] for t in a.twins("pods")} == wanted)
    a.kubectl("create", "service", "clusterip", f"late-{how}", "--tcp=80")
    assert a.twin("service", f"late-{how}") is not None


def _pods(a: Tenant) -> list[Any]:
    found: list[Any] = a.vapi.call("GET", "/api/v1/namespaces/default/pods")["items"]
    return found
