"""Children: what is known of the objects that the host's controllers make for the tenant's workloads, on both sides.

A child is known by its uid, which is the same on the host and in the tenant. Handlers run inside dispatch and only
keep uids and names; the bodies are in the informers and in the tenant's cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sync import metadata as md
from sync.informer import HostInformer
from sync.ownership import Twin
from sync.translator import Translator
from sync.virtual import Record, VirtualCluster
from sync.workloads.mirror import ChildKind, Owner
from vapi.control.kinds import CONTROLLER_REVISIONS
from vapi.gvk import GVR, Obj

Key = tuple[GVR, str]
"""(resource, uid)."""


def shown(resource: GVR, entry: Record) -> str:
    """uid of the host's object that the tenant's shows: its own, but for a revision that the tenant made itself."""
    return (resource == CONTROLLER_REVISIONS and md.marked_host_uid(entry.obj())) or entry.uid


class Children:
    """Runs on the loop, never awaits. `concerned(key)` is called for each child that a change is about."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        kinds: Mapping[GVR, ChildKind],
        informers: Mapping[GVR, HostInformer],
        workloads: Iterable[HostInformer],
        concerned: Callable[[Key], None],
    ) -> None:
        self._virtual = virtual
        self._rows = tuple(workloads)
        self._kinds = kinds
        self._informers = informers
        self._concerned = concerned
        self._names: dict[Key, str] = {}
        """Host name of each child that the host has, or had a moment ago."""
        self._controlled: dict[str, set[Key]] = {}
        """uid of a host controller → its children."""
        self._here: dict[Key, tuple[str, str]] = {}
        """(namespace, name) of each of the tenant's objects of these kinds."""
        self._mirrors: set[Key] = set()
        """Those of them that are known to be mirrors."""
        self._workloads: dict[str, tuple[Translator, Twin]] = {}
        """uid → twin of a workload of the tenant."""

    # --- what changed -------------------------------------------------------------------------------------

    def workload_changed(self, row: Translator, before: Twin | None, after: Twin | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self._workloads.pop(before.uid, None)
        if after is None:
            return
        _, known = self._workloads.get(after.uid, (row, None))
        self._workloads[after.uid] = (row, after)
        if known is None or known.object_uid != after.object_uid:  # somebody may have taken off whose it is
            self._concern_all(after.uid)

    def host_changed(self, resource: GVR, before: Twin | None, after: Twin | None) -> None:
        if before is not None and (after is None or after.uid != before.uid or after.controller != before.controller):
            self._leave(before.controller, (resource, before.uid))
        if after is not None:
            self._names[resource, after.uid] = after.name
            if after.controller:
                self._controlled.setdefault(after.controller, set()).add((resource, after.uid))
        for twin in (before, after):
            if twin is not None:
                self._concerned((resource, twin.uid))

    def _leave(self, controller: str, key: Key) -> None:
        left = self._controlled.get(controller)
        if left is not None:
            left.discard(key)
            if not left:
                del self._controlled[controller]

    def virtual_changed(self, resource: GVR) -> Callable[[Record, Record | None], None]:
        def changed(entry: Record, _old: Record | None) -> None:
            key = (resource, shown(resource, entry))
            if key[1] != entry.uid:
                self._here.pop((resource, entry.uid), None)  # it was the tenant's own
            live = self._virtual.cached(resource, entry.namespace, entry.name)
            if live is not None and live.uid == entry.uid:
                new = key not in self._here
                self._here[key] = (entry.namespace, entry.name)
                if new:
                    self._concern_all(entry.uid)
            else:
                self._here.pop(key, None)
            if key in self._names or key in self._mirrors:
                self._concerned(key)

        return changed

    def _concern_all(self, host_uid: str) -> None:
        for key in list(self._controlled.get(host_uid, ())):
            self._concerned(key)

    def learn(self, resource: GVR, entry: Record) -> None:
        """At the start: a mirror may be left of what the host has no more."""
        key = (resource, shown(resource, entry))
        self._here[key] = (entry.namespace, entry.name)
        if key not in self._names and (key[1] != entry.uid or md.is_child(entry.obj())):
            self._mirrors.add(key)
            self._concerned(key)

    def mirrored(self, key: Key) -> None:
        self._mirrors.add(key)

    def forget(self, key: Key) -> None:
        """Neither side has it."""
        self._names.pop(key, None)
        self._mirrors.discard(key)
        self._controlled.pop(key[1], None)

    # --- what is known ------------------------------------------------------------------------------------

    def all_keys(self) -> Iterable[Key]:
        yield from list(self._names)
        yield from list(self._mirrors)

    def __contains__(self, key: Key) -> bool:
        """Whether the host has told of such a child."""
        return key in self._names

    def host_name(self, key: Key) -> str:
        """ "": the host has never told of it since we run."""
        return self._names.get(key, "")

    def host(self, key: Key) -> Twin | None:
        name = self._names.get(key)
        twin = self._informers[key[0]].get(name) if name else None
        return twin if twin is not None and twin.uid == key[1] else None

    def here(self, key: Key) -> Record | None:
        """The tenant's object that shows the host's of that uid."""
        place = self._here.get(key)
        entry = self._virtual.cached(key[0], *place) if place else None
        return entry if entry is not None and shown(key[0], entry) == key[1] else None

    def runs(self, virtual_uid: str) -> bool:
        """Whether the tenant's object of that uid is a workload on the host, or a child of one."""
        return any((gvr, virtual_uid) in self._names for gvr in self._kinds) or any(
            twin.object_uid == virtual_uid for _, twin in self._workloads.values()
        )

    def children(self, host_uid: str) -> Iterable[Key]:
        return list(self._controlled.get(host_uid, ()))

    def owner(self, resource: GVR, twin: Twin) -> Owner | None:
        """None: nothing of the tenant's controls it (yet)."""
        if not twin.controller:
            return None
        found = self._workload(twin.controller)
        if found is not None:
            return self._of_workload(*found)
        for gvr, kind in self._kinds.items():
            key = (gvr, twin.controller)
            entry = self.here(key)
            host = self.host(key)
            if entry is not None and host is not None:
                obj = None if entry.deleting else entry.obj()
                return Owner(kind.gvk, entry.namespace, entry.name, entry.uid, host.name, host.uid, obj)
        return None

    def _of_workload(self, row: Translator, twin: Twin) -> Owner:
        entry = self._virtual.cached(row.resource, twin.object_namespace, twin.object_name)
        there = entry is not None and entry.uid == twin.object_uid and not entry.deleting
        obj: Obj | None = entry.obj() if entry is not None and there else None
        return Owner(row.gvk, twin.object_namespace, twin.object_name, twin.object_uid, twin.name, twin.uid, obj)

    def _workload(self, host_uid: str) -> tuple[Translator, Twin] | None:
        """What our own create has just answered, the watch tells nobody of."""
        found = self._workloads.get(host_uid)
        if found is not None or any((gvr, host_uid) in self._names for gvr in self._kinds):
            return found
        for informer in self._rows:
            for twin in informer.twins():
                if twin.uid == host_uid and informer.is_twin(twin):
                    self._workloads[host_uid] = (informer.row, twin)
                    return informer.row, twin
        return None
