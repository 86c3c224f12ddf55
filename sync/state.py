"""State: what the engine remembers between two looks at a key, and the facilities that its actions share.

All of it is a saving or a courtesy: lost, the next look finds the same answer from both clusters.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sync import metadata as md
from sync.cluster import Cluster, ClusterError
from sync.hooks import PodHooks
from sync.informer import HostInformer
from sync.limiter import Limiter
from sync.ownership import Identity, Twin
from sync.references import References
from sync.rights import Told, for_tenant, missing
from sync.translator import CLAIMS, Context, Ref, Translator
from sync.virtual import Record, VirtualCluster
from sync.wording import in_tenant_words
from vapi.clock import Clock
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

Key = tuple[GVR, str, str]
"""(resource, tenant namespace, tenant name)."""

EventSink = Callable[[str, Obj, str, str, str], None]
"""(component, object, type, reason, message): as control.events.EventRecorder.record."""

COMPONENT = "vapi-syncer"

SYNC_ERROR = "SyncError"
SYNC_WARNING = "SyncWarning"


@dataclass(slots=True)
class Tables:
    """Bounded by the number of objects: each entry goes when its key is forgotten."""

    clean: dict[Key, tuple[int, int]] = field(default_factory=dict)
    """(virtual revision, host revision) at which nothing was left to do."""
    settled: dict[Key, tuple[str, int]] = field(default_factory=dict)
    """(desired hash, host revision) of an apply whose answer is final."""
    deleted: dict[Key, tuple[str, int | None, float]] = field(default_factory=dict)
    """(host uid, grace, when) of a delete that was accepted, until the watch tells of it."""
    told: dict[Key, str] = field(default_factory=dict)
    """The last thing said in an event, so that it is said once."""
    held: dict[Key, str] = field(default_factory=dict)
    """uids of the Services that have been seen: the twin of one that has not may wait for its create."""
    suspect: set[Key] = field(default_factory=set)
    """The host said that it is not as the watch has it: the next look begins with a GET."""
    refused: set[Key] = field(default_factory=set)
    """What the last look could not send: a class that comes or goes may change that."""
    waiting: dict[Key, set[Key]] = field(default_factory=dict)
    """Reference → referrers that wait for it."""
    parked: dict[Key, set[Key]] = field(default_factory=dict)
    """Referrer → references it waits for."""
    parked_at: dict[Key, float] = field(default_factory=dict)
    """Since when."""
    refused_at: dict[Key, float] = field(default_factory=dict)
    """Since when the host refuses the numbers of a twin that it had."""
    made_at: dict[Key, float] = field(default_factory=dict)
    """When the twin of a pod was made whose mark is not written yet."""
    touched: set[Key] = field(default_factory=set)
    """To be looked at whatever is remembered, `clean` included; until that look begins."""
    due: dict[Key, float] = field(default_factory=dict)
    """The same, but from that time on."""

    def forget(self, key: Key) -> None:
        per_key = (self.clean, self.settled, self.deleted, self.told, self.held, self.parked_at, self.refused_at)
        for table in (*per_key, self.made_at):
            table.pop(key, None)
        self.suspect.discard(key)
        self.refused.discard(key)
        self.unpark(key)

    def asked_for(self, key: Key, now: float) -> bool:
        """Whether it was touched since its last look began, or is due."""
        if key in self.due and self.due[key] <= now:
            del self.due[key]
            self.touched.add(key)
        asked = key in self.touched
        self.touched.discard(key)
        return asked

    def park(self, key: Key, missing: Collection[Key]) -> None:
        self.unpark(key)
        self.parked[key] = set(missing)
        for other in missing:
            self.waiting.setdefault(other, set()).add(key)

    def unpark(self, key: Key) -> None:
        for other in self.parked.pop(key, ()):
            waiters = self.waiting.get(other)
            if waiters is not None:
                waiters.discard(key)
                if not waiters:
                    del self.waiting[other]

    def arrived(self, key: Key) -> list[Key]:
        """`key` is done: who waited for nothing else."""
        free = []
        for waiter in self.waiting.pop(key, ()):
            left = self.parked[waiter]
            left.discard(key)
            if not left:
                del self.parked[waiter]
                free.append(waiter)
        return free


@dataclass(slots=True)
class Work:
    """One look at one key."""

    key: Key
    row: Translator
    identity: Identity
    entry: Record | None
    virtual: Obj | None
    twin: Twin | None
    wanted: bool
    marked_uid: str
    look_again: bool = False
    """A write of ours may have covered a change of somebody else's."""
    written: Record | None = None
    """What our compare-and-swap made of `virtual`."""

    @property
    def virtual_uid(self) -> str:
        return self.entry.uid if self.entry is not None and self.wanted else ""

    @property
    def obj(self) -> Obj:
        """The virtual object, where the plan says that there is one."""
        assert self.virtual is not None
        return self.virtual

    @property
    def there(self) -> Twin:
        """The twin, where the plan says that there is one."""
        assert self.twin is not None
        return self.twin


