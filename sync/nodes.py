"""Nodes: the tenant sees those that its pods run on, or all that fit, as the mode says (`nodes_copy`).

A Node that no pod uses any more goes after a minute where only used ones are shown. One that the host has no more,
or that lost a label of the selector, goes at once; its pods follow as on any cluster (pod garbage collector, 40 s).
Heartbeats alone are passed on every five minutes: they say nothing new. Without the right to read nodes those that
pods run on are invented, or stay as they were: a pod is bound to something in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sync import nodes_copy
from sync.cluster import Cluster, ClusterError, ClusterEventType, PatchType
from sync.hooks import TwinLost
from sync.nodes_copy import NodeRules
from sync.translator import NODES, PODS
from sync.virtual import Record, VirtualCluster
from sync.worker import work
from vapi import encoding
from vapi.clock import Clock
from vapi.control.workqueue import Retry, WorkQueue
from vapi.gvk import Obj

log = logging.getLogger(__name__)

UNUSED_S = 60.0
"""How long a mirror stays after its last pod: the next pod of a rollout often comes to the same node."""
HEARTBEAT_S = 300.0
RELIST_S = 5.0
GONE_S = 40.0
"""A host pod on a node that is not there, or not ours, for this long is lost. As the pod garbage collector's."""
ASK_AGAIN_S = 5.0
FORGET_S = 600.0
"""How long it is remembered since when a node has been missing: all of its pods have been lost by then."""


