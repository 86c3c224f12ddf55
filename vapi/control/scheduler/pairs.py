"""What pods of other nodes mean for a pod: topology spread, affinity and anti-affinity, preferences. Pure.

Each node contributes counts (`Share`), which depend on that node alone and are
kept until it changes; `Pairs` adds them up by topology domain and answers for any
node. To ask what would be if a node had other pods, exchange its share.
Source: plugins/podtopologyspread/filtering.go, plugins/interpodaffinity/{filtering,scoring}.go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vapi.control.node_fit import untolerated
from vapi.control.scheduler.demand import HARD_AFFINITY_WEIGHT, NEW_PODS, Demand, Spread
from vapi.control.scheduler.filters import News, Refusal
from vapi.control.scheduler.node import NodeInfo
from vapi.selectors import Labels

_SKEW = "node(s) didn't match pod topology spread constraints"
SKEWED = Refusal((_SKEW,), News.NODE | News.POD_GONE | News.POD_CAME, resolvable=True)
NO_LABEL = Refusal((f"{_SKEW} (missing required label)",))
NOT_NEAR = Refusal(("node(s) didn't match pod affinity rules",), News.NODE | News.POD_CAME | News.NAMESPACE)
_LEAVES = News.NODE | News.POD_GONE | News.NAMESPACE
NOT_APART = Refusal(("node(s) didn't match pod anti-affinity rules",), _LEAVES, resolvable=True)
NOT_WELCOME = Refusal(("node(s) didn't satisfy existing pods anti-affinity rules",), _LEAVES, resolvable=True)

Domain = tuple[str, str]
"""A topology key and the value that nodes have for it."""
NamespaceLabels = Callable[[str], Labels]


@dataclass(frozen=True, slots=True)
class Share:
    """What one node adds to the counts of its domains. `spread`, `soft`: None where the node does not count."""

    spread: tuple[int | None, ...] = ()
    soft: tuple[int | None, ...] = ()
    near: int = 0
    """Pods that match all affinity terms."""
    apart: tuple[int, ...] = ()
    unwelcome: tuple[Domain, ...] = ()
    """Domains where a pod here does not want ours."""
    liked: tuple[tuple[Domain, int], ...] = ()


EMPTY = Share()


def share(demand: Demand, node: NodeInfo, namespace_labels: NamespaceLabels) -> Share:
    """Looks at every pod of the node, unless nobody has a rule."""
    if demand.alone and not node.opinionated:
        return EMPTY
    unwelcome, liked = _of_others(demand, node, namespace_labels)
    near, apart = 0, [0] * len(demand.apart)
    if demand.opinions:
        for pod in node.pods.values():
            other, labels = pod.demand, namespace_labels(pod.namespace)
            near += bool(demand.near) and all(
                term.matches(other.namespace, other.labels, labels) for term in demand.near
            )
            for index, term in enumerate(demand.apart):
                apart[index] += term.matches(other.namespace, other.labels, labels)
            for preference in demand.preferences:
                key = preference.term.topology_key
                if key in node.labels and preference.term.matches(other.namespace, other.labels, labels):
                    liked[key, node.labels[key]] += preference.weight
    return Share(
        spread=_spread_counts(demand, demand.spread, node),
        soft=_spread_counts(demand, demand.soft_spread, node),
        near=near,
        apart=tuple(apart),
        unwelcome=tuple(unwelcome),
        liked=tuple(liked.items()),
    )


def _of_others(
    demand: Demand, node: NodeInfo, namespace_labels: NamespaceLabels
) -> tuple[set[Domain], defaultdict[Domain, int]]:
    """What the pods there think of ours."""
    unwelcome: set[Domain] = set()
    liked: defaultdict[Domain, int] = defaultdict(int)
    own = namespace_labels(demand.namespace)
    for pod in node.opinionated.values():
        for term in pod.demand.apart:
            key = term.topology_key
            if key in node.labels and term.matches(demand.namespace, demand.labels, own):
                unwelcome.add((key, node.labels[key]))
        weighted = [(term, HARD_AFFINITY_WEIGHT) for term in pod.demand.near]
        weighted += [(each.term, each.weight) for each in pod.demand.preferences]
        for term, weight in weighted:
            key = term.topology_key
            if key in node.labels and term.matches(demand.namespace, demand.labels, own):
                liked[key, node.labels[key]] += weight
    return unwelcome, liked


def _spread_counts(demand: Demand, constraints: tuple[Spread, ...], node: NodeInfo) -> tuple[int | None, ...]:
    """A node without one of the keys counts for none."""
    if any(each.topology_key not in node.labels for each in constraints):
        return (None,) * len(constraints)
    return tuple(_matching(demand, each, node) if _counts(demand, each, node) else None for each in constraints)


def _counts(demand: Demand, constraint: Spread, node: NodeInfo) -> bool:
    if constraint.honors_affinity and not demand.affinity.fits(node.name, node.labels):
        return False
    return not (constraint.honors_taints and untolerated(node.facts.taints, demand.tolerations, NEW_PODS))


def _matching(demand: Demand, constraint: Spread, node: NodeInfo) -> int:
    """An empty selector counts nobody, as upstream; terminating pods do not count."""
    if constraint.selector.empty:
        return 0
    matches = constraint.selector.matches
    return sum(
        1
        for pod in node.pods.values()
        if not pod.deleting and pod.namespace == demand.namespace and matches(pod.demand.labels)
    )


class Pairs:
    """The shares of all nodes together, for one demand."""

    def __init__(
        self, demand: Demand, shares: Iterable[tuple[NodeInfo, Share]], namespace_labels: NamespaceLabels
    ) -> None:
        self._demand = demand
        self._spread: list[dict[str, int]] = [{} for _ in demand.spread]
        self._least: list[int] | None = None
        """By hard constraint, the count of the emptiest domain; None: to be counted anew."""
        self._soft: list[dict[str, int]] = [{} for _ in demand.soft_spread]
        self._near: defaultdict[Domain, int] = defaultdict(int)
        self._near_somewhere = 0
        self._apart: defaultdict[Domain, int] = defaultdict(int)
        self._unwelcome: defaultdict[Domain, int] = defaultdict(int)
        self._unwelcome_keys: set[str] = set()
        self._liked: defaultdict[Domain, int] = defaultdict(int)
        self._liked_keys: set[str] = set()
        own = namespace_labels(demand.namespace) if demand.near else {}
        self._likes_itself = all(term.matches(demand.namespace, demand.labels, own) for term in demand.near)
        self.nothing = demand.alone
        """Nobody has a rule: every node is all right."""
        for node, each in shares:
            if each is not EMPTY:
                self.nothing = False
                self._add(node, each, 1)

    def exchange(self, node: NodeInfo, old: Share, new: Share) -> None:
        """As if the node had other pods."""
        self._add(node, old, -1)
        self._add(node, new, 1)

    def _add(self, node: NodeInfo, share: Share, sign: int) -> None:
        demand, labels = self._demand, node.labels
        self._least = None
        for constraints, counts, totals in (
            (demand.spread, share.spread, self._spread),
            (demand.soft_spread, share.soft, self._soft),
        ):
            for constraint, count, total in zip(constraints, counts, totals, strict=True):
                if count is not None:
                    value = labels[constraint.topology_key]
                    total[value] = total.get(value, 0) + sign * count
        if share.near:
            for term in demand.near:
                if term.topology_key in labels:
                    self._near[term.topology_key, labels[term.topology_key]] += sign * share.near
                    self._near_somewhere += sign * share.near
        for term, count in zip(demand.apart, share.apart, strict=True):
            if count and term.topology_key in labels:
                self._apart[term.topology_key, labels[term.topology_key]] += sign * count
        for domain in share.unwelcome:
            self._unwelcome[domain] += sign
            self._unwelcome_keys.add(domain[0])
        for domain, weight in share.liked:
            self._liked[domain] += sign * weight
            self._liked_keys.add(domain[0])

    # --- answers --------------------------------------------------------------------------------------

    def refusal(self, node: NodeInfo) -> Refusal | None:
        return self._spread_refusal(node) or self._neighbour_refusal(node)

    def _spread_refusal(self, node: NodeInfo) -> Refusal | None:
        """A domain may be ahead of the emptiest by `max_skew`; that is 0 while there are too few domains."""
        if not self._demand.spread:
            return None
        if self._least is None:
            self._least = [
                min(total.values()) if len(total) >= constraint.min_domains else 0
                for constraint, total in zip(self._demand.spread, self._spread, strict=True)
            ]
        for constraint, total, least in zip(self._demand.spread, self._spread, self._least, strict=True):
            value = node.labels.get(constraint.topology_key)
            if value is None:
                return NO_LABEL
            if total.get(value, 0) + constraint.itself - least > constraint.max_skew:
                return SKEWED
        return None

    def _neighbour_refusal(self, node: NodeInfo) -> Refusal | None:
        demand, labels = self._demand, node.labels
        if demand.near and not self._is_near(node):
            return NOT_NEAR
        for term in demand.apart:
            key = term.topology_key
            if key in labels and self._apart.get((key, labels[key]), 0) > 0:
                return NOT_APART
        for key in self._unwelcome_keys:
            if key in labels and self._unwelcome.get((key, labels[key]), 0) > 0:
                return NOT_WELCOME
        return None

    def _is_near(self, node: NodeInfo) -> bool:
        """The first of pods that want to be near each other goes anywhere that has the keys."""
        domains = [(term.topology_key, node.labels.get(term.topology_key)) for term in self._demand.near]
        if any(value is None for _, value in domains):
            return False
        if all(self._near.get((key, str(value)), 0) > 0 for key, value in domains):
            return True
        return self._likes_itself and self._near_somewhere <= 0

    def liking(self, node: NodeInfo) -> int:
        """The weights of all preferences about neighbours, its own and theirs."""
        labels = node.labels
        return sum(self._liked.get((key, labels[key]), 0) for key in self._liked_keys if key in labels)

    @property
    def opinions(self) -> bool:
        return bool(self._liked)

    def soft_counts(self, node: NodeInfo) -> list[int | None]:
        """By soft constraint: pods in the node's domain; None where it has no such key."""
        found: list[int | None] = []
        for constraint, total in zip(self._demand.soft_spread, self._soft, strict=True):
            value = node.labels.get(constraint.topology_key)
            found.append(None if value is None else total.get(value, 0))
        return found
