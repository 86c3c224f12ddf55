"""Conversions between the versions of one stored kind: nothing is lost on the way there and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vapi.resources import autoscaling_conversion, event_conversion

_META = {"name": "a", "namespace": "b"}


def _hpa(version: str, **parts: Any) -> dict[str, Any]:
    head = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": _META}
    return {**head, "spec": {"maxReplicas": 3}, "status": {"desiredReplicas": 0}, **parts}


_CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
_PODS = {
    "type": "Pods",
    "pods": {
        "metric": {"name": "qps", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "AverageValue", "averageValue": "5"},
    },
}
_EXTERNAL = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "7"}}}
_OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Service", "name": "s"},
        "metric": {"name": "hits"},
        "target": {"type": "Value", "value": "1k"},
    },
}
_CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 50}},
}


def test_the_cpu_target_of_v1_is_a_metric_of_v2() -> None:
    stored = autoscaling_conversion.v1_to_v2(_hpa("v1", spec={"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}))
    assert stored["apiVersion"] == "autoscaling/v2"
    assert stored["spec"] == {"maxReplicas": 3, "metrics": [_CPU]}
    assert stored["status"] == {"desiredReplicas": 0, "currentMetrics": None}
    assert autoscaling_conversion.v2_to_v1(stored)["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}


@pytest.mark.parametrize("metric", [_PODS, _EXTERNAL, _OBJECT, _CONTAINER], ids=lambda metric: str(metric["type"]))
def test_other_metrics_survive_a_client_of_v1_in_an_annotation(metric: dict[str, Any]) -> None:
    stored = _hpa("v2", spec={"maxReplicas": 3, "metrics": [_CPU, metric], "behavior": {"scaleUp": {"policies": []}}})
    old = autoscaling_conversion.v2_to_v1(stored)
    assert "autoscaling.alpha.kubernetes.io/metrics" in old["metadata"]["annotations"]
    back = autoscaling_conversion.v1_to_v2(old)
    assert back["spec"] == stored["spec"]
    assert back["metadata"] == _META


def test_the_status_of_v2_survives_a_client_of_v1() -> None:
    current = {
        "type": "Resource",
        "resource": {"name": "cpu", "current": {"averageUtilization": 31, "averageValue": "1"}},
    }
    condition = {"type": "AbleToScale", "status": "True", "lastTransitionTime": None}
    status = {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": [current], "conditions": [condition]}
    old = autoscaling_conversion.v2_to_v1(_hpa("v2", status=status))
    assert old["status"] == {"currentReplicas": 2, "desiredReplicas": 3, "currentCPUUtilizationPercentage": 31}
    assert autoscaling_conversion.v1_to_v2(old)["status"] == status


def test_an_annotation_that_is_no_json_is_ignored() -> None:
    metadata = {**_META, "annotations": {"autoscaling.alpha.kubernetes.io/metrics": "[", "mine": "1"}}
    stored = autoscaling_conversion.v1_to_v2(_hpa("v1", metadata=metadata))
    assert stored["metadata"]["annotations"] == {"mine": "1"}
    assert "metrics" not in stored["spec"]


def test_conversion_leaves_its_input_alone() -> None:
    stored = _hpa("v2", spec={"maxReplicas": 3, "metrics": [_CPU, _PODS]})
    before = json.dumps(stored)
    autoscaling_conversion.v1_to_v2(autoscaling_conversion.v2_to_v1(stored))
    assert json.dumps(stored) == before


_CORE_EVENT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": _META,
    "involvedObject": {"kind": "Pod", "name": "p"},
    "message": "hello",
    "reason": "Started",
    "type": "Normal",
    "source": {"component": "kubelet"},
    "firstTimestamp": "2026-01-01T00:00:00Z",
    "lastTimestamp": "2026-01-01T00:00:01Z",
    "count": 3,
    "eventTime": None,
    "reportingComponent": "kubelet",
    "reportingInstance": "n1",
}


def test_an_event_has_other_names_in_its_new_group() -> None:
    assert event_conversion.from_core(_CORE_EVENT) == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": _META,
        "regarding": {"kind": "Pod", "name": "p"},
        "note": "hello",
        "reason": "Started",
        "type": "Normal",
        "deprecatedSource": {"component": "kubelet"},
        "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
        "deprecatedLastTimestamp": "2026-01-01T00:00:01Z",
        "deprecatedCount": 3,
        "eventTime": None,
        "reportingController": "kubelet",
        "reportingInstance": "n1",
    }


def test_an_event_comes_back_as_it_was() -> None:
    assert event_conversion.to_core(event_conversion.from_core(_CORE_EVENT)) == _CORE_EVENT


def test_a_bare_event_has_the_empty_fields_of_each_group() -> None:
    new = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": _META}
    core = event_conversion.to_core(new)
    assert core == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": _META,
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    }
    assert event_conversion.from_core(core) == {
        **new,
        "regarding": {},
        "deprecatedSource": {},
        "deprecatedFirstTimestamp": None,
        "deprecatedLastTimestamp": None,
        "eventTime": None,
    }
