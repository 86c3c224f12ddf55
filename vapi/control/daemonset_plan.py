"""Which pods of a DaemonSet to make and delete, node by node, and how far a rollout may go. Pure.

Source: pkg/controller/daemon (daemon_controller.go podsShouldBeOnNode, update.go rollingUpdate).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vapi.control.deployment_rolling import scaled_value
from vapi.control.node_fit import NO_EXECUTE, NO_SCHEDULE, NodeFacts, affinity_of, untolerated
from vapi.gvk import Obj

DAEMON_TOLERATIONS = (
    ("node.kubernetes.io/not-ready", NO_EXECUTE),
    ("node.kubernetes.io/unreachable", NO_EXECUTE),
    ("node.kubernetes.io/disk-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/memory-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/pid-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/unschedulable", NO_SCHEDULE),
)
"""What a daemon puts up with: it is there to make a node usable, or to stay while it is not."""
HOST_NETWORK_TOLERATION = ("node.kubernetes.io/network-unavailable", NO_SCHEDULE)


@dataclass(frozen=True, slots=True)
class DaemonPod:
    """`node`: where it is or is to be; `bound`: it is there; `updated`: of the present template."""

    name: str
    node: str
    created: str
    bound: bool = True
    updated: bool = True
    phase: str = "Running"
    deleting: bool = False
    ready: bool = True
    available: bool = True

    @property
    def age(self) -> tuple[bool, str, str]:
        """Sorts the one that counts first: bound, then old."""
        return not self.bound, self.created, self.name


@dataclass(frozen=True, slots=True)
class Stay:
    """What a node is for a DaemonSet: whether a pod should start there, and whether one there may stay."""

    start: bool
    stay: bool


@dataclass(frozen=True, slots=True)
class Limits:
    surge: int
    unavailable: int


@dataclass(slots=True)
class Changes:
    """Nodes that get a pod, names of pods to delete; `failed` and `succeeded`: of pods that ended by themselves."""

    create: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    succeeded: list[str] = field(default_factory=list)


Pods = Mapping[str, Sequence[DaemonPod]]
"""Node → pods."""


def tolerations(spec: Obj) -> list[Obj]:
    """The template's and every daemon's own."""
    found = list(spec.get("tolerations") or ())
    wanted = (*DAEMON_TOLERATIONS, *((HOST_NETWORK_TOLERATION,) if spec.get("hostNetwork") else ()))
    for key, effect in wanted:
        toleration = {"key": key, "operator": "Exists", "effect": effect}
        if toleration not in found:
            found.append(toleration)
    return found


def stays(template_spec: Obj, nodes: Sequence[NodeFacts]) -> dict[str, Stay]:
    """By name of the node. A NoSchedule taint keeps new pods out and leaves those there alone."""
    affinity, tolerated = affinity_of(template_spec), tolerations(template_spec)
    only = template_spec.get("nodeName", "")
    found = {}
    for node in nodes:
        if (only and only != node.name) or not affinity.fits(node.name, dict(node.labels)):
            found[node.name] = Stay(False, False)
            continue
        start = untolerated(node.taints, tolerated, (NO_SCHEDULE, NO_EXECUTE)) is None
        stay = start or untolerated(node.taints, tolerated, (NO_EXECUTE,)) is None
        found[node.name] = Stay(start, stay)
    return found


def limits(strategy: Obj, desired: int) -> Limits:
    """Of the update strategy; both 0 would never move, so one pod may then be unavailable."""
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return Limits(0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = scaled_value(rolling.get("maxSurge"), desired, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable"), desired, round_up=True)
    if desired and not surge and not unavailable:
        unavailable = 1
    return Limits(surge, unavailable)


def manage(nodes: Mapping[str, Stay], pods: Pods, *, surges: bool) -> Changes:
    """One pod on each node that should have one, none elsewhere. `surges`: an old and a new one may share a node."""
    changes = Changes()
    for name, node in nodes.items():
        there = pods.get(name, ())
        if node.start and not there:
            changes.create.append(name)
        elif node.stay:
            _tidy(name, node, there, changes, surges=surges)
        else:
            changes.delete += [pod.name for pod in there if not pod.deleting]
    changes.delete += [
        pod.name
        for name, there in pods.items()
        if name not in nodes
        for pod in there
        if not pod.bound and not pod.deleting
    ]
    return changes


def _tidy(name: str, node: Stay, there: Sequence[DaemonPod], changes: Changes, *, surges: bool) -> None:
    """Ended pods go, and all but one of the rest (with surge: one old and one new)."""
    for pod in there:
        if not pod.deleting and pod.phase == "Failed":
            changes.failed.append(pod.name)
        elif not pod.deleting and pod.phase == "Succeeded":
            changes.succeeded.append(pod.name)
    running = sorted(
        (pod for pod in there if not pod.deleting and pod.phase not in ("Failed", "Succeeded")), key=lambda pod: pod.age
    )
    if not surges:
        changes.delete += [pod.name for pod in running[1:]]
        return
    if not running and node.start:
        changes.create.append(name)
    new = [pod for pod in running if pod.updated]
    old = [pod for pod in running if not pod.updated]
    changes.delete += [pod.name for pod in (*new[1:], *old[1:])]
    if new and old and (not old[0].ready or new[0].available):
        changes.delete.append(old[0].name)


def roll(nodes: Mapping[str, Stay], pods: Pods, strategy: Obj) -> Changes:
    """The next pods of an old template to replace."""
    desired = [name for name, node in nodes.items() if node.start]
    limit = limits(strategy, len(desired))
    by_node = {**dict.fromkeys(desired, ()), **pods}
    if limit.surge:
        return _roll_with_surge(nodes, by_node, limit, len(desired))
    return _roll_in_place(by_node, limit)


def _one_of_each(there: Sequence[DaemonPod]) -> tuple[DaemonPod | None, DaemonPod | None] | None:
    """(new, old) of a node; None: there are too many, which `manage` has to sort out first."""
    new = [pod for pod in there if pod.updated and not pod.deleting]
    old = [pod for pod in there if not pod.updated and not pod.deleting]
    if len(new) > 1 or len(old) > 1:
        return None
    return (new[0] if new else None), (old[0] if old else None)


def _roll_in_place(pods: Pods, limit: Limits) -> Changes:
    """Old pods that are not available anyway, then as many as may become so."""
    unavailable = 0
    broken: list[str] = []
    candidates: list[str] = []
    for there in pods.values():
        pair = _one_of_each(there)
        new, old = pair or (None, None)
        if old is not None and new is None:
            if old.available:
                candidates.append(old.name)
                continue
            broken.append(old.name)
            unavailable += 1
        elif new is None or old is not None or not new.available:
            unavailable += 1
    return Changes(delete=broken + candidates[: max(0, limit.unavailable - unavailable)])


def _roll_with_surge(nodes: Mapping[str, Stay], pods: Pods, limit: Limits, desired: int) -> Changes:
    """New pods beside old ones: at once where the old one is not available, else as many as may be too many."""
    changes = Changes()
    surging = available = 0
    candidates: list[str] = []
    leaving: list[str] = []
    for name, there in pods.items():
        pair = _one_of_each(there)
        if pair is None:
            surging += 1
            continue
        new, old = pair
        shown = old or new
        available += shown is not None and shown.available
        if old is None:
            continue
        wanted = name in nodes and nodes[name].start
        if new is not None and new.available:
            changes.delete.append(old.name)
        elif new is not None:
            surging += 1
        elif not wanted:
            (leaving if old.available else changes.delete).append(old.name)
        elif old.available:
            candidates.append(name)
        else:
            changes.create.append(name)
    changes.delete += leaving[: max(0, available - desired)]
    changes.create += candidates[: max(0, limit.surge - surging)]
    return changes


def pinned_to(affinity: Obj | None, node: str) -> Obj:
    """The affinity of a daemon's pod: the template's, with its node in place of required terms."""
    pinned: Obj = copy.deepcopy(affinity) if affinity else {}
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"nodeSelectorTerms": [term]}
    pinned.setdefault("nodeAffinity", {})["requiredDuringSchedulingIgnoredDuringExecution"] = required
    return pinned


def target_of(pod: Obj) -> str:
    """Where a daemon's pod is or is to be; "": it does not say."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    for term in terms:
        for each in term.get("matchFields") or ():
            if each["key"] == "metadata.name" and each["operator"] == "In" and len(each.get("values") or ()) == 1:
                return str(each["values"][0])
    return ""


def counts(nodes: Mapping[str, Stay], pods: Pods) -> Obj:
    """The numbers of the status. Of several pods on a node the first counts."""
    first = {name: min(there, key=lambda pod: pod.age) for name, there in pods.items() if there}
    desired = [name for name, node in nodes.items() if node.start]
    current = [first[name] for name in desired if name in first]
    available = sum(1 for pod in current if pod.ready and pod.available)
    optional = {
        "updatedNumberScheduled": sum(1 for pod in current if pod.updated),
        "numberAvailable": available,
        "numberUnavailable": len(desired) - available,
    }
    return {
        "desiredNumberScheduled": len(desired),
        "currentNumberScheduled": len(current),
        "numberMisscheduled": sum(1 for name, node in nodes.items() if not node.start and name in first),
        "numberReady": sum(1 for pod in current if pod.ready),
        **{key: count for key, count in optional.items() if count},
    }
