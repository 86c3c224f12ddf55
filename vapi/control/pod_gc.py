"""pod-garbage-collector controller: takes away pods that no kubelet will: of a node that is gone, unbound, or ended.

Pods of a node that has been gone for 40 s fail and are deleted; a pod that is
deleted before it was bound fails, so that its Job counts it; of ended pods only so many are kept.
Source: pkg/controller/podgc.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.control.controller import Controller, Sources, all_at_once
from vapi.control.informer import sliced
from vapi.control.pods import FINISHED
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.resources.strategies import mirrors

QUARANTINE_S = 40.0
"""A node that comes back by then keeps its pods. Source: quarantineTime."""
ENDED_AGAIN_S = 20.0
"""Between two counts of ended pods. Source: gcCheckPeriod."""
MOST_ENDED = 12_500
"""Source: --terminated-pod-gc-threshold."""
PIECE = 500

Key = tuple[str, str, str]
"""(NODE, "", name), (POD, namespace, name) or ENDED"""
NODE, POD = "node", "pod"
ENDED: Key = ("ended", "", "")


class PodGcController(Controller[Key]):
    name = "pod-garbage-collector-controller"

    def sources(self) -> Sources[Key]:
        return {kinds.PODS: self._pod_changed, kinds.NODES: self._node_changed}

    def all_keys(self) -> Iterable[Key]:
        yield ENDED
        for entry in self.client.entries(kinds.PODS):
            yield from self._of_pod(entry)

    def _of_pod(self, pod: Entry) -> Iterable[Key]:
        node = pod.fields.get("spec.nodeName", "")
        if pod.deleting and not node:
            yield (POD, pod.namespace, pod.name)
        elif node and self.client.cached(kinds.NODES, "", node) is None:
            self.queue.add_after((NODE, "", node), QUARANTINE_S)

    def _pod_changed(self, change: Change) -> Iterable[Key]:
        if change.type is ChangeType.DELETED:
            return ()
        if change.entry.fields.get("status.phase") in FINISHED:
            self.queue.add_after(ENDED, ENDED_AGAIN_S)
        return self._of_pod(change.entry)

    def _node_changed(self, change: Change) -> Iterable[Key]:
        if change.type is ChangeType.DELETED:
            self.queue.add_after((NODE, "", change.entry.name), QUARANTINE_S)
        return ()

    async def reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        if kind == NODE:
            await self._sweep_node(name)
        elif kind == POD:
            entry = self.client.cached(kinds.PODS, namespace, name)
            if entry is not None and entry.deleting and not entry.fields.get("spec.nodeName"):
                await self._end(entry, None)
        else:
            await self._sweep_ended()

    async def _sweep_node(self, name: str) -> None:
        """Unless the node is there again, by a live read."""
        try:
            await self.client.get(kinds.NODES, "", name)
        except ApiError as error:
            if error.code != 404:
                raise
        else:
            return
        pods = [pod async for pod in sliced(self.client.entries(kinds.PODS)) if pod.fields.get("spec.nodeName") == name]
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": rfc3339(self.clock.now()),
        }
        await self._end_all(pods, condition)

    async def _sweep_ended(self) -> None:
        ended = [pod async for pod in sliced(self.client.entries(kinds.PODS)) if pod.fields["status.phase"] in FINISHED]
        surplus = len(ended) - MOST_ENDED
        if surplus <= 0:
            return
        ages: dict[str, str] = {}
        async for pod in sliced(list(ended)):
            obj = pod.obj()
            if mirrors.is_child(obj):
                ended.remove(pod)
            ages[pod.key] = str(obj["metadata"].get("creationTimestamp", ""))
        surplus = len(ended) - MOST_ENDED
        if surplus <= 0:
            return
        ended.sort(key=lambda pod: (ages[pod.key], pod.name))
        await self._end_all(ended[: min(surplus, PIECE)], None)
        if surplus > PIECE:
            self.queue.add(ENDED)

    async def _end_all(self, pods: Sequence[Entry], condition: Obj | None) -> None:
        refused = await all_at_once(partial(self._end, pod, condition) for pod in pods)
        if refused:
            raise refused[0]

    async def _end(self, entry: Entry, condition: Obj | None) -> None:
        """Failed, unless it has ended; then gone, as far as its finalizers let it. Mirrors follow the host's."""
        if mirrors.is_child(entry.obj()):
            return
        if entry.fields.get("status.phase") not in FINISHED:
            pod = entry.obj()
            status = pod.setdefault("status", {})
            status["phase"] = "Failed"
            if condition is not None:
                others = [each for each in status.get("conditions") or () if each["type"] != condition["type"]]
                status["conditions"] = [*others, condition]
            await self.client.update(kinds.PODS, pod, subresource="status")
        if not (entry.deleting and entry.finalizers):
            await self.client.delete(kinds.PODS, entry.namespace, entry.name, uid=entry.uid, grace_period_s=0)
