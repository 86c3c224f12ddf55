"""What is served beside resources: health, version, metrics, discovery, OpenAPI and the documents of our issuer."""

from __future__ import annotations

import asyncio
import gzip
import logging
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vapi import encoding, errors
from vapi.endpoints import negotiate
from vapi.endpoints.discovery import Discovery, Document
from vapi.endpoints.http import JSON, NO_CACHE, ApiRequest, ApiResponse, page_not_found, text_response
from vapi.endpoints.request import Query, RequestInfo
from vapi.endpoints.responses import compressed, object_response
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.metrics import CONTENT_TYPE, Metrics
from vapi.resources.resource import Catalog
from vapi.version import KUBERNETES_MAJOR, KUBERNETES_MINOR, KUBERNETES_VERSION

log = logging.getLogger(__name__)

Probe = Callable[[], str]
""""" or what is wrong. Runs on the loop, never awaits."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a verbose health answer. `live`: part of /livez too (its failure means: restart)."""

    name: str
    probe: Probe
    live: bool = True


def _fine() -> str:
    return ""


@dataclass(slots=True)
class Health:
    """The checks in the order they are listed. `stopping` turns /readyz red before the listener closes."""

    checks: list[Check] = field(default_factory=lambda: [Check("ping", _fine)])
    stopping: bool = False

    def of(self, endpoint: str) -> Sequence[Check]:
        if endpoint == "livez":
            return [check for check in self.checks if check.live]
        if endpoint == "readyz":
            return [*self.checks, Check("shutdown", lambda: "the server is stopping" if self.stopping else "")]
        return self.checks


_HEALTH = ("healthz", "livez", "readyz")


def health_response(health: Health, path: str, query: Query) -> ApiResponse | None:
    """Source: apiserver server/healthz. None: no such check."""
    endpoint, _, name = path.strip("/").partition("/")
    checks = health.of(endpoint)
    if name:
        found = next((check for check in checks if check.name == name), None)
        if found is None:
            return None
        problem = found.probe()
        return text_response(500, f"internal server error: {problem}\n") if problem else text_response(200, "ok")
    excluded = set(query.all("exclude"))
    lines: list[str] = []
    failed: list[str] = []
    for check in checks:
        if check.name in excluded:
            lines.append(f"[+]{check.name} excluded: ok")
        elif problem := check.probe():
            log.warning("health check failed", extra={"check": check.name, "problem": problem, "endpoint": endpoint})
            failed.append(check.name)
            lines.append(f"[-]{check.name} failed: reason withheld")
        else:
            lines.append(f"[+]{check.name} ok")
    listed = "\n".join(lines)
    if failed:
        return text_response(500, f"{listed}\n{endpoint} check failed\n")
    return text_response(200, f"{listed}\n{endpoint} check passed\n" if query.flag("verbose") else "ok")


def version_info() -> Obj:
    """Of the API served: clients look at major, minor and gitVersion."""
    return {
        "major": str(KUBERNETES_MAJOR),
        "minor": str(KUBERNETES_MINOR),
        "emulationMajor": str(KUBERNETES_MAJOR),
        "emulationMinor": str(KUBERNETES_MINOR),
        "minCompatibilityMajor": str(KUBERNETES_MAJOR),
        "minCompatibilityMinor": str(KUBERNETES_MINOR - 1),
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "unknown",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
    }


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Redirect:
    location: str


