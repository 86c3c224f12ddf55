"""Bad input over real TLS: each gets the Status that a real API server gives, and the server goes on.

The texts were compared with a kube-apiserver 1.37.1 (contract §3.12).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.vapi_server import VapiServer, serving

pytestmark = pytest.mark.integration

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"

DEPTH = 10_000
NESTED = '{"a":' * DEPTH + "1" + "}" * DEPTH
IDLE_CONNECTIONS = 2_000
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content_type: str
    body: bytes
    warnings: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def summary(self) -> tuple[int, str, str]:
        """Of a Status: code, reason, message."""
        status = self.json
        assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", self.status)
        return self.status, status.get("reason", ""), status["message"]


class Client:
    """The admin, a new connection for each request."""

    def __init__(self, server: VapiServer) -> None:
        self.port = server.port
        self._tls = server.tls(authenticated=True)

    def send(
        self,
        method: str,
        path: str,
        body: str | bytes | None = None,
        content_type: str | None = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self._tls, timeout=TIMEOUT_S)
        try:
            named = dict(headers or {})
            if body is not None and content_type is not None:
                named["Content-Type"] = content_type
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, body=data, headers=named)
            response = connection.getresponse()
            warnings = tuple(value for name, value in response.getheaders() if name == "Warning")
            return Reply(response.status, response.headers.get("Content-Type", ""), response.read(), warnings)
        finally:
            connection.close()

    def post(self, body: str | bytes, **options: Any) -> Reply:
        return self.send("POST", options.pop("path", CONFIGMAPS), body, **options)

    def open(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        return self._tls.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VapiServer]:
    with serving(tmp_path_factory.mktemp("bad-input")) as running:
        yield running
        errors = [line for line in running.told.splitlines() if '"level":"error"' in line]
        assert errors == []


@pytest.fixture
def client(server: VapiServer) -> Iterator[Client]:
    """Afterwards the server still stores, reads and deletes."""
    client = Client(server)
    yield client
    assert server.process.poll() is None
    assert client.post(configmap("alive", {"a": "b"})).status == 201
    assert client.send("GET", f"{CONFIGMAPS}/alive").json["data"] == {"a": "b"}
    assert client.send("DELETE", f"{CONFIGMAPS}/alive").status == 200


def configmap(name: str, data: Mapping[str, Any] | None = None, **more: Any) -> str:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}}
    return json.dumps(obj | ({"data": data} if data is not None else {}))


def nested(kind: str, api_version: str, field: str) -> str:
    return f'{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{"name":"deep"}},"{field}":{NESTED}}}'


UNREADABLE = "the object provided is unrecognized (must be of type ConfigMap): "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{bad", f"{UNREADABLE}couldn't get version/kind; json parse error: invalid character 'b' looking for"),
        ("", f"{UNREADABLE}couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (configmap("x")[:-3], f"{UNREADABLE}couldn't get version/kind; json parse error: unexpected end of JSON"),
        (
            configmap("x") + "}",
            f"{UNREADABLE}couldn't get version/kind; json parse error: invalid character '}}' after",
        ),
        ("[]", f"{UNREADABLE}couldn't get version/kind; json parse error: json: cannot unmarshal array"),
        (b"\x00\x01", f"{UNREADABLE}couldn't get version/kind; json parse error: invalid character '\\x00'"),
        (
            configmap("x").replace("ConfigMap", "Secret"),
            'Secret in version "v1" cannot be handled as a ConfigMap: converting',
        ),
        (configmap("x").replace("ConfigMap", "Frob"), 'Frob in version "v1" cannot be handled as a ConfigMap: no kind'),
        (
            configmap("x", {"a": 1}),
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal',
        ),
        ('{"apiVersion":"v1","kind":"ConfigMap","metadata":"x"}', 'ConfigMap in version "v1" cannot be handled'),
        (configmap("x", namespace="other"), "the namespace of the provided object does not match the namespace sent"),
    ],
    ids=[
        "broken",
        "empty",
        "cut off",
        "too long",
        "a list",
        "binary",
        "another kind",
        "an unknown kind",
        "a number for a string",
        "a string for an object",
        "another namespace",
    ],
)
def test_a_body_that_is_not_the_object_is_a_bad_request(client: Client, body: str | bytes, message: str) -> None:
    code, reason, text = client.post(body).summary
    assert (code, reason) == (400, "BadRequest")
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("POST", CONFIGMAPS, JSON),
        ("PUT", f"{CONFIGMAPS}/x", JSON),
        ("PATCH", f"{CONFIGMAPS}/x", MERGE),
        ("DELETE", f"{CONFIGMAPS}/x", JSON),
    ],
)
def test_a_body_of_four_megabytes_is_too_large(client: Client, method: str, path: str, content_type: str) -> None:
    reply = client.send(method, path, configmap("x", {"a": "b" * 4_000_000}), content_type)
    assert reply.summary == (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")


def test_chunks_without_end_are_cut_off(client: Client) -> None:
    with client.open() as connection:
        head = f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        try:
            for _ in range(200):
                connection.sendall(chunk)
        except (ConnectionError, ssl.SSLError):
            return  # it was told and closed on while it went on sending
        assert connection.recv(200).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type"),
    [
        ("POST", CONFIGMAPS, nested("ConfigMap", "v1", "data"), JSON),
        ("POST", CONFIGMAPS, nested("ConfigMap", "v1", "unknown"), JSON),
        ("POST", CONFIGMAPS, nested("ConfigMap", "v1", "data"), YAML),
        ("POST", CONFIGMAPS, "[" * DEPTH + "]" * DEPTH, YAML),
        ("POST", CONFIGMAPS, "[" * 1_000_000, JSON),
        ("POST", DEFINITIONS, nested("CustomResourceDefinition", "apiextensions.k8s.io/v1", "spec"), JSON),
        ("PATCH", f"{CONFIGMAPS}/kube-root-ca.crt", f'{{"data":{NESTED}}}', MERGE),
        ("PATCH", f"{CONFIGMAPS}/kube-root-ca.crt", f'{{"data":{NESTED}}}', STRATEGIC),
        (
            "PATCH",
            f"{CONFIGMAPS}/kube-root-ca.crt",
            f'[{{"op":"add","path":"/data","value":{NESTED}}}]',
            JSON_PATCH,
        ),
        ("PATCH", f"{CONFIGMAPS}/deep?fieldManager=m", nested("ConfigMap", "v1", "data"), APPLY),
        ("DELETE", f"{CONFIGMAPS}/kube-root-ca.crt", NESTED, JSON),
    ],
    ids=[
        "json",
        "an unknown field",
        "yaml",
        "yaml lists",
        "a million lists",
        "a definition",
        "merge",
        "strategic",
        "json patch",
        "apply",
        "delete",
    ],
)
def test_a_nesting_ten_thousand_deep_is_refused(
    client: Client, method: str, path: str, body: str, content_type: str
) -> None:
    code, reason, _ = client.send(method, path, body, content_type).summary
    assert (code, reason) in ((400, "BadRequest"), (422, "Invalid"))


def test_aliases_that_multiply_are_refused(client: Client) -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [
        f"{new}: &{new} [*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old}]"
        for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    code, reason, text = client.post("\n".join(lines), content_type=YAML).summary
    assert (code, reason) == (400, "BadRequest")
    assert "excessive aliasing" in text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("labelSelector=a%20in", "unable to parse requirement: "),
        ("labelSelector=%3D", "found '=', expected: "),
        ("fieldSelector=a.b%3Dc", '"a.b" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("limit=abc", 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("continue=abc", "invalid continue token: "),
        ("resourceVersion=abc", "invalid resource version: resourceVersion: Invalid value: "),
    ],
)
def test_a_bad_query_is_a_bad_request(client: Client, query: str, message: str) -> None:
    code, reason, text = client.send("GET", f"{CONFIGMAPS}?{query}").summary
    assert (code, reason) == (400, "BadRequest")
    assert message in text


def test_a_stale_revision_is_a_conflict(client: Client) -> None:
    root = json.loads(configmap("kube-root-ca.crt", resourceVersion="1"))
    code, reason, text = client.send("PUT", f"{CONFIGMAPS}/kube-root-ca.crt", json.dumps(root)).summary
    assert (code, reason) == (409, "Conflict")
    assert text == (
        'Operation cannot be fulfilled on configmaps "kube-root-ca.crt": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_a_revision_of_an_object_to_be_created_is_refused(client: Client) -> None:
    """Upstream forgot a reason, and so made it a 500."""
    summary = client.post(configmap("x", resourceVersion="5")).summary
    assert summary == (500, "", "resourceVersion should not be set on objects to be created")


def test_an_unknown_field_is_warned_of_refused_or_dropped_as_asked(client: Client) -> None:
    body = configmap("unknown")[:-1] + ',"dat":{}}'
    path = f"{CONFIGMAPS}?dryRun=All&fieldValidation="
    warned = client.post(body, path=f"{path}Warn")
    assert (warned.status, warned.warnings) == (201, ('299 - "unknown field \\"dat\\""',))
    dropped = client.post(body, path=f"{path}Ignore")
    assert (dropped.status, dropped.warnings, "dat" in dropped.json) == (201, (), False)
    code, reason, text = client.post(body, path=f"{path}Strict").summary
    assert (code, reason) == (400, "BadRequest")
    assert text.endswith('strict decoding error: unknown field "dat"')


@pytest.mark.parametrize(
    ("path", "body"),
    [("/nope", b"404 page not found"), ("/apis/nope.io/v1/things", b"404 page not found")],
)
def test_an_unknown_path_is_not_found_in_plain_text(client: Client, path: str, body: bytes) -> None:
    reply = client.send("GET", path)
    assert (reply.status, reply.content_type, reply.body.strip()) == (404, "text/plain; charset=utf-8", body)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/nopes",
        "/apis/apps/v1/nopes",
        f"{CONFIGMAPS}/x/nope",
        f"{CONFIGMAPS}/a/b/c/d",
        "/api/v1/../../etc/passwd",
    ],
)
def test_an_unknown_resource_is_not_found(client: Client, path: str) -> None:
    assert client.send("GET", path).summary == (404, "NotFound", "the server could not find the requested resource")


@pytest.mark.parametrize(
    "path", [f"{CONFIGMAPS}/%00", f"{CONFIGMAPS}/%ff", f"{CONFIGMAPS}/%zz", f"{CONFIGMAPS}/{'a' * 20_000}"]
)
def test_a_name_that_can_not_be_is_not_found(client: Client, path: str) -> None:
    assert client.send("GET", path).summary[:2] == (404, "NotFound")


@pytest.mark.parametrize(("method", "path"), [("POST", f"{CONFIGMAPS}/x"), ("PUT", CONFIGMAPS), ("PATCH", CONFIGMAPS)])
def test_a_method_that_has_no_meaning_there_is_not_allowed(client: Client, method: str, path: str) -> None:
    code, reason, text = client.send(method, path, "{}").summary
    assert (code, reason) == (405, "MethodNotAllowed")
    assert text == "the server does not allow this method on the requested resource"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/cbor", ";;;"])
def test_a_body_of_another_type_is_unsupported(client: Client, content_type: str) -> None:
    code, reason, text = client.post(configmap("x"), content_type=content_type).summary
    assert (code, reason) == (415, "UnsupportedMediaType")
    assert text.startswith("the body of the request was in an unknown format - accepted media types include: ")


def test_a_patch_of_another_type_is_unsupported(client: Client) -> None:
    reply = client.send("PATCH", f"{CONFIGMAPS}/kube-root-ca.crt", "{}", JSON)
    assert reply.summary[:2] == (415, "UnsupportedMediaType")


@pytest.mark.parametrize("accept", ["image/png", ";;q=zz", "application/json;as=Nope;v=v1;g=meta.k8s.io"])
def test_an_answer_of_another_type_is_not_acceptable(client: Client, accept: str) -> None:
    assert client.send("GET", CONFIGMAPS, headers={"Accept": accept}).summary[:2] == (406, "NotAcceptable")


@pytest.mark.parametrize(
    "body", [b"garbage", b"k8s\x00garbage", b"k8s\x00" + b"\xff" * 1000, b"k8s\x00" + b"\x0a\x80" * 9]
)
def test_broken_protobuf_is_a_bad_request(client: Client, body: bytes) -> None:
    assert client.post(body, content_type=PROTOBUF).summary[:2] == (400, "BadRequest")


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": "a" * 254}, "metadata.name"),
        ({"name": "UP"}, "metadata.name"),
        ({"name": "a/b"}, "metadata.name"),
        ({"generateName": "A-"}, "metadata.generateName"),
        ({}, "metadata.name"),
        ({"name": "x", "labels": {"a" * 64: "b"}}, "metadata.labels"),
        ({"name": "x", "labels": {"a": "b" * 64}}, "metadata.labels"),
        ({"name": "x", "annotations": {"a": "b" * 300_000}}, "metadata.annotations"),
        ({"name": "x", "finalizers": ["no slash"]}, "metadata.finalizers[0]"),
    ],
    ids=["long", "upper case", "slash", "prefix", "none", "label key", "label value", "annotations", "finalizer"],
)
def test_metadata_that_does_not_fit_is_invalid(client: Client, metadata: Mapping[str, Any], field: str) -> None:
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    reply = client.post(body)
    assert reply.summary[:2] == (422, "Invalid")
    details = reply.json["details"]
    assert details["kind"] == "ConfigMap"
    assert field in [cause["field"] for cause in details["causes"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("fieldValidation=Nope", "fieldValidation"),
        ("dryRun=Nope", "dryRun"),
        (f"fieldManager={'a' * 200}", "fieldManager"),
    ],
)
def test_options_that_do_not_fit_are_invalid(client: Client, query: str, field: str) -> None:
    reply = client.post(configmap("x"), path=f"{CONFIGMAPS}?{query}")
    assert reply.summary[:2] == (422, "Invalid")
    assert reply.json["details"]["causes"][0]["field"] == field


def test_without_credentials_nothing_is_read(server: VapiServer, client: Client) -> None:
    tls = server.tls()
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=tls, timeout=TIMEOUT_S)
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer "}, {"X-Remote-User": "admin"}):
        connection.request("GET", CONFIGMAPS, headers=headers)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["message"]) == (401, "Unauthorized")
    connection.close()


# --- below HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x13\x37" * 100 + b"\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 3_000_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000,
        b"GET /" + b"a" * 3_000_000,
    ],
    ids=["garbage", "version", "NUL", "length", "two lengths", "a long header", "many headers", "a long line"],
)
def test_what_is_not_http_is_answered_and_closed(client: Client, sent: bytes) -> None:
    with client.open() as connection:
        try:
            connection.sendall(sent)
            answer = connection.recv(100)
        except (ConnectionError, ssl.SSLError):
            return  # closed on while it was still sending
        assert answer.split(b" ")[1:2] == [b"400"]


def test_what_is_not_tls_is_closed(client: Client) -> None:
    for sent in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\xff" * 1000):
        with socket.create_connection(("127.0.0.1", client.port), timeout=TIMEOUT_S) as connection:
            connection.sendall(sent)
            try:
                while connection.recv(1000):
                    pass
            except ConnectionError:
                pass


def test_half_a_request_holds_up_nobody(client: Client) -> None:
    halves = (
        b"GET /heal",
        b"GET /healthz HTTP/1.1\r\nHo",
        f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 1000\r\n\r\n{{".encode(),
    )
    with client.open() as first, client.open() as second, client.open() as third:
        for connection, half in zip((first, second, third), halves, strict=True):
            connection.sendall(half)
        assert client.send("GET", "/healthz").body == b"ok"
        second.sendall(b"st: x\r\n\r\n")
        assert second.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_request_byte_by_byte_is_served(client: Client) -> None:
    with client.open() as connection:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_clients_that_leave_in_the_middle_are_forgotten(client: Client) -> None:
    for path in (CONFIGMAPS, f"{CONFIGMAPS}?watch=1", "/openapi/v2"):
        for _ in range(20):
            with client.open() as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def test_thousands_of_idle_connections_hold_up_nobody(client: Client) -> None:
    idle: list[socket.socket] = []
    try:
        for _ in range(IDLE_CONNECTIONS):
            idle.append(socket.create_connection(("127.0.0.1", client.port), timeout=TIMEOUT_S))
        assert client.send("GET", "/healthz").body == b"ok"
    finally:
        for connection in idle:
            connection.close()
    assert client.send("GET", "/healthz").body == b"ok"
