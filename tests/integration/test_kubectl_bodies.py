"""The bodies that the real kubectl sends are decoded to what it prints for the same command.

A capture server on loopback answers discovery and keeps every write; `kubectl
create … --dry-run=client -o json` says what the object should be.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vapi.gvk import GVK, GroupVersion, Obj
from vapi.schema.decode import PROTOBUF, FieldValidation, decode_body
from vapi.schema.defaults import default_and_complete
from vapi.schema.schemas import Schemas, load_schemas

pytestmark = pytest.mark.integration

KUBECTL = Path(sys.executable).parent / "kubectl"

# `create role` looks its resources up by discovery, which the capture server does not answer
COMMANDS = [
    "create configmap x --from-literal=a=b",
    "create secret generic x --from-literal=a=b",
    "create serviceaccount x",
    "create deployment x --image=nginx --replicas=3 --port=80",
    "create job x --image=busybox -- sleep 1",
    "create cronjob x --image=busybox --schedule=1/1_*_*_*_*",
    "create service nodeport x --tcp=80:8080",
    "create service clusterip x --tcp=80:http",
    "create rolebinding x --role=r --user=u --serviceaccount=a:b",
    "create quota x --hard=cpu=1,memory=1Gi",
    "create pdb x --selector=a=b --min-available=50%",
    "create ingress x --rule=a.b/c*=svc:80",
    "create priorityclass x --value=10",
    "create namespace x",
]


class Capture(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[tuple[str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Capture

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, code: int, body: Obj) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.headers["Content-Type"], body))
        refusal = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "message": "seen"}
        self._answer(409, refusal)


@pytest.fixture
def capture() -> Iterator[Capture]:
    server = Capture()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return load_schemas()


def kubectl(server: str, home: Path, *arguments: str) -> str:
    command = [str(KUBECTL), f"--server={server}", f"--cache-dir={home}", "--kubeconfig=/dev/null", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


def canonical(data: bytes, content_type: str, gvk: GVK, schemas: Schemas) -> Obj:
    obj = decode_body(data, content_type, expected=gvk, field_validation=FieldValidation.STRICT, schemas=schemas).obj
    default_and_complete(gvk, obj, schemas=schemas)
    obj["metadata"].pop("namespace", None)  # --dry-run=client leaves it out
    return obj


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[1:3]))
def test_a_body_of_kubectl_is_what_it_says(command: str, capture: Capture, schemas: Schemas, tmp_path: Path) -> None:
    arguments = [argument.replace("_", " ") for argument in command.split()]
    url = f"http://127.0.0.1:{capture.server_port}"
    printed = kubectl(url, tmp_path, *_with_options(arguments, "--dry-run=client", "--output=json"))
    kubectl(url, tmp_path, *arguments)
    content_type, body = capture.bodies[-1]
    assert content_type.startswith(PROTOBUF)
    wanted = json.loads(printed)
    group_version = GroupVersion.parse(wanted["apiVersion"])
    gvk = GVK(group_version.group, group_version.version, wanted["kind"])
    assert canonical(body, content_type, gvk, schemas) == canonical(printed.encode(), "application/json", gvk, schemas)


def _with_options(arguments: list[str], *options: str) -> list[str]:
    """Before the `--` of a command, if there is one."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:at], *options, *arguments[at:]]
