"""Dispatch: one request in, one response out, without an HTTP library: the whole chain as one straight function.

authentication → impersonation → RBAC → route → handler. Every refusal is an
ApiError and becomes a Status here; what nobody foresaw is a 500 with its
traceback in the log.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote

from vapi import errors
from vapi.auth import impersonation, refusals
from vapi.authorizer import Attributes, Authorizer, Decision, User
from vapi.clock import Clock
from vapi.endpoints import pod_checks, proxy
from vapi.endpoints.deadlines import Deadlines
from vapi.endpoints.flow import FlowSchemas
from vapi.endpoints.forms import Forms
from vapi.endpoints.handlers import Decoder, Exchange, Handlers
from vapi.endpoints.http import ApiRequest, ApiResponse, Headers, page_not_found
from vapi.endpoints.nonresource import DiscoveryFactory, Health, Issuer, NonResources, OpenApiFactory
from vapi.endpoints.proxy import NoTunnel, Tunnel, TunnelTarget
from vapi.endpoints.request import EMPTY_QUERY, Query, RequestInfo, parse_path, parse_query, with_query
from vapi.endpoints.responses import error_response
from vapi.endpoints.routing import DEPRECATED, Route, UnknownPath, authorized_verb, find_route
from vapi.endpoints.watch import Watches
from vapi.errors import ApiError
from vapi.http_client import HttpClient
from vapi.metrics import Key, Metrics
from vapi.registry.caller import Caller
from vapi.registry.registry import Registry
from vapi.registry.virtual import CallTable
from vapi.resources.resource import Resource
from vapi.resources.table import Printer, printer_of

log = logging.getLogger(__name__)

DEADLINE_S = 60.0  # upstream --request-timeout; reads of one object wait at most 3 s and need none
MAX_WARNINGS_RUNES = 4096  # of all Warning headers; upstream warning.go truncateAtTotalRunes
MAX_WARNING_RUNES = 256  # of each beyond that; upstream truncateItemRunes


class Authenticator(Protocol):
    def authenticate(self, authorization: str | None, certificate: bytes | None, path: str = "") -> User:
        """Who it is. Runs on the loop, never awaits. Raises ApiError 401."""


class Decider(Authorizer, Protocol):
    """An Authorizer whose hot path makes no Attributes; `auth.rbac.Rbac` is one."""

    def decide(
        self, user: User, verb: str, group: str, resource: str, subresource: str, namespace: str, name: str
    ) -> Decision: ...

    def decide_path(self, user: User, verb: str, path: str) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a dispatcher is made of; the composition root fills it in."""

    registry: Registry
    authenticator: Authenticator
    authorizer: Decider
    decoder: Decoder
    clock: Clock
    discovery: DiscoveryFactory
    openapi: OpenApiFactory | None = None
    calls: CallTable = field(default_factory=dict)
    tunnel: Tunnel = field(default_factory=NoTunnel)
    issuer: Issuer | None = None
    health: Health = field(default_factory=Health)
    metrics: Metrics = field(default_factory=Metrics)
    printers: Callable[[Resource], Printer | None] = printer_of
    client: HttpClient | None = None
    """For tunnels; None: there are none."""
    flows: FlowSchemas = field(default_factory=FlowSchemas)


