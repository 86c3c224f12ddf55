"""taint-eviction-controller: pods leave a node with a NoExecute taint that they do not tolerate, or not for ever.

For nodes whose taints are the tenant's own (virtual nodes); where the tenant sees the host's, the host evicts.
How long a pod has had is kept in memory: after a restart its tolerationSeconds begin anew, as upstream.
Source: pkg/controller/tainteviction (taint_eviction.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources
from vapi.control.events import NORMAL
from vapi.control.informer import sliced
from vapi.control.node_fit import NO_EXECUTE, Taint, node_facts, tolerates
from vapi.control.pods import FINISHED
from vapi.control.workqueue import Retry
from vapi.gvk import Obj

REASON = "TaintManagerEviction"

Key = tuple[str, str, str]
"""(NODE, "", name) or (POD, namespace, name)"""
NODE, POD = "node", "pod"


@dataclass(frozen=True, slots=True)
class _Since:
    """When taints that are not tolerated for ever were first seen on the pod's node."""

    uid: str
    at: float


def tolerated_for_s(taints: Sequence[Taint], tolerations: Sequence[Obj]) -> float | None:
    """How long a pod may stay: 0 not at all, None for ever.

    Of the tolerations that fit a taint the shortest counts. Source: GetMatchingTolerations, getMinTolerationTime.
    """
    used: list[Obj] = []
    for taint in taints:
        fitting = [each for each in tolerations if tolerates(each, taint)]
        if not fitting:
            return 0.0
        used += fitting
    limits = [max(0.0, float(each["tolerationSeconds"])) for each in used if each.get("tolerationSeconds") is not None]
    return min(limits, default=None)


class TaintEvictionController(Controller[Key]):
    name = "taint-eviction-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._since: dict[tuple[str, str], _Since] = {}
        """(namespace, name) of pods whose time runs."""
        self._nodes: dict[str, tuple[Taint, ...]] = {}
        """Node → the taints last told of: heartbeats concern nobody."""

    def sources(self) -> Sources[Key]:
        return {kinds.PODS: self._pod_changed, kinds.NODES: self._node_changed}

    def all_keys(self) -> Iterable[Key]:
        return [(NODE, "", entry.name) for entry in self.client.entries(kinds.NODES)]

    def _pod_changed(self, change: Change) -> Iterable[Key]:
        entry = change.entry
        if change.type is ChangeType.DELETED:
            self._since.pop((entry.namespace, entry.name), None)
            return ()
        return ((POD, entry.namespace, entry.name),) if self._taints_of(entry) else ()

    def _taints_of(self, pod: Entry) -> tuple[Taint, ...]:
        return self._nodes.get(pod.fields.get("spec.nodeName", ""), ())

    def _node_changed(self, change: Change) -> Iterable[Key]:
        name = change.entry.name
        if change.type is ChangeType.DELETED:
            self._nodes.pop(name, None)
            return ()
        return ((NODE, "", name),) if _evicting(change.entry.obj()) != self._nodes.get(name, ()) else ()

    async def reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        if kind == NODE:
            await self._look_at_node(name)
            return
        entry = self.client.cached(kinds.PODS, namespace, name)
        if entry is None or entry.deleting or entry.fields.get("status.phase") in FINISHED:
            self._since.pop((namespace, name), None)
            return
        await self._look_at_pod(entry)

    async def _look_at_node(self, name: str) -> None:
        entry = self.client.cached(kinds.NODES, "", name)
        taints = _evicting(entry.obj()) if entry is not None else ()
        if taints == self._nodes.get(name, ()):
            return
        self._nodes[name] = taints
        async for pod in sliced(self.client.entries(kinds.PODS)):
            if pod.fields.get("spec.nodeName") == name:
                self.queue.add((POD, pod.namespace, pod.name))

    async def _look_at_pod(self, entry: Entry) -> None:
        """Raises Retry until its time is over."""
        place = (entry.namespace, entry.name)
        taints = self._taints_of(entry)
        pod = entry.obj()
        limit_s = tolerated_for_s(taints, pod["spec"].get("tolerations") or ())
        if not taints or limit_s is None:
            if self._since.pop(place, None) is not None:
                text = f"Cancelling deletion of Pod {entry.namespace}/{entry.name}"
                self.events.record(self.name, pod, NORMAL, REASON, text)
            return
        now = self.clock.monotonic()
        since = self._since.get(place)
        if since is None or since.uid != entry.uid:
            since = self._since[place] = _Since(entry.uid, now)
        left_s = since.at + limit_s - now
        if left_s > 0:
            raise Retry(left_s)
        await self._evict(entry, pod)

    async def _evict(self, entry: Entry, pod: Obj) -> None:
        """The condition first, so that a Job's failure policy sees why. Source: addConditionAndDeletePod."""
        text = f"Marking for deletion Pod {entry.namespace}/{entry.name}"
        self.events.record(self.name, pod, NORMAL, REASON, text)
        status = pod.setdefault("status", {})
        others = [each for each in status.get("conditions") or () if each["type"] != "DisruptionTarget"]
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": rfc3339(self.clock.now()),
        }
        status["conditions"] = [*others, condition]
        await self.client.update(kinds.PODS, pod, subresource="status")
        await self.client.delete(kinds.PODS, entry.namespace, entry.name, uid=entry.uid)


def _evicting(node: Obj) -> tuple[Taint, ...]:
    return tuple(taint for taint in node_facts(node).taints if taint.effect == NO_EXECUTE)
