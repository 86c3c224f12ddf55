"""HostCluster: a real cluster's API as a Cluster: raw JSON over the session of the `kubernetes` client.

Of that client only the configuration loading, the authentication and the TLS
session are used (`kubernetes.aio`): its models drop fields they do not know and
cost 230-400 µs a Pod, orjson 9 µs (*measured*, design §4). Its import costs 0.5 s and 46 MB,
so this module is imported only where there is a real host.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from kubernetes.aio.client import rest

from sync import metadata as md
from sync.cluster import ClusterError, ClusterEvent, ClusterEventType, PatchType, Unreachable
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

aiohttp: Any = vars(rest)["aiohttp"]
"""The client's own: its exceptions and timeouts are needed to use its session."""

CONNECTIONS = 128
"""Twice the syncer's workers, and room for watches and tunnels."""
PAGE = 50
"""Items of a first page; the next are as long as fits in PAGE_BYTES, at most MAX_PAGE."""
PAGE_BYTES = 400 << 10
"""Decoded in one step of the loop, 11 µs a KB (*measured*: pods of a real host have 14 KB): below 5 ms (law 9)."""
MAX_PAGE = 500
REQUEST_TIMEOUT_S = 40.0
"""Above the 30 s that a host gives its own webhooks (kube-apiserver --request-timeout is 60 s for the slowest)."""
CONNECT_TIMEOUT_S = 5.0
WATCH_SILENCE_S = 130.0
"""Two bookmarks missed: a host sends one a minute, so the connection is dead."""
WATCH_TIMEOUT_S = (300, 600)
"""Asked for at random, so that watches do not end together; client-go: 5 to 10 minutes."""
KEPT_OPEN_S = 50.0
"""Idle connections: kube-apiserver closes them after 90 s, load balancers before it after 60. With aiohttp's own 15 s
the first burst after a quiet while pays for its handshakes (*measured*: 64 requests 97 ms of CPU instead of 11)."""
RECONNECT_S = (0.2, 5.0)
CLOSE_S = 0.25
RELOAD_AFTER_S = 10.0
"""A 401 reads the configuration again (exec plugins, rotated files), at most this often."""
TOLD_AT_ONCE = 64

_REFUSALS = (401, 403, 404, 405)
"""Of a list or watch: a right or a kind that is missing."""

_PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class _Pool(rest.RESTClientObject):
    """The client's own; this override is what its docstring names for it."""

    def _create_connector(self) -> Any:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, keepalive_timeout=KEPT_OPEN_S)


class HostConfigError(Exception):
    """The configuration cannot be used; the message is one line for people."""


@dataclasses.dataclass(frozen=True, slots=True)
class Connection:
    """What tunnels need to dial the host themselves; `headers` carry the authentication of now."""

    url: str
    ssl_context: ssl.SSLContext
    headers: Mapping[str, str]
    server_hostname: str | None


