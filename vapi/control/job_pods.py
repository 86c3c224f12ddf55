"""A Job's pods: what is asked of them, and what a new one looks like. Pure.

Source: pkg/controller/job/{job_controller,indexed_job_utils,backoff_utils}.go.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from vapi.clock import parse_rfc3339
from vapi.control import kinds
from vapi.control.job_policies import Ending
from vapi.control.replicaset import pod_of
from vapi.gvk import Obj

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
INDEX_ENV = "JOB_COMPLETION_INDEX"
MAX_PREFIX = 58
"""Of a generated name. Source: names.MaxGeneratedNameLength."""


@dataclass(frozen=True, slots=True)
class JobPod:
    """`index`: -1 for none; `failures`, `ignored`: of its index, before; `ended`: when it did, or would."""

    uid: str
    name: str
    phase: str
    deleting: bool
    ready: bool
    tracked: bool
    """Has our finalizer: it is not counted yet."""
    index: int
    failures: int
    ignored: int
    ended: dt.datetime
    restarts: int
    ending: Ending

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def active(self) -> bool:
        return not self.deleting and not self.finished

    @property
    def terminating(self) -> bool:
        return self.deleting and not self.finished

    def failed(self, *, only_failed: bool) -> bool:
        """`only_failed`: one that is being deleted has not failed before it has ended (podReplacementPolicy)."""
        return self.phase == "Failed" or (not only_failed and self.terminating)


def job_pod(pod: Obj) -> JobPod:
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations = metadata.get("annotations") or {}
    conditions = status.get("conditions") or ()
    running = status.get("phase") in ("Running", "Pending")
    statuses = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return JobPod(
        uid=metadata["uid"],
        name=metadata["name"],
        phase=status.get("phase", ""),
        deleting="deletionTimestamp" in metadata,
        ready=any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions),
        tracked=FINALIZER in (metadata.get("finalizers") or ()),
        index=_count(annotations.get(INDEX, ""), -1),
        failures=_count(annotations.get(FAILURES, ""), 0),
        ignored=_count(annotations.get(IGNORED_FAILURES, ""), 0),
        ended=_ended(pod),
        restarts=sum(each.get("restartCount", 0) for each in statuses) if running else 0,
        ending=Ending(
            metadata.get("namespace", ""),
            metadata["name"],
            _exits(status.get("containerStatuses") or ()),
            _exits(status.get("initContainerStatuses") or ()),
            tuple((each.get("type", ""), each.get("status", "")) for each in conditions),
        ),
    )


def _count(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() else default


def _exits(statuses: Iterable[Obj]) -> tuple[tuple[str, int], ...]:
    return tuple(
        (each["name"], each["state"]["terminated"].get("exitCode", 0))
        for each in statuses
        if (each.get("state") or {}).get("terminated")
    )


def _ended(pod: Obj) -> dt.datetime:
    """Its last container's end, when it stopped being ready, when it was deleted, or when it was created."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    states = [(each.get("state") or {}).get("terminated") or {} for each in status.get("containerStatuses") or ()]
    ends = [state.get("finishedAt") for state in states]
    if ends and all(ends):
        return max(parse_rfc3339(end) for end in ends if end)
    for each in status.get("conditions") or ():
        if each.get("type") == "Ready" and each.get("status") == "False" and each.get("lastTransitionTime"):
            return parse_rfc3339(each["lastTransitionTime"])
    if metadata.get("deletionTimestamp"):
        grace = dt.timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
        return parse_rfc3339(metadata["deletionTimestamp"]) - grace
    return parse_rfc3339(metadata["creationTimestamp"])


def new_pod(job: Obj, index: int | None = None, *, failures: tuple[int, int] | None = None) -> Obj:
    """`index`: of an indexed Job. `failures`: counted and ignored ones of the index, where the Job limits them."""
    pod = pod_of(job, kinds.JOB)
    metadata, spec = pod["metadata"], pod["spec"]
    finalizers = metadata.get("finalizers") or []
    metadata["finalizers"] = finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    if index is None:
        return pod
    metadata.setdefault("labels", {})[INDEX] = str(index)
    annotations = metadata.setdefault("annotations", {})
    annotations[INDEX] = str(index)
    if failures is not None:
        annotations[FAILURES] = str(failures[0])
        if failures[1]:
            annotations[IGNORED_FAILURES] = str(failures[1])
    suffix = f"-{index}-"
    name = job["metadata"]["name"]
    metadata["generateName"] = name[: MAX_PREFIX - len(suffix)] + suffix
    spec["hostname"] = f"{name}-{index}"
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        env = container.setdefault("env", [])
        if not any(each["name"] == INDEX_ENV for each in env):
            env.append({"name": INDEX_ENV, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}})
    return pod