class Nodes:
    """Part of the pod hooks (`before_bind`); `run` keeps the mirrors. Runs on the loop."""

    def __init__(self, *, virtual: VirtualCluster, host: Cluster, clock: Clock, rules: NodeRules) -> None:
        self._virtual = virtual
        self._host = host
        self._clock = clock
        self._rules = rules
        self._seen: dict[str, bytes] = {}
        """Host node → its latest body; only those of the selector."""
        self._asked: set[str] = set()
        """Of these, those that only a GET told of: a deletion may have been told before its answer came."""
        self._guessed: set[str] = set()
        """Of these, those that we may not read: that a pod of ours is there is all that is known."""
        self._missing: dict[str, float] = {}
        """Node that a twin is on and nobody may see → since when."""
        self._beats: dict[str, float] = {}
        self._used: dict[str, int] = {}
        self._kept_until: dict[str, float] = {}
        """Node without pods → how long it stays."""
        self._queue: WorkQueue[str] = WorkQueue(clock=clock)
        self._off: list[Callable[[], None]] = []
        self._synced = asyncio.Event()

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        """The tenant has the Node that its pod is about to be bound to. Raises ClusterError, Retry, TwinLost."""
        if node_name not in self._seen and not await self._ask(node_name):
            self._not_seen(node_name)
        self._missing.pop(node_name, None)
        self._keep(node_name)
        if self._virtual.cached(NODES, "", node_name) is None:
            await self._mirror(node_name)

    async def _ask(self, name: str) -> bool:
        """The host itself, as long as the watch has not told of this node."""
        try:
            node = await self._host.get(NODES, "", name)
        except ClusterError as error:
            if error.code == 403 and not self._rules.virtual:
                self._guess(name)
                return True
            if error.code != 404:
                raise
            node = None
        if node is None or not self._rules.selects(node):
            self._seen.pop(name, None)
            self._asked.discard(name)
            return False
        self._seen[name] = encoding.dumps(node)
        self._asked.add(name)
        self._queue.add_after(name, ASK_AGAIN_S)
        return True

    def _guess(self, name: str) -> None:
        there = self._virtual.cached(NODES, "", name)
        self._seen[name] = encoding.dumps(there.obj() if there is not None else nodes_copy.unread(name))
        self._guessed.add(name)

    def _not_seen(self, node_name: str) -> None:
        """It may come (back): a kubelet that registers anew, a label. Raises Retry, in the end TwinLost."""
        now = self._clock.monotonic()
        if node_name not in self._missing:
            self._queue.add(node_name)  # to be forgotten some day
        if now - self._missing.setdefault(node_name, now) >= GONE_S:
            raise TwinLost(f"its node {node_name} has gone")
        raise Retry(ASK_AGAIN_S, "its node is not there")

    def tick(self) -> None:
        """Look at the clock, for who has moved it."""
        self._queue.tick()

    async def run(self) -> None:
        """Until cancelled."""
        self._off = [
            self._virtual.on_change(PODS, self._pod_changed),
            self._virtual.on_change(NODES, self._node_changed),
        ]
        for pod in self._virtual.entries(PODS):
            self._count(_node_of(pod), 1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="host nodes")
                looks = work(self._queue, self._reconcile, failed="node not mirrored, again later", about=str)
                group.create_task(looks, name="mirror nodes")
        finally:
            for off in self._off:
                off()
            self._queue.close()

    # --- what changes -----------------------------------------------------------------------------------

    def _pod_changed(self, entry: Record, old: Record | None) -> None:
        live = self._virtual.cached(PODS, entry.namespace, entry.name)
        before = _node_of(old) if old is not None else ""
        after = _node_of(entry) if live is not None and live.uid == entry.uid else ""
        if before != after:
            self._count(before, -1)
            self._count(after, 1)

    def _count(self, node: str, by: int) -> None:
        if not node:
            return
        left = self._used.get(node, 0) + by
        if left > 0:
            self._used[node] = left
            if left == by:
                self._queue.add(node)
        else:
            self._used.pop(node, None)
            self._keep(node)

    def _keep(self, node: str) -> None:
        self._kept_until[node] = self._clock.monotonic() + UNUSED_S
        self._queue.add_after(node, UNUSED_S)

    def _wanted(self, node: str) -> bool:
        if node not in self._seen:
            return False
        if self._rules.every or node in self._used or self._kept_until.get(node, 0.0) > self._clock.monotonic():
            return True
        self._kept_until.pop(node, None)
        return False

    def _node_changed(self, entry: Record, _old: Record | None) -> None:
        self._queue.add(entry.name)

    async def _follow(self) -> None:
        refused = False
        while True:
            listed: set[str] | None = set()
            try:
                async for event in self._host.watch(NODES, label_selector=self._rules.label_selector):
                    if event.type is ClusterEventType.REFUSED:
                        if not refused:
                            log.warning("host refuses its nodes, they stay as they are", extra={"error": event.message})
                        refused = True
                    elif event.obj is None:
                        self._listed(listed)
                        listed, refused = None, False
                    else:
                        name = event.obj["metadata"]["name"]
                        self._asked.discard(name)
                        self._guessed.discard(name)
                        if event.type is ClusterEventType.DELETED:
                            self._seen.pop(name, None)
                        else:
                            self._seen[name] = encoding.dumps(event.obj)
                            if listed is not None:
                                listed.add(name)
                        self._queue.add(name)
            except ClusterError as error:
                log.warning("host nodes cannot be watched, again later", extra={"error": error.message})
                await asyncio.sleep(RELIST_S)

    def _listed(self, names: set[str] | None) -> None:
        """A list is complete, the first of a watch if `names` is given: what it did not hold is gone."""
        if names is not None:
            self._asked.clear()
            self._guessed.clear()
            for name in self._seen.keys() - names:
                del self._seen[name]
        self._synced.set()
        for entry in self._virtual.entries(NODES):
            self._queue.add(entry.name)

    async def _reconcile(self, name: str) -> None:
        if name in self._asked:
            await self._ask(name)
        current = self._virtual.cached(NODES, "", name)
        if name in self._seen:
            self._missing.pop(name, None)
        else:
            self._forget(name, shown=current is not None)
        if self._wanted(name):
            await self._mirror(name)
        elif current is not None and nodes_copy.is_ours(current.labels) and self._is_known(name):
            log.info("node leaves the tenant", extra={"node": name, "on_host": name in self._seen})
            await self._virtual.delete(NODES, "", name, uid=current.uid)

    def _is_known(self, name: str) -> bool:
        """Whether it can be told that nobody needs it; one that is not read any more leaves with its last pod."""
        return self._synced.is_set() or name in self._guessed

    def _forget(self, name: str, *, shown: bool) -> None:
        """Nodes come and go under ever new names: what is kept of one goes with it."""
        now = self._clock.monotonic()
        if name in self._missing:
            left_s = self._missing[name] + FORGET_S - now
            if left_s > 0:
                self._queue.add_after(name, left_s)
            else:
                del self._missing[name]
        if self._kept_until.get(name, now) <= now:
            self._kept_until.pop(name, None)
        if not shown:
            self._beats.pop(name, None)

    async def _mirror(self, name: str) -> None:
        host: Obj = encoding.loads(self._seen[name])
        entry = self._virtual.cached(NODES, "", name)
        if entry is None:
            try:
                created = await self._virtual.create(NODES, nodes_copy.copy_of(host, None, self._rules))
            except ClusterError as error:
                if error.code != 409:
                    raise
                raise Retry(0.1) from None
            self._beats[name] = self._clock.monotonic()
        else:
            created = entry.obj()
            if self._rules.editable and await self._edited(created, host):
                return  # the host's event comes with it
        await self._converge(created, host)

    async def _edited(self, current: Obj, host: Obj) -> bool:
        """Whether the host's node had to learn what the tenant has changed in its own."""
        patch = nodes_copy.edits(current, host, self._rules)
        if patch:
            name = host["metadata"]["name"]
            await self._host.patch(NODES, "", name, patch, content_type=PatchType.MERGE)
        return bool(patch)

    async def _converge(self, current: Obj, host: Obj) -> None:
        wanted = nodes_copy.copy_of(host, current, self._rules)
        name = wanted["metadata"]["name"]
        if _written(current) != _written(wanted):
            metadata = {k: v for k, v in current["metadata"].items() if k not in ("labels", "annotations")}
            body = {**current, "metadata": {**metadata, **wanted["metadata"]}, "spec": wanted["spec"]}
            try:
                current = await self._virtual.update(NODES, body)
            except ClusterError as error:
                if error.code != 422:
                    raise
                # what cannot change did, as the podCIDR of a node that was made anew
                await self._virtual.delete(NODES, "", name, uid=metadata["uid"])
                raise Retry(0.1) from None
        if _without_beats(current.get("status")) == _without_beats(wanted["status"]):
            if current.get("status") == wanted["status"]:
                return
            if self._clock.monotonic() - self._beats.get(name, 0.0) < HEARTBEAT_S:
                return
        self._beats[name] = self._clock.monotonic()
        await self._virtual.update(NODES, {**current, "status": wanted["status"]}, subresource="status")


def _written(node: Obj) -> tuple[Any, ...]:
    """What an update of the Node itself can change; {} and nothing are the same."""
    metadata = node["metadata"]
    spec = {k: v for k, v in (node.get("spec") or {}).items() if v}
    return metadata.get("labels") or {}, metadata.get("annotations") or {}, spec


def _without_beats(status: Any) -> Any:
    if not status:
        return status
    conditions = [{k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status.get("conditions") or ()]
    return {**status, "conditions": conditions}


def _node_of(pod: Record) -> str:
    return pod.fields.get("spec.nodeName", "")
