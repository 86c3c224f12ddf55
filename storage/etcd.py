"""The store for several replicas: etcd through its JSON gateway, behind the same invariants.

A write is one transaction on one key. It is acknowledged once its own event came back through the feed, so that the
caches have it; after 3 s without it the acknowledgement goes first, for what etcd committed is never answered as an
error. Each write is a task of its own: cancelling the caller leaves the request alone.

Reads are linearizable ranges. `sync` is the read barrier of the caches: one revision read, shared by those who came
before it was sent, then the feed's word that it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from storage import errors
from storage.broadcaster import Broadcaster
from storage.etcd_client import ANSWER_TIMEOUT_S, EtcdClient, Message, Refused, parse_url
from storage.etcd_feed import (
    PROGRESS_PAUSE_S,
    Feed,
    KeySpace,
    check_readable,
    compact_revision,
    decode_value,
    encode_value,
    raise_if_canceled,
    revision_of,
    watch_request,
)
from storage.event import Event, KeyValue, Page, Revision
from storage.keys import check_key, prefix_end
from storage.store import Subscription
from storage.watch import Watch

T = TypeVar("T")

_Events = list[Event]  # inside the class `list` is the method

_Explain = Callable[[Sequence[Revision]], errors.StorageError]
"""What a lost transaction means, from the revisions its keys were found at (0: absent)."""

FEED_TIMEOUT_S = 3.0
"""How long an acknowledgement waits for its event, and a read barrier for the feed, as in kube-apiserver."""

REVISION_TIMEOUT_S = 1.5
"""For the revision read, which takes 0.4 ms: a member that hangs leaves time for another within the barrier's 3 s."""

PAGE_KEYS = 500
"""Keys a range request, as kube-apiserver's reflectors ask."""

PAGE_BYTES = 8 << 20
"""After a page with more bytes the next asks for fewer keys: a page of 500 objects of 1 MB is 700 MB of JSON."""


