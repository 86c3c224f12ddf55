"""PodDisruptionBudgets: on the host a number of pods, worked out here, since the host finds no scale to work it out of.

The owners of our host pods have no replicas, so a percentage or a maxUnavailable could
not be counted there. The tenant's own disruption controller counts; its answer goes
out as `minAvailable`. The status stays the tenant's. Source: design §6 (Selectors).
"""

from __future__ import annotations

from typing import Any

from sync.translator import Context, Translator
from sync.translators.networkpolicies import pods_of
from vapi.gvk import GVK, GVR, Obj

BUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
GVK_BUDGET = GVK("policy", "v1", "PodDisruptionBudget")

NONE_AT_ALL = 2**31 - 1
"""minAvailable while the pods are not counted: the API refuses each eviction then, and so must the host."""


def to_host(virtual: Obj, context: Context) -> Obj:
    """Raises Untranslatable."""
    spec = virtual.get("spec") or {}
    desired: dict[str, Any] = {"minAvailable": min_available(virtual)}
    if spec.get("selector") is not None:
        desired["selector"] = pods_of(spec["selector"], context, virtual["metadata"]["namespace"], "spec.selector")
    if spec.get("unhealthyPodEvictionPolicy"):
        desired["unhealthyPodEvictionPolicy"] = spec["unhealthyPodEvictionPolicy"]
    return {
        "apiVersion": GVK_BUDGET.api_version,
        "kind": GVK_BUDGET.kind,
        "metadata": context.host_metadata(virtual, GVK_BUDGET),
        "spec": desired,
    }


def min_available(virtual: Obj) -> int:
    """How many healthy pods the tenant wants, by its spec or by its controller's count."""
    least = (virtual.get("spec") or {}).get("minAvailable")
    if isinstance(least, int):
        return least
    status = virtual.get("status") or {}
    if (status.get("observedGeneration") or 0) < virtual["metadata"].get("generation", 1) or _failed(status):
        return NONE_AT_ALL
    return int(status.get("desiredHealthy") or 0)


def _failed(status: Obj) -> bool:
    return any(c.get("reason") == "SyncFailed" and c.get("status") == "False" for c in status.get("conditions") or ())


TRANSLATOR = Translator(
    resource=BUDGETS,
    gvk=GVK_BUDGET,
    to_host=to_host,
    # its status changes with every pod: without the body each change would cost an apply to see that nothing else did
    keeps_body=True,
    exact=("spec",),
)
