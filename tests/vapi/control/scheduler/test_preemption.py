"""Whose place a pod may take."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.scheduler.makers import World, near, node, pod
from vapi.control.scheduler.preemption import NEVER, WAITS, Budget, Found, Question, search
from vapi.control.scheduler.state import pod_info
from vapi.gvk import Obj
from vapi.selectors import label_selector_from_obj

SMALL = {"cpu": "2"}


def started(made: Obj, when: str) -> Obj:
    made["status"] = {"startTime": when}
    return made


async def asked(world: World, wanted: Obj, *, nominated: str = "", budgets: tuple[Budget, ...] = ()) -> Found:
    assessment = world.assessment(wanted)
    info = pod_info(wanted, world.demands)
    outcome = assessment.outcome(info, world.state.nodes)
    assert not outcome.fitting
    question = Question(info, assessment, world.state.nodes, outcome.pairs, outcome.verdict, nominated, budgets)
    return await search(question)


def taken(found: Found) -> tuple[str, list[str]]:
    assert found.candidate is not None, found.message
    return found.candidate.node, [each.name for each in found.candidate.victims]


def important(cpu: str = "1", **spec: Any) -> Obj:
    return pod("p", cpu, **{"priority": 100, **spec})


async def test_as_few_as_possible_go_and_the_least_important_first() -> None:
    there = [pod("low", "1", on="a", priority=1), pod("middle", "500m", on="a", priority=2)]
    world = World(node("a", room=SMALL), *there, pod("tiny", "500m", on="a", priority=3))
    assert taken(await asked(world, important())) == ("a", ["low"])


async def test_the_node_where_the_least_important_would_go_is_chosen() -> None:
    world = World(
        node("a", room=SMALL),
        node("b", room=SMALL),
        pod("on-a", "2", on="a", priority=5),
        pod("on-b", "2", on="b", priority=4),
    )
    assert taken(await asked(world, important())) == ("b", ["on-b"])


async def test_of_equals_the_one_that_started_last_goes() -> None:
    world = World(
        node("a", room=SMALL),
        node("b", room=SMALL),
        started(pod("on-a", "2", on="a"), "2026-01-01T00:00:00Z"),
        started(pod("on-b", "2", on="b"), "2026-01-02T00:00:00Z"),
    )
    assert taken(await asked(world, important())) == ("b", ["on-b"])


@pytest.mark.parametrize(("allowed", "node_name"), [(0, "b"), (1, "a")])
async def test_a_budget_is_kept_where_another_place_can_be_had(allowed: int, node_name: str) -> None:
    world = World(
        node("a", room=SMALL),
        node("b", room=SMALL),
        pod("kept", "2", on="a", priority=1, labels={"app": "kept"}),
        pod("other", "2", on="b", priority=50),
    )
    selector = label_selector_from_obj({"matchLabels": {"app": "kept"}})
    budget = Budget("default", selector, allowed, frozenset())
    assert taken(await asked(world, important(), budgets=(budget,)))[0] == node_name


async def test_a_budget_is_broken_where_it_must() -> None:
    world = World(node("a", room=SMALL), pod("kept", "2", on="a", labels={"app": "kept"}))
    budget = Budget("default", label_selector_from_obj({"matchLabels": {"app": "kept"}}), 0, frozenset())
    found = await asked(world, important(), budgets=(budget,))
    assert found.candidate is not None
    assert found.candidate.violations == 1


async def test_nobody_of_the_same_priority_goes() -> None:
    world = World(node("a", room=SMALL), node("off", unschedulable=True), pod("same", "2", on="a", priority=100))
    found = await asked(world, important())
    assert found.candidate is None
    assert found.message == (
        "0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


async def test_who_does_not_fit_an_empty_node_takes_no_place() -> None:
    world = World(node("a", room=SMALL), pod("low", "1", on="a"))
    found = await asked(world, important("3"))
    assert found.message == "0/1 nodes are available: 1 Preemption is not helpful for scheduling."


async def test_a_place_is_taken_from_those_that_want_nobody_near() -> None:
    hater = pod("hater", on="a", affinity={"podAntiAffinity": near({"app": "p"})})
    world = World(node("a"), hater, pod("bystander", on="a"))
    assert taken(await asked(world, important(labels={"app": "p"}))) == ("a", ["hater"])


async def test_a_pod_that_never_preempts_says_so() -> None:
    world = World(node("a", room=SMALL), pod("low", "2", on="a"))
    found = await asked(world, important(preemptionPolicy="Never"))
    assert (found.candidate, found.message) == (None, NEVER)


async def test_while_those_are_ending_whose_place_it_took_nobody_else_goes() -> None:
    ending = pod("low", "2", on="a")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    reason = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    ending["status"] = {"conditions": [reason]}
    world = World(node("a", room=SMALL), node("b", room=SMALL), ending, pod("other", "2", on="b"))
    found = await asked(world, important(), nominated="a")
    assert (found.candidate, found.message, found.keep) == (None, WAITS, True)
