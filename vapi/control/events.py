"""EventRecorder: what controllers tell people, as core/v1 Events: counted when repeated, limited when they flood.

Recording never awaits and never fails: what does not fit into the queue, or is
refused (a terminating namespace), is dropped. The same news about the same
object is one Event with a count; what is repeated while it waits is written
once. What has been said is remembered in memory only, so after a restart a new
Event begins. Several are written at a time: they share the store's commits.
Source of the numbers: client-go tools/record (events_cache.go, broadcaster.go).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass

from vapi.clock import Clock, rfc3339
from vapi.control.workqueue import WorkQueue
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.registry.client import Client

log = logging.getLogger(__name__)

EVENTS = GVR("", "v1", "events")

NORMAL = "Normal"
WARNING = "Warning"

MAX_QUEUED_BYTES = 16 << 20
"""Of events not yet written, as _size_bytes counts them; further ones are dropped. 15,000 of the usual ones: 1,000
Deployments of three told at once. client-go's broadcaster has room for 1,000, but many writers beside ours."""
_FACTS_BYTES = 900
"""What an event takes beside its texts: dicts, tuples and short strings (*measured* with tracemalloc)."""
WRITERS = 8
"""At a time. One after the other they were 300/s, a commit each: 200 Deployments at once lost half of theirs."""
MAX_REMEMBERED = 4096
"""Kinds of news that are counted, and objects whose flood is limited; the least recent are forgotten."""
BURST = 25
"""Events of one component about one object at once, then one every REFILL_S seconds."""
REFILL_S = 300.0

MAX_MESSAGE_CHARS = 1024

News = tuple[str, str, str, str, str, str]
"""Component, involved uid, involved `namespace/name`, type, reason, message."""


@dataclass(slots=True)
class _Said:
    name: str
    first: str
    count: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Pending:
    """News that waits to be written."""

    involved: Obj
    first: str
    last: str
    count: int
    size_bytes: int


class EventRecorder:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._queue: WorkQueue[News] = WorkQueue(clock=clock)
        self._pending: dict[News, _Pending] = {}
        self._queued_bytes = 0
        self._said: OrderedDict[News, _Said] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._last_ns = 0
        self.dropped = 0
        """By the queue or the flood limit, since the start."""

    def record(self, component: str, obj: Obj, event_type: str, reason: str, message: str) -> None:
        """`obj` is what it is about, complete with apiVersion and kind; only its names are kept."""
        metadata = obj["metadata"]
        uid = metadata.get("uid", "")
        if not self._allowed(component, uid):
            self.dropped += 1
            return
        place = f"{metadata.get('namespace', '')}/{metadata['name']}"
        news = (component, uid, place, event_type, reason, message[:MAX_MESSAGE_CHARS])
        now = rfc3339(self._clock.now())
        waiting = self._pending.get(news)
        if waiting is not None:
            waiting.last = now
            waiting.count += 1
            return
        size_bytes = _FACTS_BYTES + sum(map(len, news))
        if self._queued_bytes + size_bytes > MAX_QUEUED_BYTES:
            self.dropped += 1
            return
        self._queued_bytes += size_bytes
        self._pending[news] = _Pending(involved_object(obj), now, now, 1, size_bytes)
        self._queue.add(news)

    @property
    def idle(self) -> bool:
        return self._queue.idle

    async def run(self) -> None:
        """Write what is recorded, in order of its first words, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write_all())

    async def _write_all(self) -> None:
        while True:
            news = await self._queue.get()
            pending = self._pending.pop(news)
            self._queued_bytes -= pending.size_bytes
            try:
                await self._write(news, pending)
            except ApiError as error:
                log.debug("event dropped", extra={"reason": news[4], "error": error.message})
            except Exception:
                log.exception("event dropped", extra={"reason": news[4]})
            finally:
                self._queue.done(news)
            await asyncio.sleep(0)

    async def _write(self, news: News, pending: _Pending) -> None:
        said = self._said.get(news)
        namespace = pending.involved.get("namespace") or "default"
        if said is None:
            said = _Said("", pending.first, 0)
        else:
            self._said.move_to_end(news)
        said.count += pending.count
        entry = self._client.cached(EVENTS, namespace, said.name) if said.name else None
        if entry is not None:
            event = entry.obj()
            event.update(count=said.count, lastTimestamp=pending.last)
            await self._client.update(EVENTS, event)
            return
        said.name = self._name(pending.involved["name"])
        await self._client.create(
            EVENTS, event_object(news, pending.involved, said.name, said.first, pending.last, said.count)
        )
        self._said[news] = said
        if len(self._said) > MAX_REMEMBERED:
            self._said.popitem(last=False)

    def _name(self, involved: str) -> str:
        """`<name>.<16 hex>`: nanoseconds, never the same twice."""
        self._last_ns = max(self._last_ns + 1, int(self._clock.now().timestamp() * 1_000_000) * 1000)
        return f"{involved[:236]}.{self._last_ns:016x}"

    def _allowed(self, component: str, uid: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.get((component, uid))
        if bucket is None:
            bucket = self._buckets[(component, uid)] = _Bucket(BURST, now)
            if len(self._buckets) > MAX_REMEMBERED:
                self._buckets.popitem(last=False)
        bucket.tokens = min(float(BURST), bucket.tokens + (now - bucket.at) / REFILL_S)
        bucket.at = now
        self._buckets.move_to_end((component, uid))
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def involved_object(obj: Obj) -> Obj:
    """An ObjectReference to `obj`, as an Event holds it."""
    metadata = obj["metadata"]
    reference = {
        "kind": obj["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "apiVersion": obj["apiVersion"],
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}


def event_object(news: News, involved: Obj, name: str, first: str, last: str, count: int) -> Obj:
    component, _, _, event_type, reason, message = news
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": involved.get("namespace") or "default"},
        "involvedObject": involved,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "firstTimestamp": first,
        "lastTimestamp": last,
        "count": count,
        "type": event_type,
        "eventTime": None,
        "reportingComponent": component,
        "reportingInstance": "",
    }
