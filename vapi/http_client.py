"""Outgoing HTTP: webhooks and aggregated APIs as whole answers, tunnels as streams or as raw upgraded connections.

One of the three modules that import aiohttp. Nothing here knows Kubernetes.
"""

from __future__ import annotations

import asyncio
import io
import ssl as ssl_module
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

Pairs: TypeAlias = Iterable[tuple[str, str]]

MAX_ANSWER_BYTES = 3 << 20  # of a whole answer: as much as an object may have
MAX_HEAD_BYTES = 64 << 10  # of an upgrade's answer; kube-apiserver's are below 1 KB
CONNECT_S = 10.0  # upstream dials webhooks and kubelets with 30 s; a host in the same network answers sooner
READ_BYTES = 64 << 10
LARGE_BODY_BYTES = 1 << 20  # from here on aiohttp wants a file, which it sends in slices


class HttpError(Exception):
    """No answer: not connected, not in time, cut off, or too long. The text says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """`chunks` ends with the body, or raises HttpError; closing it closes the connection."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The answer to a request to upgrade. After a 101 the connection is the caller's; else `body` is the refusal's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""


class HttpClient:
    """Connections are kept and shared. Make it on the loop; close it once."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=100, ttl_dns_cache=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        )

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Pairs = (),
        body: bytes | None = None,
        ssl: ssl_module.SSLContext | None = None,
        timeout_s: float,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """The whole answer, of whichever status; redirects are not followed. Raises HttpError."""
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._send(method, url, headers, body, ssl)
                async with response:
                    data = await response.content.read(max_bytes + 1)
                    while len(data) <= max_bytes and (more := await response.content.read(max_bytes + 1 - len(data))):
                        data += more
                    if len(data) > max_bytes:
                        raise HttpError(f"the answer is longer than {max_bytes} bytes")
                    return Answer(response.status, tuple(response.headers.items()), data)
        except TimeoutError:
            raise HttpError(f"no answer within {timeout_s:g}s") from None
        except aiohttp.ClientError as error:
            raise HttpError(str(error) or type(error).__name__) from error

    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Pairs = (),
        body: bytes | AsyncIterator[bytes] | None = None,
        ssl: ssl_module.SSLContext | None = None,
    ) -> StreamedAnswer:
        """The head of the answer; its body comes as it is sent, however long that takes. Raises HttpError."""
        try:
            response = await self._send(method, url, headers, body, ssl)
        except aiohttp.ClientError as error:
            raise HttpError(str(error) or type(error).__name__) from error
        return StreamedAnswer(response.status, tuple(response.headers.items()), _chunks(response))

    async def _send(
        self,
        method: str,
        url: str,
        headers: Pairs,
        body: bytes | AsyncIterator[bytes] | None,
        ssl: ssl_module.SSLContext | None,
    ) -> aiohttp.ClientResponse:
        return await self._session.request(
            method,
            URL(url, encoded=True),
            headers=CIMultiDict(headers),
            data=io.BytesIO(body) if isinstance(body, bytes) and len(body) > LARGE_BODY_BYTES else body,
            ssl=ssl if ssl is not None else True,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except aiohttp.ClientError as error:
        raise HttpError(str(error) or type(error).__name__) from error
    finally:
        response.close()


# --- upgrades -------------------------------------------------------------------------------------


async def open_upgrade(method: str, url: str, *, headers: Pairs, ssl: ssl_module.SSLContext | None = None) -> Upgraded:
    """Ask for an upgrade on a connection of its own. `headers` are sent as they are, Host is added.

    Raises HttpError.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target or '/'} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if any("\r" in line or "\n" in line for line in lines):
        raise HttpError("a header contains a line break")
    context = (ssl or ssl_module.create_default_context()) if secure else None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=READ_BYTES)
    except (OSError, TimeoutError) as error:
        raise HttpError(f"dial tcp {parts.hostname}:{port}: {error or 'timed out'}") from error
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        head = await reader.readuntil(b"\r\n\r\n")
        status, received = _parse_head(head)
        if status == 101:
            return Upgraded(status, received, reader, writer)
        body = await _read_refusal(reader, received)
        writer.close()
        return Upgraded(status, received, reader, writer, body)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        writer.close()
        raise HttpError(f"no answer to an upgrade: {error}") from error
    except BaseException:
        writer.close()
        raise


def _parse_head(head: bytes) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Raises ValueError."""
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = []
    for line in rest:
        if line:
            name, _, value = line.partition(":")
            pairs.append((name.strip(), value.strip()))
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP")
    return int(status[:3]), tuple(pairs)


async def _read_refusal(reader: asyncio.StreamReader, headers: Pairs) -> bytes:
    """A refusal's body, at most MAX_HEAD_BYTES of it: by its length, else what comes in a second."""
    named = {name.lower(): value for name, value in headers}
    length = named.get("content-length", "")
    if length.isdigit():
        return await reader.readexactly(min(int(length), MAX_HEAD_BYTES))
    try:
        async with asyncio.timeout(1.0):
            raw = await reader.read(MAX_HEAD_BYTES)
    except TimeoutError:
        return b""
    if named.get("transfer-encoding", "").lower() != "chunked":
        return raw
    return _dechunked(raw)


def _dechunked(raw: bytes) -> bytes:
    """What is there of a chunked body."""
    parts: list[bytes] = []
    while raw:
        size_line, _, raw = raw.partition(b"\r\n")
        try:
            size = int(size_line.partition(b";")[0], 16)
        except ValueError:
            break
        if size == 0:
            break
        parts.append(raw[:size])
        raw = raw[size + 2 :]
    return b"".join(parts)
