"""Targets: the servers that are measured: ours, kube-apiserver with etcd, or any kubeconfig.

A started target is pinned to the cores it is given and torn down after its turn,
so that nothing else runs beside it. All are loaded through the token of a
ServiceAccount with its own ClusterRole: TLS, authentication and RBAC are on.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
HOST_TOOLS = REPO.parent / "shared" / "host"
HOST_BIN = Path(os.environ.get("HOST_BIN", Path.home() / ".cache" / "vapi-host"))
READY_S = 120.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int
    ca: str
    token: str


@dataclass(slots=True)
class Target:
    """A running server. `pids`: what counts as its memory and CPU; empty if it was not started here."""

    name: str
    endpoint: Endpoint
    admin: Admin
    pids: tuple[int, ...] = ()
    start_s: float = 0.0
    notes: dict[str, float] = field(default_factory=dict)

    def memory_bytes(self) -> int:
        return sum(_rss(pid) for pid in self.pids)

    def cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in self.pids)


class Admin:
    """The admin of a kubeconfig, for setting up and cleaning up; slow and simple."""

    def __init__(self, kubeconfig: Path) -> None:
        self.config = config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        user = config["users"][0]["user"]
        self.server = cluster["server"]
        self.ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=self.ca)
        self._context.check_hostname = False
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder) / "crt", Path(folder) / "key"
            certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
            key.touch(mode=0o600)
            key.write_bytes(base64.b64decode(user["client-key-data"]))
            self._context.load_cert_chain(certificate, key)

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.server + path, data, {"Content-Type": content_type}, method=method)
        with urllib.request.urlopen(request, context=self._context, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text.decode()

    def ready(self) -> bool:
        try:
            return bool(self.call("GET", "/readyz") == "ok")
        except (OSError, urllib.error.URLError):
            return False

    def endpoint(self) -> Endpoint:
        """A ServiceAccount `bench` that may do everything, by RBAC rules of its own and not as system:masters."""
        self._ensure("/api/v1/namespaces", {"metadata": {"name": "bench"}})
        self._ensure("/api/v1/namespaces/bench/serviceaccounts", {"metadata": {"name": "bench"}})
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        rbac = "/apis/rbac.authorization.k8s.io/v1/"
        self._ensure(rbac + "clusterroles", {"metadata": {"name": "bench"}, "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "bench", "namespace": "bench"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"}
        self._ensure(
            rbac + "clusterrolebindings", {"metadata": {"name": "bench"}, "subjects": [subject], "roleRef": role}
        )
        path = "/api/v1/namespaces/bench/serviceaccounts/bench/token"
        token = self.call("POST", path, {"spec": {"expirationSeconds": 36_000}})["status"]["token"]
        host, _, port = self.server.removeprefix("https://").rpartition(":")
        return Endpoint(host, int(port), self.ca, token)

    def await_account(self) -> None:
        """That of the namespace's pods, which a controller makes."""
        for _ in range(300):
            try:
                self.call("GET", "/api/v1/namespaces/bench/serviceaccounts/default")
                return
            except urllib.error.HTTPError:
                time.sleep(0.1)
        raise TimeoutError("the namespace bench has no ServiceAccount for pods")

    def _ensure(self, path: str, obj: Any) -> None:
        try:
            self.call("POST", path, obj)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise RuntimeError(f"{path}: {error.read().decode()}") from None


def free_port(count: int = 1) -> int:
    """The first of `count` ports that are free now."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port + count < 60_000 and all(_is_free(port + i) for i in range(count)):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vapi-bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def ours(name: str, *arguments: str, cpus: set[int]) -> Iterator[Target]:
    """`vapi serve` with SQLite on a disk folder of its own."""
    with tempfile.TemporaryDirectory(prefix="vapi-bench-") as folder:
        port = free_port()
        command = [
            sys.executable, "-m", "vapi", "serve", "--data-dir", folder, "--listen", f"127.0.0.1:{port}",
            "--log-level", "warning", *arguments,
        ]  # fmt: skip
        log = (Path(folder) / "log").open("wb")
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=REPO, stdout=log, stderr=log, preexec_fn=lambda: os.sched_setaffinity(0, cpus)
        )
        try:
            yield _started(name, Path(folder) / "kubeconfig", (process.pid,), began, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
            log.close()


@contextlib.contextmanager
def upstream(name: str, *arguments: str, cpus: set[int]) -> Iterator[Target]:
    """What ../shared/host runs without a node, controllers included; memory counts kube-apiserver and etcd alone."""
    with tempfile.TemporaryDirectory(prefix="vapi-bench-") as folder:
        port = free_port(9)
        tool = [sys.executable, str(HOST_TOOLS / "hostcluster.py")]
        where = ["--dir", folder, "--port", str(port), "--bin", str(HOST_BIN)]
        began = time.monotonic()
        up = [*tool, "up", *where, *arguments]
        subprocess.run(up, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        rows = [line.split() for line in (Path(folder) / "pids").read_text().splitlines()]
        wanted = ("etcd", "kube-apiserver")
        pids = tuple(int(pid) for pid, what in rows if what in wanted)
        try:
            yield _started(name, Path(folder) / "admin.kubeconfig", pids, began, None, "--api-only" not in arguments)
        finally:
            subprocess.run([*tool, "down", *where], check=False, capture_output=True)


def _started(
    name: str,
    kubeconfig: Path,
    pids: tuple[int, ...],
    began: float,
    process: subprocess.Popen[bytes] | None,
    controllers: bool = True,
) -> Target:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            log = kubeconfig.parent / "log"
            raise RuntimeError(f"{name} ended with {process.returncode}: {log.read_text()[-2000:]}")
        if kubeconfig.exists():
            admin = Admin(kubeconfig)
            if admin.ready():
                took = time.monotonic() - began
                endpoint = admin.endpoint()
                if controllers:
                    admin.await_account()
                return Target(name, endpoint, admin, pids, took)
        time.sleep(0.01)
    raise RuntimeError(f"{name} was not ready after {READY_S:.0f} s")


@contextlib.contextmanager
def running(name: str, kubeconfig: Path) -> Iterator[Target]:
    """Somebody else's server: nothing is started, memory is not known."""
    admin = Admin(kubeconfig)
    endpoint = admin.endpoint()
    admin.await_account()
    yield Target(name, endpoint, admin)


def _rss(pid: int) -> int:
    """Proportional set size where the kernel tells it (shared pages once), else resident."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def peak_bytes(pid: int) -> int:
    """The most that was resident at once, shared pages included."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def cpu_s(pid: int) -> float:
    """Of all its threads so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
