"""How many pods a budget keeps on the host."""

from __future__ import annotations

from typing import Any

import pytest

from sync.translators.poddisruptionbudgets import NONE_AT_ALL, min_available
from vapi.gvk import Obj


def budget(status: Obj | None = None, generation: int = 1, **spec: Any) -> Obj:
    return {"metadata": {"generation": generation}, "spec": spec, "status": status or {}}


FAILED = [{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed"}]
FEW = [{"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods"}]


@pytest.mark.parametrize(
    ("virtual", "number"),
    [
        pytest.param(budget(minAvailable=2), 2, id="a number is the number"),
        pytest.param(budget(minAvailable=0), 0, id="none need stay"),
        pytest.param(budget(minAvailable="50%"), NONE_AT_ALL, id="not counted yet"),
        pytest.param(budget({"observedGeneration": 1, "desiredHealthy": 3}, maxUnavailable=1), 3, id="counted"),
        pytest.param(
            budget({"observedGeneration": 1, "desiredHealthy": 3}, 2, maxUnavailable=1), NONE_AT_ALL, id="changed since"
        ),
        pytest.param(
            budget({"observedGeneration": 1, "desiredHealthy": 3, "conditions": FAILED}, maxUnavailable=1),
            NONE_AT_ALL,
            id="cannot be counted",
        ),
        pytest.param(
            budget({"observedGeneration": 1, "desiredHealthy": 3, "conditions": FEW}, maxUnavailable=1), 3, id="too few"
        ),
        pytest.param(budget({"observedGeneration": 1}, maxUnavailable="100%"), 0, id="all may go"),
    ],
)
def test_the_host_keeps_as_many_as_the_tenant_counted(virtual: Obj, number: int) -> None:
    assert min_available(virtual) == number
