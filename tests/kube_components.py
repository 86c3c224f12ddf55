"""The real kube-controller-manager and kube-scheduler as clients of a vapi, on kubeconfigs of ours."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.etcd_server import free_ports
from tests.host_cluster import BINARIES
from tests.vapi_process import REPO, Vapi

CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"


@dataclass(frozen=True, slots=True)
class Component:
    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text()

    def errors(self) -> list[str]:
        """What it logged as an error (klog: a line that begins with E or F)."""
        return [line for line in self.log().splitlines() if line[:1] in "EF" and line[1:5].isdigit()]


def kubeconfig_of(vapi: Vapi, user: str) -> Path:
    """Made by `vapi kubeconfig --user`."""
    command = [sys.executable, "-m", "vapi", "kubeconfig", "--data-dir", str(vapi.directory), "--user", user]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


NOT_OF_VOLUMES = "*," + ",".join(
    f"-persistentvolume-{each}-controller" for each in ("binder", "protection", "attach-detach", "expander")
)
"""Of `--controllers`: all but those whose work a real host does."""


@contextlib.contextmanager
def controller_manager(vapi: Vapi, kubeconfig: Path, *arguments: str, controllers: str = "*") -> Iterator[Component]:
    """As docs/external-controllers.md starts it, until the block ends."""
    pki = vapi.directory / "pki"
    with _running(
        vapi, CONTROLLER_MANAGER, kubeconfig,
        f"--service-account-private-key-file={pki}/sa.key", f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        f"--controllers={controllers}", *arguments,
    ) as component:  # fmt: skip
        yield component


@contextlib.contextmanager
def scheduler(vapi: Vapi) -> Iterator[Component]:
    with _running(vapi, SCHEDULER, kubeconfig_of(vapi, f"system:{SCHEDULER}")) as component:
        yield component


@contextlib.contextmanager
def _running(vapi: Vapi, name: str, kubeconfig: Path, *arguments: str) -> Iterator[Component]:
    binary = BINARIES / name
    if not binary.is_file():
        pytest.skip(f"no {name}: shared/host/build makes it")
    (port,) = free_ports(1)
    log_file = vapi.directory / f"{name}.log"
    ways = [f"--{way}kubeconfig={kubeconfig}" for way in ("", "authentication-", "authorization-")]
    where = [*ways, "--bind-address=127.0.0.1", f"--secure-port={port}", "--v=2"]
    with log_file.open("wb") as log:
        process = subprocess.Popen([str(binary), *where, *arguments], stdout=log, stderr=log)
    try:
        yield Component(process, log_file)
    finally:
        process.terminate()
        process.wait(20)