@dataclass(slots=True)
class Engine:
    """What actions work with. `context` is replaced when an address becomes known."""

    virtual: VirtualCluster
    host: Cluster
    context: Context
    limiter: Limiter
    references: References
    informers: Mapping[GVR, HostInformer]
    hooks: PodHooks
    events: EventSink
    clock: Clock
    touch: Callable[[Key], None]
    """Look at a key again, whatever is remembered of it."""
    touch_after: Callable[[Key, float], None]
    look_within: Callable[[Key, float], None]
    """As `touch_after`, unless a look before has found that nothing is left to do."""
    tables: Tables = field(default_factory=Tables)
    rights: Told = field(default_factory=Told)

    def key(self, ref: Ref) -> Key:
        return ref.resource, ref.namespace, ref.name

    def tell(self, work: Work, reason: str, message: str, *, event_type: str = "Warning") -> None:
        """An event on the virtual object, in the tenant's names, once until something else is said."""
        if work.virtual is None:
            return
        text = self.in_tenant_terms(message, work.identity)
        if self.tables.told.get(work.key) == f"{reason}: {text}":
            return
        self.tables.told[work.key] = f"{reason}: {text}"
        subject = {"apiVersion": work.row.gvk.api_version, "kind": work.row.gvk.kind, **work.virtual}
        self.events(COMPONENT, subject, event_type, reason, text)

    def lacks(self, refusal: ClusterError) -> str:
        """What the tenant is told of a 403. Of a kind that we may not even list its informer has told the log."""
        _, resource = missing(refusal.message)
        informers = (i for gvr, i in self.informers.items() if gvr.resource == resource)
        if all(informer.synced.is_set() for informer in informers):
            self.rights.tell(refusal.message)
        return for_tenant(refusal.message)

    def in_tenant_terms(self, message: str, identity: Identity) -> str:
        """Host names replaced: an event must not tell what the tenant cannot know."""
        return in_tenant_words(
            message,
            {identity.host_name: identity.name},
            cluster=self.context.cluster,
            host_namespace=self.context.host_namespace,
            namespace=identity.namespace,
        )

    @contextmanager
    def racing(self) -> Iterator[None]:
        """A write to the tenant's side: 404 and 409 mean that it changed meanwhile. Raises Retry."""
        try:
            yield
        except ClusterError as error:
            if error.code not in (404, 409):
                raise
            raise Retry(None, error.message) from error

    async def get_host(self, work: Work) -> Twin | None:
        """The object on the translated name, by GET: the proof of absence. Keeps what it learns."""
        informer = self.informers[work.row.resource]
        await self.limiter.take(work.row.priority)
        try:
            obj = await self.host.get(work.row.resource, self.context.twin_namespace(work.row), work.identity.host_name)
        except ClusterError as error:
            if error.code != 404:
                raise
            known = informer.get(work.identity.host_name)
            if known is not None:
                informer.drop(known.name, known.uid)
            return None
        return informer.answered(obj)


def identity_of(context: Context, row: Translator, key: Key, virtual: Obj | None) -> Identity:
    owned = row.anchored and not row.cluster_scoped
    return Identity(
        context.marker(row),
        row.kind_text,
        *key[1:],
        context.twin_name(row, key[2], key[1]),
        store_id="" if row.anchored else context.store_id,
        anchor_uid=context.anchor_uid if owned else "",
        by_marker=row.cluster_scoped or (row.resource == CLAIMS and not (virtual and _volume(virtual))),
    )


def known_uid(row: Translator, virtual: Obj | None, twin: Twin | None) -> str:
    """The host uid of its twin, where the virtual object tells it; "" else. Of a bound claim: by the volume."""
    if virtual is None:
        return ""
    if row.marks:
        return md.marked_host_uid(virtual)
    if row.resource != CLAIMS or twin is None or twin.value is None:
        return ""
    volume = _volume(virtual)
    return twin.uid if volume and volume == _volume(twin.obj()) else ""


def _volume(claim: Obj) -> str:
    """That it is bound to."""
    return str((claim.get("spec") or {}).get("volumeName") or "")


def with_desired_hash(desired: Obj) -> tuple[Obj, str]:
    """The object with the hash of itself in its annotations."""
    digest = md.desired_hash(desired)
    metadata: dict[str, Any] = desired["metadata"]
    annotations = {**metadata["annotations"], md.DESIRED: digest}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}, digest
