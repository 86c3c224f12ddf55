"""PriorityClasses that go to the host: under another name, never the default, never above what users may have."""

from __future__ import annotations

from typing import Any

from sync.translator import PRIORITYCLASSES, Context, Translator
from vapi.gvk import GVK, Obj
from vapi.resources.strategies.mirrors import MIRROR

GVK_PRIORITYCLASS = GVK("scheduling.k8s.io", "v1", "PriorityClass")

HIGHEST = 1_000_000_000
"""Of classes that do not begin with `system-`. Source: apis/scheduling HighestUserDefinablePriority."""


def to_host(virtual: Obj, context: Context) -> Obj:
    desired: dict[str, Any] = {
        "apiVersion": GVK_PRIORITYCLASS.api_version,
        "kind": GVK_PRIORITYCLASS.kind,
        "metadata": context.host_cluster_metadata(virtual, GVK_PRIORITYCLASS),
        "value": min(virtual.get("value", 0), HIGHEST),
    }
    for field in ("description", "preemptionPolicy"):
        if virtual.get(field):
            desired[field] = virtual[field]
    return desired


def wanted(virtual: Obj, _context: Context) -> bool:
    """Not what shows one of the host's."""
    return MIRROR not in (virtual["metadata"].get("labels") or {})


def replace(desired: Obj, host: Obj) -> bool:
    """Both cannot be changed; `globalDefault` is not sent, and stays as the host has it: false."""
    return any(
        field in desired and desired[field] != host.get(field, default)
        for field, default in (("value", 0), ("preemptionPolicy", "PreemptLowerPriority"))
    )


TRANSLATOR = Translator(
    resource=PRIORITYCLASSES,
    gvk=GVK_PRIORITYCLASS,
    to_host=to_host,
    wanted=wanted,
    replace=replace,
    cluster_scoped=True,
    priority=1,
)
