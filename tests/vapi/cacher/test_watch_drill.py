"""Many watchers under random writes: every one sees exactly the events that the acknowledged writes call for, or a 410.

Selectors, namespaces, versions, bookmarks, WatchList and forms are drawn from a
seed; readers are slow, go away and come back with their last version, and the
log is compacted under them. The rings are small, so that positions are lost and the store's log is read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from storage.memory import MemoryStore
from tests.planes import CONFIGMAPS
from tests.tools.watch_model import Change, Labels, Matches, Model, Seen
from tests.vapi.endpoints.servers import PARTIAL, TABLE, Api, api, request
from vapi import encoding
from vapi.cacher import history
from vapi.errors import ApiError
from vapi.registry.caller import DeleteOptions, system_caller

NAMESPACES = ("default", "other")
NAMES = tuple(f"n{index}" for index in range(12))
WRITES = 2_500
WRITERS = 4
WATCHERS = 40

SELECTORS: dict[str, Any] = {
    "": lambda labels: True,
    "s=1": lambda labels: labels.get("s") == "1",
    "s!=1": lambda labels: labels.get("s") != "1",
    "s in (0,2)": lambda labels: labels.get("s") in ("0", "2"),
    "!s": lambda labels: "s" not in labels,
}
ENDS = tuple(
    (namespace, f"end{index}", labels)
    for namespace in NAMESPACES
    for index, labels in enumerate[Labels](({}, {"s": "1"}, {"s": "2"}))
)
"""Created when all else is written: the last one that a watcher's selector takes is its end."""
FORMS = ("application/json", "application/json", TABLE, PARTIAL)


@dataclass(slots=True)
class Writers:
    """Random creates, updates and deletes; `model` holds what was acknowledged."""

    server: Api
    random: Random
    model: Model = field(default_factory=Model)
    current: dict[tuple[str, str], Labels] = field(default_factory=dict)
    busy: set[tuple[str, str]] = field(default_factory=set)
    left: int = WRITES

    async def run(self) -> None:
        while self.left > 0:
            self.left -= 1
            key = (self.random.choice(NAMESPACES), self.random.choice(NAMES))
            if key in self.busy:  # two writers of one object could not tell which labels were before
                await asyncio.sleep(0)
                continue
            self.busy.add(key)
            try:
                await self._write(*key)
            finally:
                self.busy.discard(key)
            if self.random.random() < 0.8:  # a memory store never waits: without this, writes come in bursts
                await asyncio.sleep(0)

    async def finish(self) -> None:
        """An object for every selector, so that every watcher sees one last event."""
        for namespace, name, labels in ENDS:
            await self._put(namespace, name, None, labels)

    async def _write(self, namespace: str, name: str) -> None:
        before = self.current.get((namespace, name))
        if before is not None and self.random.random() < 0.3:
            registry = self.server.plane.registry
            row, caller = registry.row(CONFIGMAPS), system_caller("drill")
            written = await registry.delete(caller, row, namespace, name, DeleteOptions())
            del self.current[namespace, name]
            self.model.changes.append(Change(written.entry.revision, namespace, name, before, None))
            return
        after = {"n": str(self.left), **({"s": self.random.choice("012")} if self.random.random() < 0.8 else {})}
        await self._put(namespace, name, before, after)

    async def _put(self, namespace: str, name: str, before: Labels | None, after: Labels) -> None:
        registry = self.server.plane.registry
        row, caller = registry.row(CONFIGMAPS), system_caller("drill")
        obj = {"metadata": {"name": name, "namespace": namespace, "labels": after}, "data": {"x": "y" * 400}}
        if before is None:
            written = await registry.create(caller, row, namespace, obj)
        else:
            written = await registry.update(caller, row, namespace, name, obj)
        self.current[namespace, name] = after
        self.model.changes.append(Change(written.entry.revision, namespace, name, before, after))


@dataclass(slots=True)
class Session:
    """One connection: where it began, and what it showed."""

    since: int
    initial: bool
    events: list[Seen] = field(default_factory=list)
    bookmarks: list[tuple[int, int]] = field(default_factory=list)
    """(revision, how many events came before)."""
    expired: bool = False
    compacted: int = 0
    """The newest compact revision when it ended."""

    @property
    def last(self) -> int:
        reached = [self.since] + [revision for revision, _ in self.bookmarks]
        return max(reached + [event.revision for event in self.events])


