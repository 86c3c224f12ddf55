"""Placing: with virtual nodes, what makes a choice of the tenant's scheduler true: the host binds the twin there.

    scheduler ─▶ bind(pod, node) ─▶ twin with that node required ─▶ the host binds it ─▶ the tenant's pod is bound
                                          │ not within 30 s, or 600 s if the host has chosen it and makes its volumes
                                          ▼
                                   twin taken back ─▶ Declined ─▶ the scheduler chooses again

Until the host has bound a twin nothing of it comes back: the pod has no mark, so that a twin taken back is no loss.
What was chosen is noted on the twin (`vapi.dev/node`), so after a restart a pod with a twin keeps its node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sync import metadata as md
from sync.ownership import Twin
from sync.state import Key
from sync.translator import CLAIMS, PODS, Ref, Translator
from sync.translators import podstatus
from sync.virtual import Record, VirtualCluster
from vapi import errors
from vapi.clock import Clock
from vapi.control.scheduler.binder import Declined
from vapi.control.workqueue import QueueClosed, WorkQueue
from vapi.gvk import Obj

log = logging.getLogger(__name__)

BIND_S = 30.0
"""From the twin's creation until the host has bound it (design §6); kube-scheduler's own binding takes ms."""
VOLUMES_S = 600.0
"""As long where the host's scheduler has chosen the node and waits for volumes to be made: what itself gives them."""
ABSENT_S = 300.0
"""A choice whose twin has not come to be is given up: a quota of the host, a reference that it refuses, an outage.

Else pods that the host will not have would take all the places that the scheduler has for binding.
"""
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Annotation of a claim whose volume is made for a pod on that node; the host's scheduler writes it."""
LOOK_S = 5.0
"""Between two looks at a twin that has to go, or is bound and not told of yet."""

BOUND: Final = ""
GONE: Final = "the pod has gone"


@dataclass(slots=True)
class _Placement:
    """One choice of the scheduler, until it is true or declined."""

    node: str
    key: Key
    made_at: float
    done: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """BOUND, or why not."""
    since: float | None = None
    """When the twin was first seen on the host: a host that is away declines nothing."""
    taken_back: str = ""
    """Why the twin has to go."""


