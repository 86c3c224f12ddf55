"""Tunnels to a stand-in for the host, on loopback: streams, refusals, and upgrades spliced byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.planes import pod
from tests.vapi.endpoints.servers import Api, api
from tests.vapi.endpoints.test_app import live
from vapi import errors
from vapi.endpoints import proxy
from vapi.endpoints.app import ApiServer
from vapi.endpoints.http import ApiResponse
from vapi.endpoints.proxy import REFUSAL_BYTES, TunnelTarget, Upstream, passed_on, replaced
from vapi.gvk import Obj
from vapi.http_client import HttpClient

POD = "/api/v1/namespaces/default/pods/p"
Serve = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Host:
    """Answers every connection with `serve`, after reading a head; keeps the heads."""

    serve: Serve
    port: int = 0
    heads: list[str] = field(default_factory=list)
    targets: list[TunnelTarget] = field(default_factory=list)

    async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
        self.targets.append(target)
        query = f"?{target.query}" if target.query else ""
        url = f"http://127.0.0.1:{self.port}/host/{target.name}-x-default/{target.subresource}{target.rest}{query}"
        base = f"/host/{target.name}-x-default/proxy" if target.subresource == "proxy" else ""
        return Upstream(url, (("Authorization", "Bearer ours"),), base=base, say=there_to_here)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            await self.serve(head, reader, writer)
        finally:
            writer.close()


async def running_pod(server: Api, name: str = "p") -> None:
    """One that has a node, so that there is something to connect to."""
    made = await server.create("/api/v1/namespaces/default/pods", placed(name))
    assert made.status == 201


def placed(name: str) -> Obj:
    body = pod(name)
    body["spec"]["nodeName"] = "n1"
    return body


@contextlib.asynccontextmanager
async def host(serve: Serve) -> AsyncIterator[Host]:
    standing = Host(serve)
    server = await asyncio.start_server(standing.accept, "127.0.0.1", 0)
    standing.port = server.sockets[0].getsockname()[1]
    try:
        yield standing
    finally:
        server.close()
        await server.wait_closed()


async def echo(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\nX-Mine: 1\r\n\r\n")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def log_lines(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
    for line in (b"one\n", b"two\n"):
        writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write(b"0\r\n\r\n")


async def refuse(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}')


def upgrade(method: str, path: str, protocol: str = "websocket") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nConnection: Upgrade\r\n"
        f"Upgrade: {protocol}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "X-Stream-Protocol-Version: v5.channel.k8s.io\r\nCookie: c=1\r\nX-Remote-User: root\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(("method", "protocol"), [("GET", "websocket"), ("POST", "SPDY/3.1")])
async def test_an_upgrade_passes_bytes_both_ways_and_no_credentials(tmp_path: Path, method: str, protocol: str) -> None:
    async with host(echo) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        reader, writer = await up.connect()
        writer.write(upgrade(method, f"{POD}/exec?command=a%20b&stdin=true", protocol))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 ")
        assert "X-Mine: 1\r\n" in head
        for data in (b"\x00hello", b"\xff" * 100_000):
            writer.write(data)
            assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()
    (sent,) = standing.heads
    lowered = sent.lower()
    assert sent.startswith(f"{method} /host/p-x-default/exec?command=a%20b&stdin=true HTTP/1.1\r\n")
    assert f"upgrade: {protocol}".lower() in lowered
    assert "x-stream-protocol-version: v5.channel.k8s.io" in lowered
    assert "bearer ours" in lowered
    assert not any(word in lowered for word in ("bearer admin", "cookie", "x-remote-user"))
    (target,) = standing.targets
    assert (target.user.name, target.subresource, target.upgrade) == ("admin", "exec", True)


async def test_much_goes_both_ways_at_once_without_loss(tmp_path: Path) -> None:
    sent = bytes(range(256)) * 20_000  # 5 MB: many times what a splice may hold
    async with host(echo) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        reader, writer = await up.connect()
        writer.write(upgrade("GET", f"{POD}/portforward"))
        await reader.readuntil(b"\r\n\r\n")

        async def send() -> None:
            for start in range(0, len(sent), 65536):
                writer.write(sent[start : start + 65536])
                await writer.drain()

        sending = asyncio.create_task(send())
        received = await reader.readexactly(len(sent))
        await sending
        assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_has_ended_is_still_answered_without_tls() -> None:
    async def answer_at_the_end(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
        writer.write((await reader.read()).upper())
        await writer.drain()

    client = HttpClient()
    async with host(answer_at_the_end) as standing, api(tunnel=standing, client=client) as running:
        await running_pod(running)
        server = ApiServer(running.dispatcher)
        port = await server.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(upgrade("GET", f"{POD}/attach"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"good")
        writer.write(b"bye")
        writer.write_eof()
        assert await reader.read() == b"GOODBYE"
        writer.close()
        await writer.wait_closed()
        await server.stop()
        await client.close()


async def test_the_host_ending_a_tunnel_ends_the_client(tmp_path: Path) -> None:
    async def bye(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nbye")

    async with host(bye) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        reader, writer = await up.connect()
        writer.write(upgrade("GET", f"{POD}/exec"))
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == b"bye"
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_refusal_of_the_host_is_passed_on(tmp_path: Path) -> None:
    async with host(refuse) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        reader, writer = await up.connect()
        writer.write(upgrade("GET", f"{POD}/exec"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert await reader.readexactly(7) == b'{"a":1}'
        # the connection is still HTTP
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
        await writer.wait_closed()


async def test_a_log_is_passed_on_line_by_line(tmp_path: Path) -> None:
    async with host(log_lines) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        async with up.client.get(f"{up.url}{POD}/log?follow=true") as log:
            assert log.status == 200
            assert log.content_type == "text/plain"
            assert await log.content.readline() == b"one\n"
            assert await log.content.readline() == b"two\n"
            assert await log.content.read() == b""
    assert standing.heads[0].startswith("GET /host/p-x-default/log?follow=true ")


async def test_a_client_that_leaves_a_log_is_hung_up_on_the_host(tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def for_ever(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n")
        await reader.read()
        hung_up.set()

    async with host(for_ever) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        async with up.client.get(f"{up.url}{POD}/log?follow=true") as log:
            assert await log.content.readline() == b"hello\n"
            log.close()
        async with asyncio.timeout(5):
            await hung_up.wait()


async def test_a_proxied_body_is_passed_on_whole(tmp_path: Path) -> None:
    async def mirror(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b""
        while (size := int((await reader.readline()).strip(), 16)) != 0:
            body += await reader.readexactly(size)
            await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()

    sent = b"x" * 4_000_000  # more than an object may have
    async with (
        host(mirror) as standing,
        live(tmp_path, tunnel=standing) as up,
        up.client.post(f"{up.url}{POD}/proxy/a%2Fb/c?d=e", data=io.BytesIO(sent)) as answer,
    ):
        assert answer.status == 200
        assert await answer.read() == sent
    assert standing.heads[0].startswith("POST /host/p-x-default/proxy/a%2Fb/c?d=e ")


async def test_what_a_proxied_pod_says_of_its_own_path_is_told_as_the_tenant_knows_it(tmp_path: Path) -> None:
    async def page(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /host/p-x-default/proxy/next?a=b\r\nContent-Type: text/html\r\n")
        writer.write(b'Content-Length: 39\r\n\r\n<a href="/host/p-x-def')
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b'ault/proxy/next">')

    async with (
        host(page) as standing,
        live(tmp_path, tunnel=standing) as up,
        up.client.get(f"{up.url}{POD}/proxy/first", allow_redirects=False) as answer,
    ):
        assert answer.headers["Location"] == f"{POD}/proxy/next?a=b"
        assert await answer.read() == f'<a href="{POD}/proxy/next">'.encode()


@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_a_text_is_replaced_wherever_it_is_cut(size: int) -> None:
    text = b"ab abc aabcab abcabc a"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    told = [chunk async for chunk in replaced(chunks(), b"abc", b"-")]
    assert b"".join(told) == text.replace(b"abc", b"-")
    assert b"" not in told


async def test_the_root_of_a_proxy_is_a_folder(tmp_path: Path) -> None:
    async with (
        host(log_lines) as standing,
        live(tmp_path, tunnel=standing) as up,
        up.client.get(f"{up.url}{POD}/proxy?a=b", allow_redirects=False) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (301, f"{POD}/proxy/?a=b")
        assert standing.heads == []


@pytest.mark.parametrize("path", ["/proxy/../../exec", "/proxy/%2e%2e/x", "/proxy/a/./b"])
async def test_a_proxied_path_must_not_climb(path: str) -> None:
    client = HttpClient()
    async with host(echo) as standing, api(tunnel=standing, client=client) as server:
        answer = await server.get(f"{POD}{path}")
        assert answer.status == 400
        assert standing.targets == []
    await client.close()


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("nope/attach", 404, 'pods "nope" not found'),
        ("waiting/exec?command=ls", 400, "pod waiting does not have a host assigned"),
        ("waiting/log?container=nope", 400, "container nope is not valid for pod waiting"),
        (
            "waiting/log?tailLines=-1&sinceSeconds=0",
            422,
            'PodLogOptions "waiting" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, '
            "sinceSeconds: Invalid value: 0: must be greater than 0]",
        ),
        ("waiting/log?tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
async def test_what_a_pod_does_not_have_is_refused_before_dialling(path: str, code: int, message: str) -> None:
    async with api() as server:
        await server.create("/api/v1/namespaces/default/pods", pod("waiting"))
        answer = await server.get(f"/api/v1/namespaces/default/pods/{path}")
        assert (answer.status, answer.message) == (code, message)


def there_to_here(text: str) -> str:
    return text.replace("p-x-default", "p")


@pytest.mark.parametrize(
    ("body", "only_status", "told"),
    [
        (b'{"kind":"Status","code":400,"message":"in p-x-default","details":{"name":"p-x-default"}}', True, b"p-x"),
        (b"not in p-x-default", False, b"p-x"),
        (b"not in p-x-default", True, b""),
        (b'{"kind":"Answer","message":"p-x-default"}', False, b""),
        (b"\xff\x00", True, b""),
    ],
    ids=["a Status", "a text", "a text of the container's", "JSON of the container's", "bytes of the container's"],
)
def test_a_refusal_of_the_far_side_is_worded_and_what_a_container_answers_is_not(
    body: bytes, only_status: bool, told: bytes
) -> None:
    found = proxy.worded(body, there_to_here, only_status=only_status)
    if told:
        assert told not in found
        assert b"p" in found
    else:
        assert found == body


async def waits_to_start(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = b'{"kind":"Status","apiVersion":"v1","code":400,"message":"pod \\"p-x-default\\" is waiting to start"}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % len(body) + body)


async def much(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 500 Much\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (3 * REFUSAL_BYTES))
    writer.write(b"p-x-default" + b"." * (3 * REFUSAL_BYTES - 11))


@pytest.mark.parametrize("path", ["log", "exec", "proxy/x"])
async def test_a_refusal_names_the_tenants_pod(tmp_path: Path, path: str) -> None:
    async with host(waits_to_start) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        reader, writer = await up.connect()
        writer.write(upgrade("GET", f"{POD}/{path}") if path == "exec" else plain_get(f"{POD}/{path}"))
        answer = await reader.readuntil(b"}")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'pod \\"p\\" is waiting to start' in answer
        writer.close()


async def test_an_error_with_a_long_body_passes_as_it_is(tmp_path: Path) -> None:
    async with host(much) as standing, live(tmp_path, tunnel=standing) as up:
        await running_pod(up.api)
        reader, writer = await up.connect()
        writer.write(plain_get(f"{POD}/log"))
        await reader.readuntil(b"p-x-default")
        for _ in range(3):
            assert await reader.readexactly(REFUSAL_BYTES // 2)
        writer.close()


def plain_get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n".encode()


async def test_the_log_of_a_pod_that_waits_for_a_node_is_empty() -> None:
    async with api() as server:
        await server.create("/api/v1/namespaces/default/pods", pod("waiting"))
        assert (await server.get("/api/v1/namespaces/default/pods/waiting/log")).status == 204


async def test_a_host_that_is_not_there_is_500_and_a_refusal_of_the_tunnel_its_own() -> None:
    class Gone:
        async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
            if target.name == "none":
                raise errors.bad_request("pod none does not have a host assigned")
            if target.name == "empty":
                return ApiResponse(204, "")
            return Upstream("http://127.0.0.1:9/x")

    client = HttpClient()
    async with api(tunnel=Gone(), client=client) as server:
        for name in ("p", "none", "empty"):
            await running_pod(server, name)
        dialled = await server.get(f"{POD}/log")
        assert dialled.status == 500
        assert dialled.message.startswith("error dialing backend: ")
        upgraded = await server.get(f"{POD}/exec", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        assert upgraded.status == 500
        refused = await server.get("/api/v1/namespaces/default/pods/none/exec")
        assert (refused.status, refused.message) == (400, "pod none does not have a host assigned")
        assert (await server.get("/api/v1/namespaces/default/pods/empty/log")).status == 204
    await client.close()


def test_headers_of_one_connection_and_of_one_user_stay_here() -> None:
    sent = [
        ("Host", "a"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Upgrade", "websocket"),
        ("Transfer-Encoding", "chunked"),
        ("authorization", "Bearer t"),
        ("Impersonate-Extra-scopes", "s"),
        ("X-Remote-Group", "g"),
        ("cookie", "c"),
        ("Accept", "*/*"),
    ]
    assert passed_on(sent) == [("Accept", "*/*")]
    assert passed_on(sent, upgrade=True) == [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Accept", "*/*"),
    ]
