"""CronJobs: the host's controller makes their Jobs, which carry our labels and the tenant's template."""

from __future__ import annotations

from typing import Any

from sync import metadata as md
from sync.translator import Context
from sync.translators import jobs, workload
from vapi.gvk import GVK, GVR, Obj

CRONJOBS = GVR("batch", "v1", "cronjobs")


def pod_template(virtual: Obj) -> Obj:
    found: Obj = (virtual["spec"]["jobTemplate"].get("spec") or {}).get("template") or {}
    return found


def to_spec(virtual: Obj, context: Context) -> Obj:
    spec: Obj = dict(virtual["spec"])
    given: Obj = spec["jobTemplate"]
    source: Obj = {"metadata": given.get("metadata") or {}}
    job = jobs.host_spec(given["spec"], virtual, CRONJOBS, context)
    if "ttlSecondsAfterFinished" in given["spec"]:
        job["ttlSecondsAfterFinished"] = given["spec"]["ttlSecondsAfterFinished"]  # the host made the Job, it may go
    metadata: dict[str, Any] = {
        "labels": md.tenant_labels(source, context.from_host) | context.own_labels(virtual["metadata"]["namespace"]),
    }
    annotations = md.tenant_annotations(source, context.from_host)
    if annotations:
        metadata["annotations"] = annotations
    spec["jobTemplate"] = {"metadata": metadata, "spec": job}
    return spec


def status(virtual: Obj, host: Obj) -> Obj:
    """The Jobs under way are the tenant's mirrors, which have the host's uids."""
    new = workload.status(virtual, host)
    if new.get("active"):
        namespace = virtual["metadata"]["namespace"]
        new["active"] = [{**a, "namespace": namespace} for a in new["active"]]
    return new


TRANSLATOR = workload.row(
    CRONJOBS,
    GVK("batch", "v1", "CronJob"),
    to_spec,
    template_of=pod_template,
    name_limit=workload.SHORT_NAME,
    status=status,
    exact=("spec.startingDeadlineSeconds", "spec.timeZone"),
)
