"""What a Job counts, whether it has ended and why, and how many pods it makes or deletes next. Pure.

A pod is counted once: its uid stands in status.uncountedTerminatedPods before its
finalizer goes, and moves into the count after, so that no crash loses or doubles it.
Source: pkg/controller/job/job_controller.go.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vapi.clock import parse_rfc3339
from vapi.control import job_indexes, job_policies
from vapi.control.job_indexes import Indexes
from vapi.control.job_pods import JobPod
from vapi.gvk import Obj

MAX_UNCOUNTED = 500
BACKOFF_S, MAX_BACKOFF_S = 10.0, 600.0
"""After failures, doubling. Source: DefaultJobPodFailureBackOff, MaxJobPodFailureBackOff."""
FAILURE_TARGET, SUCCESS_CRITERIA_MET = "FailureTarget", "SuccessCriteriaMet"


@dataclass(frozen=True, slots=True)
class Verdict:
    """That the Job ends: `kind` is FailureTarget or SuccessCriteriaMet."""

    kind: str
    reason: str
    message: str

    @property
    def succeeded(self) -> bool:
        return self.kind == SUCCESS_CRITERIA_MET


COMPLETE = Verdict(SUCCESS_CRITERIA_MET, "CompletionsReached", "Reached expected number of succeeded pods")
BACKOFF_LIMIT = Verdict(FAILURE_TARGET, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE = Verdict(FAILURE_TARGET, "DeadlineExceeded", "Job was active longer than specified deadline")
TOO_MANY_INDEXES = Verdict(
    FAILURE_TARGET, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
)
FAILED_INDEXES = Verdict(FAILURE_TARGET, "FailedIndexes", "Job has failed indexes")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the spec asks for."""

    parallelism: int
    completions: int | None
    indexed: bool
    suspended: bool
    only_failed: bool
    backoff_limit: int
    per_index: int | None
    failure_policy: Obj | None

    def counts(self, pod: JobPod) -> bool:
        """Whether its end is a failure that counts."""
        return job_policies.judge(self.failure_policy, pod.ending).counts

    def failed(self, pod: JobPod) -> bool:
        return pod.failed(only_failed=self.only_failed)

    def valid(self, pod: JobPod) -> bool:
        """An indexed Job counts only pods with an index of its own."""
        return not self.indexed or 0 <= pod.index < (self.completions or 0)


def asked(job: Obj) -> Asked:
    spec = job["spec"]
    return Asked(
        parallelism=spec.get("parallelism", 1),
        completions=spec.get("completions"),
        indexed=spec.get("completionMode") == "Indexed",
        suspended=bool(spec.get("suspend")),
        only_failed=spec.get("podReplacementPolicy") == "Failed",
        backoff_limit=spec.get("backoffLimit", 6),
        per_index=spec.get("backoffLimitPerIndex"),
        failure_policy=spec.get("podFailurePolicy"),
    )


@dataclass(slots=True)
class Tally:
    """What there is. `before`: indexes that the status has already; `retry`: index → the failed pod to be replaced."""

    active: list[JobPod]
    terminating: int
    succeeded: int
    failed: int
    newly_succeeded: list[JobPod]
    newly_failed: list[JobPod]
    before: Indexes = job_indexes.NONE
    completed: Indexes = job_indexes.NONE
    failed_indexes: Indexes | None = None
    retry: dict[int, JobPod] = field(default_factory=dict)


def tally(job: Obj, wanted: Asked, pods: Sequence[JobPod]) -> Tally:
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    known_good, known_bad = set(uncounted.get("succeeded") or ()), set(uncounted.get("failed") or ())
    countable = [pod for pod in pods if pod.tracked and wanted.valid(pod)]
    good = [pod for pod in countable if pod.uid not in known_good and pod.phase == "Succeeded"]
    bad = [pod for pod in countable if pod.uid not in known_bad and wanted.failed(pod)]
    found = Tally(
        active=[pod for pod in pods if pod.active],
        terminating=sum(1 for pod in pods if pod.terminating),
        succeeded=status.get("succeeded", 0) + len(good) + len(known_good),
        failed=status.get("failed", 0) + sum(1 for pod in bad if wanted.counts(pod)) + len(known_bad),
        newly_succeeded=good,
        newly_failed=bad,
    )
    if wanted.indexed:
        _tally_indexes(found, wanted, status, countable)
    return found


