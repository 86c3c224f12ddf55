"""ApiRequest and ApiResponse: one exchange as the API sees it, free of any HTTP library.

`app` makes the first from what aiohttp parsed and writes the second to the
socket; tests and in-process callers make and read them directly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from vapi import encoding
from vapi.errors import ApiError

if TYPE_CHECKING:
    from vapi.endpoints.proxy import Upgrade

JSON = "application/json"
YAML = "application/yaml"
TEXT = "text/plain; charset=utf-8"

MAX_BODY_BYTES = 3 << 20  # upstream --max-request-body-bytes
LARGE_BODY_BYTES = 256 << 10  # decoded one at a time (design law 9)
MAX_BODIES_BYTES = 64 << 20  # of all requests in flight (design law 9)

NO_CACHE = ("Cache-Control", "no-cache, private")


class Headers(Protocol):
    """Names in any case; multidict's CIMultiDictProxy is one."""

    def get(self, name: str, /) -> str | None: ...

    def items(self) -> Iterable[tuple[str, str]]: ...


class PlainHeaders:
    """Headers without an HTTP library: a list of pairs, looked up by lower-case name."""

    __slots__ = ("_first", "_pairs")

    def __init__(self, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        self._first = {name.lower(): value for name, value in reversed(self._pairs)}

    def get(self, name: str, /) -> str | None:
        return self._first.get(name.lower())

    def items(self) -> Iterable[tuple[str, str]]:
        return self._pairs


@dataclass(slots=True)
class ApiRequest:
    """`target` is the path with its query as sent, still escaped. Not frozen: made once a request, and that is 1 µs."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    certificate: bytes | None = None
    """The peer's, in DER; its chain has been verified."""
    remote: str = ""
    stream: AsyncIterator[bytes] | None = None
    """The body, where it was not read because the request goes through a tunnel (`dispatch.streams_body`)."""


@dataclass(slots=True)
class ApiResponse:
    """`body`, or `stream` for what is long or never ends; `upgrade` takes the connection over."""

    status: int
    content_type: str
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: AsyncIterator[bytes] | None = None
    """Chunks of at most about 256 KB. Its end is the end of the body; `app` closes it if the client goes."""
    length: int | None = None
    """Of the stream in bytes, where it is known."""
    on_disconnect: Callable[[], None] | None = None
    """Called once if the client goes while the stream waits."""
    is_watch: bool = False
    upgrade: Upgrade | None = None

    def header(self, name: str) -> str | None:
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


def api_request(
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    certificate: bytes | None = None,
) -> ApiRequest:
    """A request of tests and in-process callers; a `body` that is neither bytes nor text is sent as JSON."""
    named = dict(headers or {})
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else b""
    if body is not None and not isinstance(body, bytes | str):
        data = encoding.dumps(body)
        if "content-type" not in {name.lower() for name in named}:
            named["Content-Type"] = JSON
    return ApiRequest(method, target, PlainHeaders(named), data, certificate)


async def read_all(response: ApiResponse) -> bytes:
    """The whole body, streamed or not."""
    if response.stream is None:
        return response.body
    return b"".join([chunk async for chunk in response.stream])


def text_response(status: int, text: str) -> ApiResponse:
    return ApiResponse(status, TEXT, text.encode(), [NO_CACHE, ("X-Content-Type-Options", "nosniff")])


def page_not_found() -> ApiResponse:
    """Of Go's ServeMux: for what is no API at all."""
    return text_response(404, "404 page not found\n")


def retry_headers(error: ApiError) -> list[tuple[str, str]]:
    return [("Retry-After", str(error.retry_after_s))] if error.retry_after_s else []
