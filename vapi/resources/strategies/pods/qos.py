"""The quality of service of a Pod, from its requests and limits of cpu and memory. Pure.

Source: pkg/apis/core/v1/helper/qos (1.37).
"""

from __future__ import annotations

from vapi.gvk import Obj
from vapi.resources.strategies import checks

BEST_EFFORT, BURSTABLE, GUARANTEED = "BestEffort", "Burstable", "Guaranteed"
_COMPUTE = ("cpu", "memory")


def qos_class(spec: Obj) -> str:
    """Resources of the pod itself decide where there are any; else all containers must agree."""
    resources = spec.get("resources")
    if resources and (resources.get("requests") or resources.get("limits")):
        return _of_requirements(resources)
    found = ""
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            resources = container.get("resources")
            one = _of_requirements(resources) if resources else BEST_EFFORT
            if one == BURSTABLE or (found and found != one):
                return BURSTABLE
            found = one
    return found or BEST_EFFORT


def _of_requirements(resources: Obj) -> str:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    if not requests and not limits:
        return BEST_EFFORT
    classes = {_of_resource(requests.get(name, "0"), limits.get(name, "0")) for name in _COMPUTE}
    return classes.pop() if len(classes) == 1 else BURSTABLE


def _of_resource(request: str, limit: str) -> str:
    wanted = checks.nanos(request)
    if wanted != (wanted if request == limit else checks.nanos(limit)):
        return BURSTABLE
    return GUARANTEED if wanted else BEST_EFFORT
