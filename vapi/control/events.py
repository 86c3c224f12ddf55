"""EventRecorder: what controllers tell people, as core/v1 Events: counted when repeated, limited when they flood.

Recording never awaits and never fails: what does not fit into the queue, or is
refused (a terminating namespace), is dropped. The same news about the same
object is one Event with a count; what has been said is remembered in memory
only, so after a restart a new Event begins.
Source of the numbers: client-go tools/record (events_cache.go, broadcaster.go).
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass

from vapi.clock import Clock, rfc3339
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.registry.client import Client

log = logging.getLogger(__name__)

EVENTS = GVR("", "v1", "events")

NORMAL = "Normal"
WARNING = "Warning"

MAX_QUEUED = 1000
"""Events not yet written; client-go's broadcaster has as many. Further ones are dropped."""
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


@dataclass(frozen=True, slots=True)
class _Pending:
    news: News
    involved: Obj
    at: str


class EventRecorder:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._queue: deque[_Pending] = deque()
        self._wake = asyncio.Event()
        self._busy = False
        self._said: OrderedDict[News, _Said] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._last_ns = 0
        self.dropped = 0
        """By the queue or the flood limit, since the start."""

    def record(self, component: str, obj: Obj, event_type: str, reason: str, message: str) -> None:
        """`obj` is what it is about, complete with apiVersion and kind; only its names are kept."""
        metadata = obj["metadata"]
        uid = metadata.get("uid", "")
        if len(self._queue) >= MAX_QUEUED or not self._allowed(component, uid):
            self.dropped += 1
            return
        place = f"{metadata.get('namespace', '')}/{metadata['name']}"
        news = (component, uid, place, event_type, reason, message[:MAX_MESSAGE_CHARS])
        self._queue.append(_Pending(news, involved_object(obj), rfc3339(self._clock.now())))
        self._wake.set()

    @property
    def idle(self) -> bool:
        return not self._queue and not self._busy

    async def run(self) -> None:
        """Write what is recorded, in order, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._busy = True
            while self._queue:
                pending = self._queue.popleft()
                try:
                    await self._write(pending)
                except ApiError as error:
                    log.debug("event dropped", extra={"reason": pending.news[4], "error": error.message})
                except Exception:
                    log.exception("event dropped", extra={"reason": pending.news[4]})
                await asyncio.sleep(0)
            self._busy = False

    async def _write(self, pending: _Pending) -> None:
        said = self._said.get(pending.news)
        namespace = pending.involved.get("namespace") or "default"
        if said is None:
            said = _Said("", pending.at, 0)
        else:
            self._said.move_to_end(pending.news)
        said.count += 1
        entry = self._client.cached(EVENTS, namespace, said.name) if said.name else None
        if entry is not None:
            event = entry.obj()
            event.update(count=said.count, lastTimestamp=pending.at)
            await self._client.update(EVENTS, event)
            return
        said.name = self._name(pending.involved["name"])
        await self._client.create(
            EVENTS, event_object(pending.news, pending.involved, said.name, said.first, pending.at, said.count)
        )
        self._said[pending.news] = said
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
