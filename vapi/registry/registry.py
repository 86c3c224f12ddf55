"""Registry: create, get, list, update, patch, delete and watch for any row; the one door to the objects.

A facade: `reads` serves from the watch cache, `writes` is the write path.
Everything that writes goes through here, HTTP requests and in-process controllers alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from storage.store import Store
from vapi.cacher.cacher import Handler
from vapi.cacher.entry import Entry
from vapi.cacher.feed import Feed
from vapi.cacher.watcher import Watcher
from vapi.clock import Clock
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.registry.admission import Admission
from vapi.registry.allocator import Allocator
from vapi.registry.caller import Caller, DeleteOptions, ListOptions, PatchRequest, WatchOptions
from vapi.registry.notices import Notices
from vapi.registry.ownership import FieldOwnership
from vapi.registry.reads import Listing, Reads, stored_kind
from vapi.registry.writes import Change, Writes, Written
from vapi.resources.resource import Catalog, Resource

DELETE_WORKERS = 16
"""Of a deletecollection, so that its deletes share group commits; upstream --delete-collection-workers is 1."""


class Registry:
    """All methods take rows of `catalog` and raise only ApiError (and CancelledError)."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        store: Store,
        feed: Feed,
        fields: FieldOwnership,
        clock: Clock,
    ) -> None:
        self.catalog = catalog
        self.clock = clock
        self._feed = feed
        self._reads = Reads(store, feed)
        self._writes = Writes(
            store=store,
            feed=feed,
            reads=self._reads,
            namespaces=catalog.row("", "v1", "namespaces"),
            fields=fields,
            clock=clock,
        )

    def use_admission(self, admission: Admission) -> None:
        """Plugins look things up here, so they are made after the registry and named before its first write."""
        self._writes.admission = admission

    def use_allocators(self, allocators: Mapping[tuple[str, str], Allocator]) -> None:
        """(group, plural) → who gives its objects their numbers."""
        self._writes.allocators = allocators

    def use_notices(self, notices: Notices) -> None:
        """What to tell of writes that are only stored."""
        self._writes.notices = notices

    # --- reads ----------------------------------------------------------------------------------------

    async def get(self, row: Resource, namespace: str, name: str, *, resource_version: str = "") -> Entry:
        return await self._reads.get(row, namespace, name, resource_version=resource_version)

    async def list(self, row: Resource, namespace: str, options: ListOptions) -> Listing:
        """`namespace` "" lists all namespaces."""
        return await self._reads.list(row, namespace, options)

    async def watch(self, row: Resource, namespace: str, name: str, options: WatchOptions) -> Watcher:
        """Option errors are raised here, before the first byte; a too old version is an ERROR event of the watcher."""
        return await self._reads.watch(row, namespace, name, options)

    # --- writes ---------------------------------------------------------------------------------------

    async def create(self, caller: Caller, row: Resource, namespace: str, obj: Obj) -> Written:
        """`obj` is decoded, in the row's version, and becomes the registry's own."""
        return await self._writes.create(caller, row, namespace, obj)

    async def update(
        self, caller: Caller, row: Resource, namespace: str, name: str, obj: Obj, *, subresource: str = ""
    ) -> Written:
        """PUT; subresource "" or one whose body is the object itself (`graft.OBJECT_SUBRESOURCES`)."""
        return await self._writes.update(caller, row, namespace, name, obj, subresource=subresource)

    async def patch(
        self, caller: Caller, row: Resource, namespace: str, name: str, patch: PatchRequest, *, subresource: str = ""
    ) -> Written:
        """Any of the four patch types; apply may create."""
        return await self._writes.patch(caller, row, namespace, name, patch, subresource=subresource)

    async def change(
        self,
        caller: Caller,
        row: Resource,
        namespace: str,
        name: str,
        change: Change,
        *,
        subresource: str = "",
        tracked: bool = False,
    ) -> Written:
        """A write computed from the stored object; `change` may run several times, each on a fresh private dict.

        `tracked`: its managedFields are computed too.
        """
        return await self._writes.change(caller, row, namespace, name, change, subresource=subresource, tracked=tracked)

    async def delete(self, caller: Caller, row: Resource, namespace: str, name: str, options: DeleteOptions) -> Written:
        return await self._writes.delete(caller, row, namespace, name, options)

    async def delete_collection(
        self, caller: Caller, row: Resource, namespace: str, list_options: ListOptions, options: DeleteOptions
    ) -> Listing:
        """The listing as it was before, as kube-apiserver answers it; what somebody else deleted meanwhile is in it.

        Raises the first ApiError, after the deletes that were under way.
        """
        listing = await self._reads.list(row, namespace, list_options)
        left = iter(listing.entries)
        failed: list[ApiError] = []

        async def work() -> None:
            for entry in left:
                if failed:
                    return
                try:
                    await self.delete(caller, row, entry.namespace, entry.name, options)
                    await asyncio.sleep(0)  # a dry run and what is going already wait for nothing
                except ApiError as error:
                    if error.code != 404:
                        failed.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(DELETE_WORKERS, len(listing.entries))):
                group.create_task(work())
        if failed:
            raise failed[0]
        return listing

    # --- in process -----------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Of the newest write the watch cache has seen."""
        return self._feed.revision

    def row(self, gvr: GVR) -> Resource:
        """Raises KeyError."""
        return self.catalog.of(gvr)

    def cached(self, gvr: GVR, namespace: str, name: str) -> Entry | None:
        """From the view; see `admission.Lookup`."""
        return self._reads.cached(self.catalog.of(gvr), namespace, name)

    def entries(self, gvr: GVR, namespace: str = "") -> Iterable[Entry]:
        """All of the view, in key order; "" for all namespaces. A frozen copy."""
        kind = stored_kind(self.catalog.of(gvr))
        view = self._feed.cachers[kind.prefix].view
        if not view:
            return ()  # handlers of changes ask for kinds that a cluster has none of
        return view.entries(kind.key(namespace, "") if namespace else kind.prefix)

    def on_change(self, gvr: GVR, handler: Handler) -> Callable[[], None]:
        return self._feed.cacher(stored_kind(self.row(gvr))).add_handler(handler)
