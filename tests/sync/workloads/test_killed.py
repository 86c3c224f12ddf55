"""Killed before or after any write while the host runs a workload: the next start ends where an unbroken one would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from tests.planes import PODS
from tests.sync.fuse import Fuse, FusedCluster
from tests.sync.workloads.rig import WorkloadRig, workload_rig
from tests.sync.workloads.test_host_way import deployment, template
from vapi.control import kinds
from vapi.resources.resource import Propagation

MAX_WRITES = 60
Step = Callable[[WorkloadRig], Awaitable[None]]


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


def same_pods(r: WorkloadRig, images: set[str]) -> None:
    """One, with its mirror, and nothing left of others."""
    here, there = r.mirrors(PODS), r.on_host(PODS)
    assert {p["metadata"]["uid"] for p in here} == {p["metadata"]["uid"] for p in there}
    assert len(here) == 1
    assert {p["spec"]["containers"][0]["image"] for p in here} == images
    assert {rs["metadata"]["uid"] for rs in r.mirrors(kinds.REPLICA_SETS)} == {
        rs["metadata"]["uid"] for rs in r.on_host(kinds.REPLICA_SETS)
    }


SCENARIOS: dict[str, tuple[list[Step], Step, set[str]]] = {
    "create": ([], create, {"i:1"}),
    "roll out": ([create], roll_out, {"i:2"}),
    "delete a pod": ([create], delete_a_pod, {"i:1"}),
    "orphan": ([create], orphan, {"i:1"}),
}
"""(what was before, what happens, the images in the end)."""


async def killed_at(scenario: str, at: int, *, after: bool) -> bool:
    before, happen, images = SCENARIOS[scenario]
    async with workload_rig("deployments") as r:
        for step in before:
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
        same_pods(r, images)
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
