"""The listener on loopback, with TLS: what goes over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.vapi.endpoints.servers import CONFIGMAPS, Api, api, configmap
from vapi.auth import pki
from vapi.clock import SystemClock
from vapi.endpoints.app import MAX_LINE_BYTES, ApiServer
from vapi.endpoints.bodies import BodyBudget
from vapi.endpoints.http import MAX_BODIES_BYTES, MAX_BODY_BYTES
from vapi.endpoints.proxy import Tunnel
from vapi.errors import ApiError
from vapi.http_client import HttpClient

ADMIN = {"Authorization": "Bearer admin", "Accept": "application/json"}


@dataclass(frozen=True, slots=True)
class Live:
    api: Api
    server: ApiServer
    pki: pki.Pki
    port: int
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.pki.ca_certificate.decode())

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust())


@contextlib.asynccontextmanager
async def live(directory: Path, *, tunnel: Tunnel | None = None) -> AsyncIterator[Live]:
    clock = SystemClock()
    keys = pki.Pki(directory, pki.load_or_create(directory, clock=clock), clock)
    keys.ensure_serving(pki.serving_names())
    outgoing = HttpClient()
    async with api(tunnel=tunnel, client=outgoing) as running:
        server = ApiServer(running.dispatcher)
        port = await server.start("127.0.0.1", 0, keys.server_context())
        trust = ssl.create_default_context(cadata=keys.ca_certificate.decode())
        async with aiohttp.ClientSession(
            headers=ADMIN, connector=aiohttp.TCPConnector(ssl=trust), auto_decompress=False
        ) as client:
            try:
                yield Live(running, server, keys, port, client)
            finally:
                await server.stop()
                await outgoing.close()
    await asyncio.sleep(0)


async def no_watches(up: Live) -> None:
    """Until none is left; the end of a connection is seen in some turn of the loop."""
    async with asyncio.timeout(5):
        while up.api.dispatcher.watches.count:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_an_object_goes_in_and_out_over_tls(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        async with up.client.post(up.url + CONFIGMAPS, json=configmap("a", x="1")) as created:
            assert created.status == 201
            obj = await created.json()
        async with up.client.get(f"{up.url}{CONFIGMAPS}/a") as read:
            assert read.status == 200
            assert await read.json() == obj
            assert read.headers["Content-Length"] == str(len(await read.read()))
            assert read.headers["Date"].endswith(" GMT")


async def test_a_client_certificate_says_who_it_is(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        pair = up.pki.client("carol", ("system:masters",))
        (tmp_path / "c.crt").write_bytes(pair.certificate)
        (tmp_path / "c.key").write_bytes(pair.key)
        context = up.trust()
        context.load_cert_chain(tmp_path / "c.crt", tmp_path / "c.key")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client:
            for _ in range(2):
                async with client.get(up.url + CONFIGMAPS) as listed:
                    assert listed.status == 200
        connector = aiohttp.TCPConnector(ssl=up.trust())
        async with aiohttp.ClientSession(connector=connector) as nobody, nobody.get(up.url + CONFIGMAPS) as refused:
            assert refused.status == 403
            assert 'User "system:anonymous"' in (await refused.json())["message"]


async def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        for _ in range(3):
            async with up.client.get(up.url + "/version") as answer:
                assert (await answer.json())["gitVersion"].startswith("v1.37")
        assert up.server.connections == 1


async def test_a_long_list_is_streamed_and_a_client_may_have_it_compressed(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        for index in range(30):
            await up.api.create(CONFIGMAPS, configmap(f"c{index:02}", x="x" * 20_000))
        async with up.client.get(up.url + CONFIGMAPS, headers={"Accept-Encoding": "identity"}) as plain:
            assert plain.headers["Transfer-Encoding"] == "chunked"
            whole = await plain.read()
        assert [item["metadata"]["name"] for item in json.loads(whole)["items"]] == [f"c{i:02}" for i in range(30)]
        async with up.client.get(up.url + CONFIGMAPS, headers={"Accept-Encoding": "gzip"}) as packed:
            assert packed.headers["Content-Encoding"] == "gzip"
            assert json.loads(gzip.decompress(await packed.read())) == json.loads(whole)


async def test_a_middling_answer_is_compressed_whole(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        await up.api.create(CONFIGMAPS, configmap("c", x="x" * 200_000))
        async with up.client.get(f"{up.url}{CONFIGMAPS}/c", headers={"Accept-Encoding": "gzip"}) as packed:
            body = await packed.read()
            assert packed.headers["Content-Length"] == str(len(body))
            assert json.loads(gzip.decompress(body))["data"]["x"] == "x" * 200_000


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "chunked"])
async def test_a_body_over_the_limit_is_413(tmp_path: Path, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * (MAX_BODY_BYTES // 3)

    async with live(tmp_path) as up:
        body = pieces() if chunked else io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))
        async with up.client.post(up.url + CONFIGMAPS, data=body) as refused:
            assert refused.status == 413
            answer = await refused.json()
        assert answer["message"] == "Request entity too large: limit is 3145728"
        assert answer["reason"] == "RequestEntityTooLarge"


async def test_a_body_of_the_limit_is_read(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        async with up.client.post(up.url + CONFIGMAPS, data=io.BytesIO(b"x" * MAX_BODY_BYTES)) as refused:
            assert refused.status == 415
        async with up.client.post(
            up.url + CONFIGMAPS, data=io.BytesIO(b" " * MAX_BODY_BYTES), headers={"Content-Type": "application/json"}
        ) as refused:
            assert refused.status == 400


def test_bodies_in_flight_share_a_budget() -> None:
    budget = BodyBudget()
    budget.take(MAX_BODIES_BYTES)
    with pytest.raises(ApiError) as refused:
        budget.take(1)
    assert (refused.value.code, refused.value.retry_after_s) == (429, 1)
    budget.release(MAX_BODIES_BYTES)
    budget.take(1)


async def test_a_watch_arrives_event_by_event_and_ends_with_its_client(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        async with up.client.get(up.url + CONFIGMAPS + "?watch=1") as watching:
            assert watching.status == 200
            assert watching.content_type == "application/json"
            for name in "ab":
                await up.api.create(CONFIGMAPS, configmap(name))
                event = json.loads(await watching.content.readline())
                assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", name)
            assert up.api.dispatcher.watches.count == 1
            watching.close()
        await no_watches(up)


async def test_watchers_have_the_event_before_the_writer_has_its_answer(tmp_path: Path) -> None:
    """All on one loop: what was written first is read first."""
    heard: list[str] = []
    async with live(tmp_path) as up:
        head = "HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n"
        (watch, watching), (answers, writing) = await up.connect(), await up.connect()
        watching.write(f"GET {CONFIGMAPS}?watch=true&resourceVersion=0 {head}\r\n".encode())
        await watch.readuntil(b"\r\n\r\n")

        async def listen() -> None:
            while await watch.readline():
                heard.append("event")

        listening = asyncio.create_task(listen())
        for number in range(20):
            body = json.dumps(configmap(f"c{number}")).encode()
            writing.write(f"POST {CONFIGMAPS} {head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answered = await answers.readuntil(b"\r\n\r\n")
            assert heard, number
            heard.clear()
            await answers.readexactly(int(answered.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writing.close()
        watching.close()
        await listening
        await no_watches(up)


async def test_a_watch_over_a_websocket_is_a_text_frame_an_event(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        await up.api.create(CONFIGMAPS, configmap("a"))
        async with up.client.ws_connect(up.url + CONFIGMAPS + "?watch=1") as socket:
            assert json.loads(await socket.receive_str())["object"]["metadata"]["name"] == "a"
            await up.api.create(CONFIGMAPS, configmap("b"))
            assert json.loads(await socket.receive_str())["object"]["metadata"]["name"] == "b"
        await no_watches(up)


async def test_a_websocket_where_there_is_none_is_refused_as_usual(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await up.client.ws_connect(up.url + "/api/v1/foos?watch=1")
        assert refused.value.status == 404


async def test_head_has_no_body_and_old_clients_are_closed_on(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        reader, writer = await up.connect()
        writer.write(b"HEAD /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "Content-Length: " in head
        writer.write(b"GET /livez HTTP/1.0\r\nAuthorization: Bearer admin\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nok")
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_asks_first_is_told_to_send(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        reader, writer = await up.connect()
        head = f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\nExpect: 100-continue\r\n"
        body = json.dumps(configmap("a")).encode()
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 Created\r\n")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"GET /" + b"a" * MAX_LINE_BYTES * 2,
    ],
    ids=["garbage", "a NUL in a header", "a line without end"],
)
async def test_what_is_no_http_is_400_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    async with live(tmp_path) as up:
        reader, writer = await up.connect()
        writer.write(sent)
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        writer.close()
        await writer.wait_closed()
    assert caplog.records == []


async def test_a_client_that_breaks_off_in_the_middle_of_its_body_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with live(tmp_path) as up:
        _, writer = await up.connect()
        writer.write(f"POST {CONFIGMAPS} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        await writer.drain()
        async with asyncio.timeout(5):
            while not up.server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)
            writer.transport.abort()
            while up.server.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert caplog.records == []


async def test_stopping_ends_watches_and_closes_the_port(tmp_path: Path) -> None:
    async with live(tmp_path) as up:
        async with up.client.get(up.url + CONFIGMAPS + "?watch=1&resourceVersion=1000") as watching:
            stopping = asyncio.create_task(up.server.stop())
            assert await watching.content.read() == b""
        await stopping
        assert (await up.api.get("/readyz")).status == 500
        assert (await up.api.get("/livez")).status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await up.client.get(up.url + "/version")
