"""Mirrors: what the tenant sees of the host's cluster-scoped objects: classes by a selector, and its own volumes.

A mirror has the host's name, uid and age (of several defaults the newest counts), and the uid as the label
`vapi.dev/mirror`; `mirror_plan` decides. The host owns
every field: clients of the tenant are refused (`registry.plugins.mirrors`), what is changed all the same is put back.
An object of the tenant's own under such a name stays, and is told of the other. A kind that the host does not serve,
or refuses, is told in one log line; its mirrors stay as they were.

A volume is shown to the tenant whose claim it is bound to, and to nobody else; one that is kept after its claim
(Retain) as long as the host keeps it for that claim.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from sync import metadata as md
from sync import mirror_rows
from sync.cluster import Cluster, ClusterError, ClusterEvent, ClusterEventType
from sync.informer import HostInformer
from sync.mirror_plan import MirrorAction, TenantDeletes, host_original, mirror_plan, virtual_mirror
from sync.mirror_rows import CLASSES, PERSISTENT_VOLUMES, MirrorRow
from sync.ownership import Twin
from sync.state import COMPONENT, SYNC_WARNING, EventSink
from sync.translator import CLAIMS, PRIORITYCLASSES, STORAGECLASSES, VOLUMES, Translator
from sync.virtual import Record, VirtualCluster
from sync.worker import work
from vapi import encoding
from vapi.clock import Clock
from vapi.control.workqueue import Retry, WorkQueue
from vapi.gvk import GVR, Obj
from vapi.resources.strategies.mirrors import MIRROR

log = logging.getLogger(__name__)

RELIST_S = 5.0
UNKNOWN_AGAIN_S = 0.5
"""Until the first list of the classes is there, what names one waits."""
CLAIMS_UNKNOWN_AGAIN_S = 2.0
"""Until the first list of the host's claims is there, nobody knows whose a volume is."""

Key = tuple[GVR, str]


@dataclass(frozen=True, slots=True)
class ClassRule:
    """sync.fromHost.<kind>: whether the tenant sees them, and which labels they must have."""

    enabled: bool = True
    selector: Mapping[str, str] = field(default_factory=dict)


class _State(StrEnum):
    DISABLED = "disabled"
    UNKNOWN = "unknown"  # the first list is under way
    REFUSED = "refused"
    FOLLOWED = "followed"


@dataclass(slots=True)
class _Kind:
    """One kind and what the host has of it. `hidden`: names that the selector keeps from the tenant."""

    row: MirrorRow
    selector: Mapping[str, str]
    state: _State
    seen: dict[str, bytes] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)