def _tally_indexes(found: Tally, wanted: Asked, status: Obj, countable: Sequence[JobPod]) -> None:
    completions = wanted.completions or 0
    found.before = job_indexes.parse(status.get("completedIndexes", ""), completions)
    found.completed = found.before.union(job_indexes.of(pod.index for pod in countable if pod.phase == "Succeeded"))
    found.succeeded = len(found.completed)
    if wanted.per_index is None:
        return
    known = job_indexes.parse(status.get("failedIndexes") or "", completions)
    found.failed_indexes = known.union(job_indexes.of(p.index for p in countable if _fails_index(wanted, p)))
    busy = {pod.index for pod in found.active}
    for pod in countable:
        if not wanted.failed(pod) or pod.index in busy:
            continue
        if pod.index in found.completed or pod.index in found.failed_indexes:
            continue
        other = found.retry.get(pod.index)
        if other is None or (other.failures + other.ignored, other.ended) <= (pod.failures + pod.ignored, pod.ended):
            found.retry[pod.index] = pod


def _fails_index(wanted: Asked, pod: JobPod) -> bool:
    if not wanted.failed(pod):
        return False
    judgement = job_policies.judge(wanted.failure_policy, pod.ending)
    if judgement.action == job_policies.FAIL_INDEX:
        return True
    return judgement.counts and pod.failures >= (wanted.per_index or 0)


def condition(job: Obj, kind: str) -> Obj | None:
    """The condition of that type, if it is True."""
    for each in (job.get("status") or {}).get("conditions") or ():
        if each["type"] == kind and each["status"] == "True":
            found: Obj = each
            return found
    return None


def finished(job: Obj) -> str:
    """Complete, Failed or ""."""
    return next((kind for kind in ("Complete", "Failed") if condition(job, kind)), "")


def verdict(job: Obj, wanted: Asked, found: Tally, pods: Sequence[JobPod], now: dt.datetime) -> Verdict | None:
    """Whether the Job ends before its work is done, or by its success policy; what was said before holds."""
    for kind in (SUCCESS_CRITERIA_MET, FAILURE_TARGET):
        said = condition(job, kind)
        if said is not None:
            return Verdict(kind, said.get("reason", ""), said.get("message", ""))
    for pod in pods:
        message = job_policies.judge(wanted.failure_policy, pod.ending).message if wanted.failed(pod) else ""
        if message:
            return Verdict(FAILURE_TARGET, "PodFailurePolicy", message)
    if found.failed > wanted.backoff_limit or _restarted_too_often(job, wanted, pods):
        return BACKOFF_LIMIT
    left = deadline_in_s(job, wanted, now)
    if left is not None and left <= 0:
        return DEADLINE
    return _verdict_on_indexes(job, wanted, found)


def _verdict_on_indexes(job: Obj, wanted: Asked, found: Tally) -> Verdict | None:
    completions = wanted.completions or 0
    if wanted.indexed and found.failed_indexes:
        most = job["spec"].get("maxFailedIndexes")
        if most is not None and len(found.failed_indexes) > most:
            return TOO_MANY_INDEXES
        if len(found.failed_indexes) + len(found.completed) >= completions:
            return FAILED_INDEXES
    met = job_policies.success(job["spec"].get("successPolicy"), completions, found.completed) if wanted.indexed else ""
    return Verdict(SUCCESS_CRITERIA_MET, "SuccessPolicy", met) if met else None


