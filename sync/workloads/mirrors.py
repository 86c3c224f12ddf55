"""Mirrors: keeps in the tenant what the host's controllers make of its workloads, and takes deletions back.

One queue of children by uid, one look a key: both sides are put into words, `mirror_plan` says what to do. A mirror is
made first, then the host's object is annotated with its place: from then on its absence in the tenant means that the
tenant deleted it. Killed between any two writes, the next look goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from sync import metadata as md
from sync import names
from sync.actions import REPEAT_DELETE_S, asked_propagation
from sync.cluster import Cluster, ClusterError, PatchType, Unreachable
from sync.hooks import TwinLost
from sync.informer import HostInformer
from sync.mirror_plan import HostOriginal, MirrorAction, TenantDeletes, host_original, mirror_plan, virtual_mirror
from sync.ownership import Twin
from sync.references import RELEASE_AFTER_S
from sync.state import Engine
from sync.translator import NAMESPACES, PODS, Direction, Translator
from sync.translators import podspec, podstatus
from sync.virtual import Record
from sync.workloads import leftovers, podmirror
from sync.workloads.children import Children, Key
from sync.workloads.deletes import SOON_S, HostDeletes
from sync.workloads.events import ChildEvents
from sync.workloads.mirror import (
    CHILD_KINDS,
    ChildKind,
    Owner,
    anchoring,
    child_name,
    claim_name,
    has_all,
    new_mirror,
    over,
    owners,
)
from sync.workloads.revisions import REVISIONS, OwnRevisions
from sync.workloads.rows import MADE_BY
from sync.workloads.unlabelled import Unlabelled
from vapi.control.informer import sliced
from vapi.control.kinds import CLAIMS
from vapi.control.workqueue import QueueClosed, Retry, WorkQueue
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

WORKERS = 16
REFUSED_AGAIN_S = 30.0
TAKEN_AGAIN_S = 5.0

KINDS: Mapping[GVR, ChildKind] = MappingProxyType({PODS: podmirror.POD_KIND, **CHILD_KINDS})


@dataclass(slots=True)
class Look:
    """One look at one child."""

    key: Key
    kind: ChildKind
    twin: Twin | None
    entry: Record | None
    owner: Owner | None

    @property
    def there(self) -> Twin:
        assert self.twin is not None
        return self.twin

    @property
    def here(self) -> Record:
        assert self.entry is not None
        return self.entry


class ChildMirrors:
    """Make it before the engine runs, so that it hears all; `run` works until cancelled. Runs on the loop."""

    def __init__(self, *, engine: Engine, host: Cluster, kinds: tuple[str, ...], rows: tuple[Translator, ...]) -> None:
        """`kinds`: the workloads that go to the host."""
        self._engine = engine
        self._host = host
        made = {plural for kind in kinds for plural in MADE_BY[kind]}
        self._kinds = {gvr: kind for gvr, kind in KINDS.items() if gvr.resource in made or gvr == PODS}
        self._ways = kinds
        self._own: list[HostInformer] = []
        informers = {gvr: self._informer(gvr, kind) for gvr, kind in self._kinds.items()}
        self._informers = informers
        self.queue: WorkQueue[Key] = WorkQueue(clock=engine.clock, refill=self._all_keys)
        workloads = [engine.informers[row.resource] for row in rows]
        self.children = Children(
            virtual=engine.virtual,
            kinds=self._kinds,
            informers=informers,
            workloads=workloads,
            concerned=self._concerned,
        )
        self._workload_rows = {row.resource for row in rows}
        for gvr, informer in informers.items():
            informer.on_other = partial(self.children.host_changed, gvr)
        self._begun = False
        self._learned = False
        self._unlabelled = Unlabelled(engine, self.children)
        self._deletes = HostDeletes(engine, host, informers)
        self._revisions = OwnRevisions(engine, host, self.children, workloads, self._deletes)
        self.events = ChildEvents(self.children, self._kinds)

    def _informer(self, gvr: GVR, kind: ChildKind) -> HostInformer:
        shared = self._engine.informers.get(gvr)
        if shared is not None:
            return shared
        row = Translator(gvr, kind.gvk, _never_sent, keeps_body=True, direction=Direction.FROM_HOST)
        informer = HostInformer(
            row,
            self._host,
            virtual_cluster=self._engine.context.cluster,
            host_namespace=self._engine.context.host_namespace,
            on_twin=lambda _row, _namespace, _name, _before, _after: None,
            on_synced=lambda: None,
        )
        self._own.append(informer)
        return informer

    # --- what changed ---------------------------------------------------------------------------------------

    def workload_changed(
        self, row: Translator, _namespace: str, _name: str, before: Twin | None, after: Twin | None
    ) -> None:
        """As Syncer.on_twin tells it."""
        if row.resource in self._workload_rows:
            self.children.workload_changed(row, before, after)

    def _concerned(self, key: Key) -> None:
        if self._begun:
            self.queue.add(key)

    def _namespace_changed(self, entry: Record, old: Record | None) -> None:
        """Its labels are on all of its pods."""
        if old is not None and old.labels != entry.labels:
            for pod in self._engine.virtual.entries(PODS, entry.name):
                if (PODS, pod.uid) in self.children:
                    self._concerned((PODS, pod.uid))

    def _own_revision(self, entry: Record, _old: Record | None) -> None:
        if self._revisions.learn(entry):
            self._concerned((REVISIONS, entry.uid))

    def _all_keys(self) -> list[Key]:
        return [*self.children.all_keys(), *self._revisions.keys()]

    # --- run ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Once the engine's first lists are complete."""
        off: list[Callable[[], None]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for informer in self._own:
                    group.create_task(informer.run(), name=f"inform {informer.row.resource.resource}")
                for informer in self._informers.values():
                    await informer.answered_once.wait()
                await leftovers.remove(self._engine, self._ways, self._kinds)
                self._begun = True
                off.append(self._engine.virtual.on_change(NAMESPACES, self._namespace_changed))
                if REVISIONS in self._kinds:
                    off.append(self._engine.virtual.on_change(REVISIONS, self._own_revision))
                for gvr in self._kinds:
                    off.append(self._engine.virtual.on_change(gvr, self.children.virtual_changed(gvr)))
                    await self._learn(gvr)
                self._learned = True
                self.queue.refill()
                for number in range(WORKERS):
                    group.create_task(self._work(), name=f"mirror children {number}")
        finally:
            for each in off:
                each()
            self.queue.close()

    async def _learn(self, gvr: GVR) -> None:
        for count, entry in enumerate(list(self._engine.virtual.entries(gvr))):
            live = self._engine.virtual.cached(gvr, entry.namespace, entry.name)
            if live is not None:
                self.children.learn(gvr, live)
                if gvr == REVISIONS:
                    self._own_revision(live, None)
            if count % 32 == 31:
                await asyncio.sleep(0)

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosed:
                return
            try:
                await self._try(key)
            finally:
                self.queue.done(key)
            await asyncio.sleep(0)

    async def _try(self, key: Key) -> None:
        try:
            await self.look(key)
        except Retry as retry:
            if retry.after_s is None:
                self.queue.retry(key)
            else:
                self.queue.add_after(key, retry.after_s)
            return
        except Unreachable:
            self.queue.add_after(key, 0.5)
            return
        except TwinLost:
            self.queue.add_after(key, REFUSED_AGAIN_S)  # its node has gone: the host's controllers see to it
            return
        except ClusterError as error:
            if error.code in (400, 403, 413, 422):
                log.warning(
                    "child not mirrored", extra={"key": key[1], "resource": key[0].resource, "error": str(error)}
                )
                self.queue.add_after(key, REFUSED_AGAIN_S)
            else:
                self.queue.retry(key)
            return
        except Exception:
            log.exception("child not mirrored", extra={"key": key[1], "resource": key[0].resource})
            self.queue.retry(key)
            return
        self.queue.forget(key)

    # --- one look -------------------------------------------------------------------------------------------

    async def look(self, key: Key) -> None:
        """Raises Retry, ClusterError."""
        kind = self._kinds[key[0]]
        if not self._informers[key[0]].synced.is_set():
            raise Retry(REFUSED_AGAIN_S)
        if key in self._revisions:
            await self._revisions.give(key)
            return
        twin, entry = self.children.host(key), self.children.here(key)
        owner = self.children.owner(key[0], twin) if twin is not None else None
        look = Look(key, kind, twin, entry, owner)
        virtual = virtual_mirror(
            source=key[1] if entry is not None else None,
            deleting=entry is not None and entry.deleting,
            host_uid=twin.uid if twin is not None else "",
            removed=twin.uid if twin is not None and twin.mirrored else "",
            ended=await self._ended_by_tenant(look),
        )
        seen = twin is not None and (entry is not None or bool(twin.mirrored) or self._is_seen(look))
        original = host_original(uid=key[1] if seen else "", deleting=twin is not None and twin.deleting)
        action = mirror_plan(virtual, original, deletes=TenantDeletes.FORWARD)
        if original is HostOriginal.ABSENT and entry is not None and not await self._proven_gone(look):
            raise Retry(SOON_S)
        await ACTIONS[action](self, look)

    async def _ended_by_tenant(self, look: Look) -> bool:
        """Whether a client put the pod into a terminal phase; the host is asked, its last word may be on the way."""
        twin, entry = look.twin, look.entry
        if look.key[0] != PODS or twin is None or entry is None or twin.deleting or not twin.controller:
            return False
        if entry.fields.get("status.phase") not in podstatus.ENDED or podstatus.ended(twin.obj()):
            return False
        await self._engine.limiter.take(2)
        try:
            found = await self._host.get(PODS, self._engine.context.host_namespace, twin.name)
        except ClusterError as error:
            if error.code != 404:
                raise
            return False
        return bool(found["metadata"]["uid"] == twin.uid) and not podstatus.ended(found)

    def _is_seen(self, look: Look) -> bool:
        """Whether the tenant may see a child that it has not seen yet: its workload made it, or left it behind."""
        if look.owner is not None:
            return look.owner.obj is not None
        twin = look.there
        return not twin.controller and twin.kind == "" and twin.value is not None and md.TEMPLATE.encode() in twin.value

    async def _proven_gone(self, look: Look) -> bool:
        """A label that was taken off the host's object is given back."""
        name = self.children.host_name(look.key) or await self._unlabelled.host_name(look.key)
        informer, context = self._informers[look.key[0]], self._engine.context
        if not name or informer.proven_gone(name, look.key[1]):
            return True
        await self._engine.limiter.take(2)
        try:
            found = await self._host.get(look.key[0], context.host_namespace, name)
        except ClusterError as error:
            if error.code != 404:
                raise
            return True
        if found["metadata"]["uid"] != look.key[1]:
            return True
        labels = context.own_labels(look.here.namespace)
        if (found["metadata"].get("labels") or {}).get(md.MANAGED_BY) != context.cluster:
            await self._patch(look, name, {"metadata": {"uid": look.key[1], "labels": labels}})
            self.children.host_changed(look.key[0], None, informer.get(name))  # which the watch will not tell again
        return False

    # --- actions --------------------------------------------------------------------------------------------

    async def nothing(self, look: Look) -> None:
        if look.entry is None and look.twin is None:
            self.children.forget(look.key)
            self._deletes.forget(look.key)
            self._drop_references(look.key)

    async def create(self, look: Look) -> None:
        """The mirror, then its status, then its place on the host's object."""
        if look.key[0] == REVISIONS and await self._revisions.take(look.there):
            return  # the next look tells the host
        live = look.there.obj()
        namespace = look.owner.namespace if look.owner else live["metadata"]["labels"].get(md.NAMESPACE, "")
        if not self._may_create(namespace):
            raise Retry(REFUSED_AGAIN_S)
        try:
            wanted = claim_name(live) if look.key[0] == CLAIMS else child_name(look.owner, look.there.name)
            mirror = new_mirror(look.kind, live, look.owner, namespace, self._free_name(look, namespace, wanted))
        except KeyError:
            return  # the host made it before it had our template: nothing that the tenant could be told
        node = (live.get("spec") or {}).get("nodeName")
        if look.key[0] == PODS and node:
            await self._engine.hooks.before_bind(mirror, node)
        with self._engine.racing():
            made = await self._engine.virtual.copy(look.key[0], mirror)
        self.children.mirrored(look.key)
        log.debug("mirror made", extra={"resource": look.key[0].resource, "key": (namespace, made["metadata"]["name"])})
        await self._converge(look, made, live)
        entry = self.children.here(look.key)
        if entry is not None:
            self.events.created(look.there, entry)

    def _may_create(self, namespace: str) -> bool:
        entry = self._engine.virtual.cached(NAMESPACES, "", namespace)
        return entry is not None and not entry.deleting

    def _free_name(self, look: Look, namespace: str, wanted: str) -> str:
        """`wanted`; the host's where a tenant's own has that. Raises Retry."""
        for name in (wanted, look.there.name):
            there = self._engine.virtual.cached(look.key[0], namespace, name)
            if there is None:
                return name
            if md.is_child(there.obj()) or there.deleting:
                self.queue.add((look.key[0], there.uid))
                raise Retry(SOON_S, "its predecessor has not gone")
        raise Retry(TAKEN_AGAIN_S, "both of its names are taken")

    async def converge(self, look: Look) -> None:
        await self._converge(look, look.here.obj(), look.there.obj())

    async def _converge(self, look: Look, virtual: Obj, live: Obj) -> None:
        if look.key[0] == PODS:
            self._refer(look.key, virtual)
        await self._tell_host(look, virtual, live)
        if look.key[0] == PODS:
            virtual = await self._bound(virtual, live)
        elif look.key[0] == CLAIMS:
            await self._engine.hooks.before_bound(live)
        virtual = await self._brought_back(look, virtual, live)
        await self._status(look, virtual, live)

    async def _tell_host(self, look: Look, virtual: Obj, live: Obj) -> None:
        twin, context = look.there, self._engine.context
        anchor = names.anchor_name(context.cluster)
        if look.key[0] != CLAIMS and (owned := anchoring(live, anchor=anchor, anchor_uid=context.anchor_uid)):
            await self._patch(look, twin.name, owned)
            raise Retry(0)
        if look.key[0] == PODS:
            for write in podmirror.writes(virtual, live, twin, context):
                await self._write(look, write.patch, write.subresource, optional=write.optional)
            return
        metadata = virtual["metadata"]
        place = f"{metadata['namespace']}/{metadata['name']}"
        if twin.mirrored != place:
            await self._patch(look, twin.name, {"metadata": {"uid": twin.uid, "annotations": {md.MIRRORED: place}}})

    async def _write(self, look: Look, patch: Obj, subresource: str, *, optional: bool) -> None:
        await self._engine.limiter.take(2)
        try:
            answer = await self._host.patch(
                look.key[0],
                self._engine.context.host_namespace,
                look.there.name,
                patch,
                content_type=PatchType.STRATEGIC,
                subresource=subresource,
            )
        except ClusterError as error:
            if not optional or error.code not in (403, 404, 405, 422):
                raise
            log.info("host refuses a change of a child", extra={"name": look.there.name, "error": error.message})
            return
        self._informers[look.key[0]].answered(answer)

    async def _patch(self, look: Look, name: str, patch: Obj) -> None:
        await self._engine.limiter.take(2)
        answer = await self._host.patch(
            look.key[0], self._engine.context.host_namespace, name, patch, content_type=PatchType.MERGE
        )
        self._informers[look.key[0]].answered(answer)

    async def _bound(self, virtual: Obj, live: Obj) -> Obj:
        node = live["spec"].get("nodeName")
        if not node or virtual["spec"].get("nodeName") or "deletionTimestamp" in virtual["metadata"]:
            return virtual
        await self._engine.hooks.before_bind(virtual, node)
        metadata = virtual["metadata"]
        with self._engine.racing():
            return await self._engine.virtual.bind(metadata["namespace"], metadata["name"], node, uid=metadata["uid"])

    async def _brought_back(self, look: Look, virtual: Obj, live: Obj) -> Obj:
        """Owners, and what follows the host."""
        changed: dict[str, Any] = {}
        references = virtual["metadata"].get("ownerReferences") or []
        wanted = owners(references, look.owner, bool(look.there.controller), self.children.runs)
        if look.key[0] != CLAIMS and wanted != references:
            changed["metadata"] = {**virtual["metadata"], "ownerReferences": wanted}
        if look.kind.converged:
            try:
                again = look.kind.mirror(live, look.owner, virtual["metadata"]["name"])
            except KeyError:
                again = {}
            for field in look.kind.converged:
                if field in again and not has_all(virtual.get(field), again[field]):
                    changed[field] = over(virtual.get(field), again[field])
            annotations = (again.get("metadata") or {}).get("annotations") or {}
            metadata = changed.get("metadata") or virtual["metadata"]
            if not has_all(metadata.get("annotations") or {}, annotations):
                changed["metadata"] = {
                    **metadata,
                    "annotations": {**(metadata.get("annotations") or {}), **annotations},
                }
        if not changed:
            return virtual
        with self._engine.racing():
            return await self._engine.virtual.update(look.key[0], {**virtual, **changed})

    async def _status(self, look: Look, virtual: Obj, live: Obj) -> None:
        status = look.kind.status(virtual, live)
        if status is None or status == virtual.get("status"):
            return
        with self._engine.racing():
            await self._engine.virtual.update(look.key[0], {**virtual, "status": status}, subresource="status")

    async def end(self, look: Look) -> None:
        """With the host's grace; of what has children in the tenant, they go or stay as on the host."""
        twin, entry = look.twin, look.here
        if look.key[0] == PODS and twin is not None:
            await self._status(look, entry.obj(), twin.obj())
        grace_s = (twin.grace_s if twin is not None else 0) if look.key[0] == PODS else None
        propagation = asked_propagation(twin.finalizers) if twin is not None else await self._as_on_host(look.key)
        await self._delete_here(look, grace_s, propagation)

    async def _as_on_host(self, key: Key) -> str:
        """Orphan if a child of it stays there without a controller."""
        if key[0] == PODS:
            return ""
        for gvr in self._kinds:
            async for entry in sliced(self._engine.virtual.entries(gvr)):
                if entry.controller == key[1]:
                    child = self.children.host((gvr, entry.uid))
                    if child is not None and not child.deleting and not child.controller:
                        return "Orphan"
        return "Background"

    async def _delete_here(self, look: Look, grace_s: int | None, propagation: str) -> None:
        entry = look.here
        try:
            await self._engine.virtual.delete(
                look.key[0],
                entry.namespace,
                entry.name,
                uid=entry.uid,
                grace_period_s=grace_s,
                propagation="" if look.key[0] == PODS else propagation,
            )
        except ClusterError as error:
            if error.code not in (404, 409):
                raise

    async def replace(self, look: Look) -> None:
        await self._delete_here(look, 0, "Background")
        raise Retry(SOON_S)

    async def release(self, look: Look) -> None:
        """Finalizers are the tenant's."""
        if look.key[0] == PODS and look.here.obj()["metadata"].get("deletionGracePeriodSeconds") != 0:
            await self._delete_here(look, 0, "")

    async def delete_host(self, look: Look) -> None:
        """With the tenant's grace and propagation."""
        twin = look.there
        if look.entry is None and await self._still_here(look):
            raise Retry(SOON_S)
        if look.key[0] == REVISIONS and look.owner is not None and self._revisions.awaited(look.owner.uid):
            raise Retry(SOON_S)
        metadata = look.entry.obj()["metadata"] if look.entry is not None else {}
        grace_s = metadata.get("deletionGracePeriodSeconds") if look.key[0] == PODS else None
        await self._deletes.send(look.key, twin, grace_s, asked_propagation(metadata.get("finalizers") or ()))
        raise Retry(REPEAT_DELETE_S)

    async def _still_here(self, look: Look) -> bool:
        """The cache may be behind what was acknowledged; what it does not show is not deleted for that."""
        namespace, _, name = look.there.mirrored.partition("/")
        try:
            found = await self._engine.virtual.get(look.key[0], namespace, name)
        except ClusterError as error:
            if error.code != 404:
                raise
            return False
        return look.key[1] in (found["metadata"]["uid"], md.marked_host_uid(found))

    async def observe(self, look: Look) -> None:
        """Both sides are going; the shorter grace holds."""
        twin, virtual = look.there, look.here.obj()
        await self._status(look, virtual, twin.obj())
        asked = virtual["metadata"].get("deletionGracePeriodSeconds")
        if look.key[0] != PODS or asked is None or twin.grace_s is None:
            return
        if asked < twin.grace_s:
            await self._deletes.send(look.key, twin, asked, "Background")
        elif twin.grace_s < asked:
            await self._delete_here(look, twin.grace_s, "")

    # --- references -----------------------------------------------------------------------------------------

    def _refer(self, key: Key, virtual: Obj) -> None:
        """What its pods name stays on the host as long as they do, also what the template names no more."""
        refs = podspec.references(virtual["spec"], virtual["metadata"]["namespace"])
        wanted = frozenset(ref for ref in refs if ref.resource in self._engine.informers)
        for ref in self._engine.references.set(_referrer(key), wanted):
            self._engine.touch(self._engine.key(ref))

    def _drop_references(self, key: Key) -> None:
        for ref in self._engine.references.drop(_referrer(key)):
            self._engine.touch_after(self._engine.key(ref), RELEASE_AFTER_S + 0.1)

    # --- for others -----------------------------------------------------------------------------------------

    def propagation(self, twin: Twin) -> str:
        """Of a workload that the tenant has no more: Orphan if it left its children without an owner. Raises Retry."""
        if not self._learned:
            raise Retry(SOON_S)
        for key in self.children.children(twin.uid):
            entry = self.children.here(key)
            if entry is not None and not entry.deleting and entry.controller != twin.object_uid:
                return "Orphan"
        return "Background"

    async def names(self, text: str) -> bool:
        """Whether anything that the host's controllers made names `text`."""
        wanted = text.encode()
        for gvr, informer in self._informers.items():
            for count, twin in enumerate(list(informer.twins())):
                if (gvr, twin.uid) in self.children and twin.value is not None and wanted in twin.value:
                    return True
                if count % 64 == 63:
                    await asyncio.sleep(0)
        return False

    def pod_on_host(self, uid: str) -> str:
        """The host's name of a pod that its controllers made; "": it is none of these."""
        return self.children.host_name((PODS, uid))


def _referrer(key: Key) -> tuple[object, str, str]:
    return ("child", key[0].resource, key[1])


def _never_sent(_virtual: Obj, _context: object) -> Obj:
    raise AssertionError("what the host's controllers made is never sent")


ACTIONS: Mapping[MirrorAction, Callable[[ChildMirrors, Look], Awaitable[None]]] = MappingProxyType(
    {
        MirrorAction.NOTHING: ChildMirrors.nothing,
        MirrorAction.CREATE_VIRTUAL: ChildMirrors.create,
        MirrorAction.CONVERGE_VIRTUAL: ChildMirrors.converge,
        MirrorAction.END_VIRTUAL: ChildMirrors.end,
        MirrorAction.REPLACE_VIRTUAL: ChildMirrors.replace,
        MirrorAction.RELEASE_VIRTUAL: ChildMirrors.release,
        MirrorAction.PUT_BACK: ChildMirrors.replace,
        MirrorAction.DELETE_HOST: ChildMirrors.delete_host,
        MirrorAction.OBSERVE: ChildMirrors.observe,
        MirrorAction.CONFLICT: ChildMirrors.nothing,
    }
)
