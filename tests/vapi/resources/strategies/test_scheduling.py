"""PriorityClasses: who may take which name and value, and what may change."""

from __future__ import annotations

from typing import Any

import pytest

from vapi.resources.strategies import scheduling


def priority_class(name: str = "mine", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **fields}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (priority_class("system-mine", value=1), "system-mine is not a known system priority class"),
        (priority_class("system-node-critical", value=1), "PriorityClass must be 2000001000"),
        (priority_class(value=1_000_000_001), "maximum allowed value of a user defined priority is 1000000000"),
        (priority_class(preemptionPolicy="Foo"), 'supported values: "PreemptLowerPriority", "Never"'),
    ],
    ids=["reserved", "other value", "too high", "policy"],
)
def test_a_class_that_takes_what_is_not_for_it_is_refused(obj: dict[str, Any], message: str) -> None:
    [cause] = scheduling.validate(obj)
    assert message in str(cause)


@pytest.mark.parametrize(
    "obj",
    [
        priority_class(value=1_000_000_000, preemptionPolicy="Never"),
        priority_class("system-cluster-critical", value=2_000_000_000, preemptionPolicy="PreemptLowerPriority"),
    ],
    ids=["highest", "known"],
)
def test_a_class_within_bounds_is_taken(obj: dict[str, Any]) -> None:
    assert not scheduling.validate(obj)


def test_value_and_policy_never_change() -> None:
    old = priority_class(value=1, preemptionPolicy="Never")
    causes = scheduling.validate_update(old | {"value": 2, "preemptionPolicy": "PreemptLowerPriority"}, old)
    assert [str(c.field) for c in causes] == ["value", "preemptionPolicy"]
    assert not scheduling.validate_update(old | {"description": "other"}, old)
