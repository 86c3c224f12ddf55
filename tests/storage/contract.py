"""The contract of all stores: each backend's test module subclasses `StoreContract` with a `store` fixture.

The comment above a group of tests is the number of the invariant in the docstring of `storage`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from storage import errors
from storage.event import Event, EventType, KeyValue, Progress, Revision
from storage.store import Store, Subscription

PATIENCE_S = 20.0
"""Longer than anything here takes on a busy machine; only a failing test waits for it."""


async def events_until(subscription: Subscription, revision: Revision) -> list[Event]:
    """What the subscription yields until an event or a Progress says that it has reached `revision`."""
    events: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        async for batch in subscription:
            assert batch, "a step yields at least one element"
            events += [each for each in batch if isinstance(each, Event)]
            if batch[-1].revision >= revision:
                return events
    raise AssertionError("the watch ended without a reason")


async def error_of(subscription: Subscription) -> errors.StorageError:
    """The reason that the subscription ends with; what it yields before is dropped."""
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(errors.StorageError) as raised:
            async for _ in subscription:
                pass
    return raised.value


def keys_of(items: Sequence[KeyValue]) -> list[str]:
    return [item.key for item in items]


class Consumer:
    """A task that follows a watch all the time, as the watch cache does."""

    def __init__(self, subscription: Subscription) -> None:
        self.seen: list[Event | Progress] = []
        self.batches: list[Sequence[Event | Progress]] = []
        self._moved = asyncio.Event()
        self._subscription = subscription
        self._task = asyncio.create_task(self._run())

    @property
    def events(self) -> list[Event]:
        return [each for each in self.seen if isinstance(each, Event)]

    async def _run(self) -> None:
        async for batch in self._subscription:
            self.seen += batch
            self.batches.append(batch)
            self._moved.set()

    async def caught_up(self, revision: Revision) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.seen or self.seen[-1].revision < revision:
                self._moved.clear()
                await self._moved.wait()

    async def stop(self) -> None:
        self._subscription.close()
        await self._task


async def following(store: Store, prefix: str = "/") -> Consumer:
    """A consumer that is live: it waits for what is published next."""
    since = await store.sync()
    consumer = Consumer(store.watch(prefix, since=since))
    await store.create("/first", b"")
    await consumer.caught_up(since + 1)
    return consumer


class StoreContract:
    """Every method is a test; the subclass gives the fixture `store`, opened and empty."""

    gapless = True
    """Nobody else writes, so revisions grow by exactly 1."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        raise NotImplementedError
        yield cast("Store", None)

    # 1

    async def test_a_commit_raises_the_current_revision(self, store: Store) -> None:
        before = await store.current_revision()
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", expected=created)
        deleted = await store.delete("/a", expected=updated)
        assert before < created < updated < deleted == await store.current_revision()
        if self.gapless:
            assert deleted == before + 3

    async def test_a_lost_write_does_not_raise_the_revision(self, store: Store) -> None:
        revision = await store.create("/a", b"1")
        with pytest.raises(errors.KeyExists):
            await store.create("/a", b"2")
        assert await store.current_revision() == revision

    async def test_compacting_up_to_a_newest_tombstone_does_not_lower_the_revision(self, store: Store) -> None:
        created = await store.create("/a", b"1")
        deleted = await store.delete("/a", expected=created)
        await store.compact(deleted)
        assert await store.current_revision() == deleted
        assert await store.create("/b", b"2") > deleted

    # 2

    async def test_an_event_is_published_before_its_write_is_acknowledged(self, store: Store) -> None:
        consumer = await following(store)
        for number in range(20):
            revision = await store.create(f"/a/{number}", b"")
            assert consumer.events[-1].revision == revision
        await consumer.stop()

    async def test_concurrent_writes_are_published_in_revision_order_before_their_answers(self, store: Store) -> None:
        consumer = await following(store)

        async def write(number: int) -> Revision:
            revision = await store.create(f"/a/{number}", b"")
            assert revision in {event.revision for event in consumer.events}
            return revision

        revisions = await asyncio.gather(*(write(number) for number in range(200)))
        seen = [event.revision for event in consumer.events if event.key.startswith("/a/")]
        assert seen == sorted(revisions)
        await consumer.stop()

    async def test_sync_returns_after_everything_up_to_its_revision_is_published(self, store: Store) -> None:
        consumer = await following(store)
        revision = await store.create("/a", b"")
        assert await store.sync() >= revision
        assert consumer.events[-1].revision == revision
        await consumer.stop()

    # 3

    async def test_a_watch_replays_what_came_after_and_goes_on_live(self, store: Store) -> None:
        first = await store.create("/a", b"1")
        second = await store.update("/a", b"2", expected=first)
        watch = store.watch("/a", since=first)
        assert [event.revision for event in await events_until(watch, second)] == [second]
        third = await store.delete("/a", expected=second)
        assert [event.revision for event in await events_until(watch, third)] == [third]
        watch.close()

    async def test_watches_begun_amid_writes_see_each_event_once_in_order(self, store: Store) -> None:
        start = await store.current_revision()
        watches: list[Subscription] = []

        async def write(writer: int) -> Revision:
            revision = 0
            for number in range(40):
                revision = await store.create(f"/a/{writer}/{number}", bytes(100))
                begun.set()
                if number % 10 == writer:
                    watches.append(store.watch("/a/", since=start))
            return revision

        async def watch_from(since: Revision) -> list[Event]:
            await begun.wait()
            return await events_until(store.watch("/a/", since=since), await newest)

        begun = asyncio.Event()
        newest: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        early = [asyncio.create_task(watch_from(start)) for _ in range(3)]
        newest.set_result(max(await asyncio.gather(*(write(writer) for writer in range(5)))))
        expected = [event.revision for event in await store.after("/a/", start, 1_000)]
        assert len(expected) == 200
        for task in early:
            assert [event.revision for event in await task] == expected
        for watch in watches:
            assert [event.revision for event in await events_until(watch, await newest)] == expected
            watch.close()

    async def test_a_watch_sees_only_its_prefix(self, store: Store) -> None:
        since = await store.current_revision()
        watch = store.watch("/a/", since=since)
        await store.create("/b/1", b"")
        mine = await store.create("/a/1", b"")
        await store.create("/a", b"")
        last = await store.create("/a0", b"")
        assert [event.revision for event in await events_until(watch, last)] == [mine]
        watch.close()

    async def test_a_watch_of_a_compacted_revision_is_refused_before_it_yields(self, store: Store) -> None:
        since = await store.current_revision()
        first = await store.create("/a", b"1")
        second = await store.update("/a", b"2", expected=first)
        await store.compact(second)
        for revision in (since, first):
            with pytest.raises(errors.Compacted) as raised:
                await anext(aiter(store.watch("/", since=revision)))
            assert raised.value.compact_revision == second

    async def test_a_watch_from_the_compact_revision_sees_the_delete(self, store: Store) -> None:
        created = await store.create("/a", b"last")
        await store.compact(created)
        deleted = await store.delete("/a", expected=created)
        (event,) = await events_until(store.watch("/", since=created), deleted)
        assert (event.type, event.value, event.revision) == (EventType.DELETED, b"last", deleted)

    async def test_a_delete_at_the_compact_revision_is_never_silently_missed(self, store: Store) -> None:
        created = await store.create("/a", b"last")
        deleted = await store.delete("/a", expected=created)
        await store.create("/b", b"")
        await store.compact(deleted)
        assert isinstance(await error_of(store.watch("/", since=created)), errors.Compacted)
        with pytest.raises(errors.Compacted):
            await store.after("/", created, 10)

    async def test_a_watch_since_the_future_waits_for_it(self, store: Store) -> None:
        now = await store.current_revision()
        watch = store.watch("/", since=now + 2)
        for number in range(2):
            await store.create(f"/a/{number}", b"")
        third = await store.create("/a/3", b"")
        assert [event.revision for event in await events_until(watch, third)] == [third]
        watch.close()

    async def test_a_cancelled_step_of_a_watch_loses_nothing(self, store: Store) -> None:
        since = await store.current_revision()
        watch = store.watch("/", since=since)
        step = asyncio.ensure_future(anext(aiter(watch)))
        await asyncio.sleep(0)
        step.cancel()
        await asyncio.wait((step,))
        revision = await store.create("/a", b"")
        assert [event.revision for event in await events_until(watch, revision)] == [revision]
        watch.close()

    async def test_closing_a_watch_ends_the_iteration(self, store: Store) -> None:
        watch = store.watch("/", since=await store.current_revision())
        waiting = asyncio.ensure_future(anext(aiter(watch)))
        await asyncio.sleep(0)
        watch.close()
        await asyncio.wait((waiting,))
        assert isinstance(waiting.exception(), StopAsyncIteration) or isinstance(waiting.result()[0], Progress)
        assert [batch async for batch in watch] == []

    # 4

    async def test_nothing_follows_that_a_progress_has_promised_away(self, store: Store) -> None:
        since = await store.current_revision()
        consumers = [Consumer(store.watch(prefix, since=since)) for prefix in ("/", "/a/", "/b/", "/none/")]
        writes = (store.create(f"/{'ab'[number % 2]}/{number}", b"") for number in range(300))
        newest = max(await asyncio.gather(*writes))
        for consumer in consumers:
            await consumer.caught_up(newest)
            revisions = [each.revision for each in consumer.seen]
            assert revisions == sorted(set(revisions))
            await consumer.stop()

    async def test_a_watch_of_a_quiet_prefix_learns_how_far_the_others_are(self, store: Store) -> None:
        watch = store.watch("/quiet/", since=await store.current_revision())
        revision = await store.create("/a", b"")
        assert await events_until(watch, revision) == []
        watch.close()

    # 5

    async def test_a_delete_carries_the_last_value_live_and_replayed(self, store: Store) -> None:
        since = await store.sync()
        live = store.watch("/", since=since)
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", expected=created)
        deleted = await store.delete("/a", expected=updated)
        for events in (await events_until(live, deleted), list(await store.after("/", since, 10))):
            event = events[-1]
            assert (event.type, event.value) == (EventType.DELETED, b"2")
            assert (event.create_revision, event.prev_revision) == (created, updated)
        live.close()

    async def test_an_updates_previous_value_is_readable_as_long_as_the_update(self, store: Store) -> None:
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", expected=created)
        await store.compact(created)
        (event,) = await store.after("/", created, 10)
        assert (event.revision, event.prev_revision, event.prev_value) == (updated, created, b"1")

    async def test_a_created_again_key_begins_anew(self, store: Store) -> None:
        created = await store.create("/a", b"1")
        deleted = await store.delete("/a", expected=created)
        again = await store.create("/a", b"2")
        (event,) = await store.after("/", deleted, 10)
        assert (event.type, event.create_revision, event.prev_revision) == (EventType.CREATED, again, 0)
        assert await store.get("/a") == KeyValue("/a", b"2", again, again)

    # 7

    @pytest.mark.parametrize("value", [b"", b"\0", b"\xff\xfe", b"{", bytes(range(256)) * 4_000], ids=len)
    async def test_any_bytes_come_back_as_they_are(self, store: Store, value: bytes) -> None:
        revision = await store.create("/a", value)
        assert (await store.get("/a")).value == value
        assert (await store.list("/")).items[0].value == value
        assert (await store.after("/", revision - 1, 1))[0].value == value

    # 9

    async def test_every_write_has_a_revision_of_its_own(self, store: Store) -> None:
        revisions = await asyncio.gather(*(store.create(f"/a/{number}", b"") for number in range(100)))
        assert len(set(revisions)) == 100

    # 10

    async def test_a_guarded_create_needs_the_guard_at_its_revision(self, store: Store) -> None:
        guard = await store.create("/guard", b"1")
        await store.create("/a/1", b"", guard=("/guard", guard))
        changed = await store.update("/guard", b"2", expected=guard)
        with pytest.raises(errors.GuardFailed):
            await store.create("/a/2", b"", guard=("/guard", guard))
        await store.create("/a/2", b"", guard=("/guard", changed))
        await store.delete("/guard", expected=changed)
        with pytest.raises(errors.GuardFailed):
            await store.create("/a/3", b"", guard=("/guard", changed))
        assert keys_of((await store.list("/a/")).items) == ["/a/1", "/a/2"]

    async def test_nothing_lands_behind_a_guard_that_was_changed_first(self, store: Store) -> None:
        guard = await store.create("/guard", b"1")
        creates = [store.create(f"/a/{number}", b"", guard=("/guard", guard)) for number in range(30)]
        writes = [*creates[:15], store.update("/guard", b"terminating", expected=guard), *creates[15:]]
        results = await asyncio.gather(*writes, return_exceptions=True)
        terminating = results[15]
        assert isinstance(terminating, int)
        for result in results[:15] + results[16:]:
            assert isinstance(result, errors.GuardFailed) or (isinstance(result, int) and result < terminating)

    async def test_the_guard_is_looked_at_before_the_key(self, store: Store) -> None:
        guard = await store.create("/guard", b"1")
        await store.create("/a", b"")
        with pytest.raises(errors.GuardFailed):
            await store.create("/a", b"", guard=("/guard", guard + 1))
        with pytest.raises(errors.KeyExists):
            await store.create("/a", b"", guard=("/guard", guard))

    # 11

    async def test_a_loser_finds_the_winner_when_it_gets_its_answer(self, store: Store) -> None:
        consumer = await following(store)

        async def race(number: int) -> Revision | None:
            try:
                return await store.create("/a", b"%d" % number)
            except errors.KeyExists:
                assert consumer.events[-1].key == "/a"
                return None

        winners = [won for won in await asyncio.gather(*(race(number) for number in range(10))) if won]
        assert winners == [(await store.get("/a")).revision]
        await consumer.stop()

    async def test_a_lost_update_names_the_revision_that_won(self, store: Store) -> None:
        consumer = await following(store)
        created = await store.create("/a", b"1")

        async def race(number: int) -> Revision:
            try:
                return await store.update("/a", b"%d" % number, expected=created)
            except errors.RevisionConflict as lost:
                assert (lost.key, lost.expected) == ("/a", created)
                assert consumer.events[-1].revision == lost.current
                return lost.current

        assert len(set(await asyncio.gather(*(race(number) for number in range(10))))) == 1
        await consumer.stop()

    @pytest.mark.parametrize("expected", [0, 1, 10**9])
    async def test_writing_an_absent_key_conflicts_with_revision_zero(self, store: Store, expected: int) -> None:
        for write in (store.update("/a", b"", expected=expected), store.delete("/a", expected=expected)):
            with pytest.raises(errors.RevisionConflict) as raised:
                await write
            assert raised.value.current == 0

    async def test_a_deleted_key_conflicts_with_revision_zero(self, store: Store) -> None:
        consumer = await following(store)
        created = await store.create("/a", b"")
        await store.delete("/a", expected=created)
        with pytest.raises(errors.RevisionConflict) as raised:
            await store.update("/a", b"", expected=created)
        assert raised.value.current == 0
        assert consumer.events[-1].type is EventType.DELETED
        await consumer.stop()

    # 12

    async def test_a_cancelled_writer_gives_up_the_answer_not_the_write(self, store: Store) -> None:
        since = await store.current_revision()
        writers = [asyncio.ensure_future(store.create(f"/a/{number}", b"")) for number in range(10)]
        await asyncio.sleep(0)
        for writer in writers[:5]:
            writer.cancel()
        await asyncio.wait(writers)
        last = await store.create("/last", b"")
        events = await events_until(store.watch("/a/", since=since), last)
        assert {event.key for event in events} == {f"/a/{number}" for number in range(10)}

    async def test_close_finishes_what_was_submitted(self, store: Store) -> None:
        writers = [asyncio.ensure_future(store.create(f"/a/{number}", b"")) for number in range(10)]
        await asyncio.sleep(0)
        await store.close()
        assert all(isinstance(result, int) for result in await asyncio.gather(*writers))

    async def test_a_closed_store_says_so(self, store: Store) -> None:
        revision = await store.create("/a", b"")
        watch = store.watch("/", since=revision)
        waiting = asyncio.ensure_future(error_of(watch))
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert isinstance(await waiting, errors.StoreClosed)
        for call in (
            store.get("/a"),
            store.list("/"),
            store.count("/"),
            store.after("/", 0, 1),
            store.create("/b", b""),
            store.update("/a", b"", expected=revision),
            store.delete("/a", expected=revision),
            store.current_revision(),
            store.sync(),
            store.compact(revision),
        ):
            with pytest.raises(errors.StoreClosed):
                await call

    # Reads

    async def test_get_of_an_absent_key_says_so(self, store: Store) -> None:
        with pytest.raises(errors.KeyNotFound):
            await store.get("/a")

    @pytest.mark.parametrize("key", ["", "a\0b", "x" * 3_000, "\ud800"], ids=["empty", "NUL", "long", "surrogate"])
    async def test_a_bad_key_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            await store.create(key, b"")

    async def test_a_list_is_in_key_order_and_has_only_the_prefix(self, store: Store) -> None:
        names = ["/b", "/a/ü", "/a/z", "/a/a", "/a", "/a0", "/a/\U0001f600", "/a/a/b"]
        await asyncio.gather(*(store.create(name, b"") for name in names))
        expected = sorted((name for name in names if name.startswith("/a/")), key=str.encode)
        assert keys_of((await store.list("/a/")).items) == expected
        assert await store.count("/a/") == len(expected)
        assert keys_of((await store.list("")).items) == sorted(names)
        assert await store.count("") == len(names)

    async def test_pages_of_one_revision_do_not_see_later_writes(self, store: Store) -> None:
        revisions = [await store.create(f"/a/{number}", b"old") for number in range(7)]
        first = await store.list("/a/", limit=3)
        assert (keys_of(first.items), first.more) == (["/a/0", "/a/1", "/a/2"], True)
        assert first.revision == revisions[-1]
        await store.delete("/a/3", expected=revisions[3])
        updated = await store.update("/a/4", b"new", expected=revisions[4])
        await store.create("/a/45", b"")
        await store.update("/a/4", b"newer", expected=updated)
        items = list(first.items)
        page = first
        while page.more:
            page = await store.list("/a/", start=items[-1].key + "\0", limit=3, at=first.revision)
            assert page.revision == first.revision
            items += page.items
        assert items == [KeyValue(f"/a/{n}", b"old", revisions[n], revisions[n]) for n in range(7)]

    async def test_a_list_at_any_readable_revision_is_the_state_of_then(self, store: Store) -> None:
        created = await store.create("/a", b"1")
        other = await store.create("/b", b"1")
        updated = await store.update("/a", b"2", expected=created)
        deleted = await store.delete("/b", expected=other)
        again = await store.create("/b", b"3")
        states = {
            created: {"/a": b"1"},
            other: {"/a": b"1", "/b": b"1"},
            updated: {"/a": b"2", "/b": b"1"},
            deleted: {"/a": b"2"},
            again: {"/a": b"2", "/b": b"3"},
        }
        for compacted in (0, other, updated, deleted, again):
            await store.compact(compacted)
            for revision, state in states.items():
                if revision < compacted:
                    with pytest.raises(errors.Compacted) as raised:
                        await store.list("/", at=revision)
                    assert (raised.value.revision, raised.value.compact_revision) == (revision, compacted)
                else:
                    page = await store.list("/", at=revision)
                    assert ({item.key: item.value for item in page.items}, page.revision) == (state, revision)

    async def test_a_future_revision_is_refused(self, store: Store) -> None:
        future = await store.create("/a", b"") + 1
        with pytest.raises(errors.FutureRevision):
            await store.list("/", at=future)
        with pytest.raises(errors.FutureRevision):
            await store.compact(future)

    async def test_start_is_inclusive_and_may_lie_outside_the_prefix(self, store: Store) -> None:
        for name in ("/a/1", "/a/2", "/a/3"):
            await store.create(name, b"")
        assert keys_of((await store.list("/a/", start="/a/2")).items) == ["/a/2", "/a/3"]
        assert keys_of((await store.list("/a/", start="/")).items) == ["/a/1", "/a/2", "/a/3"]
        assert keys_of((await store.list("/a/", start="/b")).items) == []

    async def test_a_page_that_ends_with_the_prefix_has_no_more(self, store: Store) -> None:
        for name in ("/a/1", "/a/2", "/b"):
            await store.create(name, b"")
        page = await store.list("/a/", limit=2)
        assert (keys_of(page.items), page.more) == (["/a/1", "/a/2"], False)

    async def test_after_is_bounded_by_its_limit(self, store: Store) -> None:
        since = await store.current_revision()
        revisions = [await store.create(f"/a/{number}", b"") for number in range(5)]
        assert [event.revision for event in await store.after("/", since, 3)] == revisions[:3]
        assert [event.revision for event in await store.after("/", revisions[2], 3)] == revisions[3:]
        assert list(await store.after("/", revisions[-1], 3)) == []
        assert list(await store.after("/none", since, 3)) == []

    async def test_compaction_is_idempotent_and_keeps_what_is_current(self, store: Store) -> None:
        created = await store.create("/a", b"1")
        updated = await store.update("/a", b"2", expected=created)
        kept = await store.create("/b", b"3")
        await store.compact(kept)
        await store.compact(kept)
        await store.compact(created)
        expected = (KeyValue("/a", b"2", created, updated), KeyValue("/b", b"3", kept, kept))
        assert (await store.list("/")).items == expected
        assert await store.update("/a", b"4", expected=updated) > kept
