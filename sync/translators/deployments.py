"""Deployments: the host's controller makes their ReplicaSets and counts their revisions."""

from __future__ import annotations

from sync.translators import workload
from vapi.gvk import GVK, GVR, Obj

DEPLOYMENTS = GVR("apps", "v1", "deployments")


def revision(virtual: Obj, host: Obj) -> Obj:
    """The number of the present ReplicaSet, which `kubectl rollout history` and `undo` go by."""
    theirs = (host["metadata"].get("annotations") or {}).get(workload.REVISION)
    ours = (virtual["metadata"].get("annotations") or {}).get(workload.REVISION)
    return {} if theirs is None or theirs == ours else {"metadata": {"annotations": {workload.REVISION: theirs}}}


TRANSLATOR = workload.row(
    DEPLOYMENTS,
    GVK("apps", "v1", "Deployment"),
    workload.replicated(DEPLOYMENTS),
    brought_back=revision,
    exact=(*workload.EXACT, "spec.paused"),
)
