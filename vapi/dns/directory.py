"""Directory: an `Index` that follows the watch cache: names change with the objects, before a writer is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.dns import records
from vapi.dns.manifest import ENDPOINT_SLICES, SERVICES
from vapi.dns.records import Index
from vapi.gvk import GVR
from vapi.registry.client import Client

NAMESPACES = GVR("", "v1", "namespaces")
PIECE = 50
"""Objects read between two turns of the loop at the start: 1 ms (law 9)."""


class Directory:
    """`fill` once; subscribed until `close`. Costs one decode of each Service and slice that changes."""

    def __init__(self, client: Client) -> None:
        self.index = Index()
        self._client = client
        self._put: Mapping[GVR, Callable[[Entry], None]] = {
            NAMESPACES: lambda entry: self.index.put_namespace(entry.name),
            SERVICES: lambda entry: self.index.put_service(records.service(entry.obj())),
            ENDPOINT_SLICES: self._put_slice,
        }
        self._drop: Mapping[GVR, Callable[[Entry], None]] = {
            NAMESPACES: lambda entry: self.index.drop_namespace(entry.name),
            SERVICES: lambda entry: self.index.drop_service(entry.namespace, entry.name),
            ENDPOINT_SLICES: lambda entry: self.index.drop_slice(entry.namespace, entry.name),
        }
        self._subscriptions = [client.on_change(gvr, self._changed(gvr)) for gvr in self._put]

    async def fill(self) -> None:
        """What is there already. What changes meanwhile is read twice and no older the second time."""
        for gvr in self._put:
            names = [(entry.namespace, entry.name) for entry in self._client.entries(gvr)]
            for count, name in enumerate(names):
                entry = self._client.cached(gvr, *name)
                if entry is not None:
                    self._put[gvr](entry)
                    self.index.serial = max(self.index.serial, entry.revision)
                if count % PIECE == PIECE - 1:
                    await asyncio.sleep(0)

    def close(self) -> None:
        while self._subscriptions:
            self._subscriptions.pop()()

    def _changed(self, gvr: GVR) -> Callable[[Change], None]:
        def changed(change: Change) -> None:
            apply = self._drop if change.type is ChangeType.DELETED else self._put
            apply[gvr](change.entry)
            self.index.serial = max(self.index.serial, change.revision)

        return changed

    def _put_slice(self, entry: Entry) -> None:
        found = records.slice_of(entry.obj())
        self.index.put_slice(entry.namespace, entry.name, records.labels_service(entry.labels), found)
