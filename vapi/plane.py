"""ControlPlane: one API server's core, assembled: store, watch caches, registry, and the tasks that keep them going.

The tenant's and the embedded host's are two instances in one process; each has
its own catalogue, caches, keys and metrics. `main` adds what listens and what runs on top.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from storage.store import Store
from vapi.cacher.feed import Feed
from vapi.clock import Clock, SystemClock
from vapi.registry.admission import Admission, AdmissionPlugin, Lookup
from vapi.registry.allocator import Allocator
from vapi.registry.client import Client
from vapi.registry.notices import Situation, notices
from vapi.registry.ownership import FieldOwnership
from vapi.registry.registry import Registry
from vapi.resources.builtin import builtin_catalog
from vapi.resources.resource import Catalog
from vapi.schema.schemas import Schemas, load_schemas

PluginFactory = Callable[[Registry], Sequence[AdmissionPlugin]]
AllocatorFactory = Callable[[Lookup], Mapping[tuple[str, str], Allocator]]


@dataclass(frozen=True, slots=True)
class ControlPlane:
    catalog: Catalog
    schemas: Schemas
    store: Store
    feed: Feed
    registry: Registry
    fields: FieldOwnership
    clock: Clock

    def client(self, component: str) -> Client:
        return Client(self.registry, component)


@contextlib.asynccontextmanager
async def running_plane(
    store: Store,
    *,
    clock: Clock | None = None,
    schemas: Schemas | None = None,
    plugins: PluginFactory | None = None,
    allocators: AllocatorFactory | None = None,
    situation: Situation | None = None,
) -> AsyncIterator[ControlPlane]:
    """A plane whose caches are loaded and follow the store until the block ends. The store stays the caller's.

    `situation`: by which those who write are told what is only stored; None: nobody is.

    Raises StorageError if the store cannot be read.
    """
    clock = clock or SystemClock()
    schemas = schemas or load_schemas()
    catalog = builtin_catalog(schemas)
    feed = Feed(store, catalog.stored_kinds(), clock)
    await feed.start()
    fields = FieldOwnership(schemas, catalog)
    registry = Registry(
        catalog=catalog,
        store=store,
        feed=feed,
        fields=fields,
        clock=clock,
    )
    registry.use_admission(Admission(plugins(registry) if plugins else ()))
    if situation is not None:
        registry.use_notices(notices(situation, registry))
    registry.use_allocators(allocators(registry) if allocators else {})
    async with asyncio.TaskGroup() as group:
        following = group.create_task(feed.run(), name="feed")
        try:
            yield ControlPlane(catalog, schemas, store, feed, registry, fields, clock)
        finally:
            following.cancel()
