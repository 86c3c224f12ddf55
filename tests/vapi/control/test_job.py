"""Jobs on a real plane: parallelism, indexes, failures, policies, suspension, counting once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import Cluster, cluster
from vapi.clock import rfc3339
from vapi.control import kinds
from vapi.gvk import Obj
from vapi.resources.resource import Propagation

JOBS = ("job-controller", "job-orphan-pods", "ttl-after-finished-controller", "garbage-collector-controller")
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"


def job(name: str = "work", *, restart: str = "Never", **spec: Any) -> Obj:
    template = {"spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template, **spec}}


async def run(it: Cluster, **spec: Any) -> None:
    await it.create(kinds.JOBS, job(**spec))
    await it.settle()


async def edit(it: Cluster, **spec: Any) -> None:
    obj = await it.get(kinds.JOBS, "work")
    obj["spec"].update(spec)
    await it.client.update(kinds.JOBS, obj)
    await it.settle()


async def status(it: Cluster) -> Obj:
    found: Obj = (await it.get(kinds.JOBS, "work"))["status"]
    return found


def active(it: Cluster) -> list[Obj]:
    return [
        pod
        for pod in it.objects(kinds.PODS)
        if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] in ("Pending", "Running")
    ]


def indexes(pods: list[Obj]) -> list[int]:
    return sorted(int(pod["metadata"]["annotations"][INDEX]) for pod in pods)


def by_index(it: Cluster, index: int) -> Obj:
    (found,) = [pod for pod in active(it) if pod["metadata"]["annotations"][INDEX] == str(index)]
    return found


async def end(it: Cluster, *pods: Obj, code: int = 0, settle: bool = True) -> None:
    """The pods' containers end."""
    for pod in pods:
        pod = await it.get(kinds.PODS, pod["metadata"]["name"])
        now = rfc3339(it.clock.now())
        ended = {"name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        ended["state"] = {"terminated": {"exitCode": code, "finishedAt": now}}
        pod["status"].update(phase="Failed" if code else "Succeeded", containerStatuses=[ended], conditions=[])
        await it.client.update(kinds.PODS, pod, subresource="status")
    if settle:
        await it.settle()


def conditions(found: Obj) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in found.get("conditions", ())}


async def test_a_job_runs_to_completion_and_counts_its_pods_once() -> None:
    async with cluster(*JOBS) as it:
        await run(it, completions=3, parallelism=2)
        assert len(active(it)) == 2
        pod = active(it)[0]
        assert pod["metadata"]["finalizers"] == [FINALIZER]
        assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "work"
        assert await status(it) == {
            "active": 2,
            "ready": 2,
            "terminating": 0,
            "startTime": "2026-01-01T00:00:00Z",
            "uncountedTerminatedPods": {},
        }
        await end(it, *active(it))
        await end(it, *active(it))
        found = await status(it)
        assert (found["succeeded"], found["uncountedTerminatedPods"], "active" in found) == (3, {}, False)
        assert conditions(found) == {
            "SuccessCriteriaMet": ("True", "CompletionsReached"),
            "Complete": ("True", "CompletionsReached"),
        }
        assert found["completionTime"] == found["conditions"][1]["lastTransitionTime"]
        assert len(it.objects(kinds.PODS)) == 3
        assert all("finalizers" not in each["metadata"] for each in it.objects(kinds.PODS))
        assert it.messages("Completed") == ["Job completed"]
        assert len(it.messages("SuccessfulCreate")) == 3


async def test_without_completions_the_first_success_is_enough() -> None:
    async with cluster(*JOBS) as it:
        await run(it, parallelism=3, completions=None)
        first, *others = active(it)
        await end(it, first)
        assert len(active(it)) == 2
        await end(it, *others)
        assert conditions(await status(it))["Complete"] == ("True", "CompletionsReached")