class Follower:
    """One client with a selector and a form, over many connections."""

    def __init__(self, server: Api, random: Random, writers: Writers) -> None:
        self._server = server
        self._random = random
        self._writers = writers
        self._namespace = random.choice(("", *NAMESPACES))
        self._selector = random.choice(list(SELECTORS))
        self._accept = random.choice(FORMS)
        self.sessions: list[Session] = []
        self.compacted = 0
        self._end = [end[:2] for end in ENDS if self.matches()(end[0], end[2])][-1]

    def matches(self) -> Matches:
        wanted, check = self._namespace, SELECTORS[self._selector]
        return lambda namespace, labels: wanted in ("", namespace) and check(labels)

    async def run(self) -> None:
        while not self.sessions or not self._ended(self.sessions[-1]):
            await self._connect()
            for _ in range(self._random.choice((0, 0, 3, 60, 1_500))):
                await asyncio.sleep(0)

    def _ended(self, session: Session) -> bool:
        return any((event.namespace, event.name) == self._end for event in session.events)

    async def _connect(self) -> None:
        previous = self.sessions[-1] if self.sessions else None
        fresh = previous is None or previous.expired or self._random.random() < 0.1
        query = f"?watch=true&labelSelector={self._selector.replace(' ', '%20')}"
        if self._random.random() < 0.5:
            query += "&allowWatchBookmarks=true"
        since = 0
        if not fresh and previous is not None:
            since = previous.last
            query += f"&resourceVersion={since}"
        elif self._random.random() < 0.5:
            query += "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        else:
            query += self._random.choice(("", "&resourceVersion=0"))
        path = f"/api/v1/namespaces/{self._namespace}/configmaps" if self._namespace else "/api/v1/configmaps"
        response = await self._server.dispatcher.dispatch(request("GET", path + query, accept=self._accept))
        assert response.status == 200 and response.stream is not None
        # nothing was awaited since the registry took the snapshot
        session = Session(since if not fresh else self._server.plane.feed.revision, initial=fresh)
        self.sessions.append(session)
        await self._read(session, response.stream)
        session.compacted = self.compacted

    async def _read(self, session: Session, chunks: AsyncIterator[bytes]) -> None:
        lasts = self._random.choice((0, 1, 3, 10, 40))
        slow = self._random.choice((0, 0, 1, 20, 200))
        try:
            async for chunk in chunks:
                for line in chunk.splitlines():
                    _note(session, encoding.loads(line))
                lasts -= 1
                if session.expired or lasts < 0 or self._ended(session):
                    return
                for _ in range(slow):
                    await asyncio.sleep(0)
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]


def _note(session: Session, event: dict[str, Any]) -> None:
    kind, obj = event["type"], event["object"]
    if kind == "ERROR":
        assert obj["code"] == 410, obj
        session.expired = True
        return
    if obj["kind"] == "Table":
        obj = obj["rows"][0]["object"]
    metadata = obj["metadata"]
    if kind == "BOOKMARK":
        session.bookmarks.append((int(metadata["resourceVersion"]), len(session.events)))
        return
    session.events.append(Seen(kind, int(metadata["resourceVersion"]), metadata["namespace"], metadata["name"]))


def check(session: Session, model: Model, matches: Matches, *, complete: bool) -> None:
    """No gap, no repeat, right order and types; a 410 only where the log was compacted."""
    wanted = model.state(matches, session.since) if session.initial else []
    until = model.changes[-1].revision if complete else session.last
    wanted += model.events(matches, after=session.since, until=until)
    if not complete:
        # a connection that was closed may have ended anywhere, the snapshot included
        wanted = wanted[: len(session.events)]
    assert session.events == wanted
    if session.expired:
        assert session.compacted > session.since
    for revision, count in session.bookmarks:
        early = [event for event in session.events[count:] if event.revision <= revision]
        assert not early, "a bookmark overtook an event"


async def compactions(store: MemoryStore, server: Api, followers: list[Follower], random: Random) -> None:
    while True:
        for _ in range(random.randrange(50, 800)):
            await asyncio.sleep(0)
        revision = max(1, server.plane.feed.revision - random.randrange(250))
        for follower in followers:
            follower.compacted = max(follower.compacted, revision)
        with contextlib.suppress(Exception):  # never below what is compacted already
            await store.compact(revision)


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_watcher_sees_what_was_written_and_nothing_else(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_ITEMS", 200)
    random = Random(seed)
    store = MemoryStore()
    async with api(store=store) as server:
        with contextlib.suppress(ApiError):
            await server.create("/api/v1/namespaces", {"metadata": {"name": "other"}})
        writers = Writers(server, random)
        followers = [Follower(server, Random(random.random()), writers) for _ in range(WATCHERS)]
        async with asyncio.TaskGroup() as group:
            compacting = group.create_task(compactions(store, server, followers, random))
            following = [group.create_task(follower.run()) for follower in followers]
            await asyncio.gather(*(writers.run() for _ in range(WRITERS)))
            compacting.cancel()
            await writers.finish()
            writers.model.settle()
            async with asyncio.timeout(20):
                await asyncio.gather(*following)
        for follower in followers:
            for session in follower.sessions[:-1]:
                check(session, writers.model, follower.matches(), complete=False)
            check(follower.sessions[-1], writers.model, follower.matches(), complete=True)
        assert sum(len(follower.sessions) for follower in followers) > WATCHERS
    await store.close()