class OpenApi(Protocol):
    """`endpoints.openapi`, of one catalogue."""

    async def respond(self, path: str, query: Mapping[str, str], accept: str) -> Document | Redirect | None:
        """None: not found. Raises ApiError 406."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """What anybody needs to verify our tokens."""

    configuration: Obj
    jwks: Callable[[], Obj]


DiscoveryFactory = Callable[[Catalog], Discovery]
OpenApiFactory = Callable[[Catalog], OpenApi]
Handler = Callable[[ApiRequest, RequestInfo, Query], Awaitable[ApiResponse]]

_READS = ("GET", "HEAD")


class NonResources:
    """`catalog` is asked for at each request: it is replaced at run time, and its documents with it."""

    def __init__(
        self,
        *,
        catalog: Callable[[], Catalog],
        discovery: DiscoveryFactory,
        openapi: OpenApiFactory | None,
        health: Health,
        metrics: Metrics,
        issuer: Issuer | None,
    ) -> None:
        self._catalog = catalog
        self._make_discovery = discovery
        self._make_openapi = openapi
        self._health = health
        self._metrics = metrics
        self._issuer = issuer
        self._made_for: Catalog | None = None
        self._discovery: Discovery | None = None
        self._openapi: OpenApi | None = None
        self._exact: Mapping[str, Handler] = {
            "/version": self._version,
            "/metrics": self._metrics_text,
            "/.well-known/openid-configuration": self._openid,
            "/openid/v1/jwks": self._jwks,
            "": self._root,
        }

    async def handle(self, request: ApiRequest, info: RequestInfo, query: Query) -> ApiResponse:
        """Raises ApiError."""
        path = info.path.rstrip("/")
        first = path.split("/", 2)[1] if path else ""
        if first in _HEALTH:
            return health_response(self._health, path, query) or page_not_found()
        exact = self._exact.get(path)
        if exact is not None:
            if request.method not in _READS:
                raise errors.method_not_allowed()
            return await exact(request, info, query)
        if first in ("api", "apis"):
            return await self._discover(request, path)
        if first == "openapi":
            return await self._open_api(request, path, query)
        return page_not_found()

    # --- documents of the catalogue -------------------------------------------------------------------

    def _refresh(self) -> None:
        catalog = self._catalog()
        if catalog is not self._made_for:
            self._made_for = catalog
            self._discovery = self._make_discovery(catalog)
            self._openapi = self._make_openapi(catalog) if self._make_openapi else None

    async def _discover(self, request: ApiRequest, path: str) -> ApiResponse:
        self._refresh()
        assert self._discovery is not None
        if request.method not in _READS:
            raise errors.method_not_allowed()
        accept = request.headers.get("Accept") or ""
        version = negotiate.aggregated_discovery(accept) if path in ("/api", "/apis") else None
        document = self._discovery.aggregated(path, version) if version else None
        if document is None:
            document = self._discovery.legacy(path)
        if document is not None:
            return await document_response(document, request)
        if self._is_builtin(path):
            raise errors.unknown_resource()
        return page_not_found()

    def _is_builtin(self, path: str) -> bool:
        """Whether a path that is not served begins as one that is: then go-restful words the 404."""
        parts = path.strip("/").split("/")
        group = parts[1] if parts[0] == "apis" and len(parts) > 1 else ""
        return any(row.gvr.group == group and not row.custom for row in self._catalog().rows)

    async def _open_api(self, request: ApiRequest, path: str, query: Query) -> ApiResponse:
        self._refresh()
        if self._openapi is None:
            return page_not_found()
        found = await self._openapi.respond(path, query.first, request.headers.get("Accept") or "")
        if found is None:
            return ApiResponse(404, "", b"", [NO_CACHE])
        if isinstance(found, Redirect):
            return ApiResponse(301, "text/html; charset=utf-8", b"", [NO_CACHE, ("Location", found.location)])
        return await document_response(found, request)

    # --- exact paths ----------------------------------------------------------------------------------

    async def _version(self, request: ApiRequest, _info: RequestInfo, query: Query) -> ApiResponse:
        return await object_response(200, encoding.dumps(version_info()), request, query, negotiate.PLAIN_JSON)

    async def _metrics_text(self, request: ApiRequest, _info: RequestInfo, _query: Query) -> ApiResponse:
        text = await asyncio.to_thread(self._metrics.render)
        return await compressed(ApiResponse(200, CONTENT_TYPE, text, [NO_CACHE]), request)

    async def _openid(self, _request: ApiRequest, _info: RequestInfo, _query: Query) -> ApiResponse:
        if self._issuer is None:
            return page_not_found()
        return ApiResponse(200, JSON, encoding.dumps(self._issuer.configuration), [_PUBLIC_HOUR])

    async def _jwks(self, request: ApiRequest, _info: RequestInfo, _query: Query) -> ApiResponse:
        if self._issuer is None:
            return page_not_found()
        wanted = negotiate.clauses(request.headers.get("Accept") or "*/*")
        if not any(clause.matches(_JWKS) for clause in wanted):
            raise ApiError(406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {_JWKS}", {})
        return ApiResponse(200, _JWKS, encoding.dumps(self._issuer.jwks()), [_PUBLIC_HOUR])

    async def _root(self, request: ApiRequest, _info: RequestInfo, query: Query) -> ApiResponse:
        catalog = self._catalog()
        groups = dict.fromkeys((row.gvr.group, row.gvr.version) for row in catalog.rows)
        paths = {"/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}
        for group, version in groups:
            paths |= {f"/apis/{group}", f"/apis/{group}/{version}"} if group else {f"/api/{version}"}
        if self._issuer is not None:
            paths |= {"/.well-known/openid-configuration", "/openid/v1/jwks"}
        return await object_response(
            200, encoding.dumps({"paths": sorted(paths)}), request, query, negotiate.PLAIN_JSON
        )


_JWKS = "application/jwk-set+json"
_PUBLIC_HOUR = ("Cache-Control", "public, max-age=3600")


async def document_response(document: Document, request: ApiRequest) -> ApiResponse:
    headers = list(document.headers.items())
    if document.etag:
        headers.append(("ETag", document.etag))
        known = request.headers.get("If-None-Match") or ""
        if document.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return ApiResponse(304, "", b"", headers)
    if document.gzipped:
        return await _precompressed(document, headers, request)
    return await compressed(ApiResponse(200, document.content_type, document.body, headers), request)


async def _precompressed(document: Document, headers: list[tuple[str, str]], request: ApiRequest) -> ApiResponse:
    if negotiate.accepts_gzip(request.headers.get("Accept-Encoding")):
        return ApiResponse(200, document.content_type, document.gzipped, [*headers, ("Content-Encoding", "gzip")])
    body = await asyncio.to_thread(gzip.decompress, document.gzipped)
    return ApiResponse(200, document.content_type, body, headers)
