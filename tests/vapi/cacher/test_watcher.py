"""Where a watch begins and how far it may run ahead of the loop."""

from __future__ import annotations

import asyncio

from storage.memory import MemoryStore
from tests.planes import CONFIGMAPS, NAMESPACES, configmap, plane
from vapi.cacher.watcher import INITIAL_SLICE, Watcher
from vapi.plane import ControlPlane
from vapi.registry.caller import WatchOptions


async def watch(server: ControlPlane, options: WatchOptions) -> Watcher:
    return await server.registry.watch(server.registry.row(CONFIGMAPS), "default", "", options)


async def names(watcher: Watcher, count: int) -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += [event.entry.name for event in await watcher.next() if event.entry is not None]
    return found


async def test_a_watch_from_a_version_still_to_come_does_not_show_what_was_before_it() -> None:
    """Another replica, which is ahead of this one, gave the version out."""
    async with plane(MemoryStore()) as server:
        client = server.client("test")
        for options in (WatchOptions(), WatchOptions(label_selector="!none")):
            version = server.feed.revision + 2
            watcher = await watch(server, WatchOptions(options.label_selector, resource_version=str(version)))
            first = asyncio.create_task(names(watcher, 1))
            await asyncio.sleep(0)
            for index in range(3):
                await client.create(CONFIGMAPS, configmap(f"c{version + index}"))
                await asyncio.sleep(0)
            assert await first == [f"c{version + 2}"]
            watcher.close()


async def test_a_selector_that_takes_nothing_of_a_long_list_lets_others_run() -> None:
    async with plane(MemoryStore()) as server:
        client = server.client("test")
        for index in range(INITIAL_SLICE + 1):
            await client.create(CONFIGMAPS, configmap(f"c{index:05}"))
        watcher = await watch(server, WatchOptions(label_selector="wanted"))
        waiting = asyncio.create_task(watcher.next())
        turns = 0
        while watcher._initial is not None:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 2
        watcher.close()
        assert await waiting == ()


async def rest(watcher: Watcher) -> list[tuple[str, int]]:
    """(type, revision) of everything until its end."""
    told: list[tuple[str, int]] = []
    async with asyncio.timeout(5):
        while events := await watcher.next():
            told += [(event.type.value, event.revision) for event in events]
    return told


async def test_a_watch_that_must_end_tells_what_has_happened_and_where_to_go_on() -> None:
    async with plane(MemoryStore()) as server:
        client = server.client("test")
        watcher = await watch(server, WatchOptions(resource_version="0", allow_bookmarks=True))
        made = await client.create(CONFIGMAPS, configmap("a"))
        await client.create(NAMESPACES, {"metadata": {"name": "elsewhere"}})  # moves the revision of all kinds
        watcher.finish()
        added = ("ADDED", int(made["metadata"]["resourceVersion"]))
        assert await rest(watcher) == [added, ("BOOKMARK", server.feed.revision)]


async def test_a_waiting_watch_ends_with_its_bookmark_and_one_that_takes_none_without() -> None:
    async with plane(MemoryStore()) as server:
        for bookmarks in (True, False):
            version = str(server.feed.revision)
            watcher = await watch(server, WatchOptions(resource_version=version, allow_bookmarks=bookmarks))
            waiting = asyncio.create_task(rest(watcher))
            await asyncio.sleep(0)
            watcher.finish()
            assert await waiting == ([("BOOKMARK", server.feed.revision)] if bookmarks else [])
