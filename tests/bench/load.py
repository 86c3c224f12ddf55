"""The load generator: processes of raw HTTP/1.1 connections with prepared requests, so that it is not the bottleneck.

No HTTP library: a request is bytes made once, an answer is looked at for its
status and length alone. *Measured*: 40 µs of its own CPU a request with TLS (two processes: 45,000/s).
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

from tests.bench.target import Endpoint


@dataclass(frozen=True, slots=True)
class Result:
    """Of one run. Latencies in seconds, sorted; `errors` counts answers of 400 and above."""

    requests: int
    errors: int
    wall_s: float
    latencies_s: tuple[float, ...]
    first_error: str = ""

    @property
    def per_second(self) -> float:
        return (self.requests - self.errors) / self.wall_s if self.wall_s else 0.0

    def quantile(self, q: float) -> float:
        return (
            self.latencies_s[min(len(self.latencies_s) - 1, int(q * len(self.latencies_s)))]
            if self.latencies_s
            else 0.0
        )


class _Connection(asyncio.Protocol):
    """One request after the other; hands the next out as soon as the answer is complete."""

    def __init__(self, requests: Callable[[], bytes | None], record: _Record, done: Callable[[], None]) -> None:
        self._requests = requests
        self._record = record
        self._done = done
        self._buffer = bytearray()
        self._expected = -1
        self._status = 0
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        request = self._requests()
        if request is None:
            self._transport.close()
            self._done()
            return
        self._buffer.clear()
        self._expected = -1
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._expected < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._status = int(head[9:12])
            at = head.find(b"content-length:")
            if at >= 0:
                stop = head.find(b"\r\n", at)
                self._expected = end + 4 + int(head[at + 15 : stop if stop > 0 else len(head)])
            else:
                self._expected = 1 << 62  # chunked: until the last chunk
        if self._expected == 1 << 62:
            if not self._buffer.endswith(b"0\r\n\r\n"):
                return
        elif len(self._buffer) < self._expected:
            return
        self._record.add(time.perf_counter() - self._began, self._status, self._buffer)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._expected < 0 and exc is not None:
            self._record.errors += 1
            self._record.first_error = self._record.first_error or f"connection lost: {exc}"
            self._done()


@dataclass(slots=True)
class _Record:
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    def add(self, latency: float, status: int, answer: bytearray) -> None:
        self.latencies.append(latency)
        if status >= 400:
            self.errors += 1
            self.first_error = self.first_error or bytes(answer[:600]).decode(errors="replace")


def request(
    endpoint: Endpoint, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
) -> bytes:
    head = [
        f"{method} {path} HTTP/1.1",
        f"Host: {endpoint.host}:{endpoint.port}",
        f"Authorization: Bearer {endpoint.token}",
        "Accept: application/json",
        "User-Agent: bench/1",
    ]
    if body:
        head += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def context(endpoint: Endpoint) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=endpoint.ca)
    made.check_hostname = False  # the servers are reached at 127.0.0.1 under whatever name they have
    return made


async def _closed_loop(endpoint: Endpoint, queue: Sequence[bytes], connections: int) -> Result:
    record = _Record()
    pending = iter(queue)
    loop = asyncio.get_running_loop()
    tls = context(endpoint)
    left = connections
    finished = loop.create_future()

    def done() -> None:
        nonlocal left
        left -= 1
        if left == 0 and not finished.done():
            finished.set_result(None)

    began = time.perf_counter()
    await asyncio.gather(
        *[
            loop.create_connection(
                lambda: _Connection(lambda: next(pending, None), record, done), endpoint.host, endpoint.port, ssl=tls
            )
            for _ in range(connections)
        ]
    )
    await finished
    wall = time.perf_counter() - began
    return Result(len(record.latencies), record.errors, wall, tuple(sorted(record.latencies)), record.first_error)


def _worker(endpoint: Endpoint, queue: Sequence[bytes], connections: int, cpus: set[int], pipe: object) -> None:
    if cpus:
        os.sched_setaffinity(0, cpus)
    result = uvloop.run(_closed_loop(endpoint, queue, connections))
    pipe.send(result)  # type: ignore[attr-defined]


def run(
    endpoint: Endpoint,
    requests: Sequence[bytes],
    *,
    connections: int = 32,
    processes: int = 2,
    cpus: set[int] | None = None,
) -> Result:
    """Send all requests, each connection one after the other; processes share them evenly."""
    mp = multiprocessing.get_context("fork")
    parts = [requests[i::processes] for i in range(processes)]
    running = []
    for part in parts:
        here, there = mp.Pipe(duplex=False)
        process = mp.Process(
            target=_worker, args=(endpoint, part, max(1, connections // processes), cpus or set(), there)
        )
        process.start()
        running.append((process, here))
    results: list[Result] = []
    for process, pipe in running:
        results.append(pipe.recv())
        process.join()
    latencies = tuple(sorted(x for r in results for x in r.latencies_s))
    return Result(
        sum(r.requests for r in results),
        sum(r.errors for r in results),
        max(r.wall_s for r in results),
        latencies,
        next((r.first_error for r in results if r.first_error), ""),
    )


async def watch_events(endpoint: Endpoint, path: str, connected: Callable[[], None]) -> AsyncIterator[dict[str, Any]]:
    """Decoded events of the watch `path` (with its query), for ever: one that lags is ended, and goes on from there."""
    tls = context(endpoint)
    revision = ""
    while True:
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls, limit=1 << 24)
        writer.write(request(endpoint, "GET", f"{path}&resourceVersion={revision}" if revision else path))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        connected()
        rest = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            *lines, rest = (rest + (await reader.readexactly(size + 2))[:-2]).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise RuntimeError(line.decode())
                revision = event["object"]["metadata"]["resourceVersion"]
                yield event
        writer.close()
        print(f"{path} was ended, going on from {revision}", file=sys.stderr)


# --- watch fan-out --------------------------------------------------------------------------------------


class _Watching(asyncio.Protocol):
    """One watch: counts `marker` in what comes, across the borders of packets."""

    def __init__(
        self, request: bytes, marker: bytes, wanted: int, connected: Callable[[], None], done: Callable[[], None]
    ):
        self._request = request
        self._marker = marker
        self._left = wanted
        self._connected: Callable[[], None] | None = connected
        self._done = done
        self._tail = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._connected is not None:  # the head of the answer: the watch is on
            self._connected()
            self._connected = None
        text = self._tail + data
        self._left -= text.count(self._marker)
        cut = text.rfind(self._marker)
        self._tail = (
            text[cut + len(self._marker) :][-len(self._marker) + 1 :] if cut >= 0 else text[-len(self._marker) + 1 :]
        )
        if self._left <= 0 and self._transport is not None:
            self._transport.abort()
            self._transport = None
            self._done()


async def _watch_all(endpoint: Endpoint, request: bytes, marker: bytes, watchers: int, wanted: int, pipe: Any) -> None:
    loop = asyncio.get_running_loop()
    tls = context(endpoint)
    connected = finished = 0
    everyone, all_done = loop.create_future(), loop.create_future()

    def one_connected() -> None:
        nonlocal connected
        connected += 1
        if connected == watchers:
            everyone.set_result(None)

    def one_done() -> None:
        nonlocal finished
        finished += 1
        if finished == watchers:
            all_done.set_result(None)

    for _ in range(watchers):
        await loop.create_connection(
            lambda: _Watching(request, marker, wanted, one_connected, one_done), endpoint.host, endpoint.port, ssl=tls
        )
    async with asyncio.timeout(60):
        await everyone
    pipe.send("watching")
    async with asyncio.timeout(300):
        await all_done
    pipe.send(time.perf_counter())


def _watcher(
    endpoint: Endpoint, request: bytes, marker: bytes, watchers: int, wanted: int, cpus: set[int], pipe: Any
) -> None:
    if cpus:
        os.sched_setaffinity(0, cpus)
    uvloop.run(_watch_all(endpoint, request, marker, watchers, wanted, pipe))


def fan_out(
    endpoint: Endpoint,
    watch: bytes,
    writes: Sequence[bytes],
    *,
    watchers: int,
    marker: bytes,
    cpus: set[int],
    processes: int = 2,
) -> float:
    """Seconds from the first write until the last of `watchers` has seen every one of `writes`."""
    mp = multiprocessing.get_context("fork")
    running = []
    for _ in range(processes):
        here, there = mp.Pipe(duplex=False)
        process = mp.Process(
            target=_watcher, args=(endpoint, watch, marker, watchers // processes, len(writes), cpus, there)
        )
        process.start()
        running.append((process, here))
    for _, pipe in running:
        pipe.recv()
    began = time.perf_counter()
    result = run(endpoint, writes, connections=16, processes=1, cpus=cpus)
    if result.errors:
        raise RuntimeError(result.first_error)
    ends = [pipe.recv() for _, pipe in running]
    for process, _ in running:
        process.join()
    return float(max(ends) - began)
