"""Watches through dispatch: frames, forms, bookmarks, ends, and frames shared (golden/watch_list)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from storage.memory import MemoryStore
from tests import planes
from tests.planes import FakeClock, plane
from tests.vapi.endpoints.servers import CONFIGMAPS, PARTIAL, TABLE, Api, api, configmap, request
from vapi import encoding
from vapi.cacher.watcher import WatchEvent, WatchEventType
from vapi.endpoints.forms import Forms
from vapi.endpoints.negotiate import PLAIN_JSON, Answer, Shape
from vapi.endpoints.watch import KEPT_BYTES, KEPT_FRAMES, Watches
from vapi.registry.registry import Registry


class Stream:
    """One watch, an event at a time."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._lines: list[bytes] = []

    async def next(self) -> dict[str, Any]:
        while not self._lines:
            async with asyncio.timeout(5):
                chunk = await anext(self._chunks)
            assert chunk.endswith(b"}\n")
            self._lines = chunk.splitlines()
        event: dict[str, Any] = encoding.loads(self._lines.pop(0))
        return event

    async def take(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    async def ends(self) -> bool:
        async with asyncio.timeout(5):
            return not self._lines and await anext(self._chunks, None) is None


async def watch(server: Api, query: str = "", *, accept: str = "application/json", path: str = CONFIGMAPS) -> Stream:
    response = await server.dispatcher.dispatch(request("GET", f"{path}?watch=true{query}", accept=accept))
    assert response.status == 200
    assert response.is_watch
    assert response.stream is not None
    return Stream(response.stream)


async def version(server: Api) -> str:
    return str((await server.get(CONFIGMAPS)).json["metadata"]["resourceVersion"])


async def test_a_watch_without_a_version_begins_with_what_there_is_and_goes_on() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("a"))
        stream = await watch(server)
        assert await stream.take(1) == [("ADDED", "a")]
        await server.create(CONFIGMAPS, configmap("b"))
        await server.send("DELETE", f"{CONFIGMAPS}/a", {})
        assert await stream.take(2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_an_event_shows_the_object_as_a_get_does() -> None:
    async with api() as server:
        since = await version(server)
        created = (await server.create(CONFIGMAPS, configmap("a", x="1"))).json
        stream = await watch(server, f"&resourceVersion={since}")
        assert await stream.next() == {"type": "ADDED", "object": created}


async def test_a_deletion_shows_the_last_state_at_the_version_of_the_deletion() -> None:
    async with api() as server:
        created = (await server.create(CONFIGMAPS, configmap("a", x="1"))).json
        since = await version(server)
        await server.send("DELETE", f"{CONFIGMAPS}/a", {})
        stream = await watch(server, f"&resourceVersion={since}")
        event = await stream.next()
        assert event["type"] == "DELETED"
        assert event["object"]["data"] == created["data"]
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


async def test_a_watch_list_ends_its_beginning_with_a_bookmark() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("a"))
        stream = await watch(
            server, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        )
        assert await stream.take(1) == [("ADDED", "a")]
        assert await stream.next() == {
            "type": "BOOKMARK",
            "object": {
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {
                    "resourceVersion": await version(server),
                    "annotations": {"k8s.io/initial-events-end": "true"},
                },
            },
        }


async def test_a_table_brings_its_columns_once() -> None:
    async with api() as server:
        for name in "ab":
            await server.create(CONFIGMAPS, configmap(name))
        stream = await watch(
            server,
            "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            accept=TABLE,
        )
        first, second, bookmark = [await stream.next() for _ in range(3)]
        assert [column["name"] for column in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
        assert [row["cells"][0] for row in first["object"]["rows"]] == ["a"]
        assert second["object"]["columnDefinitions"] is None
        assert bookmark["type"] == "BOOKMARK"
        (blank,) = bookmark["object"]["rows"]
        assert blank["cells"] == ["", 0, "<unknown>"]
        assert blank["object"]["kind"] == "PartialObjectMetadata"
        assert blank["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_metadata_alone_can_be_watched() -> None:
    async with api() as server:
        created = (await server.create(CONFIGMAPS, configmap("a", x="1"))).json
        stream = await watch(server, accept=PARTIAL)
        assert await stream.next() == {
            "type": "ADDED",
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": created["metadata"],
            },
        }


@pytest.mark.parametrize("bookmarks", ["", "&allowWatchBookmarks=true"])
async def test_a_watch_ends_at_its_timeout(bookmarks: str) -> None:
    async with api() as server:
        stream = await watch(server, f"&timeoutSeconds=1{bookmarks}")
        if bookmarks:
            assert (await stream.next())["type"] == "BOOKMARK"
        assert await stream.ends()


async def test_a_version_that_is_gone_is_an_error_event_and_the_end() -> None:
    store = MemoryStore()
    async with api(store=store) as server:
        for name in "abc":
            await server.create(CONFIGMAPS, configmap(name))
        await store.compact(int(await version(server)))
    async with api(store=store) as again:
        stream = await watch(again, "&resourceVersion=1")
        event = await stream.next()
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert event["object"]["message"].startswith("too old resource version: 1 (")
        assert await stream.ends()


@pytest.mark.parametrize("path", ["/api/v1/watch/namespaces/default/configmaps", "/api/v1/watch/configmaps"])
async def test_paths_of_the_old_kind_watch_too(path: str) -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("a"))
        assert await (await watch(server, path=path)).take(1) == [("ADDED", "a")]


