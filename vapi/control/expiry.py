"""expiry controller: objects of rows with a `ttl_s` (events) go that long after their last write, by ordinary deletes.

The life is the same for all objects of a kind, so they fall due in the order
they were written: a queue of names with times, and one timer for its head. Who
was written again meanwhile is put back at the end; the object itself tells
(creation and managedFields), so nothing is lost at a restart.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable
from functools import partial

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.clock import parse_rfc3339
from vapi.control.controller import Context, Controller, Sources, all_at_once
from vapi.control.informer import Name, sliced
from vapi.gvk import GVR, Obj
from vapi.resources.resource import Catalog

SLACK = 1000
"""Names of objects that are gone already, kept in a queue before it is cleaned."""
PIECE = 500
"""Deletes of one look."""


class ExpiryController(Controller[GVR]):
    """Keys are resources."""

    name = "expiry-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ttls = expiring_resources(context.client.catalog)
        self._queues: dict[GVR, deque[tuple[float, Name]]] = {gvr: deque() for gvr in self._ttls}
        """(seconds since the epoch at which it is due, name), in order."""
        self._alive = dict.fromkeys(self._ttls, 0)

    def sources(self) -> Sources[GVR]:
        return {gvr: partial(self._changed, gvr) for gvr in self._ttls}

    async def prepare(self) -> None:
        for gvr, ttl_s in self._ttls.items():
            found = []
            async for entry in sliced(self.client.entries(gvr)):
                due = last_write(entry.obj()).timestamp() + ttl_s
                found.append((due, (entry.namespace, entry.name)))
            self._alive[gvr] = len(found)
            self._queues[gvr] = deque(sorted([*found, *self._queues[gvr]]))

    def all_keys(self) -> Iterable[GVR]:
        return self._ttls

    def _changed(self, gvr: GVR, change: Change) -> Iterable[GVR]:
        if change.type is ChangeType.DELETED:
            self._alive[gvr] -= 1
            return ()
        if change.type is ChangeType.MODIFIED:
            return ()
        self._alive[gvr] += 1
        queue = self._queues[gvr]
        queue.append((self.clock.now().timestamp() + self._ttls[gvr], (change.entry.namespace, change.entry.name)))
        crowded = len(queue) > 2 * self._alive[gvr] + SLACK
        return (gvr,) if len(queue) == 1 or crowded else ()

    async def reconcile(self, key: GVR) -> None:
        queue, ttl_s = self._queues[key], self._ttls[key]
        if len(queue) > 2 * self._alive[key] + SLACK:
            self._queues[key] = queue = deque(each for each in queue if self.client.cached(key, *each[1]) is not None)
        now = self.clock.now().timestamp()
        due: list[Entry] = []
        while queue and queue[0][0] <= now and len(due) < PIECE:
            _, name = queue.popleft()
            entry = self.client.cached(key, *name)
            if entry is None:
                continue
            written = last_write(entry.obj()).timestamp()
            if written + ttl_s > now:
                queue.append((now + ttl_s, name))
            else:
                due.append(entry)
        refused = await all_at_once(partial(self._delete, key, entry) for entry in due)
        if refused:
            queue.extend((now + ttl_s, (entry.namespace, entry.name)) for entry in due)
        if queue:
            self.queue.add_after(key, queue[0][0] - now)

    async def _delete(self, gvr: GVR, entry: Entry) -> None:
        """Only as it was seen: a write in between gives it a new life."""
        await self.client.delete(gvr, entry.namespace, entry.name, uid=entry.uid, resource_version=str(entry.revision))


def expiring_resources(catalog: Catalog) -> dict[GVR, int]:
    """Resource → seconds; one row of each stored kind."""
    found: dict[GVR, int] = {}
    for stored in catalog.stored_kinds():
        row = catalog.find(stored.gvk.group, stored.gvk.version, stored.plural)
        if row is not None and row.ttl_s:
            found[row.gvr] = row.ttl_s
    return found


def last_write(obj: Obj) -> dt.datetime:
    """As far as the object tells."""
    metadata = obj["metadata"]
    times = [metadata.get("creationTimestamp"), obj.get("lastTimestamp")]
    times += [each.get("time") for each in metadata.get("managedFields") or ()]
    return max(parse_rfc3339(each) for each in times if each)
