"""vapi from its own image, as a pod of the host it uses: least rights, read-only root file system, not root."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    socket = (node_host.directory or node_host.kubeconfig.parent) / "containerd.sock"
    if not socket.exists() or not BUILD.is_file() or not (BINARIES / "images").is_dir():
        pytest.skip("no image: it takes shared/host/build-image and a host of shared/host on this machine")
    tar = tmp_path_factory.mktemp("image") / "vapi.tar"
    done = subprocess.run([str(BUILD), str(REPO), "vapi:dev", str(tar)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
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
        node_host.kubectl("delete", "-f", str(manifest), "--wait=false", "--ignore-not-found")


def chart() -> list[Any]:
    """A controller as charts bring it: an account with rights of its own, spread by the keys of its ReplicaSet."""
    keys = {"labelSelector": {"matchLabels": {"app": "leader"}}, "matchLabelKeys": ["pod-template-hash"]}
    made = deployment("leader", 2)
    made["spec"]["template"]["spec"] |= {
        "serviceAccountName": "leader",
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", **keys}
        ],
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", **keys}}
                ]
            }
        },
    }
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
    subject = {"kind": "ServiceAccount", "name": "leader", "namespace": "default"}
    name = {"name": "leader"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": name, "rules": [rule]},
        {
            "apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": name, "subjects": [subject],
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "leader"},
        },
        made,
    ]  # fmt: skip


def test_a_controller_of_a_chart_is_spread_and_leads_by_a_lease(deployed: Deployed) -> None:
    deployed.kubectl("apply", "-f", "-", stdin=manifests(chart()))
    deployed.kubectl("rollout", "status", "deployment/leader", "--timeout=60s")

    def ask(method: str, path: str, body: Any) -> str:
        token = "/var/run/secrets/kubernetes.io/serviceaccount"
        script = (
            f"curl -sS -o /dev/null -w '%{{http_code}}' --cacert {token}/ca.crt -X {method} -d '{json.dumps(body)}' "
            f'-H "Content-Type: application/json" -H "Authorization: Bearer $(cat {token}/token)" '
            f"https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT{path}"
        )
        return deployed.kubectl("exec", "deployment/leader", "--", "sh", "-c", script)

    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15}}
    assert ask("POST", leases, lease) == "201"
    assert ask("POST", leases, lease) == "409"
    held = deployed.json("get", "lease", "leader")
    assert ask("PUT", f"{leases}/leader", {**held, "spec": {**held["spec"], "holderIdentity": "two"}}) == "200"
    assert ask("PUT", f"{leases}/leader", held) == "409"
    assert ask("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}}) == "403"


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


def without(document: Any, *resources: str) -> Any:
    """A Role or ClusterRole that names these no more."""
    rules = [{**r, "resources": [x for x in r["resources"] if x not in resources]} for r in document["rules"]]
    return {**document, "rules": [r for r in rules if r["resources"]]}


def test_a_right_that_is_left_out_takes_one_feature_and_one_line(deployed: Deployed) -> None:
    given = list(yaml.safe_load_all((REPO / "deploy" / "vapi.yaml").read_text()))
    roles = [d for d in given if d["kind"] in ("Role", "ClusterRole")]
    left_out = ("nodes", "pods/log", "ingresses")
    deployed.kubectl("delete", "deployment", "--all")
    deployed.host.kubectl("apply", "-f", "-", stdin=manifests([without(role, *left_out) for role in roles]))
    deployed.host.kubectl("-n", NAMESPACE, "delete", "pod", f"{NAMESPACE}-0")
    try:
        deployed.connect()
        deployed.kubectl("apply", "-f", "-", stdin=manifests([pod("lone")]))
        deployed.kubectl("wait", "--for=condition=Ready", "pod/lone", "--timeout=60s")
        for _ in range(2):
            with pytest.raises(KubectlError) as refused:
                deployed.kubectl("logs", "lone")
            assert refused.value.stderr.strip().endswith(
                'pods "lone" is forbidden: the virtual cluster has no right to get pods/log on its host'
            )
        logged = deployed.host.kubectl("-n", NAMESPACE, "logs", f"{NAMESPACE}-0").splitlines()
        warnings = [line for line in logged if '"warning"' in line]
        assert sorted(next(r for r in left_out if f'\\"{r}\\"' in line) for line in warnings) == sorted(left_out)
        assert not [line for line in logged if "eyJ" in line]
    finally:
        deployed.host.kubectl("apply", "-f", "-", stdin=manifests(roles))


def test_removed_without_its_namespace_it_leaves_nothing_but_claims(deployed: Deployed) -> None:
    spec = deployment("each", 1)["spec"]
    each = {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "each"},
        "spec": {key: spec[key] for key in ("selector", "template")},
    }  # fmt: skip
    deployed.kubectl("apply", "-f", "-", stdin=manifests([deployment("web", 1), each]))
    deployed.kubectl("rollout", "status", "daemonset/each", "--timeout=60s")
    deployed.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    deployed.disconnect()
    deployed.host.kubectl("-n", NAMESPACE, "delete", f"statefulset/{NAMESPACE}", f"configmap/vapi-{NAMESPACE}")
    kinds = "pods,services,configmaps,secrets,endpointslices,daemonsets,controllerrevisions"
    ours = ("-n", NAMESPACE, "get", kinds, "-o", "name", "-l", f"vapi.dev/managed-by={NAMESPACE}")
    until(lambda: not deployed.host.kubectl(*ours), timeout_s=60)
    left = deployed.host.kubectl("-n", NAMESPACE, "get", "pods,secrets", "-o", "name").splitlines()
    assert [name for name in left if not name.startswith(f"pod/{NAMESPACE}-0")] == []
