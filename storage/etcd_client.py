"""The link to etcd: JSON calls and watches through its gRPC gateway, over whichever endpoint answers.

`etcd3-py` is the client: `AioClient.call_rpc(…, raw=True)` keeps URLs, API prefix, headers and token; bodies are our
own, for its modelled calls cost 1.6 ms each. Two things of it are replaced: the constructor's blocking version probe
(we ask `/version` before, without blocking) and its TLS set-up (no verification without a client certificate).

What is known about a failed call decides its error, and nothing else does:
- surely not taken (no connection, refused by name): another endpoint is tried, then StoreUnavailable;
- link lost after sending, or an answer that leaves it open: a read is sent again; a write never is: OutcomeUnknown.

The watch is the gateway's WebSocket: only there can a running watch be asked for progress. Its token travels as the
subprotocol `Bearer, <token>` (the proxy forwards no header; tried against etcd 3.7.0).
"""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import re
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import orjson
from etcd3 import AioClient
from etcd3.baseclient import BaseClient, sem

from storage import errors

log = logging.getLogger(__name__)

Message = dict[str, Any]
"""A decoded body: int64 are strings, bytes are base64, zero values are left out."""

CALL_DEADLINE_S = 5.0
"""How long a call that was surely not taken, or a read, is tried on one endpoint after the other. A guess: a member's
restart takes 1 s, an election 1–2 s."""

RETRY_PAUSE_S = 0.1

CONNECT_TIMEOUT_S = 2.0

PROBE_TIMEOUT_S = 1.0

LARGE_BODY_BYTES = 1 << 20
"""aiohttp writes larger ones in pieces, if they come as a file."""

ANSWER_TIMEOUT_S = 10.0
"""etcd itself gives a request 7 s (5 s and two elections: server/config ReqTimeout); after this the link is lost."""

POOL_SIZE = 64
"""Calls in flight; others wait for a connection, and are surely not sent while they do."""

HEARTBEAT_S = 10.0
"""A watch link that answers no ping for half of that again is lost."""

CLOSE_TIMEOUT_S = 0.2
"""For the other side's close frame, which nobody needs: a member that hangs must not hold up the next one."""

MAX_MESSAGE_BYTES = 64 << 20
"""Watch messages are fragmented near 2 MB; a single event with its previous value may be larger."""

OLDEST_VERSIONS = ((3, 4, 31), (3, 5, 13))
"""Before these a watch without events may never be told its progress (etcd PR 17566, 17567) and a watch may lose events
after a compaction (PR 17612); before 3.5.8 progress also overtook events (issue 15220). Source: CHANGELOG-3.5."""

_CODE_INVALID, _CODE_EXHAUSTED, _CODE_UNAUTHENTICATED, _CODE_OUT_OF_RANGE = 3, 8, 16, 11

# gRPC codes that say: looked at and refused, nothing was proposed to the cluster.
_REFUSING_CODES = frozenset({_CODE_INVALID, 5, 6, 7, _CODE_EXHAUSTED, 9, _CODE_OUT_OF_RANGE, 12, _CODE_UNAUTHENTICATED})

# Messages of other codes that say the same; all come from before the proposal (etcd server/etcdserver/api/v3rpc).
_REFUSING_MESSAGES = ("error while dialing", "etcdserver: no leader", "not supported for learner", "proposal dropped")

_STALE_TOKEN_MESSAGES = ("invalid auth token", "user name is empty", "revision of auth store is old")

# What a retry on another endpoint may cure, though nothing was written here.
_PASSING_MESSAGES = ("too many requests", *_REFUSING_MESSAGES)


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """Where etcd is and how to talk to it. Paths and password are never part of its repr."""

    endpoints: tuple[str, ...]
    """`http://host:port`, at least one."""
    prefix: str
    """Put before every key; ends with a slash."""
    ca: Path | None = field(default=None, repr=False)
    cert: Path | None = field(default=None, repr=False)
    key: Path | None = field(default=None, repr=False)
    user: str = ""
    password_file: Path | None = field(default=None, repr=False)


