"""What is said of a pod that fits nowhere, as Kubernetes says it. Pure.

Source: pkg/scheduler/framework/types.go FitError.Error; schedule_one.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vapi.control.scheduler.filters import News, Refusal

NO_NODES = "no nodes available to schedule pods"
ONLY_NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
"""Of nodes that nobody looked at: the pod names others."""
CONFLICT = "pod affinity terms conflict"
"""It names nodes in a way that no node can be."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`refused`: by node. `others`: the reason for the rest of `total`. `whole`: it holds for all alike."""

    total: int
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    others: str = ""
    whole: Refusal | None = None

    @property
    def helped_by(self) -> News:
        news = self.whole.helped_by if self.whole is not None else News.NODE
        for refusal in self.refused.values():
            news |= refusal.helped_by
        return news

    def message(self, preemption: str = "") -> str:
        """`preemption`: what came of looking for pods whose place it could take."""
        if not self.total:
            return NO_NODES
        said = f"{histogram(self.total, self.refused, self.others, self.whole)}"
        return f"{said} preemption: {preemption}" if preemption else said


def histogram(total: int, refused: Mapping[str, Refusal], others: str = "", whole: Refusal | None = None) -> str:
    """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`"""
    head = f"0/{total} nodes are available:"
    if whole is not None:
        return f"{head} {', '.join(whole.reasons)}."
    counts = Counter(reason for refusal in refused.values() for reason in refusal.reasons)
    if others and total > len(refused):
        counts[others] += total - len(refused)
    reasons = sorted(f"{count} {reason}" for reason, count in counts.items())
    return f"{head} {', '.join(reasons)}." if reasons else head