class HostCluster:
    """Made by `open_host`; `close` ends its session."""

    def __init__(self, configuration: Any, kubeconfig: Path | None, temp_dir: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._temp_dir = temp_dir
        self._configuration = configuration
        self._session: Any = None
        self._ssl_context: ssl.SSLContext | None = None
        self._reloaded_at = 0.0
        self._reachable = True

    # --- session --------------------------------------------------------------------------------------------

    async def connection(self) -> Connection:
        self._open_session()
        assert self._ssl_context is not None
        return Connection(
            self._configuration.host,
            self._ssl_context,
            await self._headers(),
            self._configuration.tls_server_name or None,
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            # Connections whose request was cancelled still say goodbye (TLS), and nobody tells when they have:
            # aiohttp's own advice (client_advanced, "Graceful Shutdown") is to wait.
            await asyncio.sleep(CLOSE_S)

    def _open_session(self) -> Any:
        if self._session is None:
            pool = _Pool(self._configuration)
            self._ssl_context = pool.ssl_context
            self._session = pool._create_pool_manager()
        return self._session

    async def _headers(self) -> dict[str, str]:
        settings = await self._configuration.auth_settings()
        token = (settings.get("BearerToken") or {}).get("value")
        return {"Authorization": token} if token else {}

    async def _reload(self) -> bool:
        """After a 401: the configuration anew; whether it is worth another try."""
        now = asyncio.get_running_loop().time()
        if self._kubeconfig is None or now - self._reloaded_at < RELOAD_AFTER_S:
            return False
        self._reloaded_at = now
        self._configuration = await _load(self._kubeconfig, self._temp_dir)
        session, self._session = self._session, None
        if session is not None:
            await session.close()  # requests under way break, and are tried again
        return True

    # --- requests -------------------------------------------------------------------------------------------

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """The decoded answer. Raises ClusterError, Unreachable."""
        answer, _ = await self._send_sized(method, path, body=body, content_type=content_type, accept=accept)
        return answer

    async def _send_sized(
        self, method: str, path: str, *, body: Any = None, content_type: str = "application/json", accept: str
    ) -> tuple[Any, int]:
        """The decoded answer and its bytes. Raises ClusterError, Unreachable."""
        status, headers, content = await self._exchange(method, path, body, content_type, accept)
        if status == 401 and await self._reload():
            status, headers, content = await self._exchange(method, path, body, content_type, accept)
        if status >= 400:
            raise _error(status, headers, content)
        return orjson.loads(content) if content else {}, len(content)

    async def _exchange(
        self, method: str, path: str, body: Any, content_type: str, accept: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Accept": accept, **await self._headers()}
        data = None
        if body is not None:
            data = orjson.dumps(body)
            headers["Content-Type"] = content_type
        try:
            async with self._open_session().request(
                method, self._configuration.host + path, data=data, headers=headers, **self._options()
            ) as response:
                content: bytes = await response.read()
                self._told_reachable(True)
                return response.status, response.headers, content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._told_reachable(False, error)
            raise Unreachable(f"the host does not answer: {_reason(error)}") from error

    def _options(self, *, streaming: bool = False) -> dict[str, Any]:
        total = None if streaming else REQUEST_TIMEOUT_S
        options: dict[str, Any] = {
            "timeout": aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_TIMEOUT_S),
            "allow_redirects": False,
        }
        if self._configuration.tls_server_name:
            options["server_hostname"] = self._configuration.tls_server_name
        if self._configuration.proxy:
            options["proxy"] = self._configuration.proxy
        return options

    def _told_reachable(self, reachable: bool, error: BaseException | None = None) -> None:
        """A state change is logged once, not each request."""
        if reachable == self._reachable:
            return
        self._reachable = reachable
        if reachable:
            log.info("host answers again")
        else:
            log.warning("host does not answer, sync waits", extra={"error": _reason(error)})

    # --- Cluster --------------------------------------------------------------------------------------------

    async def get(self, gvr: GVR, namespace: str, name: str) -> Obj:
        found: Obj = await self._send("GET", _path(gvr, namespace, name))
        return found

    async def list(self, gvr: GVR, namespace: str = "", *, label_selector: str = "") -> Sequence[Obj]:
        found: list[Obj] = []
        async for items, _ in self._pages(gvr, namespace, label_selector, partial=False):
            found += items
        return found

    async def _pages(
        self, gvr: GVR, namespace: str, label_selector: str, *, partial: bool
    ) -> AsyncIterator[tuple[Sequence[Obj], str]]:
        """(items, resourceVersion) a page. Raises ClusterError 410 when the pages outlive their revision."""
        query = {"limit": str(PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        accept = _PARTIAL_LIST if partial else "application/json"
        while True:
            page, size_bytes = await self._send_sized("GET", _path(gvr, namespace, query=query), accept=accept)
            metadata = page.get("metadata") or {}
            items = page.get("items") or []
            for item in items:  # those of built-in lists carry neither
                item.setdefault("kind", page["kind"].removesuffix("List"))
                item.setdefault("apiVersion", page["apiVersion"])
            yield items, metadata.get("resourceVersion", "")
            if not metadata.get("continue"):
                return
            query = {**query, "limit": str(page_limit(len(items), size_bytes)), "continue": metadata["continue"]}

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        known: dict[tuple[str, str], tuple[str, str]] = {}
        revision, first, failures = "", True, 0
        while True:
            try:
                if not revision:
                    partial = metadata_only and not first
                    listed: dict[tuple[str, str], tuple[str, str]] = {}
                    as_of = ""
                    async for items, as_of in self._pages(gvr, namespace, label_selector, partial=partial):  # noqa: B007
                        for count, item in enumerate(items):
                            identity = _identity(item)
                            listed[identity[0]] = identity[1]
                            if count % TOLD_AT_ONCE == TOLD_AT_ONCE - 1:
                                await asyncio.sleep(0)
                            before = known.get(identity[0])
                            if before == identity[1]:
                                continue
                            kind = ClusterEventType.MODIFIED if before else ClusterEventType.ADDED
                            yield ClusterEvent(kind, item)
                        await asyncio.sleep(0)
                    for place in known.keys() - listed.keys():
                        yield ClusterEvent(ClusterEventType.DELETED, _remains(place, known[place][0]))
                    known, first, revision = listed, False, as_of
                    yield ClusterEvent(ClusterEventType.SYNCED, revision=_number(revision))
                async for event_type, obj in self._stream(gvr, namespace, label_selector, revision, metadata_only):
                    failures = 0
                    revision = obj["metadata"]["resourceVersion"]
                    if event_type == "BOOKMARK":
                        continue
                    place, facts = _identity(obj)
                    if event_type == "DELETED":
                        known.pop(place, None)
                    else:
                        known[place] = facts
                    yield ClusterEvent(ClusterEventType(event_type), obj)
                await asyncio.sleep(RECONNECT_S[0] * random.random())  # a host that closes each watch at once
            except ClusterError as error:
                if error.code in (410, 504):  # 504: a revision that the host does not have, as after a restored etcd
                    revision = ""
                failures += 1
                quiet = isinstance(error, Unreachable) or error.code in (410, *_REFUSALS)  # told elsewhere
                level = logging.DEBUG if quiet else logging.WARNING
                log.log(level, "host watch ended", extra={"resource": gvr.resource, "error": error.message})
                if error.code in _REFUSALS:
                    yield ClusterEvent(ClusterEventType.REFUSED, message=error.message)
                shortest, longest = RECONNECT_S
                delay_s = min(longest, shortest * 2 ** min(failures - 1, 10))
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))

    async def _stream(
        self, gvr: GVR, namespace: str, label_selector: str, revision: str, metadata_only: bool
    ) -> AsyncIterator[tuple[str, Obj]]:
        """Events after `revision`, until the host closes the watch. Raises ClusterError, Unreachable."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": revision,
            "timeoutSeconds": str(random.randint(*WATCH_TIMEOUT_S)),
        }
        if label_selector:
            query["labelSelector"] = label_selector
        headers = {"Accept": _PARTIAL if metadata_only else "application/json", **await self._headers()}
        url = self._configuration.host + _path(gvr, namespace, query=query)
        try:
            async with self._open_session().request(
                "GET", url, headers=headers, **self._options(streaming=True)
            ) as response:
                if response.status >= 400:
                    if response.status == 401:
                        await self._reload()
                    raise _error(response.status, response.headers, await response.read())
                self._told_reachable(True)
                rest_of_line, told = b"", 0
                while True:
                    async with asyncio.timeout(WATCH_SILENCE_S):
                        chunk = await response.content.readany()
                    if not chunk:
                        return
                    *lines, rest_of_line = (rest_of_line + chunk).split(b"\n")
                    for line in lines:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            status = event["object"]
                            raise ClusterError(
                                status.get("code", 500), status.get("reason", ""), status.get("message", "")
                            )
                        yield event["type"], event["object"]
                        told += 1
                        if told % TOLD_AT_ONCE == 0:
                            await asyncio.sleep(0)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(f"the watch of {gvr.resource} broke: {_reason(error)}") from error

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        path = _path(gvr, obj["metadata"].get("namespace", ""), query={"fieldManager": md.FIELD_MANAGER})
        created: Obj = await self._send("POST", path, body=obj)
        return created

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        metadata = obj["metadata"]
        path = _path(
            gvr,
            metadata.get("namespace", ""),
            metadata["name"],
            subresource,
            query={"fieldManager": md.FIELD_MANAGER},
        )
        updated: Obj = await self._send("PUT", path, body=obj)
        return updated

    async def apply(self, gvr: GVR, obj: Obj, *, force: bool = True, subresource: str = "") -> Obj:
        metadata = obj["metadata"]
        query = {"fieldManager": md.FIELD_MANAGER, "force": "true" if force else "false"}
        path = _path(gvr, metadata.get("namespace", ""), metadata["name"], subresource, query=query)
        applied: Obj = await self._send("PATCH", path, body=obj, content_type=PatchType.APPLY)
        return applied

    async def rehearse(self, gvr: GVR, obj: Obj, *, apply: bool) -> Obj:
        metadata = obj["metadata"]
        query = {"fieldManager": md.FIELD_MANAGER, "dryRun": "All", **({"force": "true"} if apply else {})}
        path = _path(gvr, metadata.get("namespace", ""), metadata["name"] if apply else "", query=query)
        if apply:
            answer: Obj = await self._send("PATCH", path, body=obj, content_type=PatchType.APPLY)
        else:
            answer = await self._send("POST", path, body=obj)
        return answer

    async def patch(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        patch: Obj | Sequence[Obj],
        *,
        content_type: str,
        subresource: str = "",
    ) -> Obj:
        path = _path(gvr, namespace, name, subresource, query={"fieldManager": md.FIELD_MANAGER})
        patched: Obj = await self._send("PATCH", path, body=patch, content_type=content_type)
        return patched

    async def delete(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
        propagation: str = "",
    ) -> None:
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        if propagation:
            options["propagationPolicy"] = propagation
        await self._send("DELETE", _path(gvr, namespace, name), body=options, accept=f"{_PARTIAL}, application/json")

    async def delete_collection(self, gvr: GVR, namespace: str, *, label_selector: str) -> None:
        await self._send("DELETE", _path(gvr, namespace, query={"labelSelector": label_selector}))


async def open_host(*, kubeconfig: Path | None = None, temp_dir: Path | None = None) -> HostCluster:
    """A host by its kubeconfig file; None: the ServiceAccount of the pod we are in. Raises HostConfigError.

    `temp_dir`: where certificates that a kubeconfig holds inline are written for the TLS library (mode 0600).
    """
    return HostCluster(await _load(kubeconfig, temp_dir), kubeconfig, temp_dir)


async def _load(kubeconfig: Path | None, temp_dir: Path | None) -> Any:
    configuration = kubernetes_client.Configuration()
    try:
        if kubeconfig is None:
            kubernetes_config.load_incluster_config(  # type: ignore[no-untyped-call]
                client_configuration=configuration
            )
        else:
            await kubernetes_config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig),
                client_configuration=configuration,
                persist_config=False,
                temp_file_path=str(temp_dir) if temp_dir else None,
            )
    except Exception as error:  # ConfigException, yaml and file errors: the loader raises what it meets
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "in-cluster configuration"
        raise HostConfigError(f"{where}: {_reason(error)}") from error
    configuration.connection_pool_maxsize = CONNECTIONS
    # Python 3.13 refuses CAs without key usage or identifiers, which many clusters have and client-go accepts.
    configuration.disable_strict_ssl_verification = True
    # Only vapi's configuration reads the environment (law 8); a kubeconfig's proxy-url holds. No cookies, no retries.
    configuration.client_session_kwargs = {"trust_env": False, "cookie_jar": aiohttp.DummyCookieJar()}
    return configuration


def page_limit(items: int, size_bytes: int) -> int:
    """How many items the next page should hold, after one of `items` in `size_bytes`."""
    each = max(1, size_bytes // max(1, items))
    return max(1, min(MAX_PAGE, PAGE_BYTES // each))


def _path(
    gvr: GVR, namespace: str = "", name: str = "", subresource: str = "", *, query: Mapping[str, str] | None = None
) -> str:
    root = f"/apis/{gvr.group}/{gvr.version}" if gvr.group else f"/api/{gvr.version}"
    path = f"{root}/namespaces/{namespace}/{gvr.resource}" if namespace else f"{root}/{gvr.resource}"
    if name:
        path += f"/{quote(name, safe=':')}"
    if subresource:
        path += f"/{subresource}"
    return f"{path}?{urlencode(query)}" if query else path


def _error(status: int, headers: Mapping[str, str], content: bytes) -> ClusterError:
    """From a Status, or from whatever else stands between us and the host."""
    details = None
    try:
        answer = orjson.loads(content)
        reason, message = str(answer.get("reason") or ""), str(answer.get("message") or "")
        details = answer.get("details")
    except (ValueError, AttributeError):
        reason, message = "", content[:200].decode(errors="replace").strip()
    retry_after = headers.get("Retry-After", "")
    retry_after_s = float(retry_after) if retry_after.isdigit() else (1.0 if status == 429 else 0.0)
    told = message or f"the host answered {status}"
    return ClusterError(status, reason, told, retry_after_s, details if isinstance(details, dict) else None)


def _reason(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300] if error is not None else ""


def _identity(obj: Obj) -> tuple[tuple[str, str], tuple[str, str]]:
    """((namespace, name), (uid, resourceVersion))."""
    metadata = obj["metadata"]
    return (metadata.get("namespace", ""), metadata["name"]), (metadata["uid"], metadata["resourceVersion"])


def _remains(place: tuple[str, str], uid: str) -> Obj:
    """Of an object that a relist did not find: no deletionTimestamp, so it proves nothing but absence from the list."""
    return {"kind": "PartialObjectMetadata", "metadata": {"namespace": place[0], "name": place[1], "uid": uid}}


def _number(revision: str) -> int:
    return int(revision) if revision.isdigit() else 0
