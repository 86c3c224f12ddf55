"""kill -9 of the whole server under load, a dozen times over: what was acknowledged is there, and watches go on.

16 clients write over TLS, each its own objects, so each knows what it was told.
The log of what happened is theirs; the watches, which resume from the last version
they saw after every kill, must tell the same story, each event once.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.vapi_server import VapiServer
from vapi.http_client import Answer, HttpClient, HttpError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

KILLS = 12
CLIENTS = 16
WATCHERS = 3
OBJECTS = 4  # a client
COLLECTION = "/api/v1/namespaces/default/configmaps"
LABEL = {"drill": "crash"}
PADDING = "x" * 300
BACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """A write that happened. `revision` 0: a delete, whose answer does not tell, or one found out later."""

    type: str
    step: int
    revision: int


@dataclass(slots=True)
class Server:
    """The process and how it is reached; requests fail while it is down."""

    process: VapiServer
    http: HttpClient
    tls: ssl.SSLContext
    highest: int = 0
    """The newest version that anybody was told."""

    async def request(self, method: str, path: str, obj: Any = None) -> Answer:
        body = json.dumps(obj).encode() if obj is not None else None
        headers = [("Content-Type", "application/json")]
        return await self.http.request(
            method, self.process.url + path, headers=headers, body=body, ssl=self.tls, timeout_s=20
        )

    async def insist(self, path: str) -> Answer:
        """A GET, until somebody answers it."""
        deadline = time.monotonic() + BACK_S
        while True:
            try:
                answer = await self.request("GET", path)
                if answer.status in (200, 404):
                    return answer
            except HttpError:
                pass
            assert time.monotonic() < deadline, "the server did not come back"
            await asyncio.sleep(0.05)

    def told(self, revision: int) -> None:
        self.highest = max(self.highest, revision)


@dataclass(slots=True)
class Client:
    """Writes its own objects, one after the other, and keeps the history of each."""

    server: Server
    number: int
    random: random.Random
    history: dict[str, list[Done]] = field(default_factory=dict)
    current: dict[str, dict[str, Any]] = field(default_factory=dict)
    step: int = 0
    acknowledged: int = 0
    unknown: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._write(f"c{self.number}-{self.random.randrange(OBJECTS)}")

    async def _write(self, name: str) -> None:
        self.step += 1
        known = self.current.get(name)
        path = f"{COLLECTION}/{name}"
        try:
            if known is None:
                kind, answer = "ADDED", await self.server.request("POST", COLLECTION, self._object(name))
            elif self.random.random() < 0.25:
                kind, answer = "DELETED", await self.server.request("DELETE", path)
            else:
                kind, answer = "MODIFIED", await self.server.request("PUT", path, self._object(name, known))
        except HttpError:
            await self._find_out(name)
            return
        if answer.status not in (200, 201):
            # the HTTP client sent it a second time after the first was cut off
            await self._find_out(name)
            return
        self.acknowledged += 1
        self._happened(name, kind, None if kind == "DELETED" else json.loads(answer.body))

    def _object(self, name: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
        metadata = {"name": name, "labels": LABEL}
        if known is not None:
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
        return {"metadata": metadata, "data": {"step": str(self.step), "padding": PADDING}}

    def _happened(self, name: str, kind: str, obj: dict[str, Any] | None) -> None:
        revision = int(obj["metadata"]["resourceVersion"]) if obj else 0
        self.history.setdefault(name, []).append(Done(kind, self.step, revision))
        self.server.told(revision)
        if obj is None:
            del self.current[name]
        else:
            self.current[name] = obj

    async def _find_out(self, name: str) -> None:
        """Whether the write whose answer was lost happened: whole or not at all."""
        self.unknown += 1
        answer = await self.server.insist(f"{COLLECTION}/{name}")
        known = self.current.get(name)
        if answer.status == 404:
            if known is not None:
                self._happened(name, "DELETED", None)
            return
        obj = json.loads(answer.body)
        whole(obj)
        if obj["data"]["step"] == str(self.step):
            self._happened(name, "ADDED" if known is None else "MODIFIED", obj)
        else:
            assert known is not None and obj == known, "neither what was nor what was to be"

    async def check(self) -> None:
        """All that was acknowledged is there, as it was acknowledged."""
        for index in range(OBJECTS):
            name = f"c{self.number}-{index}"
            answer = await self.server.insist(f"{COLLECTION}/{name}")
            found = json.loads(answer.body) if answer.status == 200 else None
            assert found == self.current.get(name), f"{name} is not what its client was told"


def whole(obj: dict[str, Any]) -> None:
    assert obj["data"]["padding"] == PADDING and obj["metadata"]["labels"] == LABEL and obj["metadata"]["uid"]


@dataclass(slots=True)
class Watcher:
    """One watch over all restarts, from the last version it saw."""

    server: Server
    since: int
    events: list[tuple[str, str, int, int]] = field(default_factory=list)
    """(type, name, revision, step)."""
    connections: int = 0

    async def run(self) -> None:
        while True:
            try:
                await self._follow()
            except HttpError:
                await asyncio.sleep(0.02)

    async def _follow(self) -> None:
        url = f"{self.server.process.url}{COLLECTION}?watch=true&labelSelector=drill&resourceVersion={self.since}"
        answer = await self.server.http.stream("GET", url, ssl=self.server.tls)
        assert answer.status == 200
        self.connections += 1
        async for line in _lines(answer.chunks):
            event = json.loads(line)
            assert event["type"] != "ERROR", event
            obj = event["object"]
            revision = int(obj["metadata"]["resourceVersion"])
            assert revision > self.since, "the watch went back"
            whole(obj)
            self.since = revision
            self.server.told(revision)
            self.events.append((event["type"], obj["metadata"]["name"], revision, int(obj["data"]["step"])))


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines; what a kill cut off is no event."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


async def test_kill_9_under_load_loses_nothing_and_watches_go_on(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    process = VapiServer(tmp_path, "--host", "none", "--store", "sqlite")
    http = HttpClient()
    try:
        await asyncio.to_thread(process.start)
        server = Server(process, http, process.tls(authenticated=True))
        began = await version(server)
        clients = [Client(server, number, random.Random(rng.random())) for number in range(CLIENTS)]
        watchers = [Watcher(server, began) for _ in range(WATCHERS)]
        stop = asyncio.Event()
        watching = [asyncio.create_task(watcher.run()) for watcher in watchers]
        writing = [asyncio.create_task(client.run(stop)) for client in clients]
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.05, 1.2))
            await asyncio.to_thread(process.kill)
            highest = server.highest
            await asyncio.to_thread(process.start)
            assert await version(server) >= highest, "the version went down"
        stop.set()
        await asyncio.gather(*writing)
        for client in clients:
            await client.check()
        await _until(lambda: all(watcher.since >= server.highest for watcher in watchers))
        await asyncio.sleep(0.3)  # for what should not come
        for task in watching:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for watcher in watchers:
            tells_the_story(watcher, clients)
        assert sum(client.acknowledged for client in clients) > 20 * KILLS
        assert sum(client.unknown for client in clients) > 0, "no kill met a write"
    finally:
        await http.close()
        process.close()


async def version(server: Server) -> int:
    return int(json.loads((await server.insist(f"{COLLECTION}?limit=1")).body)["metadata"]["resourceVersion"])


async def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:  # noqa: ASYNC110 - what is awaited is in another process
        await asyncio.sleep(0.05)


def tells_the_story(watcher: Watcher, clients: list[Client]) -> None:
    """Every write that happened is one event, in order, with its version; and there are no others."""
    seen: dict[str, list[tuple[str, int, int]]] = {}
    for kind, name, revision, step in watcher.events:
        seen.setdefault(name, []).append((kind, revision, step))
    for client in clients:
        for name, history in client.history.items():
            events = seen.pop(name, [])
            assert [event[0] for event in events] == [done.type for done in history], name
            for (kind, revision, step), done in zip(events, history, strict=True):
                assert done.revision in (0, revision), name
                assert kind == "DELETED" or step == done.step, name
    assert not seen