async def test_an_old_path_with_a_name_watches_that_object_alone() -> None:
    async with api() as server:
        for name in "ab":
            await server.create(CONFIGMAPS, configmap(name))
        stream = await watch(server, path="/api/v1/watch/namespaces/default/configmaps/b")
        assert await stream.take(1) == [("ADDED", "b")]


async def test_watch_on_a_name_by_path_is_a_get() -> None:
    async with api() as server:
        created = (await server.create(CONFIGMAPS, configmap("a"))).json
        assert (await server.get(f"{CONFIGMAPS}/a?watch=true&timeoutSeconds=1")).json == created


async def test_a_client_that_goes_ends_its_watch() -> None:
    async with api() as server:
        response = await server.dispatcher.dispatch(request("GET", f"{CONFIGMAPS}?watch=1"))
        assert server.dispatcher.watches.count == 1
        assert response.on_disconnect is not None
        response.on_disconnect()
        assert server.dispatcher.watches.count == 0


async def test_a_stopping_server_ends_every_watch() -> None:
    async with api() as server:
        stream = await watch(server)
        ending = asyncio.create_task(stream.ends())
        await asyncio.sleep(0)
        await server.dispatcher.stop_watches()
        assert await ending


def added(registry: Registry, name: str) -> WatchEvent:
    entry = registry.cached(planes.CONFIGMAPS, "default", name)
    assert entry is not None
    return WatchEvent(WatchEventType.ADDED, entry.revision, entry)


async def test_watchers_of_the_same_share_one_frame_and_forms_do_not_mix() -> None:
    clock = FakeClock()
    async with plane(clock=clock) as running:
        await running.client("t").create(planes.CONFIGMAPS, planes.configmap("a"))
        row = running.registry.row(planes.CONFIGMAPS)
        watches = Watches(Forms(clock), clock)
        source = watches.source(row, PLAIN_JSON, "")
        assert watches.source(row, PLAIN_JSON, "") is source
        assert source.frame(added(running.registry, "a")) is source.frame(added(running.registry, "a"))
        table = watches.source(row, Answer(shape=Shape.TABLE), "")
        assert table is not source
        assert b'"Table"' in table.frame(added(running.registry, "a"))


async def test_a_frame_with_an_age_is_not_kept_longer_than_the_age_is_right() -> None:
    clock = FakeClock()
    async with plane(clock=clock) as running:
        await running.client("t").create(planes.CONFIGMAPS, planes.configmap("a"))
        source = Watches(Forms(clock), clock).source(
            running.registry.row(planes.CONFIGMAPS), Answer(shape=Shape.TABLE), ""
        )
        assert b'"0s"' in source.frame(added(running.registry, "a"))
        clock.advance(90)
        assert b'"90s"' in source.frame(added(running.registry, "a"))


async def test_kept_frames_are_bounded_in_number_and_bytes() -> None:
    clock = FakeClock()
    async with plane(clock=clock) as running:
        source = Watches(Forms(clock), clock).source(running.registry.row(planes.CONFIGMAPS), PLAIN_JSON, "")
        for index in range(KEPT_FRAMES + 10):
            await running.client("t").create(planes.CONFIGMAPS, planes.configmap(f"c{index}", x="x" * 6_000))
            source.frame(added(running.registry, f"c{index}"))
        assert source.kept <= KEPT_FRAMES
        assert source.kept_bytes <= KEPT_BYTES
