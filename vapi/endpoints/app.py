"""app: the listener: aiohttp's low-level server in front of `dispatch`, and the only server module that knows aiohttp.

No router, no middlewares, no aiohttp responses: the handler makes an ApiRequest
of what was parsed and writes head and body of the ApiResponse to the transport
in one piece. *Measured* (uvloop, one core, a 2 KB ConfigMap over TLS): 26,000 GETs/s,
37 µs each, 9 of them in dispatch and 14 in aiohttp and the socket; aiohttp's own Response costs 7 µs more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl as ssl_module
import time
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from vapi import errors
from vapi.endpoints import proxy
from vapi.endpoints.bodies import BodyBudget
from vapi.endpoints.dispatch import Dispatcher
from vapi.endpoints.http import MAX_BODY_BYTES, ApiRequest, ApiResponse
from vapi.endpoints.request import streams_body
from vapi.errors import ApiError

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 64 << 10  # of the request line: exec puts whole commands into it; Go allows 1 MB for a head
MAX_HEADER_BYTES = 64 << 10  # of one header: tokens have some KB
KEEPALIVE_S = 180.0  # of an idle connection; upstream's IdleTimeout is 90 s, clients reuse for 90 s
STALLED_S = 60.0  # of a client that takes nothing (design §5)
BODY_S = 60.0  # to send a body; with the request's own deadline the longest a connection is held
STOP_S = 10.0  # for requests in flight (design §5, Stopping)
LINGER_S = 1.0  # for the rest of a body that was refused, so that its sender reads why; Go waits 0.5 s
BACKLOG = 1024
HANDSHAKE_S = 10.0


class _Connection(web.RequestHandler):
    """One connection: the peer's certificate, looked up once, and who wants to know of its end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.certificate: bytes | None = None
        self.on_lost: Callable[[], object] | None = None
        self._drained: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self.certificate = tls.getpeercert(True)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._wake()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """What is no HTTP, or breaks off, is its sender's affair: he could fill the log with tracebacks."""
        error = kw.get("exc_info")
        if isinstance(error, HttpProcessingError | ConnectionError):
            log.debug("no request could be read", extra={"error": type(error).__name__})
        else:
            super().log_exception(*args, **kw)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drain(self) -> None:
        """Until the client has taken enough for more. Raises ConnectionError if it is gone or takes nothing."""
        while self.transport is not None and self.writing_paused:
            waiting = self.transport.get_write_buffer_size()
            self._drained = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(STALLED_S):
                    await self._drained
            except TimeoutError:
                if self.transport is not None and self.transport.get_write_buffer_size() >= waiting:
                    self.transport.abort()
                    raise ConnectionError(f"nothing taken for {STALLED_S:g}s") from None
            finally:
                self._drained = None
        if self.transport is None:
            raise ConnectionError("the client is gone")


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Sent(web.StreamResponse):
    """Tells aiohttp that the answer has been written already, and whether the connection goes on."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._keep_alive = keep_alive

    async def prepare(self, _request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, _data: bytes = b"") -> None:
        return None


class ApiServer:
    """Listens for one dispatcher. Make it on the loop; `start` once, `stop` once."""

    def __init__(self, dispatcher: Dispatcher, *, access_log: bool = False) -> None:
        self._dispatcher = dispatcher
        self._access_log = access_log
        self._budget = BodyBudget()
        self._keep, self._close = _Sent(True), _Sent(False)
        self._second = 0
        self._date = ""
        self._server = _Server(
            self._handle,
            access_log=None,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            keepalive_timeout=KEEPALIVE_S,
            auto_decompress=False,
            lingering_time=LINGER_S,
        )
        self._listener: asyncio.Server | None = None

    # --- start and stop -------------------------------------------------------------------------------

    async def start(self, host: str, port: int, tls: ssl_module.SSLContext | None = None) -> int:
        """The port that is listened on: `port`, or one of the system's choice for 0. Raises OSError.

        `tls` asks for client certificates and verifies their chain (`auth.pki` makes it).
        """
        self._listener = await asyncio.get_running_loop().create_server(
            cast("Callable[[], asyncio.Protocol]", self._server),
            host,
            port,
            ssl=tls,
            backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_S if tls is not None else None,
        )
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        return len(self._server.connections)

    async def stop(self) -> None:
        """Not ready, no new connections, watches end, requests have STOP_S, then everything is closed."""
        self._dispatcher.health.stopping = True
        if self._listener is not None:
            self._listener.close()
        await self._dispatcher.stop_watches()
        self._server.pre_shutdown()
        await self._server.shutdown(STOP_S)

    # --- one request ----------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = cast(_Connection, request.protocol)
        api = ApiRequest(request.method, request.raw_path, request.headers, certificate=connection.certificate)
        held = 0
        keep = request.keep_alive
        try:
            content = request.content
            if not content.is_eof() or content.total_bytes:
                if not content.is_eof() and api.headers.get("Expect") and connection.transport is not None:
                    self._expected(request, connection.transport)
                if streams_body(api.method, api.target):
                    api.stream = content.iter_any()
                else:
                    held = await self._read_body(request, api)
            response = await self._dispatcher.dispatch(api)
        except ApiError as error:
            response = self._dispatcher.refuse(error, api)
            keep = False
        finally:
            if held:
                self._budget.release(held)
        if self._access_log:
            log.info("request", extra={"method": api.method, "target": api.target, "status": response.status})
        try:
            return await self._answer(request, connection, response, keep)
        except ConnectionError:
            return self._close

    def _expected(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        """Tell a client that waits for it to send its body, unless the body would be refused."""
        length = request.content_length or 0
        if (request.headers["Expect"].lower() == "100-continue") and length <= MAX_BODY_BYTES:
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _read_body(self, request: web.BaseRequest, api: ApiRequest) -> int:
        """Fills in the body; the bytes taken from the budget. Raises ApiError 413, 429 or 400."""
        content = request.content
        length = request.content_length
        if length is not None and length > MAX_BODY_BYTES:
            raise errors.too_large(MAX_BODY_BYTES)
        if content.is_eof():
            api.body = content.read_nowait()
            if len(api.body) > MAX_BODY_BYTES:
                raise errors.too_large(MAX_BODY_BYTES)
            self._budget.take(len(api.body))
            return len(api.body)
        held = length or 0
        self._budget.take(held)
        try:
            parts: list[bytes] = []
            size = 0
            async with asyncio.timeout(BODY_S):
                async for chunk in content.iter_any():
                    parts.append(chunk)
                    size += len(chunk)
                    if size > MAX_BODY_BYTES:
                        raise errors.too_large(MAX_BODY_BYTES)
                    if size > held:
                        self._budget.take(size - held)
                        held = size
            api.body = b"".join(parts)
            return held
        except BaseException as error:
            self._budget.release(held)
            if isinstance(error, TimeoutError):
                raise errors.timeout(f"Timeout: the body did not arrive within {BODY_S:g}s") from None
            if isinstance(error, web.RequestPayloadError | HttpProcessingError):
                raise errors.bad_request(f"unable to read the body: {error}") from None
            raise

    async def _answer(
        self, request: web.BaseRequest, connection: _Connection, response: ApiResponse, keep: bool
    ) -> web.StreamResponse:
        transport = connection.transport
        if transport is None:
            await _discard(response)
            return self._close
        if response.upgrade is not None:
            return await self._take_over(connection, transport, response, response.upgrade)
        if response.stream is not None:
            if response.is_watch and (request.headers.get("Upgrade") or "").lower() == "websocket":
                return await _websocket_watch(request, connection, response)
            return await self._stream(request, connection, transport, response, response.stream)
        head = self._head(response, keep)
        body = response.body
        if response.status not in _BODILESS:
            head = f"{head}Content-Length: {len(body)}\r\n\r\n"
        else:
            head, body = head + "\r\n", b""
        if request.method not in _READS:
            # the watchers have been woken: their frames go out before the answer, so that an informer has seen what
            # its controller wrote (kube-controller-manager else syncs again, with an error: StaleControllerConsistency)
            await asyncio.sleep(0)
        transport.write(head.encode() + body if request.method != "HEAD" else head.encode())
        if connection.writing_paused:
            await connection.drain()
        return self._keep if keep else self._close

    def _head(self, response: ApiResponse, keep_alive: bool) -> str:
        """Status line and headers, but for those of the body's length and the blank line."""
        now = int(time.time())
        if now != self._second:
            self._second, self._date = now, formatdate(now, usegmt=True)
        lines = [_STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"]
        if response.content_type:
            lines.append(f"Content-Type: {response.content_type}\r\n")
        for name, value in response.headers:
            if "\n" not in value and "\r" not in value:
                lines.append(f"{name}: {value}\r\n")
        lines.append(f"Date: {self._date}\r\n")
        if not keep_alive:
            lines.append("Connection: close\r\n")
        return "".join(lines)

    async def _stream(
        self,
        request: web.BaseRequest,
        connection: _Connection,
        transport: asyncio.Transport,
        response: ApiResponse,
        stream: AsyncIterator[bytes],
    ) -> web.StreamResponse:
        """Chunked for HTTP/1.1, to the end of the connection for 1.0."""
        chunked = request.version >= (1, 1)
        keep = request.keep_alive and chunked
        task = asyncio.current_task()
        assert task is not None
        # a watcher is closed and ends by itself; what waits for another server is cancelled
        connection.on_lost = response.on_disconnect or task.cancel
        try:
            head = self._head(response, keep) + ("Transfer-Encoding: chunked\r\n\r\n" if chunked else "\r\n")
            transport.write(head.encode())
            if request.method != "HEAD":
                async for chunk in stream:
                    if not chunk:
                        continue
                    transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    if connection.writing_paused:
                        await connection.drain()
                    elif connection.transport is None:
                        return self._close
                if chunked:
                    transport.write(b"0\r\n\r\n")
            return self._keep if keep else self._close
        except ConnectionError:
            return self._close
        except Exception:
            # the head is out: cutting the connection is the only way left to say that this is not all
            log.exception("stream failed", extra={"target": request.raw_path})
            transport.abort()
            return self._close
        finally:
            connection.on_lost = None
            await _close_stream(stream)

    async def _take_over(
        self, connection: _Connection, transport: asyncio.Transport, response: ApiResponse, upgrade: proxy.Upgrade
    ) -> web.StreamResponse:
        """The connection leaves HTTP: bytes both ways until both ends have ended."""
        head = "HTTP/1.1 101 Switching Protocols\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in response.headers if "\n" not in value and "\r" not in value
        )
        transport.write(f"{head}\r\n".encode())
        # what a client sent without waiting for the 101; aiohttp holds it for a WebSocket parser
        early, connection._message_tail = connection._message_tail, b""
        with contextlib.suppress(RuntimeError):
            transport.resume_reading()
        await proxy.Splice(transport, connection, upgrade, early).run()
        return self._close


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_READS = frozenset(("GET", "HEAD"))
_BODILESS = frozenset((204, 304))


