"""The feed: every view current before the writer's answer, handlers told of everything, also after a lost place."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from storage.memory import MemoryStore
from tests.planes import CONFIGMAPS, PODS, FakeClock, pod, turns
from tests.planes import configmap as configmap_of
from tests.planes import plane as running_plane
from tests.vapi.cacher.objects import KIND, configmap, key_of, value_of
from vapi import encoding
from vapi.cacher import cacher as cacher_module
from vapi.cacher.cacher import Cacher
from vapi.cacher.entry import Change
from vapi.cacher.feed import Feed, kind_prefix
from vapi.cacher.watcher import Start, Watcher, WatchEventType
from vapi.gvk import Obj


@contextlib.asynccontextmanager
async def following(feed: Feed) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def watcher(cacher: Cacher, start: Start) -> Watcher:
    return cacher.watch(start, prefix=KIND.prefix, matches=None, bookmarks_allowed=False, timeout_s=3_600)


class Told:
    """A handler that keeps what it was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []

    def __call__(self, change: Change) -> None:
        self.changes.append((change.type, change.entry.name))


async def put(store: MemoryStore, obj: Obj) -> int:
    return await store.create(key_of(obj), value_of(obj))


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("/registry/core/configmaps/default/a", "/registry/core/configmaps/"),
        ("/registry/core/configmaps", ""),
        ("/registry/x", ""),
    ],
)
def test_a_key_tells_its_kind(key: str, prefix: str) -> None:
    assert kind_prefix(key) == prefix


async def test_views_are_loaded_and_rings_filled_from_the_log_at_the_start() -> None:
    store = MemoryStore()
    first = await put(store, configmap("a"))
    await put(store, configmap("b"))
    feed = Feed(store, [KIND], FakeClock())
    await feed.start()
    cacher = feed.cacher(KIND)
    assert [found.name for found in cacher.view.entries()] == ["a", "b"]
    resumed = watcher(cacher, Start(first))
    assert [(event.type, event.entry and event.entry.name) for event in await resumed.next()] == [
        (WatchEventType.ADDED, "b")
    ]


async def test_handlers_hear_of_every_change_in_order() -> None:
    store, told = MemoryStore(), Told()
    feed = Feed(store, [KIND], FakeClock())
    await feed.start()
    detach = feed.cacher(KIND).add_handler(told)
    async with following(feed):
        revision = await put(store, configmap("a"))
        revision = await store.update(key_of(configmap("a")), value_of(configmap("a", text="2")), expected=revision)
        revision = await store.delete(key_of(configmap("a")), expected=revision)
        await feed.wait_until(revision)
        detach()
        detach()
        await feed.wait_until(await put(store, configmap("unseen")))
    assert told.changes == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_handler_that_fails_is_logged_and_keeps_nobody_from_the_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, told = MemoryStore(), Told()

    def fails(_change: Change) -> None:
        raise RuntimeError("broken")

    feed = Feed(store, [KIND], FakeClock())
    await feed.start()
    cacher = feed.cacher(KIND)
    cacher.add_handler(fails)
    cacher.add_handler(told)
    with caplog.at_level(logging.CRITICAL + 1, cacher_module.__name__):
        async with following(feed):
            live = watcher(cacher, Start(feed.revision))
            await feed.wait_until(await put(store, configmap("a")))
            assert cacher.view.get(key_of(configmap("a"))) is not None
            assert [event.type for event in await live.next()] == [WatchEventType.ADDED]
    assert told.changes == [("ADDED", "a")]


