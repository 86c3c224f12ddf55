"""The quality of service of Pods."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapi.gvk import Obj
from vapi.resources.strategies.pods.qos import qos_class

ALL = {"cpu": "1", "memory": "1Gi"}


def _container(requests: Any = None, limits: Any = None) -> Obj:
    return {"resources": {"requests": requests or {}, "limits": limits or {}}}


@pytest.mark.parametrize(
    ("containers", "wanted"),
    [
        ([{}], "BestEffort"),
        ([_container()], "BestEffort"),
        ([_container(ALL, ALL)], "Guaranteed"),
        ([_container({"cpu": "1000m", "memory": "1Gi"}, ALL)], "Guaranteed"),
        ([_container({"cpu": "1"})], "Burstable"),
        ([_container({"cpu": "1"}, {"cpu": "1"})], "Burstable"),
        ([_container({"cpu": "1", "memory": "512Mi"}, ALL)], "Burstable"),
        ([_container(ALL, ALL), {}], "Burstable"),
        ([_container({"ephemeral-storage": "1Gi"})], "BestEffort"),
        ([_container({"cpu": "0"}, {"cpu": "0"})], "BestEffort"),
    ],
)
def test_containers_decide_together(containers: list[Obj], wanted: str) -> None:
    assert qos_class({"containers": containers}) == wanted


def test_resources_of_the_pod_itself_decide_alone() -> None:
    assert qos_class({"resources": {"requests": ALL, "limits": ALL}, "containers": [{}]}) == "Guaranteed"


def test_containers_that_start_first_count_too() -> None:
    assert qos_class({"initContainers": [{}], "containers": [_container(ALL, ALL)]}) == "Burstable"


@given(st.permutations([_container(ALL, ALL), _container({"cpu": "1"}), _container()]))
def test_the_order_of_containers_does_not_matter(containers: list[Obj]) -> None:
    assert qos_class({"containers": containers}) == "Burstable"
