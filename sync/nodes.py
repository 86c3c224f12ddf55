"""Nodes: the tenant sees those that its pods run on (or all), as mirrors of the host's.

The host owns every field; a tenant's edit is put back. A mirror that no pod uses
any more goes after a minute. Heartbeats alone are passed on every five minutes: they say nothing new.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from sync.cluster import Cluster, ClusterError, ClusterEventType
from sync.translator import NODES, PODS
from sync.virtual import Record, VirtualCluster
from vapi import encoding
from vapi.clock import Clock
from vapi.control.workqueue import Retry, WorkQueue
from vapi.gvk import Obj
from vapi.resources.strategies.mirrors import MIRROR

log = logging.getLogger(__name__)

UNUSED_S = 60.0
"""How long a mirror stays after its last pod: the next pod of a rollout often comes to the same node."""
HEARTBEAT_S = 300.0
RELIST_S = 5.0


class Nodes:
    """Part of the pod hooks (`before_bind`); `run` keeps the mirrors. Runs on the loop."""

    def __init__(self, *, virtual: VirtualCluster, host: Cluster, clock: Clock, every_node: bool) -> None:
        self._virtual = virtual
        self._host = host
        self._clock = clock
        self._every_node = every_node
        self._seen: dict[str, bytes] = {}
        """Host node → its latest body."""
        self._beats: dict[str, float] = {}
        self._used: dict[str, int] = {}
        self._queue: WorkQueue[str] = WorkQueue(clock=clock)
        self._off: list[Callable[[], None]] = []
        self._synced = asyncio.Event()

    async def before_bind(self, virtual: Obj, node_name: str) -> None:
        """The tenant has the Node that its pod is about to be bound to. Raises ClusterError, Retry."""
        if self._virtual.cached(NODES, "", node_name) is not None:
            return
        if node_name not in self._seen:
            node = await self._host.get(NODES, "", node_name)
            self._seen[node_name] = encoding.dumps(node)
        await self._mirror(node_name)

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
                group.create_task(self._work(), name="mirror nodes")
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
        else:
            self._used.pop(node, None)
            self._queue.add_after(node, UNUSED_S)

    def _node_changed(self, entry: Record, _old: Record | None) -> None:
        self._queue.add(entry.name)

    async def _follow(self) -> None:
        while True:
            try:
                async for event in self._host.watch(NODES):
                    if event.obj is None:
                        self._synced.set()
                        for entry in self._virtual.entries(NODES):
                            self._queue.add(entry.name)
                        continue
                    name = event.obj["metadata"]["name"]
                    if event.type is ClusterEventType.DELETED:
                        self._seen.pop(name, None)
                    else:
                        self._seen[name] = encoding.dumps(event.obj)
                    self._queue.add(name)
            except ClusterError as error:
                log.warning("host nodes cannot be watched, again later", extra={"error": error.message})
                await asyncio.sleep(RELIST_S)

    async def _work(self) -> None:
        while True:
            name = await self._queue.get()
            try:
                await self._reconcile(name)
                self._queue.forget(name)
            except Retry as retry:
                self._queue.add_after(name, retry.after_s or 1.0)
            except ClusterError as error:
                log.debug("node not mirrored, again later", extra={"node": name, "error": error.message})
                self._queue.retry(name)
            finally:
                self._queue.done(name)
            await asyncio.sleep(0)

    async def _reconcile(self, name: str) -> None:
        current = self._virtual.cached(NODES, "", name)
        wanted = name in self._seen and (self._every_node or name in self._used)
        if wanted:
            await self._mirror(name)
        elif current is not None and MIRROR in current.labels and self._synced.is_set():
            if name in self._used and name in self._seen:
                return
            await self._virtual.delete(NODES, "", name, uid=current.uid)

    async def _mirror(self, name: str) -> None:
        host: Obj = encoding.loads(self._seen[name])
        entry = self._virtual.cached(NODES, "", name)
        if entry is None:
            try:
                created = await self._virtual.create(NODES, mirrored(host))
            except ClusterError as error:
                if error.code != 409:
                    raise
                raise Retry(0.1) from None
            self._beats[name] = self._clock.monotonic()
        else:
            created = entry.obj()
        await self._converge(created, host)

    async def _converge(self, current: Obj, host: Obj) -> None:
        wanted = mirrored(host)
        name = wanted["metadata"]["name"]
        metadata = current["metadata"]
        same = metadata.get("labels") == wanted["metadata"]["labels"] and current.get("spec") == wanted["spec"]
        if not same:
            body = {**current, "spec": wanted["spec"]}
            body["metadata"] = {**metadata, "labels": wanted["metadata"]["labels"]}
            current = await self._virtual.update(NODES, body)
        if _without_beats(current.get("status")) == _without_beats(wanted["status"]):
            if current.get("status") == wanted["status"]:
                return
            if self._clock.monotonic() - self._beats.get(name, 0.0) < HEARTBEAT_S:
                return
        self._beats[name] = self._clock.monotonic()
        await self._virtual.update(NODES, {**current, "status": wanted["status"]}, subresource="status")


def mirrored(host: Obj) -> Obj:
    """The tenant's Node for a host's: same name, labels, spec and status; no annotations, they are the host's own."""
    metadata = host["metadata"]
    spec: dict[str, Any] = {
        key: value
        for key, value in (host.get("spec") or {}).items()
        if key in ("podCIDR", "podCIDRs", "taints", "unschedulable")
    }
    status = {
        k: v for k, v in (host.get("status") or {}).items() if k not in ("images", "volumesInUse", "volumesAttached")
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": metadata["name"], "labels": {**(metadata.get("labels") or {}), MIRROR: "true"}},
        "spec": spec,
        "status": status,
    }


def _without_beats(status: Any) -> Any:
    if not status:
        return status
    conditions = [{k: v for k, v in c.items() if k != "lastHeartbeatTime"} for c in status.get("conditions") or ()]
    return {**status, "conditions": conditions}


def _node_of(pod: Record) -> str:
    return pod.fields.get("spec.nodeName", "")