class Dispatcher:
    """One API server behind its listener. Runs on the loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._registry = parts.registry
        self._authenticate = parts.authenticator.authenticate
        self._authorizer = parts.authorizer
        self._flows = parts.flows
        self.health = parts.health
        forms = Forms(parts.clock, parts.printers)
        self.watches = Watches(forms, parts.clock)
        self._handlers = Handlers(
            registry=parts.registry,
            decoder=parts.decoder,
            forms=forms,
            watches=self.watches,
            calls=parts.calls,
        )
        self._nonresources = NonResources(
            catalog=lambda: self._registry.catalog,
            discovery=parts.discovery,
            openapi=parts.openapi,
            health=parts.health,
            metrics=parts.metrics,
            issuer=parts.issuer,
        )
        self._observe = parts.metrics.requests.observe
        self._deadlines = Deadlines(DEADLINE_S)
        self._random = random.Random()  # audit ids must differ, not be secret
        self._clock = parts.clock
        parts.metrics.gauge("apiserver_longrunning_requests", "Watches that are open.", lambda: self.watches.count)

    async def dispatch(self, request: ApiRequest) -> ApiResponse:
        """Answers everything; raises only CancelledError."""
        started = time.perf_counter()
        path, mark, query_text = request.target.partition("?")
        info = parse_path(request.method, path)
        query = parse_query(query_text) if mark else EMPTY_QUERY
        if mark and info.resource_request:
            info = with_query(info, query)
        audit_id = request.headers.get("Audit-Id") or self._audit_id()
        warnings: list[str] = []
        flow: list[tuple[str, str]] = []
        try:
            response = await self._serve(request, info, query, audit_id, warnings, flow)
        except ApiError as error:
            response = error_response(error, request)
        except UnknownPath:
            response = page_not_found()
        except Exception:
            log.exception("request failed", extra={"method": request.method, "path": info.path, "audit_id": audit_id})
            response = error_response(errors.internal("the server could not handle the request"), request)
        response.headers.append(("Audit-Id", audit_id))
        response.headers += flow
        if warnings:
            response.headers += warning_headers(warnings)
        endless = response.is_watch or response.upgrade is not None
        self._observe(
            _series(info, response.status), response.status, -1.0 if endless else time.perf_counter() - started
        )
        return response

    def refuse(self, error: ApiError, request: ApiRequest) -> ApiResponse:
        """The answer to a request that did not get here: too large, too many, or no HTTP."""
        response = error_response(error, request)
        response.headers.append(("Audit-Id", self._audit_id()))
        return response

    async def stop_watches(self) -> None:
        """Every watch gets its EOF."""
        await self.watches.close()

    async def _serve(
        self,
        request: ApiRequest,
        info: RequestInfo,
        query: Query,
        audit_id: str,
        warnings: list[str],
        flow: list[tuple[str, str]],
    ) -> ApiResponse:
        """`warnings` and `flow` are filled in for the answer, an error's too."""
        headers = request.headers
        user = self._authenticate(headers.get("Authorization"), request.certificate, info.path)
        if _impersonates(headers):
            wanted = impersonation.wanted_user(headers.items())
            if wanted is not None:
                user = impersonation.impersonate(self._authorizer, _attributes(user, info), wanted)
        flow += self._flows.headers(user, info)
        self._authorize(user, info)
        if not info.resource_request:
            return await self._nonresources.handle(request, info, query)
        caller = Caller(user, audit_id=audit_id, deadline=self._clock.monotonic() + DEADLINE_S, warnings=warnings)
        route = find_route(self._registry.catalog, info)
        deprecated = DEPRECATED.get((info.group, info.version, info.resource))
        if deprecated is not None:
            caller.warn(deprecated)
        if route.is_tunnel:
            return await self._tunnel(request, info, query, route, user)
        exchange = Exchange(request, info, query, route, caller, headers.get("Accept") or "")
        if info.verb in _WITHOUT_DEADLINE:
            return await self._handlers.handle(exchange)
        deadline = self._deadlines.start()
        try:
            return await self._handlers.handle(exchange)
        except asyncio.CancelledError:
            if deadline.over():
                raise _too_late() from None
            raise
        finally:
            self._deadlines.end(deadline)

    def _authorize(self, user: User, info: RequestInfo) -> None:
        """Raises ApiError 403."""
        if info.resource_request:
            verb = authorized_verb(info)
            decision = self._authorizer.decide(
                user, verb, info.group, info.resource, info.subresource, info.namespace, info.name
            )
        else:
            decision = self._authorizer.decide_path(user, info.verb, info.path)
        if not decision.allowed:
            raise refusals.forbidden(_attributes(user, info), decision.reason)

    async def _tunnel(
        self, request: ApiRequest, info: RequestInfo, query: Query, route: Route, user: User
    ) -> ApiResponse:
        assert route.subresource is not None
        target = TunnelTarget(
            user=user,
            method=request.method,
            resource=info.resource,
            subresource=route.subresource.name,
            namespace=info.namespace if route.row.namespaced else "",
            name=info.name,
            rest=_proxied_path(request.target, info),
            query=request.target.partition("?")[2],
            upgrade=proxy.is_upgrade(request),
        )
        if target.subresource in pod_checks.CHECKED:
            entry = self._registry.cached(pod_checks.PODS, target.namespace, target.name)
            answer = pod_checks.check(target, query, entry)
            if answer is not None:
                return answer
        return await proxy.serve(self._parts.tunnel, self._parts.client, target, request)

    def _audit_id(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


_WITHOUT_DEADLINE = frozenset(("get", "watch"))


def _attributes(user: User, info: RequestInfo) -> Attributes:
    if not info.resource_request:
        return Attributes(user, info.verb, path=info.path, resource_request=False)
    return Attributes(
        user,
        authorized_verb(info),
        info.group,
        info.version,
        info.resource,
        info.subresource,
        info.namespace,
        info.name,
        info.path,
    )


def _too_late() -> ApiError:
    return errors.timeout("Timeout: request did not complete within requested timeout - context deadline exceeded")


def _impersonates(headers: Headers) -> bool:
    """A plain loop: a generator would cost 1 µs more, in every request."""
    for name, _ in headers.items():  # noqa: SIM110
        if name[:1] in "Ii" and name[:12].lower() == "impersonate-":
            return True
    return False


def _proxied_path(target: str, info: RequestInfo) -> str:
    """The part of the path behind `/proxy`, escaped as it was sent. Raises ApiError 400.

    Dots would let the other side read the path as that of something else.
    """
    if info.subresource != "proxy":
        return ""
    segments = target.partition("?")[0].split("/")
    before = 8 if info.namespace else 6  # /api/v1/namespaces/N/pods/P/proxy, /api/v1/nodes/N/proxy
    rest = segments[before:]
    if any(unquote(segment) in (".", "..") for segment in rest):
        raise errors.bad_request("the path of a proxy request must not contain . or .. segments")
    return "/" + "/".join(rest) if rest else ""


def _series(info: RequestInfo, status: int) -> Key:
    """What a request is counted under; what does not exist under one name, so that nobody fills the memory."""
    if not info.resource_request:
        return (info.verb, "", "", "", "")
    if status in (401, 403, 404):
        return (info.verb, "", "", "unknown", "")
    return (info.verb.upper(), info.group, info.version, info.resource, info.subresource)


def warning_headers(warnings: Sequence[str]) -> list[tuple[str, str]]:
    """`299 - "text"`, one a warning; cut where they get too long. Source: apimachinery net.NewWarningHeader."""
    total = sum(map(len, warnings))
    headers: list[tuple[str, str]] = []
    used = 0
    for warning in warnings:
        text = warning if total <= MAX_WARNINGS_RUNES else warning[:MAX_WARNING_RUNES]
        used += len(text)
        if used > MAX_WARNINGS_RUNES:
            break
        quoted = "".join(char if char.isprintable() else " " for char in text).replace("\\", "\\\\").replace('"', '\\"')
        headers.append(("Warning", f'299 - "{quoted}"'))
    return headers