class EtcdStore:
    """A `Store` in etcd. Made by `open`, on the loop it is used on."""

    def __init__(self, client: EtcdClient, keys: KeySpace, revision: Revision) -> None:
        self._client = client
        self._keys = keys
        self._broadcaster = Broadcaster(revision)
        self._feed = Feed(client, keys, self._broadcaster)
        self._feed_task = asyncio.create_task(self._feed.run(), name="etcd feed")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._revision_read: asyncio.Task[Revision] | None = None
        self._next_revision_read: asyncio.Task[Revision] | None = None
        self._closed = False

    @classmethod
    async def open(cls, url: str) -> EtcdStore:
        """Connect to any of the endpoints (see `etcd_client.parse_url`).

        Raises ValueError, UnsupportedStore (etcd too old), StoreUnavailable (none answers).
        """
        config = parse_url(url)
        client = await EtcdClient.connect(config)
        keys = KeySpace(config.prefix)
        try:
            answer = await client.call("/kv/range", {"key": keys.encode(""), "count_only": True})
        except BaseException as error:
            await client.close()
            if isinstance(error, Refused):
                raise errors.StoreUnavailable(f"etcd refused the first read: {error.message}") from error
            raise
        return cls(client, keys, revision_of(answer))

    async def get(self, key: str) -> KeyValue:
        self._check_open()
        answer = await self._range({"key": self._keys.encode(key)})
        for kv in answer.get("kvs", ()):
            return self._key_value(kv)
        raise errors.KeyNotFound(key)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, at: Revision = 0) -> Page:
        """In pages of at most 500 keys, all at the revision of the first."""
        self._check_open()
        end = self._keys.encode_end(prefix_end(prefix))
        first = self._keys.encode(max(prefix, start))
        if start and start >= (prefix_end(prefix) or start + "\0"):
            return Page((), at or await self.current_revision(), more=False)
        items: list[KeyValue] = []
        page_keys = PAGE_KEYS
        while True:
            wanted = min(page_keys, limit - len(items)) if limit else page_keys
            request = {"key": first, "range_end": end, "limit": str(wanted), "revision": str(at)}
            answer = await self._range(request, at=at)
            at = at or revision_of(answer)
            page = [self._key_value(kv) for kv in answer.get("kvs", ())]
            items += page
            more = bool(answer.get("more"))
            if not more or (limit and len(items) >= limit):
                return Page(tuple(items), at, more)
            first = self._keys.encode(page[-1].key + "\0")
            size_bytes = sum(len(item.value) for item in page)
            page_keys = max(1, min(PAGE_KEYS, len(page) * PAGE_BYTES // max(size_bytes, 1)))

    async def count(self, prefix: str) -> int:
        self._check_open()
        end = self._keys.encode_end(prefix_end(prefix))
        answer = await self._range({"key": self._keys.encode(prefix), "range_end": end, "count_only": True})
        return int(answer.get("count", 0))

    async def create(self, key: str, value: bytes, *, guard: tuple[str, Revision] | None = None) -> Revision:
        check_key(key)
        encoded = self._keys.encode(key)
        compare, lost = [_at_revision(encoded, 0)], [_key_only(encoded)]
        if guard is not None:
            guard_key = self._keys.encode(guard[0])
            compare.append(_at_revision(guard_key, guard[1]))
            lost.append(_key_only(guard_key))
        put = {"request_put": {"key": encoded, "value": encode_value(value)}}

        def explain(found: Sequence[Revision]) -> errors.StorageError:
            if guard is not None and found[1] != guard[1]:
                return errors.GuardFailed(f"{guard[0]} is no longer at revision {guard[1]}")
            return errors.KeyExists(key)

        return await self._write({"compare": compare, "success": [put], "failure": lost}, explain)

    async def update(self, key: str, value: bytes, *, expected: Revision) -> Revision:
        put = {"request_put": {"key": self._keys.encode(key), "value": encode_value(value)}}
        return await self._swap(key, expected, put)

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        return await self._swap(key, expected, {"request_delete_range": {"key": self._keys.encode(key)}})

    def watch(self, prefix: str, *, since: Revision) -> Subscription:
        return Watch(self, self._broadcaster, prefix, since)

    async def after(self, prefix: str, revision: Revision, limit: int) -> Sequence[Event]:
        """Through a watch of its own, up to the revision of the call: etcd reads its log in no other way."""
        target = await self.current_revision()
        if revision >= target:
            return []
        await check_readable(self._client, self._keys, revision)
        events = await self._replay(prefix, revision, limit, target)
        # Once more: what was compacted while it was read is missing without a word.
        await check_readable(self._client, self._keys, revision)
        return events

    async def current_revision(self) -> Revision:
        """One linearizable read, shared by all who come before it is sent."""
        self._check_open()
        if self._next_revision_read is None:
            read = self._read_revision(self._revision_read)
            self._next_revision_read = self._start(read)
        return await asyncio.shield(self._next_revision_read)

    async def sync(self) -> Revision:
        revision = await self.current_revision()
        if not await self._feed.wait_for(revision, timeout_s=FEED_TIMEOUT_S, ask=True):
            raise errors.FeedBehind(f"the feed has not reached revision {revision} within {FEED_TIMEOUT_S} s")
        return revision

    async def compact(self, revision: Revision) -> None:
        self._check_open()
        if revision <= 0:
            return
        try:
            await self._client.call("/kv/compaction", {"revision": str(revision)})
        except Refused as error:
            if "future revision" in error.message:
                raise errors.FutureRevision(f"revision {revision} has not been written yet") from error
            if "compacted" not in error.message:
                raise errors.StoreUnavailable(error.message) from error

    async def close(self) -> None:
        self._closed = True
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self._feed_task.cancel()
        await asyncio.wait((self._feed_task,))
        self._broadcaster.close()
        await self._client.close()

    async def _swap(self, key: str, expected: Revision, operation: Message) -> Revision:
        check_key(key)
        encoded = self._keys.encode(key)
        # etcd calls an absent key "at revision 0"; nobody has read a key at 0, so that must lose.
        compare = [_at_revision(encoded, expected if expected > 0 else -1)]
        transaction = {"compare": compare, "success": [operation], "failure": [_key_only(encoded)]}
        return await self._write(transaction, lambda found: errors.RevisionConflict(key, expected, found[0]))

    async def _write(self, transaction: Message, explain: _Explain) -> Revision:
        self._check_open()
        return await asyncio.shield(self._start(self._submit(transaction, explain)))

    async def _submit(self, transaction: Message, explain: _Explain) -> Revision:
        """Send once; answer after the feed has what the answer speaks of, or after 3 s (invariants 2 and 11)."""
        try:
            answer = await self._client.call("/kv/txn", transaction, write=True)
        except Refused as error:
            if "too large" in error.message or "larger than max" in error.message:
                raise errors.ValueTooLarge(error.message) from error
            raise errors.StoreUnavailable(f"etcd refused the write: {error.message}") from error
        revision = revision_of(answer)
        won = bool(answer.get("succeeded"))
        # The event of a won write comes by itself; a loser's revision may be a foreign key's.
        await self._feed.wait_for(revision, timeout_s=FEED_TIMEOUT_S, ask=not won)
        if won:
            return revision
        raise explain([_found_revision(response) for response in answer["responses"]])

    async def _replay(self, prefix: str, revision: Revision, limit: int, target: Revision) -> Sequence[Event]:
        end = prefix_end(prefix)
        stream = await self._client.watch(watch_request(self._keys, prefix, end, revision))
        events: _Events = []
        asker = asyncio.create_task(_ask_until_cancelled(stream.request_progress))
        try:
            while True:
                async with asyncio.timeout(FEED_TIMEOUT_S):
                    message = await stream.receive()
                raise_if_canceled(message, revision)
                events += [self._keys.event(each) for each in message.get("events", ())]
                is_progress = "events" not in message and not message.get("created")
                if len(events) >= limit or (is_progress and revision_of(message) >= target):
                    return events[:limit]
        except TimeoutError:
            raise errors.StoreUnavailable("etcd sent no events and no progress") from None
        except Refused as error:
            raise errors.StoreUnavailable(error.message) from error
        finally:
            asker.cancel()
            await asyncio.gather(asker, return_exceptions=True)
            await stream.close()

    async def _read_revision(self, previous: asyncio.Task[Revision] | None) -> Revision:
        if previous is not None:
            await asyncio.wait((previous,))
        # From here on the read may be under way: who comes now is served by the next.
        self._revision_read, self._next_revision_read = self._next_revision_read, None
        request = {"key": self._keys.encode(""), "count_only": True}
        return revision_of(await self._range(request, answer_timeout_s=REVISION_TIMEOUT_S))

    async def _range(
        self, request: Message, *, at: Revision = 0, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Message:
        try:
            return await self._client.call("/kv/range", request, answer_timeout_s=answer_timeout_s)
        except Refused as error:
            if "future revision" in error.message:
                raise errors.FutureRevision(f"revision {at} has not been written yet") from error
            if "compacted" in error.message:
                raise errors.Compacted(at, await compact_revision(self._client, self._keys)) from error
            raise errors.StoreUnavailable(f"etcd refused the read: {error.message}") from error

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that outlives its caller; `close` waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone

    def _key_value(self, kv: Message) -> KeyValue:
        return KeyValue(
            self._keys.decode(kv["key"]), decode_value(kv), int(kv["create_revision"]), int(kv["mod_revision"])
        )

    def _check_open(self) -> None:
        if self._closed:
            raise errors.StoreClosed("the store is closed")


async def _ask_until_cancelled(ask: Callable[[], Awaitable[None]]) -> None:
    while True:
        await ask()
        await asyncio.sleep(PROGRESS_PAUSE_S)


def _at_revision(key: str, revision: Revision) -> Message:
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def _key_only(key: str) -> Message:
    return {"request_range": {"key": key, "keys_only": True}}


def _found_revision(response: Message) -> Revision:
    kvs = response["response_range"].get("kvs", ())
    return int(kvs[0]["mod_revision"]) if kvs else 0
