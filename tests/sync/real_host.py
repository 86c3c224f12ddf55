"""A real kube-apiserver with its controllers on loopback, without a node, for the tests that are marked integration.

Started by `shared/host/hostcluster.py` beside the repository, from binaries in `$HOST_BIN`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.etcd_server import free_ports

TOOL = Path(__file__).parents[3] / "shared" / "host" / "hostcluster.py"
START_S = 30
"""It takes 3 s on an idle machine."""


def available() -> bool:
    binaries = Path(os.environ.get("HOST_BIN", Path.home() / ".cache" / "vapi-host"))
    return TOOL.is_file() and (binaries / "kube-apiserver").is_file()


class RealHost:
    """`up` returns when it is ready; the API server alone can be stopped and continued."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = 0
        self.kubeconfig = directory / "admin.kubeconfig"

    def up(self) -> None:
        for _ in range(5):
            (self._port,) = free_ports(1)
            try:
                done = self._tool("up", "--port", str(self._port))
            except subprocess.TimeoutExpired:  # one of its other ports was taken, most likely
                self.down()
                continue
            if done.returncode == 0:
                return
            self.down()
        raise RuntimeError("no host came up")

    def down(self) -> None:
        self._tool("down")

    def freeze(self) -> None:
        """Its API server answers nobody, and breaks no connection."""
        os.kill(self._api_server(), signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._api_server(), signal.SIGCONT)

    def _api_server(self) -> int:
        """Its process id: the kube-apiserver that was given our directory."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if b"kube-apiserver" in command.split(b"\0")[0] and str(self._directory).encode() in command:
                return int(process.name)
        raise RuntimeError("no kube-apiserver")

    def _tool(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(TOOL), verb, "--dir", str(self._directory), *arguments],
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
