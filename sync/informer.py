"""HostInformer: one kind of the host as twins by name: what decides, and the body where it is needed.

Fed by two sources that may overtake each other: the watch, and the answers of
our own writes. An answer counts only if it is newer than all that the watch has
told, so that a twin deleted meanwhile does not come back as a ghost.
"""

from __future__ import annotations

import dataclasses
import logging
from asyncio import Event
from collections import OrderedDict
from collections.abc import Callable, Iterable

from sync import metadata as md
from sync import names
from sync.cluster import Cluster, ClusterEvent, ClusterEventType
from sync.ownership import Twin, make_twin
from sync.translator import Translator
from vapi.gvk import Obj

log = logging.getLogger(__name__)

OnTwin = Callable[[Translator, str, str, Twin | None, Twin | None], None]
"""(row, tenant namespace, tenant name, before, after): a twin came, changed or went."""

MAX_TOMBS = 10_000
"""Proofs of deletion kept; without one a GET proves the same."""


class HostInformer:
    """Runs on the loop; only `run` awaits."""

    def __init__(
        self,
        row: Translator,
        cluster: Cluster,
        *,
        virtual_cluster: str,
        host_namespace: str,
        on_twin: OnTwin,
        on_synced: Callable[[], None],
    ) -> None:
        self.row = row
        self.on_other: Callable[[Twin | None, Twin | None], None] | None = None
        """Told of what carries our label and is no twin: what controllers of the host have made (before, after)."""
        self.synced = Event()
        """The first list is complete."""
        self.answered_once = Event()
        """It is, or the host has refused it."""
        self._cluster = cluster
        self._name = virtual_cluster
        self._host_namespace = host_namespace
        self._namespace = "" if row.cluster_scoped else host_namespace
        self._marker = names.cluster_marker(host_namespace, virtual_cluster) if row.cluster_scoped else virtual_cluster
        self._on_twin = on_twin
        self._on_synced = on_synced
        self._refused = False
        self._twins: dict[str, Twin] = {}
        self._tombs: OrderedDict[str, str] = OrderedDict()
        self._vanished: OrderedDict[str, str] = OrderedDict()
        self._places: dict[str, tuple[str, str]] = {}
        """Host name → the key of a twin that no longer says it."""
        self._revision = 0

    def get(self, host_name: str) -> Twin | None:
        return self._twins.get(host_name)

    def twins(self) -> Iterable[Twin]:
        return self._twins.values()

    def __len__(self) -> int:
        return len(self._twins)

    def proven_gone(self, host_name: str, uid: str) -> bool:
        """Whether the watch told the end of the twin of that uid, with its deletionTimestamp."""
        return bool(uid) and self._tombs.get(host_name) == uid

    def vanished(self, host_name: str) -> str:
        """The uid of a twin that left the watch without proof of its end (a label taken off, a relist); told once."""
        return self._vanished.pop(host_name, "")

    async def run(self) -> None:
        """Follow the host until cancelled."""
        events = self._cluster.watch(
            self.row.resource,
            self._namespace,
            label_selector=f"{md.MANAGED_BY}={self._marker}",
            metadata_only=not self.row.keeps_body,
        )
        async for event in events:
            self._handle(event)

    def _handle(self, event: ClusterEvent) -> None:
        if event.type is ClusterEventType.REFUSED:
            if not self._refused:
                log.warning(
                    "host refuses a kind, it is not synced",
                    extra={"resource": self.row.resource.resource, "error": event.message},
                )
            self._refused = True
            self.answered_once.set()
            return
        if event.obj is None:
            self._revision = max(self._revision, event.revision)
            self._refused = False
            first = not self.synced.is_set()
            self.synced.set()
            self.answered_once.set()
            if first:
                self._on_synced()
            return
        twin = make_twin(event.obj)
        self._revision = max(self._revision, twin.revision)
        if event.type is ClusterEventType.DELETED:
            self._gone(twin)
        else:
            self._put(twin)

    def _put(self, twin: Twin) -> None:
        old = self._twins.get(twin.name)
        if old is not None and old.uid == twin.uid and old.revision > twin.revision:
            return
        if old is not None and old.uid == twin.uid and old.revision == twin.revision:
            return  # our own write, known from its answer
        self._twins[twin.name] = twin
        self._tell(old, twin)

    def _gone(self, twin: Twin) -> None:
        old = self._twins.get(twin.name)
        if old is not None and old.uid != twin.uid:
            return
        self._twins.pop(twin.name, None)
        ends = self._tombs if twin.deleting else self._vanished
        ends[twin.name] = twin.uid
        if len(ends) > MAX_TOMBS:
            ends.popitem(last=False)
        self._tell(old or twin, None)

    def _tell(self, old: Twin | None, new: Twin | None) -> None:
        """Those who carry a label of ours without being one concern nobody, but who asked for the `others`."""
        place = self._place(old, new)
        if place is not None:
            self._on_twin(self.row, *place, old, new)
        elif self.on_other is not None:
            self.on_other(old, new)

    def _place(self, old: Twin | None, new: Twin | None) -> tuple[str, str] | None:
        """The key of a twin, as it says itself, or said before somebody defaced it."""
        for twin in (new, old):
            if twin is not None and self.is_twin(twin):
                place: tuple[str, str] | None = (twin.object_namespace, twin.object_name)
                break
        else:
            name = new.name if new is not None else old.name if old is not None else ""
            place = self._places.get(name)
        if old is not None and (new is None or self.is_twin(new)):
            self._places.pop(old.name, None)
        elif new is not None and place is not None and not self.is_twin(new):
            self._places[new.name] = place
        return place

    def expect(self, host_name: str, namespace: str, name: str) -> None:
        """Changes of that host object concern this key, whatever it says of itself: somebody has defaced it."""
        self._places[host_name] = namespace, name

    def is_twin(self, twin: Twin) -> bool:
        """Whether it is of this row and stands where it belongs: others may carry copies of our labels."""
        return twin.kind == self.row.kind_text and self._host_name(twin) == twin.name

    def _host_name(self, twin: Twin) -> str:
        """That its annotations call for."""
        if self.row.cluster_scoped:
            return names.host_cluster_name(twin.object_name, self._host_namespace, self._name)
        return names.host_name(twin.object_name, twin.object_namespace, self._name, self.row.name_limit)

    def answered(self, obj: Obj, *, tell: bool = False) -> Twin:
        """The answer of a write of ours, or of a GET: known now, unless the watch is ahead of it.

        Tells nobody, and nor will the watch; but with `tell`, where the write has made a twin of it again.
        """
        twin = make_twin(obj)
        old = self._twins.get(twin.name)
        newer = twin.revision > self._revision or (
            old is not None and old.uid == twin.uid and twin.revision > old.revision
        )
        if newer and twin.managed_by == self._marker:
            self._twins[twin.name] = twin
            if tell:
                self._tell(old, twin)
        return twin

    def drop(self, host_name: str, uid: str) -> None:
        """A GET or the refusal of a write told that it is not there."""
        old = self._twins.get(host_name)
        if old is not None and old.uid == uid:
            del self._twins[host_name]

    def drop_body(self, twin: Twin) -> None:
        """Its body was compared and is not needed again."""
        if self._twins.get(twin.name) is twin and twin.value is not None:
            self._twins[twin.name] = dataclasses.replace(twin, value=None)
