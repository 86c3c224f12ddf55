"""ClusterState: nodes and pods as the scheduler believes them: what the watch cache told, plus its own decisions.

A pod that was placed is *assumed* on its node until the watch confirms it or the
binding fails. Runs on the loop, never awaits; only the scheduler's one worker calls it,
so nothing changes while a pod is being placed. What it tells of a change (`News`) says
who of those that wait is worth another look.
Source: pkg/scheduler/backend/cache.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import replace

from vapi.control.informer import Name
from vapi.control.kinds import controller_of
from vapi.control.scheduler.demand import ZONE, Demand, compiled, demand_key
from vapi.control.scheduler.filters import News
from vapi.control.scheduler.node import NodeInfo, NodeSpec, PodInfo
from vapi.gvk import Obj

PREEMPTED = "PreemptionByScheduler"


class Demands:
    """Each demand once, for as long as a pod has it."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[bytes, Demand] = weakref.WeakValueDictionary()

    def of(self, pod: Obj) -> Demand:
        key = demand_key(pod)
        demand = self._known.get(key)
        if demand is None:
            demand = self._known[key] = compiled(pod, key)
        return demand


def pod_info(pod: Obj, demands: Demands) -> PodInfo:
    """Of a pod that is not finished."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    owner = controller_of(pod)
    return PodInfo(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        node=spec.get("nodeName", ""),
        demand=demands.of(pod),
        created=metadata.get("creationTimestamp", ""),
        started=status.get("startTime") or "",
        deleting="deletionTimestamp" in metadata,
        preempted="deletionTimestamp" in metadata and _was_preempted(status),
        controller=owner["uid"] if owner is not None else "",
        claims=tuple(_claims(metadata["name"], spec)),
        gated=bool(spec.get("schedulingGates")),
        nominated=status.get("nominatedNodeName") or "",
    )


def _was_preempted(status: Obj) -> bool:
    return any(
        each.get("type") == "DisruptionTarget" and each.get("status") == "True" and each.get("reason") == PREEMPTED
        for each in status.get("conditions") or ()
    )


def _claims(name: str, spec: Obj) -> list[str]:
    found = []
    for volume in spec.get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            found.append(f"{name}-{volume['name']}")
    return found


def _only_more_labels(old: Demand, new: Demand) -> bool:
    """As after each binding to a node with a zone, whose label the pod gets. It makes room for nobody."""
    return (
        old.requests == new.requests
        and old.ports == new.ports
        and old.labels.items() <= new.labels.items()
        and not new.opinions
    )


class ClusterState:
    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.pods: dict[Name, PodInfo] = {}
        self.generation = 0
        """Changes with everything that placing depends on."""
        self.claims: Counter[Name] = Counter()
        """Claims → pods on nodes that use them."""
        self._elsewhere: dict[str, dict[str, PodInfo]] = {}
        """Node that is not there (yet) → its pods."""
        self._assumed: dict[str, str] = {}
        """uid → node."""
        self._nominated: dict[str, str] = {}
        """uid → node."""

    # --- nodes ----------------------------------------------------------------------------------------

    def put_node(self, spec: NodeSpec) -> News:
        name = spec.facts.name
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = NodeInfo(spec, self._next())
            for pod in self._elsewhere.pop(name, {}).values():
                node.add(pod, self._next())
        elif node.spec == spec:
            return News.NONE
        else:
            node.use(spec, self._next())
        return News.NODE

    def drop_node(self, name: str) -> News:
        node = self.nodes.pop(name, None)
        if node is None:
            return News.NONE
        if node.pods:
            self._elsewhere[name] = node.pods
        self._next()
        return News.NODE  # topology domains may be fewer now

    # --- pods -----------------------------------------------------------------------------------------

    def put_pod(self, pod: PodInfo) -> News:
        """As the watch has it now."""
        key = (pod.namespace, pod.name)
        old = self.pods.get(key)
        if old is not None and old.uid != pod.uid:
            return self.drop_pod(key) | self.put_pod(pod)
        if pod.node:
            self._assumed.pop(pod.uid, None)
        elif pod.uid in self._assumed:
            pod = replace(pod, node=self._assumed[pod.uid])
        self.pods[key] = pod
        self._follow_nomination(pod)
        if old is None:
            return self._settle(pod)
        if (old.node, old.demand, old.deleting, old.claims) == (pod.node, pod.demand, pod.deleting, pod.claims):
            self._exchange(old, pod)
            return News.NONE
        news = self._unsettle(old) | self._settle(pod)
        if old.node != pod.node or not old.node:
            return news
        if old.demand is pod.demand:
            return News.POD_GONE  # deleting: spread does not count it any more
        return News.POD_CAME if _only_more_labels(old.demand, pod.demand) else news

    def drop_pod(self, key: Name) -> News:
        """It is gone or finished."""
        pod = self.pods.pop(key, None)
        if pod is None:
            return News.NONE
        self._assumed.pop(pod.uid, None)
        self.nominate(pod, "")
        return self._unsettle(pod)

    def assume(self, pod: PodInfo, node: str) -> None:
        """It is being bound there."""
        self.nominate(pod, "")
        self._assumed[pod.uid] = node
        self.pods[pod.namespace, pod.name] = placed = replace(pod, node=node)
        self._settle(placed)

    def forget(self, key: Name, uid: str) -> News:
        """The binding failed. Does nothing if the watch has confirmed it."""
        pod = self.pods.get(key)
        if pod is None or pod.uid != uid or self._assumed.pop(uid, None) is None:
            return News.NONE
        news = self._unsettle(pod)
        self.pods[key] = replace(pod, node="")
        return news

    def nominate(self, pod: PodInfo, node: str) -> None:
        """It waits for others to leave the node; "": no more."""
        old = self.nodes.get(self._nominated.pop(pod.uid, ""))
        if old is not None:
            old.nominated.pop(pod.uid, None)
            self._next()
        new = self.nodes.get(node)
        if new is not None:
            self._nominated[pod.uid] = node
            new.nominated[pod.uid] = pod
            self._next()

    def nominated(self, pod: PodInfo) -> str:
        return self._nominated.get(pod.uid, "")

    def siblings(self, controller: str) -> dict[str, int]:
        """Zone → pods of that controller."""
        found: Counter[str] = Counter()
        if controller:
            for node in self.nodes.values():
                zone = node.labels.get(ZONE)
                if zone is not None and controller in node.controllers:
                    found[zone] += node.controllers[controller]
        return found

    # --- inside ---------------------------------------------------------------------------------------

    def _next(self) -> int:
        self.generation += 1
        return self.generation

    def _follow_nomination(self, pod: PodInfo) -> None:
        """What its status says holds where we have not decided otherwise since the start."""
        wanted = "" if pod.node or pod.deleting else pod.nominated
        if pod.node or pod.deleting or (wanted and pod.uid not in self._nominated):
            self.nominate(pod, wanted)

    def _settle(self, pod: PodInfo) -> News:
        if not pod.node:
            return News.NONE
        for claim in pod.claims:
            self.claims[pod.namespace, claim] += 1
        node = self.nodes.get(pod.node)
        if node is None:
            self._elsewhere.setdefault(pod.node, {})[pod.uid] = pod
        else:
            node.add(pod, self._next())
        return News.POD_CAME

    def _unsettle(self, pod: PodInfo) -> News:
        if not pod.node:
            return News.NONE
        for claim in pod.claims:
            self.claims[pod.namespace, claim] -= 1
            if not self.claims[pod.namespace, claim]:
                del self.claims[pod.namespace, claim]
        node = self.nodes.get(pod.node)
        if node is not None:
            node.remove(pod.uid, self._next())
            return News.POD_GONE
        others = self._elsewhere.get(pod.node, {})
        others.pop(pod.uid, None)
        if not others:
            self._elsewhere.pop(pod.node, None)
        return News.POD_GONE

    def _exchange(self, old: PodInfo, new: PodInfo) -> None:
        """Nothing changed that is counted."""
        node = self.nodes.get(new.node)
        if node is not None and old.uid in node.pods:
            node.pods[new.uid] = new
            if new.uid in node.opinionated:
                node.opinionated[new.uid] = new