class Mirrors:
    """`run` keeps them until cancelled; the rest reads caches and never awaits. Runs on the loop."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        host_namespace: str,
        rules: Mapping[str, ClassRule],
        patterns: md.KeyPatterns,
        claims: Callable[[], HostInformer | None],
        changed: Callable[[], None],
        events: EventSink,
        clock: Clock,
    ) -> None:
        """`rules` by MirrorRow.group; what is missing is off. `claims`: the host's, None where they are not synced.

        `changed`: what may go to the host is another now.
        """
        self._virtual = virtual
        self._host = host
        self._host_namespace = host_namespace
        self._patterns = patterns
        self._claims = claims
        self._changed = changed
        self._events = events
        self._queue: WorkQueue[Key] = WorkQueue(clock=clock)
        self._kinds = {row.resource: _kind(row, rules.get(row.group)) for row in (*CLASSES, PERSISTENT_VOLUMES)}
        self._volumes_of: dict[str, set[str]] = {}
        """uid of a claim on the host → volumes bound to it."""
        self._told: dict[Key, str] = {}
        """The uid of the tenant's own object that was told of the host's."""

    # --- what translations ask ----------------------------------------------------------------------------

    def is_mirror(self, resource: GVR, name: str) -> bool:
        entry = self._virtual.cached(resource, "", name)
        return entry is not None and MIRROR in entry.labels

    def withheld_class(self, resource: GVR, name: str) -> str:
        """As Context.withheld_class. `name` "": none is named, and there is no default. Raises Retry."""
        kind = self._kinds.get(resource)
        if kind is None:
            return ""
        words = kind.row.words
        if kind.state is _State.UNKNOWN:
            raise Retry(UNKNOWN_AGAIN_S, "the host's classes are not known yet")
        if kind.state is not _State.FOLLOWED:
            return f"this virtual cluster has no {words}es of the host" if kind.row.needed else ""
        if not name:
            return f"no {words} is set and there is no default {words}"
        if name in kind.hidden:
            setting = md.camel(f"sync.from_host.{kind.row.group}.selector")
            return f"the {words} \"{name}\" in the host does not match the selector under '{setting}'"
        if name not in kind.seen:
            return f'the host has no {words} "{name}"'
        entry = self._virtual.cached(resource, "", name)
        own = entry is not None and MIRROR not in entry.labels
        return f'the {words} "{name}" is one of this virtual cluster\'s own' if own else ""

    def default_storage_class(self) -> str:
        """The tenant's, of several the newest. Source: plugin/pkg/admission/storage/storageclass/setdefault."""
        kind = self._kinds[STORAGECLASSES]
        if kind.state is not _State.FOLLOWED:
            return ""
        found = [entry.obj() for entry in self._virtual.entries(STORAGECLASSES)]
        defaults = [obj["metadata"] for obj in found if mirror_rows.is_default(kind.row, obj)]
        newest = max(defaults, key=lambda metadata: str(metadata["creationTimestamp"]), default=None)
        return str(newest["name"]) if newest else ""

    def priority_class(self, name: str) -> str:
        """As Context.priority_class: mirrors have the host's names."""
        return name if self.is_mirror(PRIORITYCLASSES, name) else ""

    # --- hooks --------------------------------------------------------------------------------------------

    async def before_bound(self, claim: Obj) -> None:
        """The tenant sees the volume of a host's claim before it sees the claim bound. Raises ClusterError, Retry."""
        name, kind = claim["spec"].get("volumeName", ""), self._kinds[VOLUMES]
        if not name or kind.state is not _State.FOLLOWED or self._virtual.cached(VOLUMES, "", name) is not None:
            return
        if name not in kind.seen:
            try:
                self._keep(kind, await self._host.get(VOLUMES, "", name))
            except ClusterError as error:
                if error.code != 404:
                    raise
                return
        await self._reconcile(VOLUMES, name)

    def claim_changed(
        self, row: Translator, _namespace: str, _name: str, before: Twin | None, after: Twin | None
    ) -> None:
        """A handler of the syncer's twins."""
        for twin in (before, after):
            if row.resource == CLAIMS and twin is not None:
                self._look_at_volumes_of(twin.uid)

    def _look_at_volumes_of(self, uid: str) -> None:
        for volume in self._volumes_of.get(uid, ()):
            self._queue.add((VOLUMES, volume))

    # --- run ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at the clock, for who has moved it."""
        self._queue.tick()

    @property
    def idle(self) -> bool:
        return self._queue.idle

    async def run(self) -> None:
        """Until cancelled."""
        off = [self._virtual.on_change(resource, self._on_virtual(kind)) for resource, kind in self._kinds.items()]
        off.append(self._virtual.on_change(CLAIMS, lambda entry, _old: self._look_at_volumes_of(entry.uid)))
        try:
            async with asyncio.TaskGroup() as group:
                for kind in self._kinds.values():
                    if kind.state is _State.DISABLED:
                        self._look_at_all(kind)
                    else:
                        group.create_task(self._follow(kind), name=f"host {kind.row.resource.resource}")
                looks = work(self._queue, self._look, failed="not mirrored, again later", about=_text)
                group.create_task(looks, name="mirrors")
        finally:
            for each in off:
                each()
            self._queue.close()

    def _on_virtual(self, kind: _Kind) -> Callable[[Record, Record | None], None]:
        def changed(entry: Record, _old: Record | None) -> None:
            if MIRROR in entry.labels:
                self._queue.add((kind.row.resource, entry.name))
            elif kind.row is not PERSISTENT_VOLUMES:
                self._look_at_all(kind)  # whether there is a default of the tenant's own
                self._changed()

        return changed

    def _look_at_all(self, kind: _Kind) -> None:
        for entry in self._virtual.entries(kind.row.resource):
            self._queue.add((kind.row.resource, entry.name))
        for name in kind.seen:
            self._queue.add((kind.row.resource, name))

    async def _follow(self, kind: _Kind) -> None:
        resource = kind.row.resource
        while True:
            try:
                async for event in self._host.watch(resource):
                    self._handle(kind, event)
            except ClusterError as error:
                log.warning(
                    "host kind cannot be watched, again later",
                    extra={"resource": resource.resource, "error": error.message},
                )
            await asyncio.sleep(RELIST_S)

    def _handle(self, kind: _Kind, event: ClusterEvent) -> None:
        resource = kind.row.resource
        if event.type is ClusterEventType.REFUSED:
            if kind.state is not _State.REFUSED:
                log.warning(
                    "host refuses a kind, it is not mirrored",
                    extra={"resource": resource.resource, "error": event.message},
                )
                kind.state = _State.REFUSED
                self._changed()
            return
        if event.obj is None:
            if kind.state is not _State.FOLLOWED:
                kind.state = _State.FOLLOWED
                self._look_at_all(kind)
                self._changed()
            return
        name = event.obj["metadata"]["name"]
        known = name in kind.seen
        if event.type is ClusterEventType.DELETED:
            self._drop(kind, name)
        else:
            self._keep(kind, event.obj)
        if known or name in kind.seen or self.is_mirror(resource, name):  # not for each volume of other tenants
            self._queue.add((resource, name))
        if kind.row is not PERSISTENT_VOLUMES and kind.state is _State.FOLLOWED:
            self._changed()

    def _keep(self, kind: _Kind, obj: Obj) -> None:
        """What the tenant may see of the host, by what the object itself says."""
        name = obj["metadata"]["name"]
        self._drop(kind, name)
        if kind.row is PERSISTENT_VOLUMES:
            namespace, _, uid = mirror_rows.claim_of(obj)
            if namespace == self._host_namespace and uid:
                self._volumes_of.setdefault(uid, set()).add(name)
                kind.seen[name] = encoding.dumps(obj)
        elif not mirror_rows.is_the_hosts(kind.row, obj):
            return
        elif kind.selector.items() <= (obj["metadata"].get("labels") or {}).items():
            kind.seen[name] = encoding.dumps(obj)
        else:
            kind.hidden.add(name)

    def _drop(self, kind: _Kind, name: str) -> None:
        kind.hidden.discard(name)
        body = kind.seen.pop(name, None)
        if body is not None and kind.row is PERSISTENT_VOLUMES:
            uid = mirror_rows.claim_of(encoding.loads(body))[2]
            left = self._volumes_of.get(uid, set())
            left.discard(name)
            if not left:
                self._volumes_of.pop(uid, None)

    # --- work ---------------------------------------------------------------------------------------------

    async def _look(self, key: Key) -> None:
        await self._reconcile(*key)

    async def _reconcile(self, resource: GVR, name: str) -> None:
        kind = self._kinds[resource]
        if kind.state in (_State.UNKNOWN, _State.REFUSED):
            return  # that nothing is known of proves nothing
        claims = self._claims() if kind.row is PERSISTENT_VOLUMES else None
        if claims is not None and not claims.synced.is_set():
            raise Retry(CLAIMS_UNKNOWN_AGAIN_S)
        entry = self._virtual.cached(resource, "", name)
        wanted, uid, deleting = self._wanted(kind, name, entry)
        virtual = virtual_mirror(
            source=entry.labels.get(MIRROR, "") if entry is not None else None,
            deleting=entry is not None and entry.deleting,
            host_uid=uid,
        )
        host = host_original(uid=uid, deleting=deleting)
        await _ACTIONS[mirror_plan(virtual, host, deletes=TenantDeletes.PUT_BACK)](self, kind, entry, wanted)

    def _wanted(self, kind: _Kind, name: str, entry: Record | None) -> tuple[Obj, str, bool]:
        """The mirror as it should be, the uid of what it shows, and whether that is deleting; uid "" for none."""
        body = kind.seen.get(name)
        if body is None:
            return {}, "", False
        host: Obj = encoding.loads(body)
        metadata = host["metadata"]
        if kind.row is PERSISTENT_VOLUMES:
            reference = self._claim_reference(host, entry)
            if reference is None:
                return {}, "", False
            wanted = mirror_rows.volume_of(host, reference, self._patterns)
        else:
            may_default = bool(kind.row.defaults) and not self._has_default_of_its_own(kind.row)
            wanted = mirror_rows.mirror_of(kind.row, host, self._patterns, may_default=may_default)
        return wanted, metadata["uid"], "deletionTimestamp" in metadata

    def _has_default_of_its_own(self, row: MirrorRow) -> bool:
        return any(
            MIRROR not in entry.labels and mirror_rows.is_default(row, entry.obj())
            for entry in self._virtual.entries(row.resource)
        )

    def _claim_reference(self, host: Obj, entry: Record | None) -> Obj | None:
        """The claim of the tenant that a volume is, or was, bound to; None: it is none of the tenant's."""
        informer = self._claims()
        _, name, uid = mirror_rows.claim_of(host)
        twin = informer.get(name) if informer is not None else None
        if twin is not None and twin.uid == uid and informer is not None and informer.is_twin(twin):
            return mirror_rows.claim_reference(twin)
        child = next((c for c in self._virtual.entries(CLAIMS) if c.uid == uid), None)
        if child is not None:  # what the host's controllers made has the same uid in the tenant
            return mirror_rows.child_reference(child.namespace, child.name, child.uid)
        if entry is None or entry.labels.get(MIRROR) != host["metadata"]["uid"]:
            return None
        shown = entry.obj()
        theirs = (shown["metadata"].get("annotations") or {}).get(mirror_rows.CLAIM_UID)
        if theirs != uid or not mirror_rows.stays_without_claim(host):
            return None
        reference: Obj | None = shown["spec"].get("claimRef")
        return reference

    # --- actions ------------------------------------------------------------------------------------------

    async def _nothing(self, _kind: _Kind, _entry: Record | None, _wanted: Obj) -> None:
        return None

    async def _create(self, kind: _Kind, _entry: Record | None, wanted: Obj) -> None:
        try:
            made = await self._virtual.copy(kind.row.resource, {k: v for k, v in wanted.items() if k != "status"})
        except ClusterError as error:
            if error.code != 409:
                raise
            raise Retry(0.1) from None
        await self._show_status(kind, made, wanted)
        if kind.row is not PERSISTENT_VOLUMES:
            self._changed()

    async def _converge(self, kind: _Kind, entry: Record | None, wanted: Obj) -> None:
        assert entry is not None
        current = entry.obj()
        body = _converged(current, wanted)
        if body != current:
            try:
                current = await self._virtual.update(kind.row.resource, body)
            except ClusterError as error:
                if error.code != 422:
                    raise
                await self._end(kind, entry, wanted)  # what cannot be changed differs: made anew
                return
        await self._show_status(kind, current, wanted)

    async def _show_status(self, kind: _Kind, current: Obj, wanted: Obj) -> None:
        if "status" in wanted and current.get("status") != wanted["status"]:
            body = {**current, "status": wanted["status"]}
            await self._virtual.update(kind.row.resource, body, subresource="status")

    async def _end(self, kind: _Kind, entry: Record | None, _wanted: Obj) -> None:
        """Away with it, whatever finalizers it has: it only shows what is elsewhere."""
        assert entry is not None
        resource = kind.row.resource
        await self._delete(resource, entry)
        left = self._virtual.cached(resource, "", entry.name)
        if left is not None and left.uid == entry.uid:
            body = left.obj()
            body["metadata"] = {k: v for k, v in body["metadata"].items() if k != "finalizers"}
            try:
                await self._virtual.update(resource, body)
            except ClusterError as error:
                if error.code != 404:
                    raise
        if kind.row is not PERSISTENT_VOLUMES:
            self._changed()

    async def _delete(self, resource: GVR, entry: Record) -> None:
        try:
            await self._virtual.delete(resource, "", entry.name, uid=entry.uid)
        except ClusterError as error:
            if error.code != 404:
                raise

    async def _conflict(self, kind: _Kind, entry: Record | None, _wanted: Obj) -> None:
        assert entry is not None
        key = (kind.row.resource, entry.name)
        if self._told.get(key) == entry.uid:
            return
        self._told[key] = entry.uid
        gvk = kind.row.gvk
        subject = {"apiVersion": gvk.api_version, "kind": gvk.kind, **entry.obj()}
        text = f"the host has a {gvk.kind} of this name as well: it is not shown, this one is the virtual cluster's own"
        self._events(COMPONENT, subject, "Warning", SYNC_WARNING, text)


