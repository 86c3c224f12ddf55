"""cronjob controller: a Job for each time of a schedule, named after the minute so that no time starts two.

A look tidies up what ended, then starts the latest time that is due, if the
policies allow it; times missed before that one are not made up for.
Source: pkg/controller/cronjob/cronjob_controllerv2.go.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterable, Sequence

from vapi.cacher.entry import Change, ChangeType
from vapi.clock import parse_rfc3339, rfc3339
from vapi.control import cron_schedule, kinds
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.cron_schedule import Schedule, ScheduleError
from vapi.control.events import NORMAL, WARNING, involved_object
from vapi.control.informer import Name
from vapi.control.job_plan import finished
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.resources.resource import Propagation

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
AFTER_S = 0.1
"""How long after its time a Job is started, so that the clock is surely past it. Source: nextScheduleDelta."""
MANY_MISSED = 100


class CronJobController(Controller[Name]):
    """Keys are (namespace, name)."""

    name = "cronjob-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.jobs = context.informers.owners(kinds.JOBS)
        self._uids = context.informers.uids(kinds.CRON_JOBS)

    def sources(self) -> Sources[Name]:
        return {kinds.CRON_JOBS: self._changed, kinds.JOBS: self._job_changed}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.CRON_JOBS))

    def _job_changed(self, change: Change) -> Iterable[Name]:
        name = self._uids.name(change.entry.controller) if change.entry.controller else None
        return () if name is None else (name,)

    def _changed(self, change: Change) -> Iterable[Name]:
        """A new schedule begins with its next time: what it would have started before is not missed."""
        if change.type is not ChangeType.MODIFIED or change.old is None:
            return own_name(change)
        old, new = change.old.obj()["spec"], change.entry.obj()["spec"]
        if (old["schedule"], old.get("timeZone")) == (new["schedule"], new.get("timeZone")):
            return own_name(change)
        key = (change.entry.namespace, change.entry.name)
        now = self.clock.now()
        try:
            due = cron_schedule.parse(new["schedule"], new.get("timeZone") or "").next(now)
        except ScheduleError:
            return (key,)
        if due is not None:
            self.queue.add_after(key, (due - now).total_seconds() + AFTER_S)
        return ()

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.CRON_JOBS, *key)
        if entry is None:
            return
        jobs = [job.obj() for job in self.jobs.controlled_by(entry.uid)]
        await Look(self, key, entry.obj(), jobs).run()


class Look:
    """One look at one CronJob: private objects."""

    def __init__(self, controller: CronJobController, key: Name, cron_job: Obj, jobs: Sequence[Obj]) -> None:
        self._controller = controller
        self._client = controller.client
        self._key = key
        self._cron_job = cron_job
        self._spec = cron_job["spec"]
        self._status: Obj = copy.deepcopy(cron_job.get("status") or {})
        self._active: list[Obj] = list(self._status.get("active") or ())
        self._jobs = jobs
        self._now = controller.clock.now()

    async def run(self) -> None:
        try:
            await self._tidy()
            self._note_jobs()
            self._drop_missing()
            if "deletionTimestamp" not in self._cron_job["metadata"]:
                await self._start_if_due()
        finally:
            await self._write()

    # --- what ran -------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        """Delete the oldest Jobs that ended, beyond the history limits."""
        for kind, limit, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            ended = sorted((job for job in self._jobs if finished(job) == kind), key=_started)
            for job in ended[: max(0, len(ended) - self._spec.get(limit, default))]:
                if "deletionTimestamp" not in job["metadata"]:
                    await self._delete(job)

    def _note_jobs(self) -> None:
        """Jobs that ended leave the active list."""
        listed = {each["uid"] for each in self._active}
        for job in self._jobs:
            uid, name, kind = job["metadata"]["uid"], job["metadata"]["name"], finished(job)
            if not kind:
                if uid not in listed:
                    text = f"Saw a job that the controller did not create or forgot: {name}"
                    self._tell(WARNING, "UnexpectedJob", text)
                continue
            if uid in listed:
                self._forget(uid)
                self._tell(NORMAL, "SawCompletedJob", f"Saw completed job: {name}, condition: {kind}")
            ended = (job.get("status") or {}).get("completionTime") or ""
            if kind == "Complete" and ended > self._status.get("lastSuccessfulTime", ""):
                self._status["lastSuccessfulTime"] = ended

    def _drop_missing(self) -> None:
        there = {job["metadata"]["uid"] for job in self._jobs}
        for each in list(self._active):
            if each["uid"] in there or self._client.cached(kinds.JOBS, each["namespace"], each["name"]):
                continue
            self._tell(NORMAL, "MissingJob", f"Active job went missing: {each['name']}")
            self._forget(each["uid"])

    def _forget(self, uid: str) -> None:
        self._active = [each for each in self._active if each["uid"] != uid]

    async def _delete(self, job: Obj) -> None:
        metadata = job["metadata"]
        try:
            await self._client.delete(
                kinds.JOBS,
                metadata["namespace"],
                metadata["name"],
                uid=metadata["uid"],
                propagation=Propagation.BACKGROUND,
            )
        except ApiError as error:
            if error.code != 404:
                self._tell(WARNING, "FailedDelete", f"Deleted job: {error.message}")
                raise
        self._forget(metadata["uid"])
        self._tell(NORMAL, "SuccessfulDelete", f"Deleted job {metadata['name']}")

    # --- what is due ----------------------------------------------------------------------------------

    async def _start_if_due(self) -> None:
        zone_name = self._spec.get("timeZone") or ""
        try:
            cron_schedule.zone(zone_name)
        except ScheduleError as error:
            self._tell(WARNING, "UnknownTimeZone", f'invalid timeZone: "{zone_name}": {error}')
            return
        if self._spec.get("suspend"):
            return
        try:
            schedule = cron_schedule.parse(self._spec["schedule"], zone_name)
        except ScheduleError as error:
            text = f'unparseable schedule: "{self._spec["schedule"]}" : {error}'
            self._tell(WARNING, "UnparseableSchedule", text)
            return
        due = self._due(schedule)
        if due is not None and self._allows(due):
            await self._start(due)
        self._look_again(schedule)

    @property
    def _since(self) -> dt.datetime:
        """The last time that was started; before the first, the creation."""
        return parse_rfc3339(self._status.get("lastScheduleTime") or self._cron_job["metadata"]["creationTimestamp"])

    def _due(self, schedule: Schedule) -> dt.datetime | None:
        """The latest time that has come and was not started."""
        earliest, deadline_s = self._since, self._spec.get("startingDeadlineSeconds")
        if deadline_s is not None:
            earliest = max(earliest, self._now - dt.timedelta(seconds=deadline_s))
        due = schedule.latest(earliest, self._now)
        first = schedule.next(earliest) if due is not None else None
        second = schedule.next(first) if first is not None else None
        if first is not None and second is not None and (self._now - first) // (second - first) >= MANY_MISSED:
            text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self._tell(WARNING, "TooManyMissedTimes", text)
        return due

    def _allows(self, due: dt.datetime) -> bool:
        if any(each["name"] == self._job_name(due) for each in self._active):
            return False
        if self._spec.get("concurrencyPolicy") == "Forbid" and self._active:
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._tell(NORMAL, "JobAlreadyActive", text)
            return False
        return True

    async def _start(self, due: dt.datetime) -> None:
        if self._spec.get("concurrencyPolicy") == "Replace":
            by_uid = {job["metadata"]["uid"]: job for job in self._jobs}
            for each in list(self._active):
                if each["uid"] in by_uid:
                    await self._delete(by_uid[each["uid"]])
        wanted = new_job(self._cron_job, self._job_name(due), due)
        try:
            job = await self._client.create(kinds.JOBS, wanted)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                self._tell(WARNING, "FailedCreate", f"Error creating job: {error.message}")
                raise
            job = await self._client.get(kinds.JOBS, self._key[0], wanted["metadata"]["name"])
            owner = kinds.controller_of(job)
            if owner is None or owner["uid"] != self._cron_job["metadata"]["uid"]:
                return
        else:
            self._controller.written(self._key, kinds.JOBS, job)
            self._tell(NORMAL, "SuccessfulCreate", f"Created job {job['metadata']['name']}")
        self._active.append(involved_object(job))
        self._status["lastScheduleTime"] = rfc3339(due)

    def _job_name(self, due: dt.datetime) -> str:
        return f"{self._cron_job['metadata']['name']}-{int(due.timestamp()) // 60}"

    def _look_again(self, schedule: Schedule) -> None:
        """At the next time. A fixed delay counts from the last time, fields from now."""
        latest = schedule.latest(self._since, self._now) or self._since
        due = schedule.next(latest)
        if due is not None:
            self._controller.queue.add_after(self._key, (due - self._now).total_seconds() + AFTER_S)

    async def _write(self) -> None:
        if self._active:
            self._status["active"] = self._active
        else:
            self._status.pop("active", None)
        if self._status == (self._cron_job.get("status") or {}):
            return
        self._cron_job["status"] = self._status
        written = await self._client.update(kinds.CRON_JOBS, self._cron_job, subresource="status")
        self._controller.written(self._key, kinds.CRON_JOBS, written)

    def _tell(self, event_type: str, reason: str, message: str) -> None:
        self._controller.events.record(self._controller.name, self._cron_job, event_type, reason, message)


def new_job(cron_job: Obj, name: str, due: dt.datetime) -> Obj:
    """Source: getJobFromTemplate2."""
    template = cron_job["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    local = due.astimezone(cron_schedule.zone(cron_job["spec"].get("timeZone") or ""))
    stamp = local.isoformat(timespec="seconds").replace("+00:00", "Z")
    metadata: Obj = {
        "name": name,
        "namespace": cron_job["metadata"]["namespace"],
        "annotations": {**(given.get("annotations") or {}), SCHEDULED_AT: stamp},
        "ownerReferences": [kinds.controller_reference(kinds.CRON_JOB, cron_job)],
    }
    if given.get("labels"):
        metadata["labels"] = dict(given["labels"])
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def _started(job: Obj) -> tuple[bool, str, str]:
    """Sorts the oldest first, those that never started last."""
    start = (job.get("status") or {}).get("startTime") or ""
    return not start, start, job["metadata"]["name"]
