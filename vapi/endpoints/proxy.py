"""Tunnels: log, exec, attach, portforward and proxy, passed through to where the pod really runs.

What is behind is a `Tunnel`, which only says where that is; the bytes go
through here untouched. A plain request is answered as a stream; an upgrade
(WebSocket or SPDY) becomes an `Upgrade`, which splices the two connections.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as ssl_module
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from vapi import encoding, errors
from vapi.authorizer import User
from vapi.endpoints.http import NO_CACHE, ApiRequest, ApiResponse
from vapi.http_client import READ_BYTES, HttpClient, HttpError, StreamedAnswer, open_upgrade

log = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding")
)
"""Of one connection only; Upgrade is one too, but the very point of an upgrade. RFC 9110 §7.6.1."""
_NEVER_SENT = frozenset(("host", "authorization", "cookie", "content-length", "accept-encoding"))
_NEVER_SENT_PREFIXES = ("impersonate-", "x-remote-", "x-forwarded-")
_NEVER_RETURNED = frozenset(("set-cookie", "audit-id", "content-length"))
LINGER_S = 30.0  # what a client may still send after the other side has ended (a guess)
REFUSAL_BYTES = 64 * 1024  # of an error's body that is looked at for names (a guess: a Status has 300)
HANDSHAKE_S = 30.0  # for a 101; the same as the idle limit of upstream's proxies (a guess)


@dataclass(frozen=True, slots=True)
class TunnelTarget:
    """What the tenant asked for, authorized: names are the tenant's."""

    user: User
    method: str
    resource: str
    """pods, services or nodes."""
    subresource: str
    namespace: str
    name: str
    """As in the path; of services and pods it may be `[scheme:]name[:port]` for proxy."""
    rest: str
    """Of a proxy: the path behind, escaped as `query` is."""
    query: str
    upgrade: bool


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the bytes go. `url` is complete, query included; `headers` (our credentials) are added."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    ssl: ssl_module.SSLContext | None = None
    base: str = ""
    """Of a proxy: the path there under which the pod's own paths stand; what the far side writes of it is put back."""
    say: Callable[[str], str] = str
    """A refusal of the far side's own, in the tenant's words."""


class Tunnel(Protocol):
    async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
        """Where it is, or an answer of its own (204 for the log of a pod that nobody has placed yet).

        Checks that the twin is the one of the tenant's pod. Raises ApiError, worded with the tenant's names.
        """


class NoTunnel:
    """Of a control plane without a host: nothing runs."""

    async def resolve(self, target: TunnelTarget) -> Upstream | ApiResponse:
        if target.resource == "services":
            name = service_name(target.name)
            raise errors.service_unavailable(f"no endpoints available for service {errors.quote_value(name)}")
        raise errors.service_unavailable("there is no host to run pods: nothing to connect to")


def service_name(name: str) -> str:
    """The Service of `[scheme:]name[:port]`. Source: apimachinery util/net SplitSchemeNamePort."""
    parts = name.split(":")
    return parts[1] if len(parts) == 3 else parts[0]


def is_upgrade(request: ApiRequest) -> bool:
    connection = request.headers.get("Connection") or ""
    return "upgrade" in connection.lower() and bool(request.headers.get("Upgrade"))


async def serve(tunnel: Tunnel, client: HttpClient | None, target: TunnelTarget, request: ApiRequest) -> ApiResponse:
    """Raises ApiError."""
    upstream = await tunnel.resolve(target)
    if isinstance(upstream, ApiResponse):
        return upstream
    if target.subresource == "proxy" and not target.rest and target.method in ("GET", "HEAD"):
        return _to_the_root(target)
    if client is None:
        raise errors.service_unavailable("there is nothing to connect to")
    try:
        if target.upgrade:
            return await _upgraded(upstream, target, request)
        body = request.stream if request.stream is not None else request.body or None
        headers = [*passed_on(request.headers.items()), *upstream.headers]
        answer = await client.stream(target.method, upstream.url, headers=headers, body=body, ssl=upstream.ssl)
        if answer.status >= 400:
            answer = await _worded_stream(answer, upstream.say, only_status=target.subresource == "proxy")
    except HttpError as error:
        raise errors.bare_error(500, f"error dialing backend: {error}") from None
    return _streamed(answer, there=upstream.base, here=_base(target))