class Refused(errors.StorageError):
    """etcd looked at the request and refused it: nothing was written. `message` is etcd's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Unclear(Exception):
    """The call may or may not have been carried out."""


class _NotTaken(Exception):
    """The call was surely not carried out; another endpoint may take it."""


DEFAULT_PREFIX = "/vapi/"
DEFAULT_PORT = 2379
_OPTIONS = frozenset({"prefix", "ca", "cert", "key", "user", "password-file"})


def parse_url(url: str) -> EtcdConfig:
    """`etcd://host:port[,host:port]?prefix=/vapi&ca=F&cert=F&key=F&user=NAME&password-file=F`.

    `http://` and `https://` (each address may repeat it) say whether TLS is spoken; `etcd://` speaks it when `ca` or
    `cert` is given. Raises ValueError for anything else, without repeating the URL's secrets.
    """
    addresses, _, query = url.partition("?")
    options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
    if unknown := options.keys() - _OPTIONS:
        raise ValueError(f"unknown etcd options {sorted(unknown)}; there are {sorted(_OPTIONS)}")
    paths = {name: Path(options[name]) for name in ("ca", "cert", "key") if name in options}
    if ("cert" in paths) != ("key" in paths):
        raise ValueError("etcd options cert and key go together")
    if ("user" in options) != ("password-file" in options):
        raise ValueError("etcd options user and password-file go together")
    scheme, _, addresses = addresses.partition("://")
    if scheme == "etcd":
        scheme = "https" if paths else "http"
    return EtcdConfig(
        endpoints=tuple(_endpoint(each, scheme) for each in addresses.split(",")),
        prefix=options.get("prefix", DEFAULT_PREFIX).rstrip("/") + "/",
        user=options.get("user", ""),
        password_file=Path(options["password-file"]) if "password-file" in options else None,
        **paths,
    )


def _endpoint(address: str, scheme: str) -> str:
    parts = urlsplit(f"{scheme}://{address.rpartition('://')[2]}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an etcd address holds no user or password: give user=NAME and password-file=PATH")
    if scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("an etcd address is host:port, with etcd://, http:// or https:// before the first")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{scheme}://{host}:{parts.port or DEFAULT_PORT}"


class _Gateway(AioClient):  # type: ignore[misc]
    """etcd3-py's client for one endpoint whose version is known, on a session that all of them share."""

    def __init__(self, endpoint: str, version: Message, session: aiohttp.ClientSession) -> None:
        protocol, _, address = endpoint.partition("://")
        host, _, port = address.rpartition(":")
        # Not AioClient's own constructor: it makes a session and a TLS context of its own.
        BaseClient.__init__(
            self,
            host=host,
            port=int(port),
            protocol=protocol,
            headers={"content-type": "application/json"},
            server_version=version["etcdserver"],
            cluster_version=version["etcdcluster"],
        )
        self.endpoint = endpoint
        self.session = session

    def _retrieve_version(self) -> None:
        """Called by the constructor; the original blocks for up to 300 ms."""
        self.server_version_sem = sem.Version(self.server_version)
        self.cluster_version_sem = sem.Version(self.cluster_version)


