"""Informers: which keys a change concerns, and indexes over the watch cache that hold no objects of their own.

A controller has no store: it reads the view (`Client.cached`, `Client.entries`),
and everything here is references to its entries, names, uids, and facts derived
from one revision. Handlers run inside dispatch and only keep keys; nothing awaits,
but for the first fill, which goes in slices: it subscribes first and then looks
each key up in the view again, so that no change falls between the two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.gvk import GVR, Obj
from vapi.registry.client import Client

T = TypeVar("T")

Name = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-scoped objects."""

SLICE_S = 0.002
"""Of work between two turns of the loop (design, law 9)."""


async def sliced(items: Iterable[T]) -> AsyncIterator[T]:
    """`items`, with a turn of the loop after every 2 ms. What they were read from may have changed after it."""
    until = time.perf_counter() + SLICE_S
    for item in items:
        yield item
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE_S


class OwnerIndex:
    """uid of the controller → entries of what it controls; and the entries of a namespace that nobody controls.

    The entries are the view's own, replaced by every change, so they cost a reference each.
    """

    def __init__(self, client: Client, gvr: GVR) -> None:
        self._client = client
        self._gvr = gvr
        self._entries: dict[str, dict[str, Entry]] = {}
        """Controller's uid, or `/namespace` for orphans (no uid has a slash) → store key → entry."""

    def controlled_by(self, uid: str) -> list[Entry]:
        """As the view has them now, in no order."""
        return list(self._entries.get(uid, {}).values())

    def orphans(self, namespace: str) -> list[Entry]:
        return self.controlled_by(f"/{namespace}")

    def changed(self, change: Change) -> None:
        if change.old is not None:
            self._drop(change.old)
        if change.type is not ChangeType.DELETED:
            self._keep(change.entry)

    async def fill(self) -> None:
        async for snapshot in sliced(self._client.entries(self._gvr)):
            entry = self._client.cached(self._gvr, snapshot.namespace, snapshot.name)
            if entry is not None:
                self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        bucket = entry.controller or f"/{entry.namespace}"
        self._entries.setdefault(bucket, {})[entry.key] = entry

    def _drop(self, entry: Entry) -> None:
        bucket = entry.controller or f"/{entry.namespace}"
        entries = self._entries.get(bucket)
        if entries is not None:
            entries.pop(entry.key, None)
            if not entries:
                del self._entries[bucket]


class UidIndex:
    """uid → name, for kinds that other objects refer to by uid."""

    def __init__(self, client: Client, gvr: GVR) -> None:
        self._client = client
        self._gvr = gvr
        self._names: dict[str, Name] = {}

    def name(self, uid: str) -> Name | None:
        """None: no such object now."""
        return self._names.get(uid)

    def changed(self, change: Change) -> None:
        if change.type is ChangeType.DELETED:
            self._names.pop(change.entry.uid, None)
        else:
            self._names[change.entry.uid] = (change.entry.namespace, change.entry.name)

    async def fill(self) -> None:
        async for snapshot in sliced(self._client.entries(self._gvr)):
            entry = self._client.cached(self._gvr, snapshot.namespace, snapshot.name)
            if entry is not None:
                self._names[entry.uid] = (entry.namespace, entry.name)


class Facts(Generic[T]):
    """What `derive` makes of an object, once per revision; only for objects that were asked for.

    `derive` gets a decoded object and must not keep any of it but scalars and small tuples.
    """

    def __init__(self, derive: Callable[[Obj], T]) -> None:
        self._derive = derive
        self._known: dict[str, tuple[int, T]] = {}

    def of(self, entry: Entry) -> T:
        known = self._known.get(entry.key)
        if known is None or known[0] != entry.revision:
            known = self._known[entry.key] = (entry.revision, self._derive(entry.obj()))
        return known[1]

    def changed(self, change: Change) -> None:
        if change.type is ChangeType.DELETED:
            self._known.pop(change.entry.key, None)


Selector = Mapping[str, str]


