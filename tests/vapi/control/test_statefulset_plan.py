"""What a StatefulSet does next, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vapi.control.statefulset_plan import Action, Replica, Shape, Verb, ordinal_of, plan

UP = Replica(0, "new", exists=True, phase="Running", ready=True, available=True)
OLD = replace(UP, revision="old")
SICK = replace(OLD, ready=False, available=False)
GOING = replace(OLD, terminating=True)
ORDERED = Shape(ordered=True, rolling=True, update="new")
PARALLEL = replace(ORDERED, ordered=False)
MISSING = Replica(0, "new")


def row(*replicas: Replica) -> list[Replica]:
    return [replace(each, ordinal=index) for index, each in enumerate(replicas)]


def deleted(*ordinals: int) -> list[Action]:
    return [(Verb.DELETE, each) for each in ordinals]


@pytest.mark.parametrize(
    ("shape", "replicas", "actions"),
    [
        pytest.param(ORDERED, row(UP, UP), [], id="nothing to do"),
        pytest.param(ORDERED, row(UP, MISSING, MISSING), [(Verb.CREATE, 1)], id="one at a time"),
        pytest.param(PARALLEL, row(MISSING, MISSING), [(Verb.CREATE, 0), (Verb.CREATE, 1)], id="all at once"),
        pytest.param(ORDERED, row(OLD, OLD, OLD), deleted(2), id="update from the top"),
        pytest.param(ORDERED, row(OLD, OLD, GOING), [], id="update waits for the one that goes"),
        pytest.param(replace(ORDERED, max_unavailable=2), row(OLD, OLD, OLD), deleted(2, 1), id="two may be down"),
        pytest.param(replace(ORDERED, partition=2), row(OLD, OLD, OLD), deleted(2), id="down to the partition"),
        pytest.param(replace(ORDERED, partition=9), row(OLD, OLD), [], id="partition above all"),
        pytest.param(replace(ORDERED, rolling=False), row(OLD, OLD), [], id="on delete"),
        pytest.param(ORDERED, row(OLD, SICK), [], id="ordered waits for the sick"),
        pytest.param(PARALLEL, row(SICK, OLD, OLD), deleted(0), id="parallel takes the sick first"),
        pytest.param(PARALLEL, row(SICK, SICK, OLD), deleted(1, 0), id="all the sick, no good one"),
        pytest.param(PARALLEL, row(OLD, GOING), [], id="parallel waits for the one that goes"),
        pytest.param(ORDERED, row(replace(MISSING, stale_claim=True)), [], id="a stale claim blocks"),
        pytest.param(ORDERED, row(replace(UP, fits=False)), [(Verb.MEND, 0)], id="mend"),
        pytest.param(ORDERED, row(replace(UP, phase="Failed")), deleted(0), id="finished"),
    ],
)
def test_the_next_actions(shape: Shape, replicas: list[Replica], actions: list[Action]) -> None:
    assert plan(shape, replicas, []) == actions


@pytest.mark.parametrize(
    ("name", "ordinal"), [("web-0", 0), ("web-12", 12), ("web-x", -1), ("web", -1), ("other-1", -1), ("web-1-2", -1)]
)
def test_ordinals_are_read_from_names(name: str, ordinal: int) -> None:
    assert ordinal_of(name, "web") == ordinal
