"""Assessment: what every node is for one demand, kept from pod to pod, so that only what changed is looked at again.

Pods of one controller are equal to each other: placing the next one costs a look
at the node that got the last. All of it is a function of the nodes as they are; the
caller looks at stale ones in slices (`stale`, `look`), then judges all in slices (`judged`, `concluded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from vapi.control.scheduler import filters, scoring
from vapi.control.scheduler.demand import Demand
from vapi.control.scheduler.filters import News, Refusal
from vapi.control.scheduler.node import NodeInfo, PodInfo
from vapi.control.scheduler.pairs import EMPTY, NamespaceLabels, Pairs, Share, share
from vapi.control.scheduler.scoring import Scored
from vapi.control.scheduler.verdict import CONFLICT, ONLY_NAMED, Verdict

Extra = Callable[[NodeInfo], Refusal | None]
"""What else may refuse a node to this very pod: its volumes, a binder that declined."""


class Standing(Scored):
    """One node for one demand, as of the node's generations."""

    __slots__ = ("by_node", "generation", "room", "share", "spec_generation")

    def __init__(self, node: NodeInfo) -> None:
        super().__init__(node, 0, 0, 0)
        self.generation = self.spec_generation = -1
        self.by_node: Refusal | None = None
        self.room: Refusal | None = None
        self.share: Share = EMPTY


@dataclass(frozen=True, slots=True)
class Outcome:
    """`verdict`: of the nodes that do not fit."""

    fitting: Sequence[Scored]
    pairs: Pairs
    verdict: Verdict


class Assessment:
    """Holds a few hundred bytes for each node. Forget it when labels of namespaces change."""

    def __init__(self, demand: Demand, namespace_labels: NamespaceLabels) -> None:
        self.demand = demand
        self._namespace_labels = namespace_labels
        self._standings: dict[str, Standing] = {}

    def candidates(self, nodes: dict[str, NodeInfo]) -> list[NodeInfo]:
        """Those that the pod does not exclude by name."""
        only = self.demand.only_nodes
        if only is None:
            return list(nodes.values())
        return [nodes[name] for name in sorted(only) if name in nodes]

    def stale(self, nodes: dict[str, NodeInfo]) -> list[NodeInfo]:
        """What has to be looked at before `outcome`: candidates, and nodes whose pods matter for others."""
        standings, demand = self._standings, self.demand
        relevant = nodes.values() if demand.only_nodes is None or not demand.alone else self.candidates(nodes)
        return [
            node
            for node in relevant
            if (known := standings.get(node.name)) is None
            or known.node is not node
            or known.generation != node.generation
        ]

    def look(self, node: NodeInfo) -> Standing:
        """About 10 µs; with rules about neighbours, 1 µs more for each pod there and rule."""
        standing = self._standings.get(node.name)
        if standing is None or standing.node is not node:
            standing = self._standings[node.name] = Standing(node)
        if standing.generation == node.generation:
            return standing
        if standing.spec_generation != node.spec_generation:
            standing.by_node = filters.of_node(self.demand, node)
            standing.avoided, standing.preferred = scoring.by_node(self.demand, node)
            standing.spec_generation = node.spec_generation
        standing.room = filters.of_room(self.demand, node)
        standing.share = share(self.demand, node, self._namespace_labels)
        standing.own = scoring.by_room(self.demand, node)
        standing.generation = node.generation
        return standing

    def forget_others(self, nodes: dict[str, NodeInfo]) -> None:
        """Nodes that are gone."""
        for name in [name for name in self._standings if name not in nodes]:
            del self._standings[name]

    def pairs(self, nodes: dict[str, NodeInfo]) -> Pairs:
        """The counts of all nodes: those that are excluded by name hold pods as well."""
        alone = self.demand.alone
        shares = ((node, self.look(node).share) for node in nodes.values() if node.opinionated or not alone)
        return Pairs(self.demand, shares, self._namespace_labels)

    def outcome(self, pod: PodInfo, nodes: dict[str, NodeInfo], extra: Extra | None = None) -> Outcome:
        """Which nodes fit and why the others do not."""
        pairs = self.pairs(nodes)
        return self.concluded(nodes, pairs, list(self.judged(pod, nodes, pairs, extra)))

    def judged(
        self, pod: PodInfo, nodes: dict[str, NodeInfo], pairs: Pairs, extra: Extra | None
    ) -> Iterator[tuple[Standing, Refusal | None]]:
        """Each candidate, and why it is none; for slices: `nodes` must not change before it is at its end."""
        for node in self.candidates(nodes):
            standing = self.look(node)
            refusal = standing.by_node or standing.room
            if refusal is None and extra is not None:
                refusal = extra(node)
            if refusal is None and not pairs.nothing:
                refusal = pairs.refusal(node)
            if refusal is None and node.nominated:
                refusal = self._beside_nominated(pod, standing, pairs)
            yield standing, refusal

    def concluded(
        self, nodes: dict[str, NodeInfo], pairs: Pairs, judged: Sequence[tuple[Standing, Refusal | None]]
    ) -> Outcome:
        """Of what was `judged`."""
        refused = {standing.node.name: refusal for standing, refusal in judged if refusal is not None}
        fitting = [standing for standing, refusal in judged if refusal is None]
        others = ONLY_NAMED if len(judged) < len(nodes) else ""
        verdict = Verdict(len(nodes), refused, others)
        if self.demand.only_nodes is not None and not self.demand.only_nodes:
            verdict = Verdict(len(nodes), whole=Refusal((CONFLICT,), News.NONE))
        return Outcome(fitting, pairs, verdict)

    def _beside_nominated(self, pod: PodInfo, standing: Standing, pairs: Pairs) -> Refusal | None:
        """Whether there is room left when those come that wait for a place there and are no less important."""
        node = standing.node
        before = [
            each
            for each in node.nominated.values()
            if each.uid != pod.uid and each.demand.priority >= pod.demand.priority
        ]
        return self.tried(node.with_pods(before), standing.share, pairs) if before else None

    def tried(self, changed: NodeInfo, old: Share, pairs: Pairs) -> Refusal | None:
        """As if a node, whose share is `old`, were `changed`. `pairs` is as before afterwards."""
        refusal = filters.of_room(self.demand, changed)
        if refusal is not None or (pairs.nothing and not changed.opinionated):
            return refusal
        new = share(self.demand, changed, self._namespace_labels)
        pairs.exchange(changed, old, new)
        refusal = pairs.refusal(changed)
        pairs.exchange(changed, new, old)
        return refusal


def declined(reason: str) -> Refusal:
    """By a binder."""
    return replace(filters.WRONG_NODE, reasons=(f"node(s) declined the pod: {reason}",))