def _text(key: Key) -> str:
    return f"{key[0].resource} {key[1]}"


def _kind(row: MirrorRow, rule: ClassRule | None) -> _Kind:
    enabled = rule is not None and rule.enabled
    return _Kind(row, rule.selector if rule is not None else {}, _State.UNKNOWN if enabled else _State.DISABLED)


def _converged(current: Obj, wanted: Obj) -> Obj:
    """`current` with the host's fields and no others; its own metadata and status stay."""
    metadata = {k: v for k, v in current["metadata"].items() if k not in ("labels", "annotations")}
    metadata["labels"] = wanted["metadata"]["labels"]
    if wanted["metadata"]["annotations"]:
        metadata["annotations"] = wanted["metadata"]["annotations"]
    body = {k: v for k, v in wanted.items() if k != "status"} | {"metadata": metadata}
    if "status" in current:
        body["status"] = current["status"]
    return body


_Act = Callable[[Mirrors, _Kind, Record | None, Obj], Awaitable[None]]

_ACTIONS: Mapping[MirrorAction, _Act] = MappingProxyType(
    {
        MirrorAction.NOTHING: Mirrors._nothing,
        MirrorAction.CREATE_VIRTUAL: Mirrors._create,
        MirrorAction.CONVERGE_VIRTUAL: Mirrors._converge,
        MirrorAction.END_VIRTUAL: Mirrors._end,
        MirrorAction.REPLACE_VIRTUAL: Mirrors._end,
        MirrorAction.RELEASE_VIRTUAL: Mirrors._end,
        MirrorAction.PUT_BACK: Mirrors._end,
        MirrorAction.CONFLICT: Mirrors._conflict,
    }
)
"""What PUT_BACK kinds can come to. A mirror that ends is looked at again when it is gone, and made anew if wanted."""
