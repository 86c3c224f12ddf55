"""Which pods of a ReplicaSet go first when there are too many. Pure.

Source: pkg/controller/controller_utils.go ActivePodsWithRanks.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vapi.clock import parse_rfc3339
from vapi.control.pods import PodFacts

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True, slots=True)
class Candidate:
    uid: str
    pod: PodFacts


def victims(
    candidates: Sequence[Candidate], related: Iterable[PodFacts], count: int, now: dt.datetime
) -> list[Candidate]:
    """The `count` of `candidates` to delete. `related`: all pods of sets with the same owner, to spread over nodes."""
    if count >= len(candidates):
        return list(candidates)
    crowd = Counter(pod.node for pod in related if pod.active)
    return sorted(candidates, key=lambda candidate: _rank(candidate, crowd, now))[:count]


def _rank(candidate: Candidate, crowd: Counter[str], now: dt.datetime) -> tuple[Any, ...]:
    """Smaller goes first: unassigned, pending, not ready, cheap, on a crowded node, ready for a short time,

    restarted often, young. Times count by order of magnitude, ties by uid, so that the choice is spread.
    """
    pod = candidate.pod
    return (
        bool(pod.node),
        _PHASES.get(pod.phase, 0),
        pod.ready,
        pod.deletion_cost,
        -crowd[pod.node],
        _magnitude(pod.ready_since, now) if pod.ready else 0,
        -pod.restarts,
        _magnitude(pod.created, now),
        candidate.uid,
    )


def _magnitude(since: str, now: dt.datetime) -> int:
    """Binary logarithm of the age in nanoseconds; -1 for a time that is not there or lies ahead."""
    if not since:
        return -1
    age_ns = (now - parse_rfc3339(since)).total_seconds() * 1e9
    return int(math.log2(age_ns)) if age_ns >= 1 else -1
