"""A real Kubernetes for the integration tier: the one of `HOST_KUBECONFIG`, or one of `shared/host` started here.

Started without a node it has an API, controllers and a scheduler (3 s, any user); with one its pods really run
(root, 10 s, one a machine).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.etcd_server import free_ports
from tests.vapi_process import kubectl

TOOL = Path(__file__).parents[2] / "shared" / "host" / "hostcluster.py"
BINARIES = Path(os.environ.get("HOST_BIN", Path.home() / ".cache" / "vapi-host"))
PORTS = 9
"""From the first on; the tool takes them all."""
TRIES = 2
AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
NGINX = "registry.k8s.io/e2e-test-images/nginx:1.28.0-2"


@dataclass(frozen=True, slots=True)
class HostCluster:
    """`directory`: of the cluster that was started here, else None."""

    kubeconfig: Path
    directory: Path | None = None

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """What it prints. Raises CalledProcessError."""
        return kubectl(self.kubeconfig, *arguments, **options)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    def our_address(self) -> str:
        """Where its pods reach this machine: the source address of a route to its node."""
        node = self.json("get", "nodes")["items"][0]
        internal = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((internal, 9))
            address: str = probe.getsockname()[0]
        return address

    def freeze(self) -> None:
        """Its API server answers nobody, and breaks no connection."""
        os.kill(self._api_server(), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._api_server(), signal.SIGCONT)

    def kill_api(self) -> list[str]:
        """Its API server is gone; for `start_api`: its command."""
        pid = self._api_server()
        command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        os.kill(pid, signal.SIGKILL)
        return command

    def start_api(self, command: list[str]) -> None:
        """As it was; returns at once. `down` ends it, too."""
        directory = self._started_here()
        # a child of nobody's, as the tool's own: `down` waits until it has gone
        script = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
        shell = ["sh", "-c", script, "sh", str(directory / "kube-apiserver.log"), *command]
        pid = subprocess.run(shell, capture_output=True, text=True, check=True).stdout.strip()
        with (directory / "pids").open("a") as pids:
            pids.write(f"{pid} kube-apiserver\n")

    def _api_server(self) -> int:
        rows = [line.split() for line in (self._started_here() / "pids").read_text().splitlines()]
        return [int(pid) for pid, what in rows if what == "kube-apiserver"][-1]

    def _started_here(self) -> Path:
        if self.directory is None:
            pytest.skip("the host of HOST_KUBECONFIG is not ours to stop")
        return self.directory


@contextlib.contextmanager
def host_cluster(*, node: bool) -> Iterator[HostCluster]:
    """Until the block ends. Skips the test, with one line, where there can be none."""
    given = os.environ.get("HOST_KUBECONFIG")
    if given:
        yield HostCluster(Path(given))
        return
    if not TOOL.is_file() or not (BINARIES / "kube-apiserver").is_file():
        pytest.skip("no real host: neither HOST_KUBECONFIG nor the binaries of shared/host")
    if node and os.geteuid() != 0:
        pytest.skip("no real host: a node needs root")
    if node and _a_kubelet_runs():
        pytest.skip("no real host: another cluster with a node runs on this machine (name it in HOST_KUBECONFIG)")
    with tempfile.TemporaryDirectory(prefix="vapi-host-", dir="/tmp", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            _up(directory, node)
            yield HostCluster(directory / "admin.kubeconfig", directory)
        finally:
            _tool("down", directory)


def _a_kubelet_runs() -> bool:
    """A second node would take the bridge and the containers of the first."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() == "kubelet":
                return True
    return False


def _up(directory: Path, node: bool) -> None:
    arguments = ("--fresh", *(("--node",) if node else ()))
    for attempt in range(TRIES):
        (port,) = free_ports(1)
        done = _tool("up", directory, "--port", str(min(port, 65_535 - PORTS)), *arguments)
        if done.returncode == 0:
            return
        _tool("down", directory)
        if attempt == TRIES - 1:
            raise RuntimeError(f"no host: {done.stdout[-500:]}{done.stderr[-500:]}")


def _tool(verb: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), verb, "--dir", str(directory), *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
