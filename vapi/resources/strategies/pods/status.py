"""What a status of a Pod may say. Of claims, volume health and allocated resources nothing is checked.

Source: pkg/apis/core/validation ValidatePodStatusUpdate (1.37).
"""

from __future__ import annotations

from collections.abc import Sequence

from vapi.errors import Cause, field_forbidden, field_invalid
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes

_SYSTEM_CONDITIONS = frozenset({"PodScheduled", "Ready", "Initialized"})
_STATUSES = (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers"))


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status, stored, spec = new.get("status") or {}, old.get("status") or {}, old["spec"]
    for index, condition in enumerate(status.get("conditions") or ()):
        if condition.get("type") not in _SYSTEM_CONDITIONS:
            checks.qualified(causes, f"status.conditions[{index}].Type", condition.get("type", ""))
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != stored.get("nominatedNodeName"):
        checks.dns_subdomain(causes, "status.nominatedNodeName", nominated)
    checks.immutable(causes, "status.qosClass", status.get("qosClass", ""), stored.get("qosClass", ""))
    if spec.get("restartPolicy") != "Always":
        for name, containers in _STATUSES:
            _transitions(causes, name, status, stored, spec, containers)
    _transitions(causes, "ephemeralContainerStatuses", status, stored, {}, "")
    _addresses(causes, "podIP", status, stored)
    _addresses(causes, "hostIP", status, stored)
    return causes


def _transitions(causes: Causes, name: str, status: Obj, stored: Obj, spec: Obj, containers: str) -> None:
    """A container that ended stays so, unless its policy starts it again."""
    before = stored.get(name)
    if not before:
        return
    by_name = {c.get("name"): c.get("state") or {} for c in status.get(name) or ()}
    for index, container in enumerate(before):
        ended = (container.get("state") or {}).get("terminated")
        now = by_name.get(container.get("name"))
        if ended is None or now is None or "terminated" in now:
            continue
        own: Obj = next((c for c in spec.get(containers) or () if c["name"] == container.get("name")), {})
        policy = own.get("restartPolicy") or spec.get("restartPolicy")
        if policy == "Always" or own.get("restartPolicyRules"):
            continue
        if policy == "OnFailure" and ended.get("exitCode", 0):
            continue
        detail = "may not be transitioned to non-terminated state"
        causes.append(field_forbidden(f"status.{name}[{index}].state", detail))


def _addresses(causes: Causes, one: str, status: Obj, stored: Obj) -> None:
    several = f"{one}s"
    listed = status.get(several) or ()
    if not listed or listed == stored.get(several):
        return
    known = [item.get("ip", "") for item in stored.get(several) or ()]
    for index, item in enumerate(listed):
        checks.ip(causes, f"status.{several}[{index}]", item.get("ip", ""), known)
    if status.get(one, "") != listed[0].get("ip", ""):
        path = f"status.{several}[0].ip"
        causes.append(field_invalid(path, listed[0].get("ip", ""), f"must be equal to `{one}`"))
