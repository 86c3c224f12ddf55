"""The loop of every controller, and the informers' promise of no gap."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from tests.vapi.control.clock import FakeClock
from tests.vapi.control.cluster import cluster, namespace
from vapi import errors
from vapi.control import kinds
from vapi.control.controller import PERMANENT_AGAIN_S, Sizes, all_at_once, work
from vapi.control.controllers import CONTROLLERS
from vapi.control.informer import Informers, sliced
from vapi.control.workqueue import Permanent, Retry, WorkQueue
from vapi.gvk import GVR, Obj

Reconcile = Callable[[str], Awaitable[None]]


async def run_once(queue: WorkQueue[str], reconcile: Reconcile) -> None:
    """Until the queue has nothing to take."""
    worker = asyncio.create_task(work(queue, reconcile, name="test"))
    for _ in range(50):
        await asyncio.sleep(0)
    queue_was_idle = queue.idle
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert queue_was_idle


OUTCOMES: dict[str, tuple[Exception, float]] = {
    "retry by its back-off": (Retry(), 1),
    "retry after a time": (Retry(7), 7),
    "permanent": (Permanent("no"), PERMANENT_AGAIN_S),
    "refused": (errors.conflict(GVR("", "v1", "pods"), "p"), 1),
}


@pytest.mark.parametrize(("error", "delay_s"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_what_a_look_raises_says_when_the_next_comes(error: Exception, delay_s: float) -> None:
    queue = WorkQueue[str](clock=FakeClock(), base_delay_s=1)
    queue.add("a")

    async def reconcile(_key: str) -> None:
        raise error

    await run_once(queue, reconcile)
    assert queue.next_due_s() == delay_s


async def test_what_a_namespace_that_is_going_refuses_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    queue = WorkQueue[str](clock=FakeClock(), base_delay_s=1)
    queue.add("a")
    cause = errors.Cause("NamespaceTerminating", "namespace n is being terminated", "metadata.namespace")

    async def reconcile(_key: str) -> None:
        raise errors.forbidden(GVR("", "v1", "pods"), "p", "it is being terminated", [cause])

    with caplog.at_level(logging.INFO):
        await run_once(queue, reconcile)
    assert caplog.records == []
    assert queue.next_due_s() == 1


async def test_a_bug_is_logged_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    queue = WorkQueue[str](clock=clock, base_delay_s=1)
    queue.add("a")

    async def reconcile(_key: str) -> None:
        raise ZeroDivisionError

    for _ in range(3):
        await run_once(queue, reconcile)
        clock.advance(60)
        queue.tick()
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    caplog.clear()
    assert len(logged) == 1
    assert queue.failures("a") == 3


async def test_the_loop_gets_a_turn_after_each_item() -> None:
    queue = WorkQueue[str]()
    order: list[str] = []

    async def reconcile(key: str) -> None:
        order.append(key)

    async def other() -> None:
        for _ in range(3):
            order.append("other")
            await asyncio.sleep(0)

    for key in ("a", "b", "c"):
        queue.add(key)
    others = asyncio.create_task(other())
    await run_once(queue, reconcile)
    await others
    assert order == ["other", "a", "other", "b", "other", "c"]


async def test_calls_are_made_a_few_at_a_time_and_what_is_gone_is_fine() -> None:
    running, most = 0, 0

    async def call(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if number == 3:
            raise errors.not_found(GVR("", "v1", "pods"), "p")
        if number == 5:
            raise errors.conflict(GVR("", "v1", "pods"), "p")

    refused = await all_at_once([partial(call, number) for number in range(20)], 4)
    assert [error.code for error in refused] == [409]
    assert most == 4


async def test_slices_give_everything_in_order() -> None:
    assert [each async for each in sliced(range(1000))] == list(range(1000))


def test_many_pods_wait_for_each_other_and_few_do_not() -> None:
    sizes = Sizes[str]()
    for key, size in (("few", 5), ("many", 500), ("crowd", 100_000)):
        sizes.note(key, size)
    assert [sizes.delay_s(key) for key in ("few", "many", "crowd", "unknown")] == [0, 0.05, 0.1, 0]
    sizes.note("many", 3)
    assert sizes.delay_s("many") == 0


def config_map(name: str, owner: str = "") -> Obj:
    metadata: Obj = {"name": name, "namespace": "default"}
    if owner:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": owner, "controller": True}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_an_index_misses_nothing_between_its_fill_and_the_changes() -> None:
    async with cluster("expiry-controller") as it:
        for number in range(20):
            await it.create(kinds.CONFIG_MAPS, config_map(f"before{number}", "x"))
        informers = Informers(it.client)
        index, uids = informers.owners(kinds.CONFIG_MAPS), informers.uids(kinds.CONFIG_MAPS)
        await it.create(kinds.CONFIG_MAPS, config_map("between", "x"))
        await it.client.delete(kinds.CONFIG_MAPS, "default", "before0")
        await informers.start()
        moved = await it.get(kinds.CONFIG_MAPS, "before1")
        moved["metadata"]["ownerReferences"][0]["uid"] = "y"
        await it.client.update(kinds.CONFIG_MAPS, moved)
        names = {entry.name for entry in index.controlled_by("x")}
        assert names == {"between", *(f"before{number}" for number in range(2, 20))}
        assert [entry.name for entry in index.controlled_by("y")] == ["before1"]
        assert index.orphans("default") == []
        assert uids.name(moved["metadata"]["uid"]) == ("default", "before1")
        informers.stop()


async def test_facts_are_made_once_per_revision() -> None:
    async with cluster("expiry-controller") as it:
        made: list[str] = []

        def derive(obj: Obj) -> str:
            made.append(obj["metadata"]["name"])
            return made[-1]

        facts = Informers(it.client).facts(kinds.CONFIG_MAPS, derive)
        await it.create(kinds.CONFIG_MAPS, config_map("a"))
        entry = it.client.cached(kinds.CONFIG_MAPS, "default", "a")
        assert entry is not None
        assert (facts.of(entry), facts.of(entry)) == ("a", "a")
        assert made == ["a"]


@pytest.mark.parametrize("name", CONTROLLERS)
async def test_every_controller_of_the_table_starts_idles_and_stops(name: str) -> None:
    async with cluster(name) as it:
        (controller,) = it.manager.controllers
        assert controller.queue.idle
        await it.stop()
        it.start()
        await it.settle()


async def test_all_controllers_together_make_a_namespace_usable_and_take_it_away() -> None:
    async with cluster() as it:
        await it.create(kinds.NAMESPACES, namespace("team"))
        await it.settle()
        assert it.has(kinds.SERVICE_ACCOUNTS, "default", "team")
        assert it.has(kinds.CONFIG_MAPS, "kube-root-ca.crt", "team")
        labels = {"app": "web"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": "web", "namespace": "team"}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
        await it.create(kinds.DEPLOYMENTS, deployment)
        await it.settle()
        assert len(it.objects(kinds.PODS, "team")) == 3
        await it.client.delete(kinds.NAMESPACES, "", "team")
        await it.settle()
        assert not it.has(kinds.NAMESPACES, "team", "")
        assert it.objects(kinds.PODS, "team") == []
        assert it.objects(kinds.EVENTS, "team") == []
