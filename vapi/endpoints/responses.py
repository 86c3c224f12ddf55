"""Responses: entries, dicts and errors as ApiResponses: JSON, YAML, pretty or compressed, lists in pieces.

A short answer is one bytes object; a long one is a stream of pieces with a turn
of the loop between them, so that no list holds it for more than 2 ms or 256 KB.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import yaml

from vapi import encoding
from vapi.endpoints.forms import LIST_TAIL, Form
from vapi.endpoints.http import JSON, NO_CACHE, YAML, ApiRequest, ApiResponse, retry_headers
from vapi.endpoints.negotiate import PLAIN_JSON, Answer, accepts_gzip, error_answer, wants_pretty
from vapi.endpoints.request import Query
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.reads import Listing

PIECE_BYTES = 256 << 10  # design law 9
SLICE_S = 0.002  # design law 9
GZIP_FROM_BYTES = 128 << 10  # upstream defaultGzipThresholdBytes
GZIP_LEVEL = 1  # upstream defaultGzipContentEncodingLevel
LOOK_EVERY = 16  # slow items encoded between two looks at the clock: 16 Table rows are 0.5 ms


async def object_response(status: int, body: bytes, request: ApiRequest, query: Query, answer: Answer) -> ApiResponse:
    """`body` is JSON; what the client asked for beyond that is done to it here."""
    if answer is PLAIN_JSON and len(body) < GZIP_FROM_BYTES and not _is_read(request, query):
        return ApiResponse(status, JSON, body, [NO_CACHE])
    if answer.media == YAML:
        body = await _in_thread_if_large(_yaml_of, body)
        return await compressed(ApiResponse(status, YAML, body, [NO_CACHE]), request)
    if wants_pretty(query.first.get("pretty"), request.headers.get("User-Agent") or "", answer):
        body = await _in_thread_if_large(_pretty_of, body)
    return await compressed(ApiResponse(status, JSON, body, [NO_CACHE]), request)


def _is_read(request: ApiRequest, query: Query) -> bool:
    """Whether somebody may be reading the JSON: then it is to be indented."""
    return "pretty" in query.first or (request.headers.get("User-Agent") or "").startswith(("curl", "Wget", "Mozilla"))


async def _in_thread_if_large(convert: Any, body: bytes) -> bytes:
    if len(body) < GZIP_FROM_BYTES:
        return bytes(convert(body))
    return bytes(await asyncio.to_thread(convert, body))


def _yaml_of(body: bytes) -> bytes:
    return yaml_bytes(encoding.loads(body))


def _pretty_of(body: bytes) -> bytes:
    return encoding.dumps_pretty(encoding.loads(body)) + b"\n"


async def compressed(response: ApiResponse, request: ApiRequest) -> ApiResponse:
    if len(response.body) <= GZIP_FROM_BYTES or not accepts_gzip(request.headers.get("Accept-Encoding")):
        return response
    response.body = await asyncio.to_thread(_gzip, response.body)
    response.headers.append(("Content-Encoding", "gzip"))
    return response


def _gzip(body: bytes) -> bytes:
    return zlib.compress(body, GZIP_LEVEL, wbits=31)


# --- lists ----------------------------------------------------------------------------------------


async def list_response(listing: Listing, form: Form, request: ApiRequest, query: Query, answer: Answer) -> ApiResponse:
    """The first piece decides: a list that fits in it is answered whole, others are streamed."""
    pretty = wants_pretty(query.first.get("pretty"), request.headers.get("User-Agent") or "", answer)
    pieces = _pretty_pieces(listing, form) if pretty and answer.media != YAML else _pieces(listing, form)
    first = await anext(pieces)
    if answer.media == YAML:
        whole = [first]
        async for piece in pieces:
            whole.append(piece)
        return await object_response(200, b"".join(whole), request, query, answer)
    second = await anext(pieces, None)
    if second is None:
        return await compressed(ApiResponse(200, JSON, first, [NO_CACHE]), request)
    stream = _rejoined(first, second, pieces)
    if accepts_gzip(request.headers.get("Accept-Encoding")):
        headers = [NO_CACHE, ("Content-Encoding", "gzip")]
        return ApiResponse(200, JSON, headers=headers, stream=_gzip_pieces(stream))
    return ApiResponse(200, JSON, headers=[NO_CACHE], stream=stream)


async def _pieces(listing: Listing, form: Form) -> AsyncIterator[bytes]:
    """At least one; each about PIECE_BYTES, or what was encoded in SLICE_S."""
    parts: list[bytes] = [form.list_head(listing)]
    size = 0
    separator = b""
    until = time.perf_counter() + SLICE_S
    for index, item in enumerate(_items(listing.entries, form)):
        parts.append(separator)
        parts.append(item)
        separator = b","
        size += len(item)
        if size >= PIECE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_S
        elif form.slow and index % LOOK_EVERY == 0 and time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_S
    parts.append(LIST_TAIL)
    yield b"".join(parts)


async def _pretty_pieces(listing: Listing, form: Form) -> AsyncIterator[bytes]:
    """The same for people: each item is indented by itself, so that no step grows with the list."""
    frame = encoding.dumps_pretty(encoding.loads(form.list_head(listing) + LIST_TAIL))
    head, _, tail = frame.rpartition(b"[]")
    parts: list[bytes] = [head + b"["]
    size, until, separator = 0, time.perf_counter() + SLICE_S, _LINE
    for index, item in enumerate(_items(listing.entries, form)):
        text = separator + encoding.dumps_pretty(encoding.loads(item)).replace(b"\n", _LINE)
        separator = b"," + _LINE
        parts.append(text)
        size += len(text)
        if size >= PIECE_BYTES or (index % LOOK_EVERY == 0 and time.perf_counter() > until):
            yield b"".join(parts)
            parts, size = [], 0
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_S
    parts.append((b"\n  ]" if listing.entries else b"]") + tail + b"\n")
    yield b"".join(parts)


_LINE = b"\n    "
"""JSON has no line breaks inside of strings."""


def _items(entries: Any, form: Form) -> Iterator[bytes]:
    return map(form.item, entries)


async def _rejoined(first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    yield second
    async for piece in rest:
        yield piece


async def _gzip_pieces(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    compressor = zlib.compressobj(GZIP_LEVEL, wbits=31)
    async for piece in pieces:
        packed = await asyncio.to_thread(compressor.compress, piece)
        if packed:
            yield packed
    yield compressor.flush()


# --- errors ---------------------------------------------------------------------------------------


def error_response(error: ApiError, request: ApiRequest) -> ApiResponse:
    """Errors are small: never compressed, YAML where that is wanted."""
    status = error.status()
    try:
        return status_response(error.code, status, request, headers=retry_headers(error))
    except TypeError:
        # what it quotes holds something without bytes: a header that is not UTF-8, a number of 70 bits
        return status_response(error.code, _encodable(status), request, headers=retry_headers(error))


def _encodable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_encodable(key): _encodable(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if isinstance(value, bool | None) or (isinstance(value, int) and abs(value) < 1 << 63) else str(value)


def status_response(
    code: int, status: Obj, request: ApiRequest, *, headers: list[tuple[str, str]] | None = None
) -> ApiResponse:
    answer = error_answer(request.headers.get("Accept") or "")
    if answer.media == YAML:
        return ApiResponse(code, YAML, yaml_bytes(status), [NO_CACHE, *(headers or ())])
    query = request.target.partition("?")[2]
    if answer.pretty or "pretty=" in query:
        return ApiResponse(code, JSON, encoding.dumps_pretty(status) + b"\n", [NO_CACHE, *(headers or ())])
    return ApiResponse(code, JSON, encoding.dumps(status), [NO_CACHE, *(headers or ())])


# --- YAML -----------------------------------------------------------------------------------------

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _GoStyle(_Dumper):  # type: ignore[misc]  # chosen at run time: the C one is not always built
    """Quotes as sigs.k8s.io/yaml does: double where plain text would be read as something else, | for lines."""


def _represent_text(dumper: Any, text: str) -> Any:
    style = None
    if "\n" in text:
        style = "|"
    elif dumper.resolve(yaml.ScalarNode, text, (True, False)) != "tag:yaml.org,2002:str":
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_GoStyle.add_representer(str, _represent_text)


def yaml_bytes(value: Any) -> bytes:
    """Keys sorted, as the server writes it."""
    text: bytes = yaml.dump(value, Dumper=_GoStyle, encoding="utf-8", allow_unicode=True, default_flow_style=False)
    return text
