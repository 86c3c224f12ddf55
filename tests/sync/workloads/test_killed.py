"""Killed before or after any write while the host runs a workload: the next start ends where an unbroken one would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from sync import metadata as md
from tests.planes import PODS, turns
from tests.sync.fuse import Fuse, FusedCluster
from tests.sync.workloads.manifests import daemon_set, deployment, template
from tests.sync.workloads.rig import WorkloadRig, workload_rig
from tests.sync.workloads.test_host_way import revision
from vapi.control import kinds
from vapi.resources.resource import Propagation

MAX_WRITES = 60
Step = Callable[[WorkloadRig], Awaitable[None]]
Check = Callable[[WorkloadRig], None]


async def create(r: WorkloadRig) -> None:
    await r.virtual.create(kinds.DEPLOYMENTS, deployment(1))


async def roll_out(r: WorkloadRig) -> None:
    here = r.the(kinds.DEPLOYMENTS, "web")
    here["spec"]["template"] = template("web", "i:2")
    await r.virtual.update(kinds.DEPLOYMENTS, here)


async def delete_a_pod(r: WorkloadRig) -> None:
    await r.virtual.delete(PODS, "default", r.mirrors(PODS)[0]["metadata"]["name"])


async def orphan(r: WorkloadRig) -> None:
    await r.virtual.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.ORPHAN)


async def create_daemons(r: WorkloadRig) -> None:
    await r.virtual.create(kinds.DAEMON_SETS, daemon_set())


async def call_a_pod_failed(r: WorkloadRig) -> None:
    (pod,) = r.mirrors(PODS)
    pod["status"]["phase"] = "Failed"
    await r.virtual.update(PODS, pod, subresource="status")


async def add_a_revision(r: WorkloadRig) -> None:
    (first,) = r.mirrors(kinds.CONTROLLER_REVISIONS)
    made = revision(r.the(kinds.DAEMON_SETS, "agent"), "DaemonSet", "agent-own", first["data"], 2)
    await r.virtual.create(kinds.CONTROLLER_REVISIONS, made)


async def add_and_drop_a_revision(r: WorkloadRig) -> None:
    await add_a_revision(r)
    try:
        await turns()
    finally:
        await drop_a_revision(r)


async def drop_a_revision(r: WorkloadRig) -> None:
    await r.virtual.delete(kinds.CONTROLLER_REVISIONS, "default", "agent-own")


def same_pods(r: WorkloadRig, images: set[str]) -> None:
    """One, with its mirror, and nothing left of others."""
    here, there = r.mirrors(PODS), r.on_host(PODS)
    assert {p["metadata"]["uid"] for p in here} == {p["metadata"]["uid"] for p in there}
    assert len(here) == 1
    assert {p["spec"]["containers"][0]["image"] for p in here} == images
    assert {rs["metadata"]["uid"] for rs in r.mirrors(kinds.REPLICA_SETS)} == {
        rs["metadata"]["uid"] for rs in r.on_host(kinds.REPLICA_SETS)
    }


def one_pod(*images: str) -> Check:
    return lambda r: same_pods(r, set(images))


def same_history(*names: str) -> Check:
    def check(r: WorkloadRig) -> None:
        same_pods(r, {"i:1"})
        here, there = r.mirrors(kinds.CONTROLLER_REVISIONS), r.on_host(kinds.CONTROLLER_REVISIONS)
        assert {md.marked_host_uid(each) for each in here} == {each["metadata"]["uid"] for each in there}
        assert "agent-own" in names or len(here) == 1
        assert set(names) <= {each["metadata"]["name"] for each in here}

    return check


@dataclass(frozen=True)
class Scenario:
    way: str
    before: tuple[Step, ...]
    happen: Step
    check: Check


SCENARIOS = {
    "create": Scenario("deployments", (), create, one_pod("i:1")),
    "roll out": Scenario("deployments", (create,), roll_out, one_pod("i:2")),
    "delete a pod": Scenario("deployments", (create,), delete_a_pod, one_pod("i:1")),
    "orphan": Scenario("deployments", (create,), orphan, one_pod("i:1")),
    "call a pod failed": Scenario("daemonsets", (create_daemons,), call_a_pod_failed, one_pod("i:1")),
    "add a revision": Scenario("daemonsets", (create_daemons,), add_a_revision, same_history("agent-own")),
    "add and drop one": Scenario("daemonsets", (create_daemons,), add_and_drop_a_revision, same_history()),
    "drop a revision": Scenario("daemonsets", (create_daemons, add_a_revision), drop_a_revision, same_history()),
}


async def killed_at(scenario: str, at: int, *, after: bool) -> bool:
    wanted = SCENARIOS[scenario]
    happen = wanted.happen
    async with workload_rig(wanted.way) as r:
        for step in wanted.before:
            await step(r)
            await r.roll()
        await r.kill()
        fuse = Fuse(at, after=after)
        r.virtual_cluster = FusedCluster(r.tenant.client("vapi-syncer"), fuse)
        r.host_cluster = FusedCluster(r.host.client("vapi"), fuse)
        going = asyncio.create_task(start_and(r, happen))
        blown = asyncio.create_task(fuse.blown.wait())
        await asyncio.wait([going, blown], return_when=asyncio.FIRST_COMPLETED)
        if not going.done() and not r.happened:
            await happen(r)
        for task in (going, blown):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        found = fuse.blown.is_set()
        await r.kill()
        r.virtual_cluster = r.host_cluster = None
        await r.start()
        await r.roll()
        wanted.check(r)
        return found


async def start_and(r: WorkloadRig, happen: Step) -> None:
    r.happened = False
    await r.start()
    r.happened = True
    await happen(r)
    await r.roll()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_killed_at_any_write(scenario: str, after: bool) -> None:
    at = 0
    while await killed_at(scenario, at, after=after):
        at += 1
        assert at < MAX_WRITES
    assert at > 0