class WatchStream:
    """One watch on its own WebSocket. `receive` by one task; the rest from any."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, gateway: object) -> None:
        self._socket = socket
        self.gateway = gateway
        """For `EtcdClient.lost`."""

    async def receive(self) -> Message:
        """The next WatchResponse. Raises StoreUnavailable when the link is gone, Refused when etcd says so."""
        try:
            text = await self._socket.receive()
        except (aiohttp.ClientError, OSError) as error:
            raise errors.StoreUnavailable(f"the watch link broke: {error}") from error
        if text.type is not aiohttp.WSMsgType.TEXT:
            raise errors.StoreUnavailable(f"the watch link ended ({text.type.name.lower()})")
        message: Message = orjson.loads(text.data)
        if "result" not in message:
            raise Refused(*_error_of(message.get("error", message)))
        result: Message = message["result"]
        return result

    async def request_progress(self) -> None:
        """Ask for a message with the revision up to which everything was sent; etcd answers when it is in step."""
        await self._send({"progress_request": {}})

    async def close(self) -> None:
        """Ends a waiting `receive` too."""
        await self._socket.close()

    async def _send(self, body: Message) -> None:
        try:
            await self._socket.send_bytes(orjson.dumps(body))
        except (aiohttp.ClientError, OSError) as error:
            raise errors.StoreUnavailable(f"the watch link broke: {error}") from error


class EtcdClient:
    """Calls to any one of the endpoints; the next one is taken when a link breaks. Made by `connect`."""

    def __init__(self, config: EtcdConfig, session: aiohttp.ClientSession) -> None:
        self._config = config
        self._session = session
        self._gateway: _Gateway | None = None
        self._next_endpoint = 0
        self._probing = asyncio.Lock()

    @classmethod
    async def connect(cls, config: EtcdConfig) -> EtcdClient:
        """Raises UnsupportedStore for an etcd that is too old, StoreUnavailable when no endpoint answers,
        OSError for unreadable certificate files."""
        connector = aiohttp.TCPConnector(limit=POOL_SIZE, ssl=await asyncio.to_thread(_ssl_context, config))
        client = cls(config, aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()))
        try:
            await client._connected()
        except BaseException:
            await client.close()
            raise
        return client

    async def call(
        self, method: str, body: Message, *, write: bool = False, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Message:
        """One request, its answer decoded. A link without an answer for `answer_timeout_s` counts as lost.

        Raises Refused; StoreUnavailable (surely not taken, or a read without an answer, for CALL_DEADLINE_S);
        OutcomeUnknown (a write, sent once).
        """
        data = orjson.dumps(body)
        deadline = time.monotonic() + CALL_DEADLINE_S
        for attempt in itertools.count(1):
            gateway = None
            try:
                gateway = await self._connected()
                return await self._send(gateway, method, data, answer_timeout_s)
            except _Unclear as error:
                self.lost(gateway)
                if write:
                    raise errors.OutcomeUnknown(f"etcd did not say whether it wrote: {error}") from error
                failure: Exception = error
            except (_NotTaken, errors.StoreUnavailable) as error:
                self.lost(gateway)
                failure = error
            # A member that hangs may use the time up by itself; the others are asked all the same.
            if time.monotonic() > deadline and attempt >= len(self._config.endpoints):
                raise errors.StoreUnavailable(f"etcd does not answer: {failure}") from failure
            await asyncio.sleep(RETRY_PAUSE_S)
        raise AssertionError("unreachable")

    async def watch(self, create_request: Message) -> WatchStream:
        """A new watch; `fragment` is asked for. Raises StoreUnavailable."""
        gateway = await self._connected()
        # aiohttp joins them to the header that the gateway's proxy turns into an Authorization.
        protocols = ("Bearer", gateway.token) if gateway.token else ()
        try:
            # Not wait_for: in Python 3.11 it may swallow a cancellation, and the store would never close.
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._session.ws_connect(
                    gateway._url("/watch"),
                    protocols=protocols,
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.lost(gateway)
            raise errors.StoreUnavailable(f"no watch at {gateway.endpoint}: {error}") from error
        stream = WatchStream(socket, gateway)
        await stream._send({"create_request": {"fragment": True, **create_request}})
        return stream

    def lost(self, gateway: object) -> None:
        """Its link broke or its answers stay behind: the next call goes to the next endpoint, with a new token."""
        if self._gateway is not None and self._gateway is gateway:
            log.warning("etcd endpoint lost", extra={"endpoint": self._gateway.endpoint})
            self._gateway = None

    async def close(self) -> None:
        await self._session.close()

    async def _send(self, gateway: _Gateway, method: str, data: bytes, answer_timeout_s: float) -> Message:
        """Once over this endpoint; once more after a new login if etcd refused the token."""
        code, message, answer = await self._post(gateway, method, data, answer_timeout_s)
        if code and any(each in message for each in _STALE_TOKEN_MESSAGES) and self._config.user:
            await self._log_in(gateway)
            code, message, answer = await self._post(gateway, method, data, answer_timeout_s)
        if not code:
            return answer
        lowered = message.lower()
        if any(each in lowered for each in _PASSING_MESSAGES):
            raise _NotTaken(message)
        if code in _REFUSING_CODES:
            raise Refused(code, message)
        raise _Unclear(message)

    async def _post(
        self, gateway: _Gateway, method: str, data: bytes, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> tuple[int, str, Message]:
        """gRPC code (0: fine), message, and the answer. Raises _NotTaken and _Unclear for broken links."""
        timeout = aiohttp.ClientTimeout(
            total=None, connect=CALL_DEADLINE_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=answer_timeout_s
        )
        payload = io.BytesIO(data) if len(data) > LARGE_BODY_BYTES else data
        try:
            # No redirects: following one would send a write twice.
            async with gateway.call_rpc(
                method, data=payload, raw=True, timeout=timeout, allow_redirects=False
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _NotTaken(f"{gateway.endpoint}: {error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _Unclear(f"{gateway.endpoint}: {error!r}") from error
        try:
            message: Message = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _Unclear(f"{gateway.endpoint} answered {answer.status} without JSON") from error
        if answer.status == 200:
            return 0, "", message
        return *_error_of(message), message

    async def _connected(self) -> _Gateway:
        """The gateway in use, or a new one: the first endpoint from the last one on that answers."""
        if self._gateway is None:
            async with self._probing:
                if self._gateway is None:
                    self._gateway = await self._probe()
        return self._gateway

    async def _probe(self) -> _Gateway:
        failures: list[str] = []
        too_old: errors.UnsupportedStore | None = None
        for _ in self._config.endpoints:
            endpoint = self._config.endpoints[self._next_endpoint]
            self._next_endpoint = (self._next_endpoint + 1) % len(self._config.endpoints)
            try:
                version = await self._version(endpoint)
                check_version(endpoint, version["etcdserver"])
                gateway = _Gateway(endpoint, version, self._session)
                if self._config.user:
                    await self._log_in(gateway)
            except errors.UnsupportedStore as error:
                too_old = error
                continue
            except (aiohttp.ClientError, OSError, ValueError, KeyError, _Unclear, _NotTaken) as error:
                failures.append(f"{endpoint}: {error!r}")
                continue
            log.info("etcd endpoint in use", extra={"endpoint": endpoint, "version": version["etcdserver"]})
            return gateway
        if too_old is not None:
            raise too_old
        raise errors.StoreUnavailable(f"no etcd answers: {'; '.join(failures)}")

    async def _version(self, endpoint: str) -> Message:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        async with self._session.get(f"{endpoint}/version", timeout=timeout, allow_redirects=False) as answer:
            version: Message = orjson.loads(await answer.read())
            return version

    async def _log_in(self, gateway: _Gateway) -> None:
        assert self._config.password_file is not None
        password = await asyncio.to_thread(self._config.password_file.read_text)
        gateway.token = None
        body = orjson.dumps({"name": self._config.user, "password": password.strip()})
        code, message, answer = await self._post(gateway, "/auth/authenticate", body)
        if code:
            raise errors.StoreUnavailable(f"etcd refused user {self._config.user!r}: {message}")
        gateway.token = answer["token"]


def check_version(endpoint: str, version: str) -> None:
    """Raises UnsupportedStore for an etcd whose watch progress cannot be trusted."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        raise ValueError(f"{version!r} is not a version of etcd")
    number = (int(found[1]), int(found[2]), int(found[3]))
    oldest = next((each for each in OLDEST_VERSIONS if each[:2] == number[:2]), OLDEST_VERSIONS[-1])
    if number < oldest:
        wanted = " or ".join(".".join(map(str, each)) for each in OLDEST_VERSIONS)
        raise errors.UnsupportedStore(f"{endpoint} is etcd {version}; vapi needs {wanted} or later")


def _ssl_context(config: EtcdConfig) -> ssl.SSLContext:
    """In a thread: it reads files."""
    context = ssl.create_default_context(cafile=config.ca)
    if config.cert is not None:
        context.load_cert_chain(config.cert, config.key)
    return context


def _error_of(message: Message) -> tuple[int, str]:
    """gRPC code and text of an error body; releases differ in where they put them."""
    code = message.get("code") or message.get("grpc_code") or 2
    text = message.get("message") or message.get("error") or "no message"
    return int(code), str(text)
