"""The feed: one watch over everything under the prefix, which moves the broadcaster and with it all subscribers.

It reconnects from the revision after the last one published, so nothing is lost or repeated. When etcd has compacted
past that revision, the feed has lost its place: its watches end with Compacted and it goes on from now.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from binascii import a2b_base64, b2a_base64

from storage import errors
from storage.broadcaster import Broadcaster
from storage.etcd_client import EtcdClient, Message, Refused, WatchStream
from storage.event import Event, EventType, Revision

log = logging.getLogger(__name__)

PROGRESS_PAUSE_S = 0.1
"""While somebody waits for a revision, how often etcd is asked how far it is: others move a shared etcd's revision."""

IDLE_PROGRESS_S = 10.0
"""Otherwise: keeps Progress coming to the subscribers."""

STALLED_S = 1.5
"""When somebody waited that long and nothing came, the member is cut off or stuck: another endpoint, in time for the
waiters' 3 s."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
"""Between two tries to connect; doubled each time."""


class KeySpace:
    """Our keys and etcd's: the prefix, and base64 for the gateway."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._length = len(prefix.encode())

    def encode(self, key: str) -> str:
        return encode_value((self._prefix + key).encode())

    def decode(self, encoded: str) -> str:
        return a2b_base64(encoded)[self._length :].decode()

    def encode_end(self, end: str | None) -> str:
        """The end of a range; None: the end of the whole key space."""
        # The prefix ends with a slash, and "0" is what follows it.
        return encode_value((self._prefix[:-1] + "0").encode()) if end is None else self.encode(end)

    def event(self, message: Message) -> Event:
        """One event of a watch with prev_kv. Raises Compacted if its previous value is gone."""
        kv, old = message["kv"], message.get("prev_kv")
        key, revision = self.decode(kv["key"]), int(kv["mod_revision"])
        deleted = message.get("type") == "DELETE"
        if not deleted and kv["create_revision"] == kv["mod_revision"]:
            return Event(EventType.CREATED, key, decode_value(kv), revision, revision)
        if old is None:
            raise errors.Compacted(revision - 1, revision)
        old_value, old_revision = decode_value(old), int(old["mod_revision"])
        created = int(old["create_revision"])
        if deleted:
            return Event(EventType.DELETED, key, old_value, revision, created, old_revision)
        return Event(EventType.UPDATED, key, decode_value(kv), revision, created, old_revision, old_value)


