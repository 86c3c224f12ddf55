"""`vapi serve` as a process: it starts, says what to type next, ends cleanly, or tells in one line why it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.vapi_server import BIN, KUBECTL, Answer, VapiServer, needs_kubectl, serving

pytestmark = pytest.mark.integration

ENDS_WITHIN_S = 30.0
STOPS_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VapiServer]:
    """In a directory whose name needs quotes, on a machine without kubectl in its PATH."""
    with serving(tmp_path_factory.mktemp("serve") / "a b", environment={"PATH": "/nowhere"}) as running:
        yield running


def vapi(*words: str | Path, directory: Path, environment: Mapping[str, str] | None = None) -> Answer:
    """A command that ends by itself."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("VAPI_")}
    done = subprocess.run(
        [BIN / "vapi", *words],
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
        cwd=directory,
        env=clean | dict(environment or {}),
        stdin=subprocess.DEVNULL,
    )
    return Answer(done.returncode, done.stdout.rstrip("\n"), done.stderr.rstrip("\n"))


def cannot_serve(*words: str | Path, directory: Path) -> str:
    """The one line that it ends with."""
    answer = vapi("serve", "--data-dir", "data", "--listen", "127.0.0.1:0", *words, directory=directory)
    assert (answer.code, answer.out) == (1, "")
    *before, last = answer.err.splitlines()
    assert all(line.startswith("{") for line in before), answer.err  # the log
    assert last.startswith("vapi: ")
    return last


# --- start and end ------------------------------------------------------------------------------------


@needs_kubectl
def test_the_command_it_prints_works(server: VapiServer) -> None:
    found = re.search(r"^  try: +(.*kubectl .*)$", server.told, re.MULTILINE)
    assert found is not None
    done = subprocess.run(found[1], shell=True, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "deployment.apps/web created\n", "")


@needs_kubectl
def test_vapi_kubeconfig_says_where_it_is(server: VapiServer) -> None:
    answer = vapi("kubeconfig", "--data-dir", server.data, directory=server.directory)
    assert answer.out == str(server.kubeconfig)
    raw = vapi("kubeconfig", "--data-dir", server.data, "--raw", directory=server.directory)
    assert raw.out == server.kubeconfig.read_text().rstrip("\n")
    listed = subprocess.run([KUBECTL, "--kubeconfig", answer.out, "get", "nodes", "-o", "name"], capture_output=True)
    assert listed.stdout.split() == [b"node/node-1", b"node/node-2", b"node/node-3"]


def test_what_is_secret_is_for_the_owner_alone(server: VapiServer) -> None:
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    secret = [*server.data.glob("*.db"), *server.data.glob("pki/*.key"), server.kubeconfig]
    assert len(secret) >= 5
    for file in secret:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_log_of_a_process_without_a_terminal_is_json_lines(server: VapiServer) -> None:
    logged = [json.loads(line) for line in server.told.splitlines() if line.startswith("{")]
    assert "virtual cluster is ready" in [record["message"] for record in logged]
    assert {"time", "level", "logger", "message"} <= logged[0].keys()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_clients_connected(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as server:
        tls = server.tls(authenticated=True)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
            watching = tls.wrap_socket(plain, server_hostname="127.0.0.1")
            watching.sendall(b"GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert watching.recv(100).startswith(b"HTTP/1.1 200 OK")
            started = time.monotonic()
            server.process.send_signal(number)
            assert server.process.wait(timeout=ENDS_WITHIN_S) == 0
            assert time.monotonic() - started < STOPS_WITHIN_S
            while watching.recv(1000):
                pass  # it was closed, not cut off
            watching.close()
        assert "Traceback" not in server.told and '"level":"error"' not in server.told


@needs_kubectl
def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        kubectl = server.kubectl()
        kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        list_all = ("get", "--raw", "/api/v1/namespaces/default/pods")
        before = json.loads(kubectl(*list_all).out)
        names = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in before["items"]}
        version = before["metadata"]["resourceVersion"]
        assert server.stop() == 0
        server.start()
        assert int(json.loads(kubectl(*list_all).out)["metadata"]["resourceVersion"]) >= int(version)
        kubectl("scale", "deployment/web", "--replicas=3")
        kubectl("rollout", "status", "deployment/web", "--timeout=30s")
        after = json.loads(kubectl(*list_all).out)["items"]
        assert names.items() <= {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in after}.items()
        assert len(after) == 3


@needs_kubectl
def test_without_a_host_the_api_is_served_and_nothing_runs(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "none", "--store", "memory") as server:
        kubectl = server.kubectl()
        kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
        kubectl("run", "one", "--image=nginx")
        kubectl("expose", "pod", "one", "--port=80")
        assert kubectl.value("pod", "one", ".status.phase") == "Pending"
        assert kubectl.value("service", "one", ".spec.clusterIP").startswith("10.96.")
        assert "pod one does not have a host assigned" in kubectl.refused("exec", "one", "--", "ls")
        assert not list(server.data.glob("*.db"))


# --- settings -----------------------------------------------------------------------------------------


@needs_kubectl
def test_flags_go_over_variables_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vapi.yaml"
    file.write_text("name: of-file\nhost: none\nstore: memory\nlogLevel: warning\n")
    environment = {"VAPI_CONFIG": str(file), "VAPI_NAME": "of-variable", "VAPI_LOG_LEVEL": "info"}
    with serving(tmp_path / "server", "--name", "of-flag", environment=environment) as server:
        ready = next(json.loads(line) for line in server.told.splitlines() if "virtual cluster is ready" in line)
        assert (ready["cluster"], ready["host"], ready["store"]) == ("of-flag", "none", "memory")
        assert server.kubectl()("config", "current-context").out == "of-flag"


# --- what cannot be -----------------------------------------------------------------------------------


def test_a_port_in_use_is_told(server: VapiServer, tmp_path: Path) -> None:
    address = f"127.0.0.1:{server.port}"
    assert cannot_serve("--listen", address, directory=tmp_path) == f"vapi: --listen {address}: Address already in use"


def test_a_data_directory_in_use_is_told(server: VapiServer, tmp_path: Path) -> None:
    told = cannot_serve("--data-dir", server.data, directory=tmp_path)
    assert told.endswith("is open in another process") and str(server.data) in told


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert cannot_serve("--data-dir", tmp_path / "data", directory=tmp_path).endswith(": Permission denied")


def test_a_host_that_does_not_answer_is_told(server: VapiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(re.sub(r"server: .*", "server: https://127.0.0.1:1", server.kubeconfig.read_text()))
    told = cannot_serve("--host", f"kubeconfig={kubeconfig}", directory=tmp_path)
    assert told.startswith("vapi: --host: https://127.0.0.1:1: ")


def test_an_etcd_that_does_not_answer_is_told(tmp_path: Path) -> None:
    told = cannot_serve("--host", "none", "--store", "etcd=http://127.0.0.1:1", directory=tmp_path)
    assert told.startswith("vapi: no etcd answers: http://127.0.0.1:1")


def test_a_store_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "state.db").write_bytes(b"no database" * 1000)
    assert "state.db" in cannot_serve("--host", "none", directory=tmp_path)


def test_python_dash_m_is_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "vapi", "version"], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == vapi("version", directory=tmp_path).out + "\n"
