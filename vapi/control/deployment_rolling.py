"""How big each ReplicaSet of a Deployment should be: the pure decisions of a rollout and of scaling.

Sizes go in and come out; nothing here knows of objects, time or writes.
Source: pkg/controller/deployment (rolling.go, sync.go scale) and util/deployment_util.go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class SetSize:
    """One ReplicaSet. `created` orders by age; `max_before`: its max-replicas annotation, None if it has none."""

    name: str
    created: str
    replicas: int
    available: int = 0
    max_before: int | None = None

    @property
    def age(self) -> tuple[str, str]:
        """Sorts older first."""
        return self.created, self.name


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rolling update keeps to: at most replicas + surge pods, at least replicas - unavailable available."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def least_available(self) -> int:
        return self.replicas - self.unavailable


Step = tuple[str, int]
"""(name of the ReplicaSet, its new size)"""


def scaled_value(value: int | str | None, total: int, *, round_up: bool) -> int:
    """An int-or-percent of `total`; None is 0. Raises ValueError."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * total
    return -(-share // 100) if round_up else share // 100


def limits(replicas: int, max_surge: int | str | None, max_unavailable: int | str | None) -> Limits:
    """Both resolved in one step: where both come to 0, one pod may be unavailable, or nothing would ever move.

    Source: ResolveFenceposts.
    """
    surge = scaled_value(max_surge, replicas, round_up=True)
    unavailable = scaled_value(max_unavailable, replicas, round_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Limits(replicas, surge, min(unavailable, replicas))


def new_set_size(limit: Limits, new: SetSize, others: int) -> int:
    """How far the new set may grow now; `others`: pods of all other sets."""
    room = limit.most - (others + new.replicas)
    if room <= 0:
        return new.replicas
    return new.replicas + min(room, limit.replicas - new.replicas)


def rolling_step(limit: Limits, new: SetSize, olds: Sequence[SetSize]) -> list[Step]:
    """The next sizes: the new set up (or down to what is asked), else the old ones down; nothing: wait or done."""
    if new.replicas != limit.replicas:
        grown = limit.replicas
        if new.replicas < limit.replicas:
            grown = new_set_size(limit, new, sum(old.replicas for old in olds))
        if grown != new.replicas:
            return [(new.name, grown)]
    return shrink_old(limit, new, olds)


def shrink_old(limit: Limits, new: SetSize, olds: Sequence[SetSize]) -> list[Step]:
    """First pods of old sets that are not available anyway, then as many as availability allows; oldest set first."""
    olds = sorted((old for old in olds if old.replicas), key=lambda old: old.age)
    if not olds:
        return []
    total = new.replicas + sum(old.replicas for old in olds)
    spare = total - limit.least_available - (new.replicas - new.available)
    if spare <= 0:
        return []
    cleaned = _shrink(olds, [old.replicas - old.available for old in olds], spare)
    sizes = dict(cleaned)
    olds = [replace(old, replicas=sizes.get(old.name, old.replicas)) for old in olds]
    available = new.available + sum(old.available for old in olds)
    return cleaned + _shrink(olds, [old.replicas for old in olds], available - limit.least_available)


def _shrink(sets: Sequence[SetSize], removable: Sequence[int], budget: int) -> list[Step]:
    steps = []
    for each, most in zip(sets, removable, strict=True):
        fewer = min(most, budget)
        if fewer > 0:
            steps.append((each.name, each.replicas - fewer))
            budget -= fewer
    return steps


def active_or_latest(new: SetSize | None, olds: Sequence[SetSize]) -> SetSize | None:
    """The only set with pods; with none the new one, or the newest old one. None: several have pods, or none exists."""
    active: list[SetSize] = [each for each in (*olds, *((new,) if new else ())) if each.replicas]
    if len(active) == 1:
        return active[0]
    if active:
        return None
    if new is not None or not olds:
        return new
    return max(olds, key=lambda old: old.age)


def proportional(limit: Limits, sets: Sequence[SetSize], before: int) -> list[Step]:
    """Scale all sets that have pods in proportion, the leftover to the largest: scaling amid a rollout.

    `before`: the Deployment's status.replicas, for sets without an annotation.
    Every set is named, changed or not, for its annotations must follow.
    """
    total = sum(each.replicas for each in sets)
    to_add = (limit.most if limit.replicas else 0) - total
    # Bigger first; of equal ones the newer when growing, the older when shrinking.
    ordered = sorted(sets, key=lambda each: each.age, reverse=to_add > 0)
    ordered.sort(key=lambda each: -each.replicas)
    sizes = {each.name: each.replicas for each in ordered}
    added = 0
    for each in ordered:
        share = _share(limit, each, before, to_add, added)
        sizes[each.name] += share
        added += share
    if ordered and to_add:
        largest = ordered[0].name
        sizes[largest] = max(0, sizes[largest] + to_add - added)
    return list(sizes.items())


def _share(limit: Limits, each: SetSize, before: int, to_add: int, added: int) -> int:
    left = to_add - added
    if not each.replicas or not to_add or not left:
        return 0
    fraction = _fraction(limit, each, before)
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _fraction(limit: Limits, each: SetSize, before: int) -> int:
    """How much the set would change at its present share of all pods. Source: getReplicaSetFraction."""
    if not limit.replicas:
        return -each.replicas
    most_before = each.max_before or before
    if not most_before:
        return 0
    return math.floor(each.replicas * limit.most / most_before + 0.5) - each.replicas