class HostBinder:
    """`scheduler.binder.Binder` of virtual nodes. Runs on the loop; `run` as long as pods are placed."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        twin: Callable[[Ref], Twin | None],
        touch: Callable[[Key], None],
        synced: asyncio.Event,
        clock: Clock,
    ) -> None:
        """`twin`, `touch`, `synced`: the syncer's."""
        self._virtual = virtual
        self._twin = twin
        self._touch = touch
        self._synced = synced
        self._clock = clock
        self._placements: dict[str, _Placement] = {}
        """uid of the pod → its placement."""
        self._queue: WorkQueue[str] = WorkQueue(clock=clock)

    # --- for the syncer -------------------------------------------------------------------------------------

    def chosen(self, virtual: Obj) -> str:
        """`Context.chosen_node`."""
        bound = virtual["spec"].get("nodeName")
        if bound:
            return str(bound)
        placement = self._placements.get(virtual["metadata"]["uid"])
        if placement is not None:
            return "" if placement.taken_back else placement.node
        twin = self._twin_of(virtual)
        return "" if twin is None or twin.deleting else _noted_node(twin)

    def created(self, virtual: Obj) -> None:
        """The twin is there: of our own writes the watch tells nothing new (`PodHooks.after_create`)."""
        if virtual["metadata"]["uid"] in self._placements:
            self._queue.add(virtual["metadata"]["uid"])

    def twin_changed(
        self, row: Translator, _namespace: str, _name: str, before: Twin | None, after: Twin | None
    ) -> None:
        """`Syncer.on_twin`."""
        twin = after or before
        if row.resource == PODS and twin is not None and twin.object_uid in self._placements:
            self._queue.add(twin.object_uid)

    # --- for the scheduler ----------------------------------------------------------------------------------

    async def bind(self, pod: Obj, node: str) -> None:
        """Returns when the tenant's pod is bound: to `node`, or where its twin has been sent before a restart.

        Raises Declined, ApiError 404. Cut off, the choice stays.
        """
        await self._synced.wait()
        metadata = pod["metadata"]
        uid, key = metadata["uid"], (PODS, metadata["namespace"], metadata["name"])
        placement = self._placements.get(uid)
        if placement is None:
            placement = self._placements[uid] = _Placement(node, key, self._clock.monotonic())
            twin = self._twin_of(pod)
            if twin is not None and twin.deleting:  # a taking back that a restart has cut off
                placement.taken_back = f"the twin on {_noted_node(twin)} is being taken back"
            elif twin is not None:
                placement.node = _noted_node(twin) or node
        self._queue.add(uid)
        self._touch(key)
        reason = await asyncio.shield(placement.done)
        if reason == GONE:
            raise errors.not_found(PODS, metadata["name"])
        if reason:
            raise Declined(reason)

    # --- looking --------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at the clock, for who has moved it."""
        self._queue.tick()

    async def run(self) -> None:
        """Until cancelled."""
        off = self._virtual.on_change(PODS, self._pod_changed)
        try:
            while True:
                uid = await self._queue.get()
                try:
                    self._look(uid)
                finally:
                    self._queue.done(uid)
                await asyncio.sleep(0)
        except QueueClosed:
            return
        finally:
            off()
            self._queue.close()

    def _pod_changed(self, entry: Record, _old: Record | None) -> None:
        if entry.uid in self._placements:
            self._queue.add(entry.uid)

    def _look(self, uid: str) -> None:
        placement = self._placements.get(uid)
        if placement is None:
            return
        _, namespace, name = placement.key
        entry = self._virtual.cached(PODS, namespace, name)
        if entry is None or entry.uid != uid:
            self._end(uid, placement, GONE)
            return
        if entry.fields.get("spec.nodeName"):
            self._end(uid, placement, BOUND)
            return
        twin = self._twin(Ref(PODS, namespace, name))
        if twin is not None and twin.object_uid != uid:
            twin = None  # of an earlier pod of that name, on its way out
        if placement.taken_back:
            if twin is None:
                self._end(uid, placement, placement.taken_back)
            else:
                self._queue.add_after(uid, LOOK_S)
        elif twin is None:
            self._wait_for_twin(uid, placement)
        else:
            self._wait(uid, placement, twin, entry)

    def _wait_for_twin(self, uid: str, placement: _Placement) -> None:
        placement.since = None
        left_s = placement.made_at + ABSENT_S - self._clock.monotonic()
        if left_s > 0:
            self._queue.add_after(uid, left_s)
        else:
            self._end(uid, placement, f"the host has no pod of it after {ABSENT_S:.0f} s")

    def _wait(self, uid: str, placement: _Placement, twin: Twin, entry: Record) -> None:
        now = self._clock.monotonic()
        if placement.since is None:
            placement.since = now
        patience_s = BIND_S
        if now >= placement.since + BIND_S and self._volumes_are_made(entry.obj(), placement.node):
            patience_s = VOLUMES_S
        left_s = placement.since + patience_s - now
        if left_s > 0:
            self._queue.add_after(uid, min(left_s, BIND_S))
            return
        live = twin.obj()
        if live["spec"].get("nodeName"):  # the engine is about to tell the tenant
            self._queue.add_after(uid, LOOK_S)
            return
        why = _why_unbound(entry.obj(), live)
        placement.taken_back = f"the host has not bound it to node {placement.node} within {patience_s:.0f} s{why}"
        log.info("twin taken back", extra={"key": placement.key[1:], "node": placement.node})
        self._touch(placement.key)
        self._queue.add_after(uid, LOOK_S)

    def _volumes_are_made(self, pod: Obj, node: str) -> bool:
        """Whether the host has chosen `node` for a claim of `pod` without volume yet: it will bind the pod there."""
        for claim in _claims_of(pod):
            entry = self._virtual.cached(CLAIMS, pod["metadata"]["namespace"], claim)
            if entry is None:
                continue
            found = entry.obj()
            selected = (found["metadata"].get("annotations") or {}).get(SELECTED_NODE)
            if selected == node and not found["spec"].get("volumeName"):
                return True
        return False

    def _end(self, uid: str, placement: _Placement, reason: str) -> None:
        del self._placements[uid]
        if not placement.done.done():
            placement.done.set_result(reason)

    def _twin_of(self, virtual: Obj) -> Twin | None:
        metadata = virtual["metadata"]
        twin = self._twin(Ref(PODS, metadata["namespace"], metadata["name"]))
        return twin if twin is not None and twin.object_uid == metadata["uid"] else None


def _claims_of(pod: Obj) -> Iterator[str]:
    """Names of the claims whose volumes `pod` mounts; of an ephemeral one as Kubernetes names it."""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"]["claimName"]
        elif volume.get("ephemeral"):
            yield f"{pod['metadata']['name']}-{volume['name']}"


def _noted_node(twin: Twin) -> str:
    return str((twin.obj()["metadata"].get("annotations") or {}).get(md.NODE, ""))


def _why_unbound(virtual: Obj, host_pod: Obj) -> str:
    """In the words of the host's scheduler, but for names that the tenant does not know."""
    for condition in podstatus.in_tenant_terms(virtual, host_pod).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("message"):
            return f": {condition['message']}"
    return ""
