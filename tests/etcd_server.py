"""Real etcd for the tests: members on loopback that can be stopped, killed and started again on their data.

`ETCD_BIN` names the binary, or `$HOST_BIN/etcd`, or `~/.cache/vapi-host/etcd` (built by the host tools).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

START_TIMEOUT_S = 30.0


def find_etcd() -> Path | None:
    """The binary, or None where there is none."""
    host_bin = Path(os.environ.get("HOST_BIN", Path.home() / ".cache" / "vapi-host"))
    binary = Path(os.environ.get("ETCD_BIN", host_bin / "etcd"))
    return binary if binary.is_file() else None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Member:
    """One member; `start` waits until it answers, alone or (`wait=False`) as one of several."""

    def __init__(
        self,
        name: str,
        client_port: int,
        peer_port: int,
        directory: Path,
        *,
        cluster: str = "",
        tls: tuple[str, ...] = (),
    ) -> None:
        self.address = f"127.0.0.1:{client_port}"
        self.peer = f"{name}=http://127.0.0.1:{peer_port}"
        # Its flags for TLS to clients, who then also show a certificate.
        self._tls = tls
        self._client_url = f"{'https' if tls else 'http'}://{self.address}"
        self._peer_url = f"http://127.0.0.1:{peer_port}"
        self._name = name
        self._directory = directory
        self._cluster = cluster or self.peer
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        binary = find_etcd()
        assert binary is not None
        self._directory.mkdir(parents=True, exist_ok=True)
        command = [
            str(binary),
            f"--name={self._name}",
            f"--data-dir={self._directory / 'data'}",
            f"--listen-client-urls={self._client_url}",
            f"--advertise-client-urls={self._client_url}",
            f"--listen-peer-urls={self._peer_url}",
            f"--initial-advertise-peer-urls={self._peer_url}",
            f"--initial-cluster={self._cluster}",
            # A test writes a few MB; a slow disk of a shared machine must not cost an election.
            "--heartbeat-interval=50",
            "--election-timeout=500",
            *self._tls,
        ]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until the member is healthy: it has a leader and reads linearizably."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{self._health_url()}/health", timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                pass
            assert self._process is not None
            assert self._process.poll() is None, f"etcd ended: {self._directory / 'log'}"
            assert time.monotonic() < deadline, f"etcd is not healthy: {self._directory / 'log'}"
            time.sleep(0.05)

    def _health_url(self) -> str:
        """Without TLS: on the metrics listener that a TLS member has for this."""
        metrics = [flag.partition("=")[2] for flag in self._tls if flag.startswith("--listen-metrics-urls=")]
        return metrics[0] if metrics else self._client_url

    def kill(self) -> None:
        """SIGKILL, as power loss would; `start` finds the data."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def single(directory: Path) -> Member:
    client, peer = free_ports(2)
    member = Member("one", client, peer, directory)
    member.start()
    return member


def single_with_tls(directory: Path, *, ca: Path, cert: Path, key: Path) -> Member:
    """Takes only clients with a certificate of `ca`."""
    client, peer, metrics = free_ports(3)
    tls = (
        f"--cert-file={cert}",
        f"--key-file={key}",
        f"--trusted-ca-file={ca}",
        "--client-cert-auth",
        f"--listen-metrics-urls=http://127.0.0.1:{metrics}",
    )
    member = Member("one", client, peer, directory, tls=tls)
    member.start()
    return member


def cluster(directory: Path, size: int = 3) -> list[Member]:
    ports = free_ports(2 * size)
    names = [f"m{number}" for number in range(size)]
    peers = ",".join(f"{name}=http://127.0.0.1:{ports[2 * n + 1]}" for n, name in enumerate(names))
    members = [
        Member(name, ports[2 * n], ports[2 * n + 1], directory / name, cluster=peers) for n, name in enumerate(names)
    ]
    for member in members:
        member.start(wait=False)
    for member in members:
        member.wait()
    return members