class SelectorIndex:
    """Labels → the objects of a namespace whose selector means them, without a look at all of its objects.

    Each is filed under one item of its selector: the one that the fewest others were filed under when it came, so
    that an item which all of them have gathers nobody.
    """

    def __init__(self, client: Client, gvr: GVR, selectors: Facts[Selector | None]) -> None:
        """`selectors`: None and {} mean nothing."""
        self._client = client
        self._gvr = gvr
        self._selectors = selectors
        self._filed: dict[tuple[str, str, str], dict[str, Selector]] = {}
        """(namespace, label, value) → name → selector."""
        self._under: dict[Name, tuple[str, str, str]] = {}

    def meaning(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Names, in no order."""
        return [
            name
            for label, value in labels.items()
            for name, selector in self._filed.get((namespace, label, value), {}).items()
            if selector.items() <= labels.items()
        ]

    def changed(self, change: Change) -> None:
        if change.type is ChangeType.DELETED:
            self._drop((change.entry.namespace, change.entry.name))
        else:
            self._keep(change.entry)

    async def fill(self) -> None:
        async for snapshot in sliced(self._client.entries(self._gvr)):
            entry = self._client.cached(self._gvr, snapshot.namespace, snapshot.name)
            if entry is not None:
                self._keep(entry)

    def _keep(self, entry: Entry) -> None:
        name = (entry.namespace, entry.name)
        self._drop(name)
        selector = self._selectors.of(entry)
        if selector:
            items = [(entry.namespace, label, value) for label, value in selector.items()]
            under = min(items, key=lambda item: len(self._filed.get(item, ())))
            self._filed.setdefault(under, {})[entry.name] = selector
            self._under[name] = under

    def _drop(self, name: Name) -> None:
        under = self._under.pop(name, None)
        if under is not None:
            filed = self._filed[under]
            del filed[name[1]]
            if not filed:
                del self._filed[under]


class Informers:
    """The indexes and facts of one process, each made once and shared by the controllers that ask for it.

    Ask while the controllers are built; then `start`, once, before they run.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._owners: dict[GVR, OwnerIndex] = {}
        self._uids: dict[GVR, UidIndex] = {}
        self._facts: dict[tuple[GVR, Callable[[Obj], Any]], Facts[Any]] = {}
        self._selecting: dict[tuple[GVR, Callable[[Obj], Any]], SelectorIndex] = {}
        self._unsubscribe: list[Callable[[], None]] = []

    def owners(self, gvr: GVR) -> OwnerIndex:
        index = self._owners.get(gvr)
        if index is None:
            index = self._owners[gvr] = OwnerIndex(self._client, gvr)
            self._unsubscribe.append(self._client.on_change(gvr, index.changed))
        return index

    def uids(self, gvr: GVR) -> UidIndex:
        index = self._uids.get(gvr)
        if index is None:
            index = self._uids[gvr] = UidIndex(self._client, gvr)
            self._unsubscribe.append(self._client.on_change(gvr, index.changed))
        return index

    def facts(self, gvr: GVR, derive: Callable[[Obj], T]) -> Facts[T]:
        key = (gvr, derive)
        facts = self._facts.get(key)
        if facts is None:
            facts = self._facts[key] = Facts(derive)
            self._unsubscribe.append(self._client.on_change(gvr, facts.changed))
        return facts

    def selecting(self, gvr: GVR, selector_of: Callable[[Obj], Selector | None]) -> SelectorIndex:
        key = (gvr, selector_of)
        index = self._selecting.get(key)
        if index is None:
            facts = self.facts(gvr, selector_of)
            index = self._selecting[key] = SelectorIndex(self._client, gvr, facts)
            self._unsubscribe.append(self._client.on_change(gvr, index.changed))
        return index

    async def start(self) -> None:
        """Fill the indexes."""
        for owners in self._owners.values():
            await owners.fill()
        for uids in self._uids.values():
            await uids.fill()
        for selecting in self._selecting.values():
            await selecting.fill()

    def stop(self) -> None:
        """Take all handlers off. Idempotent."""
        while self._unsubscribe:
            self._unsubscribe.pop()()
