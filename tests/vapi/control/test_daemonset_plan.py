"""What a DaemonSet does next, as tables; where its pods fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vapi.control.daemonset_plan import Changes, DaemonPod, Stay, manage, roll, stays
from vapi.control.node_fit import NodeFacts, Taint, tolerates
from vapi.gvk import Obj

NEW = DaemonPod("new", "n", "2026")
OLD = replace(NEW, name="old", updated=False)
SICK = replace(OLD, ready=False, available=False)
RUN, KEEP, LEAVE = Stay(True, True), Stay(False, True), Stay(False, False)


@pytest.mark.parametrize(
    ("node", "there", "surges", "expected"),
    [
        pytest.param(RUN, [], False, Changes(create=["n"]), id="missing"),
        pytest.param(KEEP, [], False, Changes(), id="not wanted, not there"),
        pytest.param(KEEP, [NEW], False, Changes(), id="may stay"),
        pytest.param(LEAVE, [NEW], False, Changes(delete=["new"]), id="may not stay"),
        pytest.param(RUN, [NEW, replace(NEW, name="b")], False, Changes(delete=["new"]), id="two"),
        pytest.param(RUN, [replace(NEW, phase="Failed")], False, Changes(failed=["new"]), id="failed"),
        pytest.param(RUN, [NEW, SICK], True, Changes(delete=["old"]), id="surge: the old one is broken"),
        pytest.param(
            RUN, [replace(NEW, available=False), OLD], True, Changes(), id="surge: the new one is not there yet"
        ),
        pytest.param(RUN, [replace(OLD, deleting=True)], True, Changes(create=["n"]), id="surge: beside one that goes"),
    ],
)
def test_one_pod_a_node(node: Stay, there: list[DaemonPod], surges: bool, expected: Changes) -> None:
    assert manage({"n": node}, {"n": there} if there else {}, surges=surges) == expected


def nodes(count: int) -> dict[str, Stay]:
    return {f"n{index}": RUN for index in range(count)}


def pods(*each: DaemonPod) -> dict[str, list[DaemonPod]]:
    return {f"n{index}": [replace(pod, name=f"p{index}", node=f"n{index}")] for index, pod in enumerate(each)}


@pytest.mark.parametrize(
    ("there", "limits", "expected"),
    [
        pytest.param(pods(OLD, OLD), {"maxUnavailable": 1}, Changes(delete=["p0"]), id="one"),
        pytest.param(pods(OLD, SICK), {"maxUnavailable": 1}, Changes(delete=["p1"]), id="the broken one"),
        pytest.param(pods(OLD, replace(NEW, available=False)), {"maxUnavailable": 1}, Changes(), id="waits"),
        pytest.param(pods(OLD, OLD), {"maxUnavailable": "100%"}, Changes(delete=["p0", "p1"]), id="all"),
        pytest.param(pods(OLD, OLD), {"maxUnavailable": 0, "maxSurge": 0}, Changes(delete=["p0"]), id="never none"),
        pytest.param(pods(OLD, OLD), {"maxSurge": 1}, Changes(create=["n0"]), id="surge"),
        pytest.param(pods(OLD, SICK), {"maxSurge": 1}, Changes(create=["n1", "n0"]), id="surge: broken ones are free"),
    ],
)
def test_a_rollout_keeps_to_its_limits(there: dict[str, list[DaemonPod]], limits: Obj, expected: Changes) -> None:
    assert roll(nodes(2), there, {"type": "RollingUpdate", "rollingUpdate": limits}) == expected


def test_required_affinity_and_the_node_selector_must_both_fit() -> None:
    term = {"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["3"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    spec = {"nodeSelector": {"zone": "a"}, "affinity": affinity}
    found = [
        NodeFacts("both", (("size", "4"), ("zone", "a")), (), False),
        NodeFacts("small", (("size", "3"), ("zone", "a")), (), False),
        NodeFacts("elsewhere", (("size", "4"),), (), False),
    ]
    assert stays(spec, found) == {"both": RUN, "small": LEAVE, "elsewhere": LEAVE}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_what_a_toleration_tolerates(toleration: Obj, expected: bool) -> None:
    assert tolerates(toleration, Taint("k", "v", "NoSchedule")) == expected
