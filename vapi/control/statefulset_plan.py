"""What a StatefulSet does next: which pods to make, mend or delete, and where it waits. Pure.

Ordered sets take one step at a time, lowest ordinal first going up, highest first
going down, and wait for every pod before the next; parallel ones take all at once.
Scaling goes before updating, and an update never takes more than maxUnavailable.
Source: pkg/controller/statefulset/stateful_set_control.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vapi.control.deployment_rolling import scaled_value
from vapi.gvk import Obj


@dataclass(frozen=True, slots=True)
class Replica:
    """A pod, or the place for one. `revision`: the name of the one it has, or will get."""

    ordinal: int
    revision: str
    exists: bool = False
    phase: str = ""
    terminating: bool = False
    ready: bool = False
    """Running and ready."""
    available: bool = False
    needs_claims: bool = False
    """It is pending and a claim of its is missing."""
    fits: bool = True
    """Its identity, its volumes and the owners of its claims are as they should be."""
    stale_claim: bool = False
    """A claim still belongs to a pod that had its name before."""

    @property
    def unavailable(self) -> bool:
        return not self.available or self.terminating

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the set asks for. `partition` counts from the first ordinal; `update`: the new revision's name."""

    ordered: bool
    rolling: bool
    update: str
    partition: int = 0
    max_unavailable: int = 1


class Verb(StrEnum):
    CREATE = "create"
    MAKE_CLAIMS = "make claims"
    MEND = "mend"
    DELETE = "delete"


Action = tuple[Verb, int]
"""(what, the pod's ordinal)"""


def shape_of(stateful_set: Obj, update: str) -> Shape:
    spec = stateful_set["spec"]
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    most = scaled_value(rolling.get("maxUnavailable") or 1, spec.get("replicas", 1), round_up=False)
    return Shape(
        ordered=spec.get("podManagementPolicy") != "Parallel",
        rolling=strategy.get("type", "RollingUpdate") == "RollingUpdate",
        update=update,
        partition=rolling.get("partition", 0),
        max_unavailable=max(most, 1),
    )


def first_ordinal(stateful_set: Obj) -> int:
    start: int = (stateful_set["spec"].get("ordinals") or {}).get("start", 0)
    return start


def ordinal_of(name: str, parent: str) -> int:
    """-1: `name` is not `parent-<ordinal>`."""
    digits = name.removeprefix(f"{parent}-")
    if digits == name or not (digits.isascii() and digits.isdigit()) or int(digits) >= 2**31:
        return -1
    return int(digits)


def plan(shape: Shape, replicas: Sequence[Replica], condemned: Iterable[Replica]) -> list[Action]:
    """What to do now, in order. `replicas`: one for each ordinal asked for; `condemned`: pods beyond them."""
    going = sorted(condemned, key=lambda each: -each.ordinal)
    actions: list[Action] = []
    for replica in replicas:
        steps, waits = _keep(shape, replica)
        actions += steps
        if waits and shape.ordered:
            return actions
    actions += [(Verb.MEND, each.ordinal) for each in going if not each.fits]
    if shape.ordered and going:
        return actions + _take_down_one(going, _first_unavailable(replicas, going))
    actions += [(Verb.DELETE, each.ordinal) for each in going if not each.terminating]
    return actions + (_update(shape, replicas) if shape.rolling else [])


def _keep(shape: Shape, replica: Replica) -> tuple[list[Action], bool]:
    """Steps for one place, and whether an ordered set waits there."""
    if replica.finished:
        return ([] if replica.terminating else [(Verb.DELETE, replica.ordinal)]), True
    if not replica.exists:
        return ([] if replica.stale_claim else [(Verb.CREATE, replica.ordinal)]), True
    steps: list[Action] = [(Verb.MAKE_CLAIMS, replica.ordinal)] if replica.needs_claims else []
    if shape.ordered and (replica.terminating or not (replica.ready and replica.available)):
        return steps, True
    if not replica.fits:
        steps.append((Verb.MEND, replica.ordinal))
    return steps, False


def _first_unavailable(replicas: Sequence[Replica], going: Sequence[Replica]) -> Replica | None:
    lowest_first = (*replicas, *reversed(going))
    return next((each for each in lowest_first if each.unavailable), None)


def _take_down_one(going: Sequence[Replica], first_unavailable: Replica | None) -> list[Action]:
    """The highest one, unless it is going already or something lower is broken, which must be mended first."""
    last = going[0]
    if last.terminating:
        return []
    if not (last.ready and last.available) and last is not first_unavailable:
        return []
    return [(Verb.DELETE, last.ordinal)]


def _update(shape: Shape, replicas: Sequence[Replica]) -> list[Action]:
    """Pods of another revision from the top down to the partition, as many as may be unavailable."""
    down = [each for each in reversed(replicas[shape.partition :]) if each.revision != shape.update]
    room = shape.max_unavailable - sum(1 for each in replicas if each.unavailable)
    chosen: list[Replica] = []
    if not shape.ordered:
        # What is broken anyway goes first and costs nothing: else a bad rollout would take the good pods.
        chosen = [each for each in down if each.exists and not each.available and not each.terminating]
        down = [each for each in down if not each.unavailable]
    else:
        down = [each for each in down if not each.terminating]
    chosen += down[: max(0, room)]
    return [(Verb.DELETE, each.ordinal) for each in chosen]


def revision_for(ordinal: int, *, first: int, shape: Shape, current: str) -> str:
    """Of a pod that is to be made: below the partition the one that the set had."""
    return current if shape.rolling and ordinal < first + shape.partition else shape.update