async def test_failures_wait_longer_each_time_and_end_at_the_limit() -> None:
    async with cluster(*JOBS) as it:
        await run(it, backoffLimit=2)
        await end(it, *active(it), code=1)
        assert active(it) == []
        await it.advance(9)
        assert active(it) == []
        await it.advance(2)
        assert len(active(it)) == 1
        await end(it, *active(it), code=1)
        await it.advance(11)
        assert active(it) == []
        await it.advance(10)
        await end(it, *active(it), code=1)
        found = await status(it)
        assert found["failed"] == 3
        assert conditions(found) == {
            "FailureTarget": ("True", "BackoffLimitExceeded"),
            "Failed": ("True", "BackoffLimitExceeded"),
        }
        assert it.messages("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


async def test_an_indexed_job_gives_each_pod_its_index() -> None:
    async with cluster(*JOBS) as it:
        await run(it, completions=5, parallelism=3, completionMode="Indexed")
        assert indexes(active(it)) == [0, 1, 2]
        pod = by_index(it, 1)
        assert pod["metadata"]["name"].startswith("work-1-")
        assert pod["metadata"]["labels"][INDEX] == "1"
        assert pod["spec"]["hostname"] == "work-1"
        (env,) = pod["spec"]["containers"][0]["env"]
        assert env["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX}']"
        await end(it, by_index(it, 0), by_index(it, 2))
        assert (await status(it))["completedIndexes"] == "0,2"
        assert indexes(active(it)) == [1, 3, 4]
        await end(it, by_index(it, 1), code=1)
        await it.advance(11)
        assert indexes(active(it)) == [1, 3, 4]
        await end(it, *active(it))
        found = await status(it)
        assert (found["completedIndexes"], found["succeeded"], found["failed"]) == ("0-4", 5, 1)
        assert "Complete" in conditions(found)


async def test_each_index_may_fail_so_often() -> None:
    async with cluster(*JOBS) as it:
        await run(it, completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1)
        await end(it, by_index(it, 0), code=1)
        await it.advance(11)
        again = by_index(it, 0)
        assert again["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "1"
        await end(it, again, code=1)
        await end(it, by_index(it, 1))
        found = await status(it)
        assert (found["failedIndexes"], found["completedIndexes"], found["failed"]) == ("0", "1", 2)
        assert conditions(found)["Failed"] == ("True", "FailedIndexes")


async def test_more_failed_indexes_than_allowed_end_the_job() -> None:
    async with cluster(*JOBS) as it:
        spec = {"completionMode": "Indexed", "backoffLimitPerIndex": 0, "maxFailedIndexes": 1}
        await run(it, completions=4, parallelism=4, **spec)
        await end(it, by_index(it, 0), by_index(it, 1), code=1)
        assert conditions(await status(it))["Failed"] == ("True", "MaxFailedIndexesExceeded")
        assert active(it) == []


def on_exit(action: str, *codes: int) -> Obj:
    return {"action": action, "onExitCodes": {"operator": "In", "values": list(codes)}}


async def test_a_pod_failure_policy_fails_the_job_or_forgives() -> None:
    policy = {"rules": [on_exit("FailJob", 42), on_exit("Ignore", 7)]}
    async with cluster(*JOBS) as it:
        await run(it, podFailurePolicy=policy, backoffLimit=0, podReplacementPolicy="Failed")
        await end(it, *active(it), code=7)
        await it.advance(11)
        assert "failed" not in await status(it)
        name = active(it)[0]["metadata"]["name"]
        await end(it, *active(it), code=42)
        found = await status(it)
        assert conditions(found)["Failed"] == ("True", "PodFailurePolicy")
        text = f"Container c for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
        assert it.messages("PodFailurePolicy") == [text]


async def test_a_success_policy_ends_the_job_early() -> None:
    policy = {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]}
    async with cluster(*JOBS) as it:
        await run(it, completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy)
        await end(it, by_index(it, 2))
        found = await status(it)
        assert conditions(found) == {
            "SuccessCriteriaMet": ("True", "SuccessPolicy"),
            "Complete": ("True", "SuccessPolicy"),
        }
        assert (found["succeeded"], found["completedIndexes"], "failed" in found) == (1, "2", False)
        assert active(it) == []


async def test_the_deadline_ends_the_job_and_counts_what_ran_as_failed() -> None:
    async with cluster(*JOBS) as it:
        await run(it, parallelism=2, completions=2, activeDeadlineSeconds=30)
        await it.advance(29)
        assert len(active(it)) == 2
        it.kubelet.hold = True
        await it.advance(1)
        found = await status(it)
        assert conditions(found) == {"FailureTarget": ("True", "DeadlineExceeded")}
        assert (found["failed"], found["terminating"]) == (2, 2)
        it.kubelet.hold = False
        it.kubelet.look_at_all()
        await it.settle()
        assert conditions(await status(it))["Failed"] == ("True", "DeadlineExceeded")


async def test_a_suspended_job_has_no_pods_and_starts_anew() -> None:
    async with cluster(*JOBS) as it:
        await run(it, parallelism=2, completions=2)
        await it.advance(5)
        await edit(it, suspend=True)
        found = await status(it)
        assert (active(it), "startTime" in found, "failed" in found) == ([], False, False)
        assert conditions(found) == {"Suspended": ("True", "JobSuspended")}
        await it.advance(5)
        await edit(it, suspend=False)
        found = await status(it)
        assert len(active(it)) == 2
        assert found["startTime"] == "2026-01-01T00:00:10Z"
        assert conditions(found) == {"Suspended": ("False", "JobResumed")}
        assert (it.messages("Suspended"), it.messages("Resumed")) == (["Job suspended"], ["Job resumed"])


@pytest.mark.parametrize(("policy", "running"), [("TerminatingOrFailed", 1), ("Failed", 0)])
async def test_a_pod_that_goes_is_replaced_by_policy(policy: str, running: int) -> None:
    async with cluster(*JOBS) as it:
        await run(it, podReplacementPolicy=policy)
        it.kubelet.hold = True
        await it.client.delete(kinds.PODS, "default", active(it)[0]["metadata"]["name"])
        await it.settle()
        await it.advance(11)
        found = await status(it)
        assert (len(active(it)), found["terminating"]) == (running, 1)


async def test_fewer_parallel_pods_are_deleted_without_counting() -> None:
    async with cluster(*JOBS) as it:
        await run(it, parallelism=4, completions=10)
        await edit(it, parallelism=1)
        found = await status(it)
        assert (len(it.objects(kinds.PODS)), found["active"], "failed" in found) == (1, 1, False)


async def test_a_finished_job_goes_after_its_time_to_live() -> None:
    async with cluster(*JOBS) as it:
        await run(it, ttlSecondsAfterFinished=60)
        await end(it, *active(it))
        await it.advance(59)
        assert it.has(kinds.JOBS, "work")
        await it.advance(1)
        assert not it.has(kinds.JOBS, "work")
        assert it.objects(kinds.PODS) == []


async def test_pods_of_a_deleted_job_are_let_go() -> None:
    async with cluster(*JOBS) as it:
        await run(it, parallelism=2, completions=2)
        await it.client.delete(kinds.JOBS, "default", "work", propagation=Propagation.BACKGROUND)
        await it.settle()
        assert it.objects(kinds.PODS) == []


async def test_orphaned_pods_lose_the_finalizer_and_stay() -> None:
    async with cluster(*JOBS) as it:
        await run(it, parallelism=2, completions=2)
        await it.client.delete(kinds.JOBS, "default", "work", propagation=Propagation.ORPHAN)
        await it.settle()
        assert len(it.objects(kinds.PODS)) == 2
        assert all("finalizers" not in pod["metadata"] for pod in it.objects(kinds.PODS))


async def test_a_job_of_another_controller_is_left_alone() -> None:
    async with cluster(*JOBS) as it:
        await run(it, managedBy="example.com/other")
        assert (it.objects(kinds.PODS), await status(it)) == ([], {})


@pytest.mark.parametrize("turns", [1, 3, 8, 21, 55, 144])
async def test_stopped_anywhere_it_counts_every_pod_once(turns: int) -> None:
    async with cluster(*JOBS) as it:
        await it.create(kinds.JOBS, job(completions=6, parallelism=3, completionMode="Indexed"))
        await it.turns(turns)
        await it.stop()
        it.start()
        for _ in range(12):
            await it.kubelet.work()
            await end(it, *active(it)[:2], settle=False)
            await it.turns(turns)
            await it.stop()
            it.start()
        await it.settle()
        while active(it):
            await end(it, *active(it))
        found = await status(it)
        assert (found["succeeded"], found["completedIndexes"], "failed" in found) == (6, "0-5", False)
        assert indexes(it.objects(kinds.PODS)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("turns", [1, 3, 8, 21, 55, 144])
async def test_stopped_anywhere_failures_and_successes_add_up(turns: int) -> None:
    async with cluster(*JOBS) as it:
        await it.create(kinds.JOBS, job(completions=4, parallelism=2, backoffLimit=100))
        await it.settle()
        await end(it, *active(it), code=1, settle=False)
        await it.turns(turns)
        await it.stop()
        it.start()
        for _ in range(8):
            await it.settle()
            await end(it, *active(it), settle=False)
            await it.turns(turns)
            await it.stop()
            it.start()
            await it.advance(30)
        found = await status(it)
        assert (found["succeeded"], found["failed"]) == (4, 2)
        assert len(it.objects(kinds.PODS)) == 6