async def _worded_stream(answer: StreamedAnswer, say: Callable[[str], str], *, only_status: bool) -> StreamedAnswer:
    """A refusal in the tenant's words; one of more than `REFUSAL_BYTES` is no Status, and passes. Raises HttpError."""
    held = b""
    async for chunk in answer.chunks:
        held += chunk
        if len(held) > REFUSAL_BYTES:
            return StreamedAnswer(answer.status, answer.headers, _before(held, answer.chunks))
    return StreamedAnswer(answer.status, answer.headers, _before(worded(held, say, only_status=only_status)))


async def _before(first: bytes, rest: AsyncIterator[bytes] | None = None) -> AsyncIterator[bytes]:
    try:
        yield first
        if rest is not None:
            async for chunk in rest:
                yield chunk
    finally:
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()


def worded(body: bytes, say: Callable[[str], str], *, only_status: bool) -> bytes:
    """The strings of a Status, or a text, through `say`. `only_status`: a text is the container's, and left alone."""
    try:
        status: Any = encoding.loads(body)
    except ValueError:
        text = body.decode(errors="replace")
        return body if only_status else say(text).encode()
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return body
    return encoding.dumps(status | {k: _each_string(status[k], say) for k in ("message", "details") if k in status})


def _each_string(value: Any, say: Callable[[str], str]) -> Any:
    match value:
        case str():
            return say(value)
        case list():
            return [_each_string(item, say) for item in value]
        case dict():
            return {key: _each_string(item, say) for key, item in value.items()}
    return value


def passed_on(headers: Iterable[tuple[str, str]], *, upgrade: bool = False) -> list[tuple[str, str]]:
    """What of a client's headers goes to the other side: no credentials, nothing of this connection alone."""
    pairs = list(headers)
    named = {token.strip().lower() for key, value in pairs if key.lower() == "connection" for token in value.split(",")}
    kept = []
    for name, value in pairs:
        lower = name.lower()
        if lower in _HOP_BY_HOP or lower in _NEVER_SENT or lower.startswith(_NEVER_SENT_PREFIXES):
            continue
        if lower == "upgrade":
            if upgrade:
                kept += [("Connection", "Upgrade"), (name, value)]
            continue
        if lower not in named:
            kept.append((name, value))
    return kept


def _returned(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in _HOP_BY_HOP
        and name.lower() not in _NEVER_RETURNED
        and name.lower() not in ("content-type", "cache-control", "date")
    ]


