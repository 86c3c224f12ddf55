"""Why a pod cannot be on a node as the node is, in the words and the order of Kubernetes' filter plugins. Pure.

What depends on pods of other nodes (spread, affinity between pods) is in `pairs`.
Source: plugins/{nodeunschedulable,tainttoleration,nodeaffinity,nodeports,noderesources/fit}.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto

from vapi.control.node_fit import NO_SCHEDULE, Taint, untolerated
from vapi.control.scheduler.demand import NEW_PODS, Demand
from vapi.control.scheduler.node import NodeInfo

UNSCHEDULABLE_TAINT = Taint("node.kubernetes.io/unschedulable", "", NO_SCHEDULE)
"""What a cordon means to tolerations: daemons put up with it."""


class News(Flag):
    """What can happen in a cluster that makes room for somebody."""

    NONE = 0
    NODE = auto()
    POD_GONE = auto()
    """A pod left a node, or asks for less there."""
    POD_CAME = auto()
    """A pod is on a node, or has other labels."""
    NAMESPACE = auto()
    VOLUME = auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """`reasons`: one, but for resources that are short. `helped_by`: when it is worth another look.

    `resolvable`: if pods there were gone, it might be none.
    """

    reasons: tuple[str, ...]
    helped_by: News = News.NODE
    resolvable: bool = False


UNSCHEDULABLE = Refusal(("node(s) were unschedulable",))
TAINTED = Refusal(("node(s) had untolerated taint(s)",))
WRONG_NODE = Refusal(("node(s) didn't match Pod's node affinity/selector",))
PORTS_TAKEN = Refusal(
    ("node(s) didn't have free ports for the requested pod ports",), News.NODE | News.POD_GONE, resolvable=True
)
TOO_MANY = "Too many pods"


def of_node(demand: Demand, node: NodeInfo) -> Refusal | None:
    """By the Node object alone."""
    facts = node.facts
    if facts.unschedulable and untolerated((UNSCHEDULABLE_TAINT,), demand.tolerations, NEW_PODS):
        return UNSCHEDULABLE
    if facts.taints and untolerated(facts.taints, demand.tolerations, NEW_PODS):
        return TAINTED
    if not demand.affinity.fits(node.name, node.labels):
        return WRONG_NODE
    return None


def of_room(demand: Demand, node: NodeInfo) -> Refusal | None:
    """By what its pods have taken."""
    if demand.ports and any(node.conflicts(port) for port in demand.ports):
        return PORTS_TAKEN
    reasons = [TOO_MANY] if len(node.pods) + 1 > node.room else []
    resolvable = True
    requested, allocatable = node.requested, node.allocatable
    for name, amount in demand.requests.amounts:
        has = allocatable.get(name, 0)
        if amount > has - requested.get(name, 0):
            reasons.append(f"Insufficient {name}")
            resolvable = resolvable and amount <= has
    return Refusal(tuple(reasons), News.NODE | News.POD_GONE, resolvable) if reasons else None