async def test_a_feed_that_lost_its_place_tells_handlers_the_difference_and_ends_watchers_with_410() -> None:
    store, told = MemoryStore(), Told()
    feed = Feed(store, [KIND], FakeClock())
    stays, goes = await put(store, configmap("stays")), await put(store, configmap("goes"))
    changes, replaced = await put(store, configmap("changes")), await put(store, configmap("replaced"))
    await feed.start()
    cacher = feed.cacher(KIND)
    cacher.add_handler(told)
    open_watch = watcher(cacher, Start(feed.revision))
    # nobody follows, and the log is gone
    await store.delete(key_of(configmap("goes")), expected=goes)
    await store.update(key_of(configmap("changes")), value_of(configmap("changes", text="2")), expected=changes)
    await store.delete(key_of(configmap("replaced")), expected=replaced)
    await put(store, configmap("replaced", uid="another"))
    last = await put(store, configmap("comes"))
    await store.compact(last)
    async with following(feed):
        assert await feed.wait_until(last)
        await turns()
        assert sorted(told.changes) == sorted(
            [
                ("DELETED", "goes"),
                ("MODIFIED", "changes"),
                ("DELETED", "replaced"),
                ("ADDED", "replaced"),
                ("ADDED", "comes"),
            ]
        )
        assert told.changes.index(("DELETED", "replaced")) < told.changes.index(("ADDED", "replaced"))
        (event,) = await open_watch.next()
        assert event.error is not None
        assert (event.type, event.error.code, event.error.reason) == (WatchEventType.ERROR, 410, "Expired")
        assert await open_watch.next() == ()
        assert open_watch not in cacher.watchers
        # from here on everything is as before
        told.changes.clear()
        await feed.wait_until(await put(store, configmap("later")))
        assert told.changes == [("ADDED", "later")]
    found = cacher.view.get(key_of(configmap("stays")))
    assert found is not None
    assert found.revision == stays


async def test_a_watcher_whose_place_has_left_the_ring_reads_on_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vapi.cacher.history.MAX_ITEMS", 8)
    store = MemoryStore()
    feed = Feed(store, [KIND], FakeClock())
    await feed.start()
    cacher = feed.cacher(KIND)
    late = watcher(cacher, Start(feed.revision))
    async with following(feed):
        for number in range(100):
            revision = await put(store, configmap(f"c{number:03}"))
        await feed.wait_until(revision)
        assert cacher.history.sequence_after(0) is None
        seen: list[str] = []
        while len(seen) < 100:
            seen += [event.entry.name for event in await late.next() if event.entry is not None]
    assert seen == [f"c{number:03}" for number in range(100)]


async def test_waiting_for_a_version_ends_when_it_comes_or_never_does() -> None:
    store = MemoryStore()
    feed = Feed(store, [KIND], FakeClock())
    await feed.start()
    async with following(feed):
        waiting = asyncio.create_task(feed.wait_until(2))
        await put(store, configmap("a"))
        await turns()
        assert not waiting.done()
        await put(store, configmap("b"))
        assert await waiting
        assert not await feed.wait_until(99, timeout_s=0.01)


async def test_dispatch_never_edits_the_dicts_it_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers hand their decoded object to the feed instead of having it decoded again; nobody may touch it then."""
    shared: list[tuple[Obj, bytes]] = []
    expect = Feed.expect

    def remembering(self: Feed, value: bytes, decoded: Obj) -> None:
        shared.append((decoded, encoding.dumps_sorted(decoded)))
        expect(self, value, decoded)

    monkeypatch.setattr(Feed, "expect", remembering)
    async with running_plane() as plane:
        client = plane.client("test")
        plane.registry.on_change(CONFIGMAPS, lambda change: change.entry.obj()["metadata"].clear())
        obj = await client.create(CONFIGMAPS, configmap_of("a", x="1"))
        obj["data"]["x"] = "2"
        obj["metadata"]["labels"] = {"l": "1"}
        obj = await client.update(CONFIGMAPS, obj)
        obj["metadata"]["labels"]["l"] = "edited by its owner"
        bound = await client.create(PODS, pod("p", l="1"))
        bound = await client.bind("default", "p", "n1", uid=bound["metadata"]["uid"])
        bound["status"] = {"phase": "Running"}
        await client.update(PODS, bound, subresource="status")
        await client.delete(PODS, "default", "p")
        for gvr in (CONFIGMAPS, PODS):
            for entry in plane.registry.entries(gvr):
                entry.obj()["metadata"].clear()
    assert len(shared) >= 7
    assert all(encoding.dumps_sorted(decoded) == before for decoded, before in shared)
