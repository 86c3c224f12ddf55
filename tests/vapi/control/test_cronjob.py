"""CronJobs on a real plane: times, policies, history, restarts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from tests.vapi.control.test_job import end
from vapi.control import kinds
from vapi.gvk import Obj

CRON = "cronjob-controller"
JOBS = (CRON, "job-controller", "job-orphan-pods", "garbage-collector-controller")
FIRST = "tick-29453765"
"""2026-01-01T00:05Z is minute 29453765 of the epoch."""


def cron_job(schedule: str = "*/5 * * * *", **spec: Any) -> Obj:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    job = {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"template": template}}
    metadata = {"name": "tick", "namespace": "default"}
    wanted = {"schedule": schedule, "jobTemplate": job, **spec}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": wanted}


async def run(it: Cluster, schedule: str = "*/5 * * * *", **spec: Any) -> None:
    await it.create(kinds.CRON_JOBS, cron_job(schedule, **spec))
    await it.settle()


async def edit(it: Cluster, **spec: Any) -> None:
    obj = await it.get(kinds.CRON_JOBS, "tick")
    obj["spec"].update(spec)
    await it.client.update(kinds.CRON_JOBS, obj)
    await it.settle()


async def status(it: Cluster) -> Obj:
    found: Obj = (await it.get(kinds.CRON_JOBS, "tick"))["status"]
    return found


def jobs(it: Cluster) -> list[str]:
    return [each["metadata"]["name"] for each in it.objects(kinds.JOBS)]


async def finish(it: Cluster, name: str, *, code: int = 0) -> None:
    await end(it, *[pod for pod in it.objects(kinds.PODS) if pod["metadata"]["name"].startswith(name)], code=code)


async def test_each_time_starts_a_job_named_after_its_minute() -> None:
    async with cluster(CRON) as it:
        await run(it)
        await it.advance(299)
        assert jobs(it) == []
        await it.advance(1.2)
        assert jobs(it) == [FIRST]
        (job,) = it.objects(kinds.JOBS)
        assert job["metadata"]["annotations"] == {
            "c": "d",
            "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T00:05:00Z",
        }
        assert job["metadata"]["labels"]["a"] == "b"
        assert job["metadata"]["ownerReferences"][0]["kind"] == "CronJob"
        found = await status(it)
        assert found["lastScheduleTime"] == "2026-01-01T00:05:00Z"
        (active,) = found["active"]
        assert (active["kind"], active["name"], active["uid"]) == ("Job", FIRST, job["metadata"]["uid"])
        await it.advance(300)
        assert len(jobs(it)) == 2
        assert len((await status(it))["active"]) == 2
        assert it.messages("SuccessfulCreate") == [f"Created job {name}" for name in jobs(it)]


async def test_jobs_that_ended_leave_the_list_and_the_oldest_go() -> None:
    async with cluster(*JOBS) as it:
        await run(it, successfulJobsHistoryLimit=1, failedJobsHistoryLimit=1)
        for _ in range(3):
            await it.advance(300.2)
            await finish(it, jobs(it)[-1])
        found = await status(it)
        assert (len(jobs(it)), "active" in found) == (1, False)
        assert found["lastSuccessfulTime"] == "2026-01-01T00:15:00Z"
        assert it.messages("SawCompletedJob")[0] == f"Saw completed job: {FIRST}, condition: Complete"
        assert len(it.messages("SuccessfulDelete")) == 2


async def test_forbid_waits_for_the_one_that_runs() -> None:
    async with cluster(CRON) as it:
        await run(it, concurrencyPolicy="Forbid")
        await it.advance(300.2)
        await it.advance(300)
        assert jobs(it) == [FIRST]
        assert len(it.messages("JobAlreadyActive")) == 1


async def test_replace_deletes_the_one_that_runs() -> None:
    async with cluster(*JOBS) as it:
        await run(it, concurrencyPolicy="Replace")
        await it.advance(300.2)
        await it.advance(300)
        (job,) = jobs(it)
        assert job != FIRST
        assert [each["name"] for each in (await status(it))["active"]] == [job]


async def test_of_many_missed_times_only_the_last_is_made_up_for() -> None:
    async with cluster(CRON) as it:
        await run(it)
        await it.stop()
        it.clock.advance(24 * 3600 + 60)
        it.start()
        await it.settle()
        assert (await status(it))["lastScheduleTime"] == "2026-01-02T00:00:00Z"
        assert len(jobs(it)) == 1
        assert len(it.messages("TooManyMissedTimes")) == 1


async def test_a_time_beyond_its_deadline_is_not_started() -> None:
    async with cluster(CRON) as it:
        await run(it, startingDeadlineSeconds=30)
        await it.stop()
        it.clock.advance(331)
        it.start()
        await it.settle()
        assert jobs(it) == []
        await it.advance(270)
        assert jobs(it) == ["tick-29453770"]


async def test_a_suspended_one_starts_nothing_and_then_the_last_time_it_missed() -> None:
    async with cluster(CRON) as it:
        await run(it, suspend=True)
        await it.advance(700)
        assert jobs(it) == []
        await edit(it, suspend=False)
        assert jobs(it) == ["tick-29453770"]


async def test_a_new_schedule_begins_with_its_next_time() -> None:
    async with cluster(CRON) as it:
        await run(it, "0 12 * * *")
        await it.advance(700)
        await edit(it, schedule="*/5 * * * *")
        assert jobs(it) == []
        await it.advance(200.2)
        assert jobs(it) == ["tick-29453775"]


async def test_the_time_zone_decides() -> None:
    async with cluster(CRON) as it:
        await run(it, "5 9 * * *", timeZone="Asia/Tokyo")
        await it.advance(300.2)
        annotations = it.objects(kinds.JOBS)[0]["metadata"]["annotations"]
        assert annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2026-01-01T09:05:00+09:00"


async def test_a_job_of_another_with_the_name_is_left_alone() -> None:
    async with cluster(CRON) as it:
        template = cron_job()["spec"]["jobTemplate"]["spec"]
        metadata = {"name": FIRST, "namespace": "default"}
        await it.create(kinds.JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template})
        await run(it)
        await it.advance(300.2)
        assert "active" not in await status(it)


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 21])
async def test_stopped_anywhere_no_time_starts_two(turns: int) -> None:
    async with cluster(CRON) as it:
        await it.create(kinds.CRON_JOBS, cron_job())
        await it.settle()
        it.clock.advance(300.2)
        for _ in range(5):
            await it.stop()
            it.start()
            await it.turns(turns)
        await it.settle()
        found = await status(it)
        assert jobs(it) == [FIRST]
        assert [each["name"] for each in found["active"]] == [FIRST]
        assert found["lastScheduleTime"] == "2026-01-01T00:05:00Z"