def encode_value(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode()


def decode_value(kv: Message) -> bytes:
    return a2b_base64(kv.get("value", ""))


def revision_of(message: Message) -> Revision:
    return int(message["header"]["revision"])


def watch_request(keys: KeySpace, prefix: str, end: str | None, since: Revision) -> Message:
    return {
        "key": keys.encode(prefix),
        "range_end": keys.encode_end(end),
        "start_revision": str(since + 1),
        "prev_kv": True,
    }


def raise_if_canceled(message: Message, since: Revision) -> None:
    """Raises Compacted, or StoreUnavailable with etcd's reason."""
    if message.get("canceled"):
        compact_revision = int(message.get("compact_revision", 0))
        if compact_revision:
            raise errors.Compacted(since, compact_revision)
        raise errors.StoreUnavailable(f"etcd ended the watch: {message.get('cancel_reason', 'no reason')}")


async def check_readable(client: EtcdClient, keys: KeySpace, revision: Revision) -> None:
    """Raises Compacted if events after `revision` may be gone.

    A watch from the compact revision itself is not refused by etcd, but a delete at it may be missing in releases we
    accept (etcd issues 18089 and 19179); a read at the revision before it is refused by all.
    """
    if revision <= 0:
        revision = 1  # 0 would read now; nothing was ever written at 1
    try:
        await client.call("/kv/range", {"key": keys.encode(""), "revision": str(revision), "count_only": True})
    except Refused as error:
        if "compacted" not in error.message:
            raise errors.StoreUnavailable(error.message) from error
        raise errors.Compacted(revision, await compact_revision(client, keys)) from error


async def compact_revision(client: EtcdClient, keys: KeySpace) -> Revision:
    """The compact revision of an etcd that was compacted. Only a refused watch tells it."""
    stream = await client.watch(watch_request(keys, "", None, 0))
    try:
        while True:
            message = await stream.receive()
            if "compact_revision" in message:
                return int(message["compact_revision"])
            if not message.get("created"):
                raise errors.StoreUnavailable("etcd does not tell its compact revision")
    finally:
        await stream.close()


class Feed:
    """Made on the loop; `run` is a task of its store."""

    def __init__(self, client: EtcdClient, keys: KeySpace, broadcaster: Broadcaster) -> None:
        self._client = client
        self._keys = keys
        self._broadcaster = broadcaster
        self._waiters: list[tuple[Revision, float, int, asyncio.Future[None]]] = []
        self._waiters_made = 0
        self._ask = asyncio.Event()
        self._last_advance = 0.0

    async def wait_for(self, revision: Revision, *, timeout_s: float, ask: bool) -> bool:
        """Until everything ≤ `revision` was published; False after `timeout_s`.

        `ask`: ask etcd for progress at once (the revision may be somebody else's), not only after a while.
        """
        if self._broadcaster.revision >= revision:
            return True
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters_made += 1
        heapq.heappush(self._waiters, (revision, time.monotonic(), self._waiters_made, reached))
        if ask:
            self._ask.set()
        try:
            async with asyncio.timeout(timeout_s):
                await reached
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Until cancelled. Every failure is logged and followed by another try."""
        pause_s = FIRST_PAUSE_S
        while True:
            before = self._broadcaster.revision
            try:
                await self._follow()
            except errors.Compacted as lost:
                await self._start_over(lost)
            except (errors.StorageError, OSError) as error:
                # Once an outage: the tries that follow say nothing new.
                level = logging.WARNING if pause_s == FIRST_PAUSE_S else logging.DEBUG
                log.log(level, "etcd feed interrupted", extra={"revision": before, "error": str(error)})
            except Exception:
                log.exception("etcd feed failed", extra={"revision": before})
            pause_s = FIRST_PAUSE_S if self._broadcaster.revision > before else min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _follow(self) -> None:
        """One connection's worth of events; ends with an error."""
        since = self._broadcaster.revision
        stream = await self._client.watch(watch_request(self._keys, "", None, since))
        asker = asyncio.create_task(self._ask_for_progress(stream))
        try:
            unchecked = True
            self._last_advance = time.monotonic()
            self._ask.set()
            while True:
                message = await stream.receive()
                raise_if_canceled(message, since)
                self._publish(message)
                if unchecked and "events" not in message and not message.get("created"):
                    # The first progress: all that was missed came. Was any of it compacted meanwhile?
                    unchecked = False
                    if self._broadcaster.revision > since:
                        await check_readable(self._client, self._keys, since)
        except (errors.StoreUnavailable, Refused):
            self._client.lost(stream.gateway)
            raise
        finally:
            asker.cancel()
            await asyncio.gather(asker, return_exceptions=True)
            await stream.close()

    def _publish(self, message: Message) -> None:
        before = self._broadcaster.revision
        events = [self._keys.event(each) for each in message.get("events", ())]
        if events:
            self._broadcaster.dispatch(events, events[-1].revision)
        elif not message.get("created"):
            self._broadcaster.dispatch((), revision_of(message))
        if self._broadcaster.revision > before:
            self._last_advance = time.monotonic()
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        reached = self._broadcaster.revision
        while self._waiters and (self._waiters[0][0] <= reached or self._waiters[0][3].done()):
            future = heapq.heappop(self._waiters)[3]
            if not future.done():
                future.set_result(None)

    async def _ask_for_progress(self, stream: WatchStream) -> None:
        """At once when asked, every 100 ms while anybody waits; gives a stalled stream up."""
        while True:
            self._wake_waiters()
            try:
                async with asyncio.timeout(PROGRESS_PAUSE_S if self._waiters else IDLE_PROGRESS_S):
                    await self._ask.wait()
            except TimeoutError:
                pass
            self._ask.clear()
            if self._is_stalled():
                log.warning("etcd feed stalled", extra={"revision": self._broadcaster.revision})
                await stream.close()
                return
            await stream.request_progress()

    def _is_stalled(self) -> bool:
        oldest = min((since for _, since, _, future in self._waiters if not future.done()), default=None)
        return oldest is not None and time.monotonic() - max(oldest, self._last_advance) > STALLED_S

    async def _start_over(self, lost: errors.Compacted) -> None:
        """From the revision of now; every watch ends with Compacted."""
        log.warning("etcd feed lost its place", extra={"revision": lost.revision})
        try:
            answer = await self._client.call("/kv/range", {"key": self._keys.encode(""), "count_only": True})
        except errors.StorageError:
            log.warning("etcd feed cannot start over yet", exc_info=True)
            return
        self._broadcaster.lose(revision_of(answer), lost)
        self._wake_waiters()
