"""Outgoing HTTP against a server of ours on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from vapi.http_client import HttpClient, HttpError, open_upgrade

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[tuple[HttpClient, str]]:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    client = HttpClient()
    try:
        yield client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        await client.close()
        server.close()
        await server.wait_closed()


async def test_a_whole_answer_comes_with_its_status_and_headers() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        seen.append(await reader.readexactly(2))
        writer.write(b"HTTP/1.1 418 Teapot\r\nX-A: b\r\nContent-Length: 3\r\n\r\nyes")

    async with serving(serve) as (client, url):
        answer = await client.request("POST", url + "/x?y=%20", headers=[("X-B", "c")], body=b"{}", timeout_s=5)
    assert (answer.status, answer.body, answer.header("x-a")) == (418, b"yes", "b")
    assert seen[0].startswith(b"POST /x?y=%20 HTTP/1.1\r\n")
    assert b"X-B: c\r\n" in seen[0]
    assert seen[1] == b"{}"


async def test_an_answer_that_is_too_long_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)

    async with serving(serve) as (client, url):
        assert (await client.request("GET", url, timeout_s=5, max_bytes=11)).body == b"x" * 11
        with pytest.raises(HttpError, match="longer than 10 bytes"):
            await client.request("GET", url, timeout_s=5, max_bytes=10)


async def test_no_answer_in_time_is_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(serve) as (client, url):
        with pytest.raises(HttpError, match=r"no answer within 0\.05s"):
            await client.request("GET", url, timeout_s=0.05)


async def test_nobody_there_is_an_error() -> None:
    async with serving(lambda _r, _w: asyncio.sleep(0)) as (client, _):
        with pytest.raises(HttpError, match="Cannot connect"):
            await client.request("GET", "http://127.0.0.1:9/", timeout_s=5)
        with pytest.raises(HttpError, match="dial tcp"):
            await open_upgrade("GET", "http://127.0.0.1:9/", headers=())


async def test_a_refused_upgrade_brings_its_body_in_either_coding() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/chunked" in head:
            writer.write(b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\nno")

    async with serving(serve) as (_, url):
        for path in ("/chunked", "/"):
            answer = await open_upgrade("GET", url + path, headers=[("Upgrade", "x")])
            assert (answer.status, answer.body) == (400, b"no")


async def test_what_is_no_answer_to_an_upgrade_is_an_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"nonsense\r\n\r\n")

    async with serving(serve) as (_, url):
        with pytest.raises(HttpError, match="no answer to an upgrade"):
            await open_upgrade("GET", url, headers=())


async def test_a_header_cannot_bring_another() -> None:
    with pytest.raises(HttpError, match="line break"):
        await open_upgrade("GET", "http://127.0.0.1:9/", headers=[("A", "b\r\nC: d")])
