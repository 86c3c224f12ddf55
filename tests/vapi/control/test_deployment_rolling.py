"""The sizes of a rollout, as tables."""

from __future__ import annotations

import pytest

from vapi.control.deployment_rolling import (
    Limits,
    SetSize,
    active_or_latest,
    limits,
    new_set_size,
    proportional,
    rolling_step,
)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, "25%", (0, 1)),
        (2, 0, "1%", (0, 1)),
        (2, "1%", "0%", (1, 0)),
        (0, "25%", "25%", (0, 0)),
        (3, 1, 5, (1, 3)),
        (3, None, None, (0, 1)),
    ],
)
def test_both_limits_are_resolved_in_one_step(
    replicas: int, surge: int | str | None, unavailable: int | str | None, expected: tuple[int, int]
) -> None:
    found = limits(replicas, surge, unavailable)
    assert (found.surge, found.unavailable) == expected


@pytest.mark.parametrize(
    ("new", "others", "expected"),
    [(0, 10, 3), (0, 13, 0), (0, 0, 10), (5, 8, 5), (8, 2, 10), (3, 8, 5)],
)
def test_a_new_set_grows_into_the_room_that_is_left(new: int, others: int, expected: int) -> None:
    assert new_set_size(Limits(10, 3, 2), SetSize("new", "2", new), others) == expected


def old(name: str, replicas: int, available: int, created: str = "1") -> SetSize:
    return SetSize(name, created, replicas, available)


STEPS = {
    "up first": ((0, 0), [old("a", 10, 10)], [("new", 3)]),
    "then down": ((3, 0), [old("a", 10, 10)], [("a", 8)]),
    "new pods that are not available hold the rest": ((5, 0), [old("a", 8, 8)], []),
    "more new ones available, more old ones go": ((5, 5), [old("a", 8, 8)], [("a", 3)]),
    "unavailable old pods go first": (
        (3, 0),
        [old("a", 5, 3, "1"), old("b", 5, 5, "2")],
        [("a", 3)],
    ),
    "oldest set first": ((8, 8), [old("young", 2, 2, "2"), old("aged", 2, 2, "1")], [("new", 9)]),
    "and again": ((9, 9), [old("young", 2, 2, "2"), old("aged", 2, 2, "1")], [("aged", 0), ("young", 0)]),
    "done": ((10, 10), [old("a", 0, 0)], []),
    "too big": ((12, 12), [old("a", 0, 0)], [("new", 10)]),
}


@pytest.mark.parametrize(("new", "olds", "expected"), STEPS.values(), ids=STEPS.keys())
def test_a_rolling_update_takes_one_step(
    new: tuple[int, int], olds: list[SetSize], expected: list[tuple[str, int]]
) -> None:
    assert rolling_step(Limits(10, 3, 2), SetSize("new", "3", *new), olds) == expected


@pytest.mark.parametrize("replicas", [1, 2, 3, 7, 20])
@pytest.mark.parametrize(("surge", "unavailable"), [("25%", "25%"), (0, 1), (1, 0), ("100%", 0), (0, "100%"), (3, 2)])
def test_a_rollout_ends_and_never_leaves_its_limits(replicas: int, surge: int | str, unavailable: int | str) -> None:
    limit = limits(replicas, surge, unavailable)
    sizes = {"new": 0, "old": replicas}
    available = dict(sizes)
    for _ in range(200):
        sets = {name: SetSize(name, name, size, available[name]) for name, size in sizes.items()}
        steps = rolling_step(limit, sets["new"], [sets["old"]])
        for name, size in steps:
            sizes[name] = size
            available[name] = min(available[name], size)
        assert sum(sizes.values()) <= limit.most
        assert sum(available.values()) >= limit.least_available
        if not steps:
            if available == sizes:
                break
            available = dict(sizes)
    assert sizes == {"new": replicas, "old": 0}


def test_the_only_active_set_is_scaled_else_the_latest() -> None:
    new, first, second = SetSize("new", "3", 0), old("a", 0, 0, "1"), old("b", 4, 4, "2")
    assert active_or_latest(new, [first, second]) == second
    assert active_or_latest(new, [first]) == new
    assert active_or_latest(None, [first, old("b", 0, 0, "2")]) == old("b", 0, 0, "2")
    assert active_or_latest(SetSize("new", "3", 1), [second]) is None
    assert active_or_latest(None, []) is None


PROPORTIONS = {
    "up": (Limits(20, 0, 0), [("a", 5), ("b", 5)], 10, {"a": 10, "b": 10}),
    "up with a leftover to the newest of the largest": (Limits(11, 0, 0), [("a", 5), ("b", 5)], 10, {"a": 5, "b": 6}),
    "down": (Limits(5, 0, 0), [("a", 8), ("b", 2)], 10, {"a": 4, "b": 1}),
    "to nothing": (Limits(0, 0, 0), [("a", 8), ("b", 2)], 10, {"a": 0, "b": 0}),
    "not at all": (Limits(10, 0, 0), [("a", 8), ("b", 2)], 10, {"a": 8, "b": 2}),
    "with surge": (Limits(15, 3, 2), [("a", 8), ("b", 5)], 13, {"a": 11, "b": 7}),
}


@pytest.mark.parametrize(("limit", "sets", "before", "expected"), PROPORTIONS.values(), ids=PROPORTIONS.keys())
def test_scaling_amid_a_rollout_keeps_the_proportions(
    limit: Limits, sets: list[tuple[str, int]], before: int, expected: dict[str, int]
) -> None:
    sizes = [SetSize(name, name, size, size, before) for name, size in sets]
    assert dict(proportional(limit, sizes, before)) == expected