def _restarted_too_often(job: Obj, wanted: Asked, pods: Iterable[JobPod]) -> bool:
    if job["spec"]["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(pod.restarts for pod in pods)
    return restarts > 0 and restarts >= wanted.backoff_limit


def deadline_in_s(job: Obj, wanted: Asked, now: dt.datetime) -> float | None:
    """None: it has none, or does not run."""
    limit, start = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if limit is None or not start or wanted.suspended:
        return None
    due = parse_rfc3339(start) + dt.timedelta(seconds=limit)
    return (due - now).total_seconds()


def is_complete(wanted: Asked, succeeded: int, active: int) -> bool:
    if active:
        return False
    return succeeded > 0 if wanted.completions is None else succeeded >= wanted.completions


# --- pods -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failures:
    """Since the last success: how many, and when the last one was."""

    count: int = 0
    last: dt.datetime | None = None

    def after(self, found: Tally) -> Failures:
        """With the pods that ended newly."""
        bad = sorted(pod.ended for pod in found.newly_failed)
        if not found.newly_succeeded:
            return Failures(self.count + len(bad), bad[-1]) if bad else self
        since = max(pod.ended for pod in found.newly_succeeded)
        later = [each for each in bad if each > since]
        return Failures(len(later), later[-1] if later else None)

    def wait_s(self, now: dt.datetime) -> float:
        """Before another pod may be made."""
        return backoff_s(self.count, self.last, now)


def backoff_s(failures: int, last: dt.datetime | None, now: dt.datetime) -> float:
    if not failures or last is None:
        return 0.0
    pause = min(BACKOFF_S * (1 << min(failures - 1, 10)), MAX_BACKOFF_S)
    return max(0.0, pause - (now - last).total_seconds())


@dataclass(slots=True)
class Work:
    """What to do now. `create`: indexes, or None for pods without; `wait_s`: until more may be made."""

    create: list[int | None] = field(default_factory=list)
    delete: int = 0
    duplicates: list[str] = field(default_factory=list)
    """uids of pods to delete in any case: of an index that has several, or none of ours."""
    wait_s: float = 0.0


def work(wanted: Asked, found: Tally, pods: Sequence[JobPod], failures: Failures, now: dt.datetime) -> Work:
    """`delete`: how many active pods must go in all, the duplicates among them."""
    active = len(found.active)
    if wanted.suspended:
        return Work(delete=active)
    if wanted.completions is None:
        target = active if found.succeeded else wanted.parallelism
    else:
        target = max(0, min(wanted.completions - found.succeeded, wanted.parallelism))
    duplicates = _duplicates(wanted, found.active) if wanted.indexed else []
    surplus = max(active - target, len(duplicates))
    if surplus > 0:
        return Work(delete=surplus, duplicates=duplicates)
    missing = target - active - (found.terminating if wanted.only_failed else 0)
    if missing <= 0:
        return Work()
    wait = failures.wait_s(now) if wanted.per_index is None else 0.0
    if wait > 0:
        return Work(wait_s=wait)
    if not wanted.indexed:
        return Work(create=[None] * missing)
    return _missing_indexes(wanted, found, pods, missing, now)


def _duplicates(wanted: Asked, active: Sequence[JobPod]) -> list[str]:
    """All but the one that has come furthest of each index, and those outside of all indexes."""
    by_index: dict[int, list[JobPod]] = {}
    for pod in active:
        by_index.setdefault(pod.index if wanted.valid(pod) else -1, []).append(pod)
    gone = [pod.uid for pod in by_index.pop(-1, [])]
    for several in by_index.values():
        best_last = sorted(
            several, key=lambda pod: (pod.ready, pod.phase == "Running", -pod.ended.timestamp(), pod.uid)
        )
        gone += [pod.uid for pod in best_last[:-1]]
    return gone


def _missing_indexes(wanted: Asked, found: Tally, pods: Sequence[JobPod], count: int, now: dt.datetime) -> Work:
    taken = found.completed.union(job_indexes.of({pod.index for pod in found.active}))
    if wanted.only_failed:
        taken = taken.union(job_indexes.of({pod.index for pod in pods if pod.terminating and pod.index >= 0}))
    if found.failed_indexes is not None:
        taken = taken.union(found.failed_indexes)
    indexes = job_indexes.first_missing(taken, wanted.completions or 0, count)
    if wanted.per_index is None:
        return Work(create=list(indexes))
    waits = {index: _index_wait_s(found.retry.get(index), now) for index in indexes}
    ready: list[int | None] = [index for index, wait in waits.items() if wait <= 0]
    return Work(create=ready, wait_s=0.0 if ready else min(waits.values(), default=0.0))


def _index_wait_s(replaced: JobPod | None, now: dt.datetime) -> float:
    if replaced is None:
        return 0.0
    return backoff_s(replaced.failures + replaced.ignored + 1, replaced.ended, now)


def index_failures(wanted: Asked, replaced: JobPod | None) -> tuple[int, int] | None:
    """Counted and ignored failures that the next pod of an index is told; None: the Job does not count by index."""
    if wanted.per_index is None:
        return None
    if replaced is None:
        return 0, 0
    counts = wanted.counts(replaced)
    return replaced.failures + counts, replaced.ignored + (not counts)


# --- counting -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Counting:
    """The status with what is to be counted written down; `release`: pods whose finalizer may go then."""

    status: Obj
    release: list[JobPod]
    complete: bool
    """Nothing is left for another round."""


def note(
    job: Obj, wanted: Asked, found: Tally, pods: Sequence[JobPod], *, ends: Verdict | None, deleting: bool
) -> Counting:
    """Write down what ended. `pods`: as they were before anything was deleted now."""
    status = settled(job.get("status") or {}, {pod.uid for pod in pods if pod.tracked})
    uncounted = status["uncountedTerminatedPods"]
    good, bad = list(uncounted.get("succeeded") or ()), list(uncounted.get("failed") or ())
    counted_good, counted_bad = set(good), set(bad)
    indexes: set[int] = set()
    release: list[JobPod] = []
    complete = True
    for pod in sorted((pod for pod in pods if pod.tracked), key=lambda pod: pod.index):
        failed = wanted.failed(pod)
        if not (deleting or ends is not None or pod.phase == "Succeeded" or failed):
            continue
        waits = failed and pod.phase != "Succeeded" and found.retry.get(pod.index) is pod
        if waits and not deleting and ends is None:
            continue  # its count of failures is needed for the pod that replaces it
        release.append(pod)
        if pod.phase == "Succeeded" and pod.uid not in counted_bad:
            if wanted.indexed:
                indexes |= {pod.index} if wanted.valid(pod) and pod.index not in found.before else set()
            elif pod.uid not in counted_good:
                good.append(pod.uid)
        elif failed or (ends is not None and not ends.succeeded):
            fresh = pod.uid not in counted_bad and wanted.valid(pod)
            bad += [pod.uid] if fresh and wanted.counts(pod) else []
        if len(indexes) + len(good) + len(bad) >= MAX_UNCOUNTED:
            complete = False
            break
    status["uncountedTerminatedPods"] = _without_empty({"succeeded": good, "failed": bad})
    if wanted.indexed:
        _set(status, "succeeded", len(found.completed))
        _set(status, "completedIndexes", str(found.completed))
        if found.failed_indexes is not None:
            status["failedIndexes"] = str(found.failed_indexes)
    return Counting(status, release, complete)


def settled(status: Obj, tracked: set[str]) -> Obj:
    """A copy where uids of pods without finalizer have moved into the counts."""
    status = dict(status)
    uncounted: Mapping[str, list[str]] = status.get("uncountedTerminatedPods") or {}
    left: dict[str, list[str]] = {}
    for key in ("succeeded", "failed"):
        before = uncounted.get(key) or []
        left[key] = [uid for uid in before if uid in tracked]
        _set(status, key, status.get(key, 0) + len(before) - len(left[key]))
    status["uncountedTerminatedPods"] = _without_empty(left)
    return status


def has_uncounted(status: Obj) -> bool:
    return bool(status.get("uncountedTerminatedPods"))


def _without_empty(lists: Mapping[str, list[str]]) -> Obj:
    return {key: each for key, each in lists.items() if each}


def _set(status: Obj, key: str, value: int | str) -> None:
    if value:
        status[key] = value
    else:
        status.pop(key, None)
