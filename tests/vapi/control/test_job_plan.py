"""Indexes as text, policies, and delays of a Job, as tables."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapi.control import job_indexes
from vapi.control.job_plan import backoff_s
from vapi.control.job_policies import Ending, judge, success
from vapi.gvk import Obj


@pytest.mark.parametrize(
    ("indexes", "text"),
    [((), ""), ((4,), "4"), ((1, 2), "1,2"), ((1, 2, 3), "1-3"), ((0, 2, 3, 4, 7, 8), "0,2-4,7,8")],
)
def test_the_text_form_of_indexes(indexes: tuple[int, ...], text: str) -> None:
    assert str(job_indexes.of(indexes)) == text


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(0, 10))
def test_indexes_are_sets(some: set[int], others: set[int], count: int) -> None:
    one, other = job_indexes.of(some), job_indexes.of(others)
    both = one.union(other)
    assert [index for index in range(61) if index in both] == sorted(some | others)
    assert (len(both), one.common(other)) == (len(some | others), len(some & others))
    assert job_indexes.parse(str(both), 61) == both
    assert job_indexes.first_missing(one, 61, count) == [each for each in range(61) if each not in some][:count]


def test_text_that_is_none_and_indexes_beyond_the_end_are_left_out() -> None:
    assert str(job_indexes.parse("1,x,3-9,12", 6)) == "1,3-5"


def exits(operator: str, *values: int, container: str | None = None) -> Obj:
    rule: Obj = {"operator": operator, "values": list(values)}
    return rule if container is None else {**rule, "containerName": container}


ENDED = Ending(
    "ns", "p", exits=(("a", 0), ("b", 3)), init_exits=(("i", 9),), conditions=(("DisruptionTarget", "True"),)
)


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"onExitCodes": exits("In", 3)}, True),
        ({"onExitCodes": exits("In", 3, container="a")}, False),
        ({"onExitCodes": exits("In", 9)}, True),
        ({"onExitCodes": exits("NotIn", 3)}, True),  # the init container's 9
        ({"onExitCodes": exits("NotIn", 3, 9)}, False),
        ({"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}, True),
        ({"onPodConditions": [{"type": "DisruptionTarget", "status": "False"}]}, False),
    ],
)
def test_the_rules_of_a_pod_failure_policy(rule: Obj, matches: bool) -> None:
    judgement = judge({"rules": [{"action": "Ignore", **rule}]}, ENDED)
    assert (judgement.action, judgement.counts) == (("Ignore", False) if matches else ("", True))


def test_the_first_rule_that_matches_decides() -> None:
    rules = [{"action": "Count", "onExitCodes": exits("In", 3)}, {"action": "FailJob", "onExitCodes": exits("In", 3)}]
    assert judge({"rules": rules}, ENDED).action == "Count"


@pytest.mark.parametrize(
    ("rules", "met"),
    [
        ([{"succeededIndexes": "0,1"}], ""),
        ([{"succeededIndexes": "0-2", "succeededCount": 2}], "Matched rules at index 0"),
        ([{"succeededCount": 3}, {"succeededCount": 2}], "Matched rules at index 1"),
        ([], ""),
    ],
)
def test_the_rules_of_a_success_policy(rules: list[Obj], met: str) -> None:
    assert success({"rules": rules}, 5, job_indexes.of({0, 2})) == met


def test_the_delay_doubles_up_to_ten_minutes_and_runs_from_the_last_failure() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert [backoff_s(count, now, now) for count in (0, 1, 2, 3, 7, 50)] == [0, 10, 20, 40, 600, 600]
    assert backoff_s(2, now - dt.timedelta(seconds=15), now) == 5
