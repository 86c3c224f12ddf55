"""Preemption: the pods of less priority that would have to go for one to fit, and on which node that does least harm.

Pure but for turns of the loop between nodes (law 9). Whether a pod would fit is asked
of the same filters, with the node as it would be.
Source: plugins/defaultpreemption, framework/preemption/preemption.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vapi.control.informer import sliced
from vapi.control.scheduler.assessment import Assessment, Extra
from vapi.control.scheduler.filters import News, Refusal
from vapi.control.scheduler.node import NodeInfo, PodInfo
from vapi.control.scheduler.pairs import Pairs
from vapi.control.scheduler.verdict import Verdict, histogram
from vapi.selectors import LabelSelector

NEVER = "not eligible due to preemptionPolicy=Never."
WAITS = "not eligible due to a terminating pod on the nominated node."
NOBODY = Refusal(("No preemption victims found for incoming pod",), News.NONE)
NO_HELP = "Preemption is not helpful for scheduling"
ENOUGH = 100
"""Candidates among which the best is chosen. Source: DefaultPreemptionArgs.MinCandidateNodesAbsolute."""


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """A PodDisruptionBudget: `allowed` more pods that it selects may go now; those of `granted` go anyway."""

    namespace: str
    selector: LabelSelector
    allowed: int
    granted: frozenset[str]

    def covers(self, pod: PodInfo) -> bool:
        labels = pod.demand.labels
        return (
            bool(labels)
            and pod.namespace == self.namespace
            and not self.selector.empty
            and self.selector.matches(labels)
            and pod.name not in self.granted
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """`victims`: the most important first; there is at least one."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int

    @property
    def harm(self) -> tuple[int, int, int, int]:
        """Sorts the least first; the latest start among equals is `youngest`."""
        priorities = [pod.demand.priority for pod in self.victims]
        return self.violations, priorities[0], sum(priority + 2**31 for priority in priorities), len(self.victims)

    @property
    def youngest(self) -> str:
        """When the longest running of the most important victims started."""
        highest = self.victims[0].demand.priority
        return min(pod.started or "~" for pod in self.victims if pod.demand.priority == highest)


@dataclass(frozen=True, slots=True)
class Found:
    """`candidate`: None, and `message` says why. `keep`: what the pod was promised before still holds."""

    candidate: Candidate | None
    message: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Whose place may `pod` take?"""

    pod: PodInfo
    assessment: Assessment
    nodes: Mapping[str, NodeInfo]
    pairs: Pairs
    verdict: Verdict
    nominated: str = ""
    """The node that it waits for already."""
    budgets: Sequence[Budget] = ()
    extra: Extra | None = None


async def search(question: Question) -> Found:
    """The nodes must not change meanwhile."""
    if not question.pod.demand.preempts:
        return Found(None, NEVER, keep=True)
    if _waits(question):
        return Found(None, WAITS, keep=True)
    found, refused = await candidates(question)
    if not found:
        return Found(None, histogram(question.verdict.total, refused, NO_HELP))
    best = least_harmful(found)[0]
    where = f"found a potential placement for pod on node {best.node}, preempting {len(best.victims)} victims"
    return Found(best, where)


async def candidates(question: Question) -> tuple[list[Candidate], dict[str, Refusal]]:
    """Nodes where it would help that others go, and why it would not on the rest of those that it might."""
    found: list[Candidate] = []
    refused: dict[str, Refusal] = {}
    possible = (question.nodes[name] for name, refusal in question.verdict.refused.items() if refusal.resolvable)
    async for node in sliced(possible):
        candidate = _on(question, node)
        if isinstance(candidate, Refusal):
            refused[node.name] = candidate
            continue
        found.append(candidate)
        if len(found) >= ENOUGH and any(not each.violations for each in found):
            break
    return found, refused


def least_harmful(found: Sequence[Candidate]) -> list[Candidate]:
    """All that are equally good. Source: pickOneNodeForPreemption."""
    least = min(each.harm for each in found)
    good = [each for each in found if each.harm == least]
    youngest = max(each.youngest for each in good)
    return [each for each in good if each.youngest == youngest]


def _waits(question: Question) -> bool:
    """It took places before, and those pods are on their way out."""
    pod = question.pod
    node = question.nodes.get(question.nominated)
    if node is None:
        return False
    refusal = question.verdict.refused.get(question.nominated)
    if refusal is not None and not refusal.resolvable:
        return False
    return any(each.preempted and each.demand.priority < pod.demand.priority for each in node.pods.values())


def _on(question: Question, node: NodeInfo) -> Candidate | Refusal:
    """The fewest pods that have to go, those first that no budget protects and that matter least."""
    pod, assessment = question.pod, question.assessment
    possible = sorted(
        (each for each in node.pods.values() if each.demand.priority < pod.demand.priority),
        key=lambda each: each.important,
    )
    if not possible:
        return NOBODY
    old = assessment.look(node).share
    waiting = [each for each in node.nominated.values() if each.demand.priority >= pod.demand.priority]
    tried = node.with_pods(each for each in waiting if each.uid != pod.uid)
    for each in possible:
        tried.remove(each.uid, node.generation)
    refusal = assessment.tried(tried, old, question.pairs)
    if refusal is None and question.extra is not None:
        refusal = question.extra(tried)
    if refusal is not None:
        return refusal
    violating, others = _by_budget(possible, question.budgets)
    victims: list[PodInfo] = []
    violations = 0
    for each in (*violating, *others):
        tried.add(each, node.generation)
        if assessment.tried(tried, old, question.pairs) is not None:
            tried.remove(each.uid, node.generation)
            victims.append(each)
            violations += each in violating
    if not victims:
        return NOBODY
    return Candidate(node.name, tuple(sorted(victims, key=lambda each: each.important)), violations)


def _by_budget(pods: Sequence[PodInfo], budgets: Sequence[Budget]) -> tuple[list[PodInfo], list[PodInfo]]:
    """(those that a budget does not allow to go, the others), in order. Source: FilterVictimsWithPDBViolation."""
    left = [budget.allowed for budget in budgets]
    violating: list[PodInfo] = []
    others: list[PodInfo] = []
    for pod in pods:
        covering = [index for index, budget in enumerate(budgets) if budget.covers(pod)]
        for index in covering:
            left[index] -= 1
        (violating if any(left[index] < 0 for index in covering) else others).append(pod)
    return violating, others