def _content_type(headers: Iterable[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")


def _streamed(answer: StreamedAnswer, *, there: str, here: str) -> ApiResponse:
    """With what the host has written of its own path of the pod (`there`) as the tenant knows it (`here`)."""
    headers, chunks = [NO_CACHE, *_returned(answer.headers)], answer.chunks
    kind = _content_type(answer.headers)
    if there:
        headers = [(k, v.replace(there, here, 1) if k.lower() == "location" else v) for k, v in headers]
        if kind.startswith("text/html"):
            chunks = replaced(chunks, there.encode(), here.encode())
    return ApiResponse(answer.status, kind, headers=headers, stream=chunks)


def _base(target: TunnelTarget) -> str:
    namespaces = f"namespaces/{target.namespace}/" if target.namespace else ""
    return f"/api/v1/{namespaces}{target.resource}/{target.name}/{target.subresource}"


def _to_the_root(target: TunnelTarget) -> ApiResponse:
    """Relative links of a page need the slash. Source: apimachinery proxy.proxyRedirectsforRootPath."""
    query = f"?{target.query}" if target.query else ""
    return ApiResponse(301, "", headers=[("Location", f"{_base(target)}/{query}")])


async def replaced(chunks: AsyncIterator[bytes], old: bytes, new: bytes) -> AsyncIterator[bytes]:
    """`new` for `old`, also where `old` is cut by the border of two chunks; holds back less than `old` is long."""
    held = b""
    try:
        async for chunk in chunks:
            *whole, rest = (held + chunk).split(old)
            held = rest[max(len(rest) - len(old) + 1, 0) :]
            if ready := new.join([*whole, rest[: len(rest) - len(held)]]):
                yield ready
        if held:
            yield held
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()  # which closes the connection


# --- upgrades -------------------------------------------------------------------------------------


async def _upgraded(upstream: Upstream, target: TunnelTarget, request: ApiRequest) -> ApiResponse:
    headers = [*passed_on(request.headers.items(), upgrade=True), *upstream.headers]
    if target.method != "GET":
        headers.append(("Content-Length", "0"))  # SPDY clients POST without a body
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            answer = await open_upgrade(target.method, upstream.url, headers=headers, ssl=upstream.ssl)
    except TimeoutError:
        raise HttpError(f"no answer to an upgrade within {HANDSHAKE_S:g}s") from None
    if answer.status != 101:
        body = worded(answer.body, upstream.say, only_status=False)
        return ApiResponse(answer.status, _content_type(answer.headers), body, [NO_CACHE, *_returned(answer.headers)])
    kept = [pair for pair in answer.headers if pair[0].lower() not in ("audit-id", "set-cookie", "date")]
    return ApiResponse(101, "", headers=kept, upgrade=Upgrade(answer.reader, answer.writer))


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The far end of an upgraded connection; whoever gets it closes it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def close(self) -> None:
        self.writer.close()


class Splice(asyncio.Protocol):
    """Takes a client's transport over and passes bytes both ways until both sides have ended.

    Each direction holds at most about 2 × READ_BYTES: a side that does not read
    stops the other's reading. A side that ends is half-closed where its
    transport can (TCP), else the connection ends with it (TLS).
    """

    def __init__(
        self, transport: asyncio.Transport, before: asyncio.Protocol, far: Upgrade, early: bytes = b""
    ) -> None:
        self._transport = transport
        self._before = before
        self._far = far
        self._pending = bytearray(early)
        self._more = asyncio.Event()
        if early:
            self._more.set()
        self._writable = asyncio.Event()
        self._writable.set()
        self._client_ended = False
        self._reading = True

    # --- the client's side, called by its transport -----------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._pending += data
        if self._reading and len(self._pending) >= READ_BYTES:
            self._reading = False
            self._transport.pause_reading()
        self._more.set()

    def eof_received(self) -> bool:
        self._client_ended = True
        self._more.set()
        # True keeps our half open; a TLS transport cannot, and complains if asked
        return self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client_ended = True
        self._more.set()
        self._writable.set()
        self._far.close()
        self._before.connection_lost(exc)

    # --- until the end ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Ends when both directions have. Connection errors of either side are an end like any other."""
        self._transport.set_protocol(self)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._to_far())
                group.create_task(self._to_client())
        except* OSError as lost:
            log.debug("tunnel cut", extra={"errors": [str(e) for e in lost.exceptions]})
        finally:
            self._far.close()
            self._transport.close()

    async def _to_far(self) -> None:
        writer = self._far.writer
        while True:
            await self._more.wait()
            self._more.clear()
            data = bytes(self._pending)
            self._pending.clear()
            if data:
                writer.write(data)
                await writer.drain()
            if not self._reading and not self._client_ended:
                self._reading = True
                self._transport.resume_reading()
            if self._client_ended and not self._pending:
                break
        if writer.can_write_eof() and not writer.is_closing():
            writer.write_eof()
        else:
            writer.close()

    async def _to_client(self) -> None:
        reader = self._far.reader
        while not self._transport.is_closing():
            data = await reader.read(READ_BYTES)
            if not data:
                break
            self._transport.write(data)
            await self._writable.wait()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()
