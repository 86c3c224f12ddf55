"""Jobs: run once on the host, and never again: a finished one stays as it is when its twin is gone.

What makes them go after their time (ttlSecondsAfterFinished) stays in the tenant, whose controller deletes the
tenant's Job, and that takes the twin along. Only what can change of a running Job goes out later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sync.translator import Context, Write
from sync.translators import podupdate, template, workload
from vapi.gvk import GVK, GVR, Obj

JOBS = GVR("batch", "v1", "jobs")

GENERATED = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
"""Labels of a Job's pods that its API server makes. Source: batch strategy generateSelector."""
_STAYS = frozenset({"ttlSecondsAfterFinished", "manualSelector", "selector"})
_MUTABLE = ("parallelism", "completions", "suspend", "activeDeadlineSeconds", "backoffLimit")
OWN_CONTROLLER = "kubernetes.io/job-controller"


def to_spec(virtual: Obj, context: Context) -> Obj:
    spec = host_spec(virtual["spec"], virtual, JOBS, context)
    if virtual["spec"].get("manualSelector"):
        namespace = virtual["metadata"]["namespace"]
        spec["manualSelector"] = True
        spec["selector"] = template.selector(virtual["spec"].get("selector") or {}, namespace, context)
    return spec


def host_spec(source: Obj, owner: Obj, resource: GVR, context: Context) -> dict[str, Any]:
    """A JobSpec; the host's API makes its selector."""
    spec = {k: v for k, v in source.items() if k not in _STAYS}
    dropped = () if source.get("manualSelector") else GENERATED
    spec["template"] = template.host_template(source["template"], owner, resource, context, dropped=dropped)
    return spec


def wanted(virtual: Obj, context: Context) -> bool:
    """Not those that somebody else's controller runs."""
    return workload.wanted(virtual, context) and virtual["spec"].get("managedBy", OWN_CONTROLLER) == OWN_CONTROLLER


def status(virtual: Obj, host: Obj) -> Obj:
    """The host's. A twin that was made again counts anew, which no API lets a Job say: what it had counted stays."""
    new, ours = workload.status(virtual, host), virtual.get("status") or {}
    if new.get("succeeded", 0) < ours.get("succeeded", 0) and "completedIndexes" in ours:
        new["completedIndexes"] = ours["completedIndexes"]
    for count in ("failed", "succeeded"):
        if new.get(count, 0) < ours.get(count, 0):
            new[count] = ours[count]
    return new


def ended(virtual: Obj) -> bool:
    conditions = (virtual.get("status") or {}).get("conditions") or ()
    return any(c.get("type") in ("Complete", "Failed") and c.get("status") == "True" for c in conditions)


def update(desired: Obj, host: Obj) -> Iterable[Write]:
    """Metadata and what can change of a Job; its template cannot."""
    patch: Obj = {}
    metadata = podupdate.metadata_changes(desired, host)
    want, have = desired["spec"], host["spec"]
    spec = {k: want.get(k) for k in _MUTABLE if k in want and want[k] != have.get(k)}
    if metadata:
        patch["metadata"] = metadata
    if spec:
        patch["spec"] = spec
    if patch:
        patch.setdefault("metadata", {})["uid"] = host["metadata"]["uid"]
        yield Write(patch)


TRANSLATOR = workload.row(
    JOBS,
    GVK("batch", "v1", "Job"),
    to_spec,
    name_limit=workload.SHORT_NAME,
    wanted=wanted,
    status=status,
    ended=ended,
    update=update,
)
