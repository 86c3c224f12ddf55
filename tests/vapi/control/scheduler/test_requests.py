"""What pods ask for, added up as Kubernetes does."""

from __future__ import annotations

from typing import Any

import pytest

from vapi.control.scheduler.requests import node_amounts, pod_requests
from vapi.gvk import Obj

MI = 1024 * 1024


def container(cpu: str = "", memory: str = "", **more: Any) -> Obj:
    requests = {**({"cpu": cpu} if cpu else {}), **({"memory": memory} if memory else {})}
    return {"name": "c", "resources": {"requests": requests}, **more}


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"containers": [container("100m"), container("1")]}, {"cpu": 1100}, id="containers together"),
        pytest.param(
            {"containers": [container("100m")], "initContainers": [container("2"), container("500m")]},
            {"cpu": 2000},
            id="the greediest init container",
        ),
        pytest.param(
            {"containers": [container("100m")], "initContainers": [container("1", **SIDECAR), container("500m")]},
            {"cpu": 1500},
            id="an init container beside a sidecar",
        ),
        pytest.param(
            {"containers": [container("700m")], "initContainers": [container("1"), container("500m", **SIDECAR)]},
            {"cpu": 1200},
            id="a sidecar beside the containers",
        ),
        pytest.param(
            {"containers": [container("100m", "1Mi")], "resources": {"requests": {"cpu": "3", "example.com/x": "1"}}},
            {"cpu": 3000, "memory": MI},
            id="the pod's own, for cpu and memory",
        ),
        pytest.param(
            {"containers": [container("100m")], "overhead": {"cpu": "50m", "memory": "2Mi"}},
            {"cpu": 150, "memory": 2 * MI},
            id="overhead",
        ),
        pytest.param({"containers": [container("100u"), container("100u")]}, {"cpu": 1}, id="rounded up at the end"),
        pytest.param({"containers": [container("0")]}, {}, id="nothing"),
    ],
)
def test_requests_of_a_pod(spec: Obj, expected: dict[str, int]) -> None:
    assert dict(pod_requests(spec).amounts) == expected


def test_who_asks_for_nothing_counts_a_little_in_scores() -> None:
    asked = pod_requests({"containers": [container(), container("1", "1Gi")]})
    assert (asked.scored_cpu, asked.scored_memory) == (1100, 1224 * MI)
    assert (asked.cpu, asked.memory) == (1000, 1024 * MI)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"allocatedResources": {"cpu": "2"}}, 2000),
        ({"allocatedResources": {"cpu": "500m"}, "resources": {"requests": {"cpu": "3"}}}, 3000),
        ({"allocatedResources": {"cpu": "500m"}, "resources": {"requests": {"cpu": "500m"}}}, 1000),
    ],
)
def test_a_pod_being_resized_counts_for_the_most_it_may_have(status: Obj, expected: int) -> None:
    wanted = {"containers": [container("1")]}
    assert pod_requests(wanted, {"containerStatuses": [{"name": "c", **status}]}).cpu == expected


def test_a_resize_that_can_never_be_does_not_count() -> None:
    status = {
        "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "500m"}}],
        "conditions": [{"type": "PodResizePending", "reason": "Infeasible"}],
    }
    assert pod_requests({"containers": [container("8")]}, status).cpu == 500


def test_a_node_has_thousandths_of_cpus_and_whole_others() -> None:
    assert node_amounts({"cpu": "1500m", "memory": "1Mi", "pods": "110"}) == {"cpu": 1500, "memory": MI, "pods": 110}
