"""DaemonSets: the host's controller puts a pod on each of its nodes, as the seeds describe it."""

from __future__ import annotations

from sync.translators import workload
from vapi.gvk import GVK, GVR

DAEMONSETS = GVR("apps", "v1", "daemonsets")

TRANSLATOR = workload.row(
    DAEMONSETS, GVK("apps", "v1", "DaemonSet"), workload.replicated(DAEMONSETS), exact=workload.EXACT
)
