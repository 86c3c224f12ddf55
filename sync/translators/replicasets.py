"""ReplicaSets: the anchor controls their twins, or a fitting Deployment of the host would adopt them."""

from __future__ import annotations

from sync.translators import workload
from vapi.gvk import GVK, GVR

REPLICASETS = GVR("apps", "v1", "replicasets")

TRANSLATOR = workload.row(
    REPLICASETS,
    GVK("apps", "v1", "ReplicaSet"),
    workload.replicated(REPLICASETS),
    controller=True,
    exact=workload.EXACT,
)
