"""job controller: runs pods until enough of them succeeded, or too many failed.

A look counts what ended (`job_plan`), decides whether the Job ends, makes or
deletes pods, and then writes in an order that survives a crash anywhere: the uids
of ended pods into the status, their finalizers off, the uids into the counts, and
only when all is counted the condition Complete or Failed.
Source: pkg/controller/job.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from vapi.cacher.entry import Change, ChangeType, Entry
from vapi.clock import rfc3339
from vapi.control import job_plan as planning
from vapi.control import job_pods as members
from vapi.control import kinds
from vapi.control.claiming import Claims, Kind
from vapi.control.controller import MANY, Context, Controller, Sizes, Sources, all_at_once, names, own_name
from vapi.control.events import NORMAL, WARNING
from vapi.control.informer import Name, sliced
from vapi.control.job_plan import Asked, Failures, Tally, Verdict, Work
from vapi.control.job_pods import FINALIZER, JobPod
from vapi.control.pod_control import PodControl
from vapi.control.pods import pod_facts
from vapi.control.replica_ranking import Candidate, victims
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.client import Client
from vapi.resources.strategies import mirrors

BUILT_IN = "kubernetes.io/job-controller"
"""Value of spec.managedBy that means us."""


class JobController(Controller[Name]):
    """Keys are (namespace, name)."""

    name = "job-controller"
    workers = MANY

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.claims = Claims(self, context, Kind(kinds.JOBS, kinds.JOB, finalizer=FINALIZER))
        self.pods = context.informers.facts(kinds.PODS, members.job_pod)
        self.ranks = context.informers.facts(kinds.PODS, pod_facts)
        self.control = PodControl(self, self.name)
        self.failures: dict[str, Failures] = {}
        """uid of a Job → its failures; kept in memory only, as in Kubernetes: a restart forgets the delay."""
        self._sizes: Sizes[Name] = Sizes()

    def sources(self) -> Sources[Name]:
        return {kinds.JOBS: self._job_changed, kinds.PODS: self.claims.concerned}

    def delay_s(self, key: Name) -> float:
        return self._sizes.delay_s(key)

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.JOBS))

    def _job_changed(self, change: Change) -> Iterable[Name]:
        if change.type is ChangeType.DELETED:
            self.failures.pop(change.entry.uid, None)
        return own_name(change)

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.JOBS, *key)
        if entry is None:
            self._sizes.note(key, 0)
            return
        job = entry.obj()
        if job["spec"].get("managedBy", BUILT_IN) != BUILT_IN or mirrors.is_child(job):
            return
        if planning.finished(job):
            self.failures.pop(entry.uid, None)
            await all_at_once(partial(release, self.client, pod) for pod in self.claims.controlled(entry))
            return
        pods = await self.claims.claim(key, entry, job)
        self._sizes.note(key, len(pods))
        facts = [self.pods.of(pod) async for pod in sliced(pods)]
        await Look(self, key, entry, job, pods, facts).run()


class Look:
    """One look at one Job: its private object, replaced by what each write answers, and its pods at the start."""

    def __init__(
        self,
        controller: JobController,
        key: Name,
        entry: Entry,
        job: Obj,
        pods: Sequence[Entry],
        facts: Sequence[JobPod],
    ) -> None:
        self._controller = controller
        self._client = controller.client
        self._key = key
        self._entry = entry
        self._job = job
        self._wanted: Asked = planning.asked(job)
        self._entries = {pod.uid: pod for pod in pods}
        self._pods = facts
        self._now = controller.clock.now()
        self._refused: ApiError | None = None

    async def run(self) -> None:
        found = planning.tally(self._job, self._wanted, self._pods)
        failures = self._controller.failures.get(self._entry.uid, Failures()).after(found)
        ends = planning.verdict(self._job, self._wanted, found, self._pods, self._now)
        conditions = [dict(each) for each in (self._job.get("status") or {}).get("conditions") or ()]
        start = (self._job.get("status") or {}).get("startTime") or ""
        if not start and not self._wanted.suspended:
            start = rfc3339(self._now)
        if ends is not None:
            ends = ends if await self._stop(found) else None
        elif not self._entry.deleting:
            await self._manage(found, failures)
            start = self._note_suspension(conditions, start)
        controlled = self._controller.claims.controlled(self._entry)
        left = [self._controller.pods.of(pod) async for pod in sliced(controlled)]
        active = [pod for pod in left if pod.active]
        if ends is None and planning.is_complete(self._wanted, found.succeeded, len(active)):
            ends = planning.COMPLETE
        counting = planning.note(self._job, self._wanted, found, self._pods, ends=ends, deleting=self._entry.deleting)
        counts = {"active": len(active), "ready": sum(1 for pod in active if pod.ready)}
        counts["terminating"] = sum(1 for pod in left if pod.terminating)
        if ends is not None:
            _add(conditions, ends.kind, ends, self._now_text)
        _fill(counting.status, counts, conditions, start)
        await self._write(counting.status)
        self._controller.failures[self._entry.uid] = failures
        await self._release(counting.release)
        await self._settle(ends if counting.complete else None)
        if self._refused is not None:
            raise self._refused
        if not counting.complete:
            self._controller.queue.add_after(self._key, 0)
        deadline = planning.deadline_in_s(self._job, self._wanted, self._now)
        if ends is None and deadline is not None:
            self._controller.queue.add_after(self._key, deadline)

    @property
    def _now_text(self) -> str:
        return rfc3339(self._now)

    # --- pods -----------------------------------------------------------------------------------------

    async def _stop(self, found: Tally) -> bool:
        """Delete all active pods; whether none was refused."""
        active = [self._entries[pod.uid] for pod in found.active]
        self._refused = await self._controller.control.delete_all(self._job, active)
        return self._refused is None

    async def _manage(self, found: Tally, failures: Failures) -> None:
        todo = planning.work(self._wanted, found, self._pods, failures, self._now)
        if todo.wait_s > 0:
            self._controller.queue.add_after(self._key, todo.wait_s)
        if todo.delete:
            chosen = self._victims(todo, found)
            await all_at_once(partial(release, self._client, pod) for pod in chosen)
            self._refused = await self._controller.control.delete_all(self._job, chosen)
        elif todo.create:
            makers = [partial(self._new_pod, index, found) for index in todo.create]
            self._refused = await self._controller.control.create_all(self._key, self._job, makers)

    def _victims(self, todo: Work, found: Tally) -> list[Entry]:
        """Duplicates first, then those that have come least far."""
        duplicates = [self._entries[uid] for uid in todo.duplicates]
        others = [self._entries[pod.uid] for pod in found.active if pod.uid not in todo.duplicates]
        candidates = [Candidate(pod.uid, self._controller.ranks.of(pod)) for pod in others]
        chosen = victims(candidates, (), max(0, todo.delete - len(duplicates)), self._now)
        return duplicates + [self._entries[each.uid] for each in chosen]

    def _new_pod(self, index: int | None, found: Tally) -> Obj:
        if index is None:
            return members.new_pod(self._job)
        failures = planning.index_failures(self._wanted, found.retry.get(index))
        return members.new_pod(self._job, index, failures=failures)

    async def _release(self, pods: Sequence[JobPod]) -> None:
        """Take the finalizer off pods that stand in the status."""
        refused = await all_at_once(partial(release, self._client, self._entries[pod.uid]) for pod in pods)
        self._refused = self._refused or (refused[0] if refused else None)

    # --- status ---------------------------------------------------------------------------------------

    def _note_suspension(self, conditions: list[Obj], start: str) -> str:
        """The Suspended condition, and the start time that follows from it."""
        known = next((each for each in conditions if each["type"] == "Suspended"), None)
        if self._wanted.suspended:
            if known is not None and known["status"] == "True":
                return start
            _set_condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended", self._now_text)
            self._tell(NORMAL, "Suspended", "Job suspended")
            return ""
        if known is None or known["status"] == "False":
            return start
        _set_condition(conditions, "Suspended", "False", "JobResumed", "Job resumed", self._now_text)
        self._tell(NORMAL, "Resumed", "Job resumed")
        return self._now_text

    async def _settle(self, ends: Verdict | None) -> None:
        """Count pods that lost their finalizer; when all are counted and gone, the Job has ended."""
        controlled = self._controller.claims.controlled(self._entry)
        status = planning.settled(self._job["status"], {pod.uid for pod in controlled if FINALIZER in pod.finalizers})
        over = ends is not None and not planning.has_uncounted(status) and not status.get("terminating")
        if over and ends is not None:
            conditions = [dict(each) for each in status.get("conditions") or ()]
            _add(conditions, "Complete" if ends.succeeded else "Failed", ends, self._now_text)
            status["conditions"] = conditions
            if ends.succeeded:
                status["completionTime"] = self._now_text
        await self._write(status)
        if over and ends is not None:
            self._tell_end(ends, status)

    def _tell_end(self, ends: Verdict, status: Obj) -> None:
        if not ends.succeeded:
            self._tell(WARNING, ends.reason, ends.message)
            return
        if self._wanted.completions is not None and status.get("succeeded", 0) > self._wanted.completions:
            text = "Too many succeeded pods running after completion count reached"
            self._tell(WARNING, "TooManySucceededPods", text)
        self._tell(NORMAL, "Completed", "Job completed")

    async def _write(self, status: Obj) -> None:
        if status == (self._job.get("status") or {}):
            return
        self._job["status"] = status
        self._job = await self._client.update(kinds.JOBS, self._job, subresource="status")
        self._controller.written(self._key, kinds.JOBS, self._job)

    def _tell(self, event_type: str, reason: str, message: str) -> None:
        self._controller.events.record(self._controller.name, self._job, event_type, reason, message)


def _fill(status: Obj, counts: Obj, conditions: list[Obj], start: str) -> None:
    """`active` is left out when it is 0, the other two are not."""
    status.update(counts)
    if not counts["active"]:
        del status["active"]
    if conditions:
        status["conditions"] = conditions
    status["startTime"] = start
    if not start:
        del status["startTime"]


def _add(conditions: list[Obj], kind: str, ends: Verdict, now: str) -> None:
    """Unless it is there."""
    if not any(each["type"] == kind and each["status"] == "True" for each in conditions):
        _set_condition(conditions, kind, "True", ends.reason, ends.message, now)


def _set_condition(conditions: list[Obj], kind: str, status: str, reason: str, message: str, now: str) -> None:
    new = {
        "type": kind,
        "status": status,
        "lastProbeTime": now,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }
    for index, each in enumerate(conditions):
        if each["type"] == kind:
            conditions[index] = new
            return
    conditions.append(new)


async def release(client: Client, entry: Entry) -> None:
    """Take our finalizer off a pod, as it is now."""
    current = client.cached(kinds.PODS, entry.namespace, entry.name)
    if current is None or current.uid != entry.uid or FINALIZER not in current.finalizers:
        return
    pod = current.obj()
    pod["metadata"]["finalizers"] = [each for each in pod["metadata"]["finalizers"] if each != FINALIZER]
    await client.update(kinds.PODS, pod)


class JobOrphanController(Controller[Name]):
    """Takes the finalizer off pods whose Job is gone: nobody will count them. Keys are pods.

    Source: job_controller.go syncOrphanPod.
    """

    name = "job-orphan-pods"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._jobs = context.informers.uids(kinds.JOBS)
        self._owned = context.informers.owners(kinds.PODS)

    def sources(self) -> Sources[Name]:
        return {kinds.PODS: self._pod_changed, kinds.JOBS: self._job_changed}

    def all_keys(self) -> Iterable[Name]:
        return names(entry for entry in self.client.entries(kinds.PODS) if self._is_orphan(entry))

    def _pod_changed(self, change: Change) -> Iterable[Name]:
        return own_name(change) if change.type is not ChangeType.DELETED and self._is_orphan(change.entry) else ()

    def _job_changed(self, change: Change) -> Iterable[Name]:
        if change.type is not ChangeType.DELETED:
            return ()
        return names(entry for entry in self._owned.controlled_by(change.entry.uid) if FINALIZER in entry.finalizers)

    def _is_orphan(self, pod: Entry) -> bool:
        return FINALIZER in pod.finalizers and (not pod.controller or self._jobs.name(pod.controller) is None)

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.PODS, *key)
        if entry is None or not self._is_orphan(entry):
            return
        owner = kinds.controller_of(entry.obj())
        if owner is None or owner["kind"] == kinds.JOB.kind:
            await release(self.client, entry)
