"""Rules of batch: Jobs and CronJobs."""

from __future__ import annotations

from collections.abc import Mapping

from vapi.gvk import Obj
from vapi.resources.strategy import Strategy, WriteContext

JOB_NAME = "batch.kubernetes.io/job-name"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
LEGACY_JOB_NAME = "job-name"
LEGACY_CONTROLLER_UID = "controller-uid"


def prepare_job(obj: Obj, _context: WriteContext) -> None:
    """Unless the client selects by hand: labels that only this Job's pods have, and the selector for them."""
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    name, uid = obj["metadata"].get("name", ""), obj["metadata"]["uid"]
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key, value in (
        (LEGACY_JOB_NAME, name),
        (JOB_NAME, name),
        (LEGACY_CONTROLLER_UID, uid),
        (CONTROLLER_UID, uid),
    ):
        labels.setdefault(key, value)
    # labels that defaulting took from the template are the same map, and so have the four as well
    obj["metadata"].setdefault("labels", labels)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


STRATEGIES: Mapping[str, Strategy] = {"jobs": Strategy(prepare_create=prepare_job)}
