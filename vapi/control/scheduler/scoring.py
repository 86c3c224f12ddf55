"""Which of the nodes that fit is best: 0 to 100 from each of Kubernetes' score plugins, times its weight. Pure.

Ties go to the node with the fewest pods, then by name, where upstream draws lots.
The default spread counts pods of the same controller, where upstream selects them as
their Services and controllers do. Image locality is not there.
Source: plugins/{noderesources,tainttoleration,nodeaffinity,podtopologyspread,interpodaffinity}, default_plugins.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vapi.control.node_fit import untolerated
from vapi.control.scheduler.demand import HOSTNAME, ZONE, Demand
from vapi.control.scheduler.node import NodeInfo
from vapi.control.scheduler.pairs import Pairs

MOST = 100
TAINTS_WEIGHT, AFFINITY_WEIGHT, SPREAD_WEIGHT, NEIGHBOURS_WEIGHT = 3, 2, 2, 2
DEFAULT_SPREAD = ((HOSTNAME, 3), (ZONE, 5))
"""(topology key, max skew). Source: podtopologyspread systemDefaultConstraints."""
PREFER_NO_SCHEDULE = ("PreferNoSchedule",)


def by_room(demand: Demand, node: NodeInfo) -> int:
    """Least allocated plus balanced allocation: of this node alone."""
    cpu, cpu_room, memory, memory_room = node.usage()
    wants = demand.requests
    used_cpu, used_memory = node.cpu + wants.scored_cpu, node.memory + wants.scored_memory
    score = known = 0
    if cpu_room:
        known += 1
        score += (cpu_room - used_cpu) * MOST // cpu_room if used_cpu <= cpu_room else 0
    if memory_room:
        known += 1
        score += (memory_room - used_memory) * MOST // memory_room if used_memory <= memory_room else 0
    least = score // known if known else 0
    if not wants.cpu and not wants.memory:
        return least  # balance would send all that ask for nothing to one node
    after = _balance(cpu + wants.cpu, cpu_room, memory + wants.memory, memory_room)
    before = _balance(cpu, cpu_room, memory, memory_room)
    return least + MOST // 2 + (MOST // 2 + after - before) // 2


def _balance(cpu: int, cpu_room: int, memory: int, memory_room: int) -> int:
    if not cpu_room or not memory_room:
        return MOST
    apart = min(1.0, cpu / cpu_room) - min(1.0, memory / memory_room)
    return int((1 - abs(apart) / 2) * MOST)


def by_node(demand: Demand, node: NodeInfo) -> tuple[int, int]:
    """(taints it would rather avoid, weights of preferences that the node meets): of the Node object alone."""
    avoided = sum(1 for taint in node.facts.taints if untolerated((taint,), demand.tolerations, PREFER_NO_SCHEDULE))
    preferred = sum(each.weight for each in demand.preferred_nodes if each.affinity.fits(node.name, node.labels))
    return avoided, preferred


class Scored:
    """A node that fits, with what `by_room` and `by_node` said of it."""

    __slots__ = ("avoided", "node", "own", "preferred")

    def __init__(self, node: NodeInfo, own: int, avoided: int, preferred: int) -> None:
        self.node = node
        self.own = own
        self.avoided = avoided
        self.preferred = preferred


Siblings = Mapping[str, int]
"""Zone → pods of the same controller there."""


def best(demand: Demand, controller: str, fitting: Sequence[Scored], pairs: Pairs, siblings: Siblings) -> str:
    """The name of the best node; there is at least one."""
    if len(fitting) == 1:
        return fitting[0].node.name
    scores = totals(demand, controller, fitting, pairs, siblings)
    chosen = min(range(len(fitting)), key=lambda i: (-scores[i], len(fitting[i].node.pods), fitting[i].node.name))
    return fitting[chosen].node.name


def totals(demand: Demand, controller: str, fitting: Sequence[Scored], pairs: Pairs, siblings: Siblings) -> list[int]:
    """By node, in order; what is the same for all may be left out."""
    scores = [each.own for each in fitting]
    if any(each.avoided for each in fitting):
        _add(scores, TAINTS_WEIGHT, [MOST - score for score in _of_most([each.avoided for each in fitting])])
    if demand.preferred_nodes:
        _add(scores, AFFINITY_WEIGHT, _of_most([each.preferred for each in fitting]))
    spread = _soft(demand, fitting, pairs) if demand.own_spread else _default(controller, fitting, siblings)
    if spread is not None:
        _add(scores, SPREAD_WEIGHT, spread)
    if pairs.opinions:
        _add(scores, NEIGHBOURS_WEIGHT, _between([pairs.liking(each.node) for each in fitting]))
    return scores


def _add(totals: list[int], weight: int, scores: Sequence[int]) -> None:
    for index, score in enumerate(scores):
        totals[index] += weight * score


def _of_most(counts: Sequence[int]) -> list[int]:
    most = max(counts)
    return [MOST * count // most for count in counts] if most else [0] * len(counts)


def _between(counts: Sequence[int]) -> list[int]:
    least, most = min(counts), max(counts)
    return [int(MOST * (count - least) / (most - least)) if most > least else 0 for count in counts]


def _fewer(counts: Sequence[int | None]) -> list[int]:
    """Few is good; None (the node has no domain) is worst."""
    known = [count for count in counts if count is not None]
    least, most = min(known, default=0), max(known, default=0)
    return [0 if count is None else MOST * (most + least - count) // most if most else MOST for count in counts]


def _soft(demand: Demand, fitting: Sequence[Scored], pairs: Pairs) -> list[int] | None:
    """By the pod's own constraints that may be broken."""
    if not demand.soft_spread:
        return None
    counts = [pairs.soft_counts(each.node) for each in fitting]
    complete = [each for each, count in zip(fitting, counts, strict=True) if None not in count]
    weights = []
    for constraint in demand.soft_spread:
        values = {each.node.labels[constraint.topology_key] for each in complete}
        size = len(complete) if constraint.topology_key == HOSTNAME else len(values)
        weights.append(math.log(size + 2))
    scores: list[int | None] = []
    for count in counts:
        if None in count:
            scores.append(None)
            continue
        parts = zip(count, weights, demand.soft_spread, strict=True)
        scores.append(round(sum((each or 0) * weight + spread.max_skew - 1 for each, weight, spread in parts)))
    return _fewer(scores)


def _default(controller: str, fitting: Sequence[Scored], siblings: Siblings) -> list[int] | None:
    """Pods of one controller on different nodes and in different zones."""
    if not controller:
        return None
    zones = {each.node.labels.get(ZONE) for each in fitting} - {None}
    node_weight, zone_weight = math.log(len(fitting) + 2), math.log(len(zones) + 2)
    scores = []
    for each in fitting:
        score = each.node.controllers.get(controller, 0) * node_weight + DEFAULT_SPREAD[0][1] - 1
        zone = each.node.labels.get(ZONE)
        if zone is not None:
            score += siblings.get(zone, 0) * zone_weight + DEFAULT_SPREAD[1][1] - 1
        scores.append(round(score))
    return _fewer(scores)
