"""garbage collector: deletes what lost its owners, and lets go of owners that wait for their dependents.

The graph is as small as it can be: the uids of all objects with their
namespaces, and, for each owner that is named somewhere, the names of its
dependents. It holds no objects; a decision reads the object again, and an
absence counts only after a DELETED event or a live read by name.

Cycles do no harm: an object is looked at whenever one of its owners goes, and
inside a cycle that is deleted in the foreground references stop blocking.
Source: pkg/controller/garbagecollector (attemptToDeleteItem, orphanDependents); contract §3.6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources, all_at_once
from vapi.control.events import WARNING
from vapi.control.informer import sliced
from vapi.control.workqueue import Permanent
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, GroupVersion, Obj
from vapi.resources.resource import Catalog, Propagation, Verb

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

REMEMBERED_GONE = 5000
"""uids known to be gone, so that the many dependents of one owner need no live reads."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object to look at."""

    gvr: GVR
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Gone:
    """An owner that was deleted: look at its dependents."""

    uid: str


class GarbageCollector(Controller[Item | Gone]):
    name = "garbage-collector-controller"
    workers = 20

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._resources = collected_resources(context.client.catalog)
        self._alive: dict[str, str] = {}
        """uid → namespace."""
        self._dependents: dict[str, dict[str, Item]] = {}
        """Owner's uid → store key → item."""
        self._waiting: dict[str, Item] = {}
        """Owners that are deleting and hold the foreground or the orphan finalizer: uid → item."""
        self._gone: OrderedDict[str, None] = OrderedDict()

    # --- the graph ------------------------------------------------------------------------------------

    def sources(self) -> Sources[Item | Gone]:
        return {gvr: partial(self._changed, gvr) for gvr in self._resources}

    async def prepare(self) -> None:
        """The graph must be whole before a finalizer is taken off."""
        for gvr in self._resources:
            async for snapshot in sliced(self.client.entries(gvr)):
                entry = self.client.cached(gvr, snapshot.namespace, snapshot.name)
                if entry is not None:
                    self._keep(gvr, entry)

    def all_keys(self) -> Iterator[Item | Gone]:
        yield from list(self._waiting.values())
        for uid, dependents in list(self._dependents.items()):
            namespace = self._alive.get(uid)
            if namespace is None:
                yield Gone(uid)
            elif namespace:
                yield from [item for item in dependents.values() if item.namespace != namespace]

    def _changed(self, gvr: GVR, change: Change) -> Iterable[Item | Gone]:
        entry = change.entry
        owners_waiting = [self._waiting[uid] for uid in _owners(change) if uid in self._waiting]
        if change.old is not None and change.old.owners != entry.owners:
            self._drop_owners(change.old)
        if change.type is ChangeType.DELETED:
            return [*owners_waiting, *self._removed(entry)]
        self._keep(gvr, entry)
        if self._needs_a_look(entry, change):
            return [*owners_waiting, Item(gvr, entry.namespace, entry.name)]
        return owners_waiting

    def _keep(self, gvr: GVR, entry: Entry) -> None:
        self._alive[entry.uid] = entry.namespace
        if entry.owners or entry.deleting:
            item = Item(gvr, entry.namespace, entry.name)
            for uid in entry.owners:
                self._dependents.setdefault(uid, {})[entry.key] = item
            if entry.deleting and (FOREGROUND in entry.finalizers or ORPHAN in entry.finalizers):
                self._waiting[entry.uid] = item
            else:
                self._waiting.pop(entry.uid, None)

    def _needs_a_look(self, entry: Entry, change: Change) -> bool:
        if entry.uid in self._waiting:
            return True
        if not entry.owners or (change.old is not None and change.old.owners == entry.owners):
            return False
        return any(uid in self._waiting or self._alive.get(uid) not in ("", entry.namespace) for uid in entry.owners)

    def _removed(self, entry: Entry) -> Iterable[Item | Gone]:
        self._drop_owners(entry)
        self._alive.pop(entry.uid, None)
        self._waiting.pop(entry.uid, None)
        if entry.uid not in self._dependents:
            return ()
        self._remember_gone(entry.uid)
        return (Gone(entry.uid),)

    def _drop_owners(self, entry: Entry) -> None:
        for uid in entry.owners:
            dependents = self._dependents.get(uid)
            if dependents is not None:
                dependents.pop(entry.key, None)
                if not dependents:
                    del self._dependents[uid]

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > REMEMBERED_GONE:
            self._gone.popitem(last=False)

    # --- decisions ------------------------------------------------------------------------------------

    async def reconcile(self, key: Item | Gone) -> None:
        if isinstance(key, Gone):
            async for item in sliced(list(self._dependents.get(key.uid, {}).values())):
                self.queue.add(item)
            return
        entry = self.client.cached(key.gvr, key.namespace, key.name)
        if entry is None:
            return
        if not entry.deleting:
            if entry.owners:
                await self._collect(key)
            return
        if ORPHAN in entry.finalizers:
            await self._orphan_dependents(key)
        elif FOREGROUND in entry.finalizers:
            await self._finish_foreground(key)

    async def _collect(self, item: Item) -> None:
        """Delete `item` if no owner is left; else drop the references to owners that are gone or wait for it."""
        obj = await self._live(item)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return
        solid, dangling, waiting = await self._classify(item, obj)
        if not dangling and not waiting:
            return
        if solid:
            await self._set_owners(item, obj, solid)
            return
        metadata = obj["metadata"]
        uid = metadata["uid"]
        if waiting and uid in self._dependents:
            if any(dependent.deleting and FOREGROUND in dependent.finalizers for dependent in self._entries_of(uid)):
                unblocked = [{**reference, "blockOwnerDeletion": False} for reference in metadata["ownerReferences"]]
                obj = await self._set_owners(item, obj, unblocked)
            propagation = Propagation.FOREGROUND
        else:
            propagation = _propagation(metadata.get("finalizers") or ())
        await self.client.delete(
            item.gvr,
            item.namespace,
            item.name,
            uid=uid,
            resource_version=obj["metadata"]["resourceVersion"],
            propagation=propagation,
        )

    async def _classify(self, item: Item, obj: Obj) -> tuple[list[Obj], list[Obj], list[Obj]]:
        """The ownerReferences: to owners that stay, that are absent, that wait for their dependents."""
        solid: list[Obj] = []
        dangling: list[Obj] = []
        waiting: list[Obj] = []
        for reference in obj["metadata"].get("ownerReferences") or ():
            owner = await self._owner(item, obj, reference)
            if owner is None:
                dangling.append(reference)
            elif "deletionTimestamp" in owner["metadata"] and FOREGROUND in (owner["metadata"].get("finalizers") or ()):
                waiting.append(reference)
            else:
                solid.append(reference)
        return solid, dangling, waiting

    async def _owner(self, item: Item, obj: Obj, reference: Obj) -> Obj | None:
        """The owner as it is now; None: it is absent for sure. Raises Permanent where that cannot be known."""
        uid = reference["uid"]
        if uid in self._gone:
            return None
        version = GroupVersion.parse(reference["apiVersion"])
        row = self.client.catalog.by_gvk(GVK(version.group, version.version, reference["kind"]))
        if row is None or row.stored is None:
            raise Permanent(f"unknown kind of owner: {reference['apiVersion']} {reference['kind']}")
        elsewhere = self._alive.get(uid, "") not in ("", item.namespace)
        if elsewhere or (row.namespaced and not item.namespace):
            self._tell_invalid_namespace(item, obj, reference)
        if row.namespaced and not item.namespace:
            raise Permanent("a cluster-scoped object cannot have a namespaced owner")
        owner = await self._live(Item(row.gvr, item.namespace if row.namespaced else "", reference["name"]))
        if owner is None or owner["metadata"]["uid"] != uid:
            if uid not in self._alive:
                self._remember_gone(uid)
            return None
        return owner

    def _tell_invalid_namespace(self, item: Item, obj: Obj, reference: Obj) -> None:
        """Source: graph_builder.go reportInvalidNamespaceOwnerRef."""
        owner = f"{reference['apiVersion']}/{reference['kind']}, namespace: {item.namespace}, name: {reference['name']}"
        message = f'ownerRef [{owner}, uid: {reference["uid"]}] does not exist in namespace "{item.namespace}"'
        self.events.record(self.name, obj, WARNING, "OwnerRefInvalidNamespace", message)

    async def _finish_foreground(self, item: Item) -> None:
        """Take the finalizer off once nothing blocks; else see that what blocks is deleted."""
        owner = await self._live(item)
        if owner is None:
            return
        uid = owner["metadata"]["uid"]
        blocking = False
        async for dependent in sliced(list(self._dependents.get(uid, {}).values())):
            entry = self.client.cached(dependent.gvr, dependent.namespace, dependent.name)
            if entry is None or uid not in entry.owners or not _blocks(entry.obj(), uid):
                continue
            blocking = True
            if not entry.deleting:
                self.queue.add(dependent)
        if not blocking:
            await self._remove_finalizer(item, owner, FOREGROUND)

    async def _orphan_dependents(self, item: Item) -> None:
        owner = await self._live(item)
        if owner is None:
            return
        uid = owner["metadata"]["uid"]
        refused = await all_at_once(
            partial(self._orphan, dependent, uid) for dependent in list(self._dependents.get(uid, {}).values())
        )
        if refused:
            raise refused[0]
        await self._remove_finalizer(item, owner, ORPHAN)

    async def _orphan(self, dependent: Item, uid: str) -> None:
        obj = await self._live(dependent)
        if obj is not None:
            kept = [each for each in obj["metadata"].get("ownerReferences") or () if each["uid"] != uid]
            await self._set_owners(dependent, obj, kept)

    # --- reads and writes -----------------------------------------------------------------------------

    def _entries_of(self, uid: str) -> Iterator[Entry]:
        for dependent in list(self._dependents.get(uid, {}).values()):
            entry = self.client.cached(dependent.gvr, dependent.namespace, dependent.name)
            if entry is not None:
                yield entry

    async def _live(self, item: Item) -> Obj | None:
        try:
            return await self.client.get(item.gvr, item.namespace, item.name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def _set_owners(self, item: Item, obj: Obj, references: list[Obj]) -> Obj:
        """Only if the object is still as it was read: 409 otherwise, and another look."""
        return await self.client.update(item.gvr, kinds.with_owners(obj, references))

    async def _remove_finalizer(self, item: Item, obj: Obj, finalizer: str) -> None:
        obj["metadata"]["finalizers"] = [each for each in obj["metadata"].get("finalizers") or () if each != finalizer]
        await self.client.update(item.gvr, obj)


def collected_resources(catalog: Catalog) -> tuple[GVR, ...]:
    """One row of each stored kind that can be deleted and edited. Events are not collected, as in Kubernetes."""
    found = []
    for stored in catalog.stored_kinds():
        row = catalog.find(stored.gvk.group, stored.gvk.version, stored.plural)
        if row is None or row.gvr.resource == kinds.EVENTS.resource:
            continue
        if {Verb.DELETE, Verb.UPDATE, Verb.GET} <= row.verbs:
            found.append(row.gvr)
    return tuple(found)


def _owners(change: Change) -> Iterable[str]:
    if change.old is None or change.old.owners == change.entry.owners:
        return change.entry.owners
    return {*change.old.owners, *change.entry.owners}


def _blocks(obj: Obj, uid: str) -> bool:
    references = obj["metadata"].get("ownerReferences") or ()
    return any(each["uid"] == uid and each.get("blockOwnerDeletion") for each in references)


def _propagation(finalizers: Iterable[str]) -> Propagation:
    """A policy that somebody already asked for stays."""
    if ORPHAN in finalizers:
        return Propagation.ORPHAN
    return Propagation.FOREGROUND if FOREGROUND in finalizers else Propagation.BACKGROUND
