"""vapi from its own image, as a pod of the host it uses: least rights, read-only root file system, not root."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.etcd_server import free_ports
from tests.host_cluster import BINARIES, HostCluster
from tests.integration.tenants import configmap, containers, deployment, pod
from tests.vapi_process import REPO, KubectlError, kubectl, kubectl_binary, manifests, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

BUILD = REPO.parent / "shared" / "host" / "build-image"
NAMESPACE = "team-a"
"""Of deploy/vapi.yaml."""


@pytest.fixture(scope="module")
def image(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built from this tree and on the node."""
    if node_host.directory is None or not BUILD.is_file() or not (BINARIES / "images").is_dir():
        pytest.skip("no image: it takes shared/host/build-image and a host started here")
    tar = tmp_path_factory.mktemp("image") / "vapi.tar"
    done = subprocess.run([str(BUILD), str(REPO), "vapi:dev", str(tar)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    socket = node_host.directory / "containerd.sock"
    command = ["ctr", "-a", str(socket), "-n", "k8s.io", "images", "import", str(tar)]
    subprocess.run(command, check=True, capture_output=True)
    tar.unlink()
    return "vapi:dev"


class Deployed:
    """The virtual cluster of deploy/vapi.yaml, reached through a port-forward of the host."""

    def __init__(self, host: HostCluster, kubeconfig: Path) -> None:
        self.host = host
        self.kubeconfig = kubeconfig
        (self._port,) = free_ports(1)
        self._forward: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        self.host.kubectl(
            "-n", NAMESPACE, "rollout", "status", f"statefulset/{NAMESPACE}", "--timeout=90s", timeout_s=100
        )
        raw = self.host.kubectl("-n", NAMESPACE, "exec", f"{NAMESPACE}-0", "--", "vapi", "kubeconfig", "--raw")
        self.kubeconfig.write_text(raw)
        self.disconnect()
        self._forward = subprocess.Popen(
            [
                kubectl_binary(), "--kubeconfig", str(self.host.kubeconfig), "-n", NAMESPACE,
                "port-forward", f"service/{NAMESPACE}", f"{self._port}:443",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(lambda: self.kubectl("get", "--raw", "/readyz") == "ok")

    def disconnect(self) -> None:
        if self._forward is not None:
            self._forward.kill()
            self._forward.wait()
            self._forward = None

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return kubectl(self.kubeconfig, *arguments, server=f"https://127.0.0.1:{self._port}", **options)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))


@pytest.fixture(scope="module")
def deployed(node_host: HostCluster, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    manifest = REPO / "deploy" / "vapi.yaml"
    one = Deployed(node_host, tmp_path_factory.mktemp("deployed") / "kubeconfig")
    node_host.kubectl("apply", "-f", str(manifest))
    try:
        one.connect()
        yield one
    finally:
        one.disconnect()
        node_host.kubectl("delete", "-f", str(manifest), "--wait=false")


def refusals(host: HostCluster) -> float:
    """Requests that the host's API server answered with 403."""
    lines = host.kubectl("get", "--raw", "/metrics").splitlines()
    counted = [line for line in lines if re.match(r'apiserver_request_total\{.*code="403"', line)]
    return sum(float(line.rpartition(" ")[2]) for line in counted)


def test_as_a_pod_it_runs_the_tenants_pods_with_no_right_missing(deployed: Deployed) -> None:
    before = refusals(deployed.host)
    reads = {"envFrom": [{"configMapRef": {"name": "settings"}}]}
    objects = [configmap("settings", color="red"), pod("box", container=reads), deployment("web", 3)]
    deployed.kubectl("apply", "-f", "-", stdin=manifests(objects))
    deployed.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    deployed.kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
    assert deployed.kubectl("exec", "box", "--", "sh", "-c", "echo $color").strip() == "red"
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    bearer = f'-H "Authorization: Bearer $(cat {token}/token)"'
    script = f"curl -sS --cacert {token}/ca.crt {bearer} https://kubernetes.default.svc/api"
    assert '"APIVersions"' in deployed.kubectl("exec", "box", "--", "sh", "-c", script)
    deployed.kubectl("expose", "deployment", "web", "--port=80")
    deployed.kubectl("label", "pod", "box", "a=b")
    assert until(lambda: deployed.json("get", "endpoints", "kubernetes")["subsets"])
    until(lambda: "Started" in deployed.kubectl("describe", "pod", "box"))
    deployed.kubectl("delete", "service/web", "pod/box", "configmap/settings")
    assert refusals(deployed.host) == before


def test_a_killed_pod_of_ours_comes_back_with_its_data_and_restarts_no_pod(deployed: Deployed) -> None:
    deployed.kubectl("apply", "-f", "-", stdin=manifests([deployment("kept", 2)]))
    deployed.kubectl("rollout", "status", "deployment/kept", "--timeout=60s")
    before = containers(deployed.json("get", "pods", "-l", "app=kept")["items"])
    deployed.host.kubectl("-n", NAMESPACE, "delete", "pod", f"{NAMESPACE}-0", "--grace-period=0", "--force")
    until(lambda: deployed.host.kubectl("-n", NAMESPACE, "get", "pod", f"{NAMESPACE}-0"), timeout_s=60)
    deployed.connect()
    deployed.kubectl("rollout", "status", "deployment/kept", "--timeout=60s")
    assert containers(deployed.json("get", "pods", "-l", "app=kept")["items"]) == before
    with pytest.raises(KubectlError):
        deployed.host.kubectl(
            "-n", NAMESPACE, "exec", f"{NAMESPACE}-0", "--", "touch", "/opt/vapi/written", timeout_s=20
        )
