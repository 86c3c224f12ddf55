"""The registry in process as a Cluster: the virtual side of the syncer, and the host of embedded mode and fast tests.

`InProcessCluster` is the Protocol over a `Client`; `VirtualCluster` adds what
only the virtual side has: reads from the watch cache without awaiting, handlers
inside dispatch, and binding.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from sync.cluster import ClusterError, ClusterEvent, ClusterEventType, PatchType
from sync.translators.services import take_numbers
from vapi import encoding, selectors
from vapi.control.informer import sliced
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.registry.client import Client
from vapi.resources.resource import Propagation


class Record(Protocol):
    """What a cache entry tells without being decoded; `obj()` is a private copy."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def fields(self) -> Mapping[str, str]: ...
    @property
    def deleting(self) -> bool: ...
    @property
    def controller(self) -> str: ...

    def obj(self) -> Obj: ...


Told = tuple[ClusterEventType, Any]


def _taken(pending: dict[str, Told]) -> Iterator[Told]:
    """Each out of it in the moment in which it is told: until then a newer one may take its place."""
    while pending:
        yield pending.pop(next(iter(pending)))


@contextmanager
def _translated() -> Iterator[None]:
    """ApiError → ClusterError."""
    try:
        yield
    except ApiError as error:
        raise ClusterError(error.code, error.reason, error.message, error.retry_after_s, error.details) from error


class InProcessCluster:
    """A Cluster over a registry of this process. Its client's component is the field manager: `vapi` for a host."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, gvr: GVR, namespace: str, name: str) -> Obj:
        with _translated():
            return await self._client.get(gvr, namespace, name)

    async def list(self, gvr: GVR, namespace: str = "", *, label_selector: str = "") -> Sequence[Obj]:
        matches = selectors.parse_label_selector(label_selector).matches
        return [e.obj() async for e in sliced(self._client.entries(gvr, namespace)) if matches(e.labels)]

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        """Never loses its place. A change that nobody took yet is replaced by the next of its object."""
        matches = selectors.parse_label_selector(label_selector).matches
        pending: dict[str, Told] = {}
        wake = asyncio.Event()

        def changed(change: Any) -> None:
            entry, old = change.entry, change.old
            if namespace and entry.namespace != namespace:
                return
            gone = change.type == "DELETED"
            fits = matches(entry.labels)
            if not fits and not (old is not None and matches(old.labels)):
                return
            pending.pop(entry.key, None)
            kind = ClusterEventType.DELETED if gone or not fits else ClusterEventType.MODIFIED
            pending[entry.key] = kind, entry
            wake.set()

        remove = self._client.on_change(gvr, changed)
        try:
            newest = 0
            async for entry in sliced(list(self._client.entries(gvr, namespace))):
                newest = max(newest, entry.revision)
                if matches(entry.labels):
                    yield ClusterEvent(ClusterEventType.ADDED, entry.obj())
            yield ClusterEvent(ClusterEventType.SYNCED, revision=newest)
            while True:
                await wake.wait()
                wake.clear()
                async for event_type, entry in sliced(_taken(pending)):
                    yield ClusterEvent(event_type, entry.obj())
        finally:
            remove()

    async def create(self, gvr: GVR, obj: Obj) -> Obj:
        with _translated():
            return await self._client.create(gvr, _private(obj))

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        with _translated():
            return await self._client.update(gvr, _private(obj), subresource=subresource)

    async def apply(self, gvr: GVR, obj: Obj, *, force: bool = True, subresource: str = "") -> Obj:
        metadata = obj["metadata"]
        with _translated():
            return await self._client.patch(
                gvr,
                metadata.get("namespace", ""),
                metadata["name"],
                encoding.dumps(obj),
                content_type=PatchType.APPLY,
                subresource=subresource,
                force=force,
            )

    async def rehearse(self, gvr: GVR, obj: Obj, *, apply: bool) -> Obj:
        client = self._client.rehearsing()
        if not apply:
            with _translated():
                return await client.create(gvr, _private(obj))
        return await InProcessCluster(client).apply(gvr, obj)

    async def patch(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        patch: Obj | Sequence[Obj],
        *,
        content_type: str,
        subresource: str = "",
    ) -> Obj:
        with _translated():
            return await self._client.patch(
                gvr, namespace, name, encoding.dumps(patch), content_type=content_type, subresource=subresource
            )

    async def delete(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
        propagation: str = "",
    ) -> None:
        with _translated():
            await self._client.delete(
                gvr,
                namespace,
                name,
                uid=uid,
                grace_period_s=grace_period_s,
                propagation=Propagation(propagation) if propagation else None,
            )

    async def delete_collection(self, gvr: GVR, namespace: str, *, label_selector: str) -> None:
        for obj in await self.list(gvr, namespace, label_selector=label_selector):
            try:
                await self.delete(gvr, namespace, obj["metadata"]["name"], uid=obj["metadata"]["uid"])
            except ClusterError as error:
                if error.code != 404:
                    raise


def _private(obj: Obj) -> Obj:
    """The registry takes what it is given for its own; ours shares parts with others."""
    copy: Obj = encoding.loads(encoding.dumps(obj))
    return copy


class VirtualCluster(InProcessCluster):
    """The tenant's side."""

    def cached(self, gvr: GVR, namespace: str, name: str) -> Record | None:
        """As of the last event; synchronous."""
        return self._client.cached(gvr, namespace, name)

    def entries(self, gvr: GVR, namespace: str = "") -> Iterable[Record]:
        return self._client.entries(gvr, namespace)

    def on_change(self, gvr: GVR, handler: Callable[[Record, Record | None], None]) -> Callable[[], None]:
        """`handler(entry, old)` for every change, inside dispatch: keep a key, do not work. The answer takes it off."""
        return self._client.on_change(gvr, lambda change: handler(change.entry, change.old))

    async def copy(self, gvr: GVR, obj: Obj) -> Obj:
        """Create the mirror of what the host has already: with its uid and age, and no admission asked."""
        with _translated():
            return await self._client.copy(gvr, _private(obj))

    async def put_status(self, gvr: GVR, obj: Obj) -> Record:
        """As `update` of the status of `obj`, which becomes the registry's own: neither copied nor decoded again."""
        with _translated():
            return await self._client.put(gvr, obj, subresource="status")

    async def bind(
        self,
        namespace: str,
        name: str,
        node: str,
        *,
        uid: str,
        annotations: Mapping[str, str] | None = None,
        scheduled: dt.datetime | None = None,
    ) -> Obj:
        """Put a Pod on a node, once; `annotations` come with it, and since when it has been `scheduled` there."""
        with _translated():
            return await self._client.bind(namespace, name, node, uid=uid, annotations=annotations, scheduled=scheduled)

    async def renumber(self, namespace: str, name: str, host: Obj, *, uid: str) -> Obj:
        """Give a Service the numbers of its twin, which no update can: what was its own is somebody else's."""
        with _translated():
            return await self._client.renumber(namespace, name, lambda spec: take_numbers(spec, host["spec"]), uid=uid)