async def _close_stream(stream: AsyncIterator[bytes]) -> None:
    closing = getattr(stream, "aclose", None)
    if closing is not None:
        await closing()


async def _discard(response: ApiResponse) -> None:
    """The client went before its answer was ready."""
    if response.on_disconnect is not None:
        response.on_disconnect()
    if response.stream is not None:
        await _close_stream(response.stream)
    if response.upgrade is not None:
        response.upgrade.close()


async def _websocket_watch(
    request: web.BaseRequest, connection: _Connection, response: ApiResponse
) -> web.StreamResponse:
    """A watch for browsers: one text frame an event. Source: apiserver handlers/watch.go HandleWS."""
    assert response.stream is not None
    socket = web.WebSocketResponse(compress=False, autoping=True)
    await socket.prepare(request)
    gone = response.on_disconnect

    async def listen() -> None:
        async for _message in socket:
            pass  # clients have nothing to say; the iteration answers pings and ends at their close
        if gone is not None:
            gone()

    connection.on_lost = gone
    listener = asyncio.create_task(listen())
    try:
        async for chunk in response.stream:
            for frame in chunk.splitlines():
                await socket.send_str(frame.decode())
        await socket.close()
    except ConnectionError:
        log.debug("client of a watch is gone")
    finally:
        connection.on_lost = None
        listener.cancel()
        await _close_stream(response.stream)
    return socket
