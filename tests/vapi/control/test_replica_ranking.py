"""Which pods go first when a set shrinks."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from vapi.control.pods import PodFacts, available_in_s, pod_facts
from vapi.control.replica_ranking import Candidate, victims

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)

STEADY = PodFacts(
    phase="Running",
    deleting=False,
    node="n1",
    created="2026-01-01T00:00:00Z",
    ready=True,
    ready_since="2026-01-01T00:00:10Z",
    restarts=0,
    deletion_cost=0,
    addresses=(),
    hostname="",
    subdomain="",
    restart_policy="Always",
    ports=(),
)

WEAKER = {
    "unassigned": replace(STEADY, node=""),
    "pending": replace(STEADY, phase="Pending"),
    "not ready": replace(STEADY, ready=False),
    "cheap": replace(STEADY, deletion_cost=-5),
    "ready for a short time": replace(STEADY, ready_since="2026-01-01T23:59:00Z"),
    "restarted": replace(STEADY, restarts=3),
    "young": replace(STEADY, created="2026-01-01T23:59:00Z"),
}


@pytest.mark.parametrize("weaker", WEAKER.values(), ids=WEAKER.keys())
def test_the_weaker_pod_goes_first(weaker: PodFacts) -> None:
    candidates = [Candidate("1", STEADY), Candidate("2", weaker), Candidate("3", STEADY)]
    assert [each.uid for each in victims(candidates, [], 1, NOW)] == ["2"]


def test_a_pod_on_a_crowded_node_goes_first() -> None:
    alone = replace(STEADY, node="n2")
    candidates = [Candidate("1", alone), Candidate("2", STEADY)]
    assert [each.uid for each in victims(candidates, [STEADY, STEADY, alone], 1, NOW)] == ["2"]


def test_readiness_comes_before_cost_and_age() -> None:
    dear_but_broken = replace(STEADY, ready=False, deletion_cost=100)
    cheap = replace(STEADY, deletion_cost=-100)
    candidates = [Candidate("1", cheap), Candidate("2", dear_but_broken)]
    assert [each.uid for each in victims(candidates, [], 2, NOW)] == ["1", "2"]
    assert [each.uid for each in victims([*candidates, Candidate("3", STEADY)], [], 1, NOW)] == ["2"]


def test_a_pod_is_available_some_time_after_it_got_ready() -> None:
    since = dt.datetime(2026, 1, 1, 0, 0, 10, tzinfo=dt.UTC)
    assert available_in_s(STEADY, 0, since) == 0
    assert available_in_s(STEADY, 30, since) == 30
    assert available_in_s(STEADY, 30, since + dt.timedelta(seconds=31)) == 0
    assert available_in_s(replace(STEADY, ready=False), 30, since) is None


def test_facts_of_a_bare_pod_are_empty() -> None:
    facts = pod_facts({"metadata": {"name": "p"}})
    assert facts.active
    assert not facts.ready
    assert facts.addresses == ()
