"""The event recorder: counts, limits, and Events as clients read them."""

from __future__ import annotations

import re

from tests.vapi.control.cluster import Cluster, cluster
from vapi.control import kinds
from vapi.control.events import BURST, MAX_MESSAGE_CHARS, MAX_QUEUED_BYTES, NORMAL, REFILL_S, WARNING
from vapi.gvk import Obj

NO_CONTROLLERS = "expiry-controller"


def pod(name: str = "p", uid: str = "u1") -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": uid, "resourceVersion": "7"},
    }


async def say(it: Cluster, obj: Obj, message: str = "hello", reason: str = "Greeting") -> None:
    it.manager.events.record("greeter", obj, NORMAL, reason, message)
    await it.settle()


async def test_an_event_tells_who_what_and_about_whom() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        await say(it, pod())
        (event,) = it.objects(kinds.EVENTS)
        assert re.fullmatch(r"p\.[0-9a-f]{16}", event["metadata"]["name"])
        assert event["involvedObject"] == {
            "kind": "Pod",
            "namespace": "default",
            "name": "p",
            "uid": "u1",
            "apiVersion": "v1",
            "resourceVersion": "7",
        }
        assert (event["reason"], event["message"], event["type"]) == ("Greeting", "hello", "Normal")
        assert event["source"] == {"component": "greeter"}
        assert (event["count"], event["firstTimestamp"]) == (1, "2026-01-01T00:00:00Z")


async def test_the_same_news_is_counted() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        await say(it, pod())
        await it.advance(60)
        await say(it, pod())
        await say(it, pod(), "something else")
        first, second = sorted(it.objects(kinds.EVENTS), key=lambda each: str(each["metadata"]["name"]))
        assert (first["count"], second["count"]) == (2, 1)
        assert (first["firstTimestamp"], first["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z")


async def test_a_counted_event_that_is_gone_begins_anew_with_its_count() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        await say(it, pod())
        (event,) = it.objects(kinds.EVENTS)
        await it.client.delete(kinds.EVENTS, "default", event["metadata"]["name"])
        await say(it, pod())
        (event,) = it.objects(kinds.EVENTS)
        assert event["count"] == 2


async def test_a_flood_about_one_object_is_cut_and_comes_back_slowly() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        for number in range(BURST + 10):
            await say(it, pod(), f"news {number}")
        assert len(it.objects(kinds.EVENTS)) == BURST
        assert it.manager.events.dropped == 10
        await say(it, pod("other", "u2"), "of another")
        assert len(it.objects(kinds.EVENTS)) == BURST + 1
        await it.advance(REFILL_S)
        await say(it, pod(), "late news")
        assert len(it.objects(kinds.EVENTS)) == BURST + 2


async def test_what_a_rollout_tells_at_once_is_written_whole() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        for number in range(1_500):
            it.manager.events.record("greeter", pod(f"p{number}", f"u{number}"), NORMAL, "Greeting", f"hello {number}")
        await it.settle()
        assert it.manager.events.dropped == 0
        assert sorted(event["message"] for event in it.objects(kinds.EVENTS)) == sorted(
            f"hello {number}" for number in range(1_500)
        )


async def test_news_repeated_while_it_waits_is_one_write() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        for _ in range(3):
            it.manager.events.record("greeter", pod(), NORMAL, "Greeting", "hello")
        before = it.plane.registry.revision
        await it.settle()
        (event,) = it.objects(kinds.EVENTS)
        assert event["count"] == 3
        assert it.plane.registry.revision == before + 1


async def test_a_full_queue_drops_and_says_how_many() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        recorder, told = it.manager.events, MAX_QUEUED_BYTES // MAX_MESSAGE_CHARS
        for number in range(told):
            recorder.record("greeter", pod(f"p{number}", f"u{number}"), WARNING, "Flood", "x" * MAX_MESSAGE_CHARS)
        assert told / 3 < recorder.dropped < told / 2
        dropped = recorder.dropped
        await it.turns(20)
        assert it.objects(kinds.EVENTS)
        recorder.record("greeter", pod("late", "late"), WARNING, "Flood", "there is room again")
        assert recorder.dropped == dropped


async def test_events_of_cluster_scoped_objects_are_in_default() -> None:
    async with cluster(NO_CONTROLLERS) as it:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "u"}}
        await say(it, node)
        (event,) = it.objects(kinds.EVENTS)
        assert event["metadata"]["namespace"] == "default"


async def test_an_event_expires_an_hour_after_its_last_write() -> None:
    async with cluster("expiry-controller") as it:
        await say(it, pod())
        await it.advance(3000)
        await say(it, pod("q", "u2"))
        await say(it, pod())
        await it.advance(700)
        assert len(it.objects(kinds.EVENTS)) == 2
        await it.stop()
        it.start()
        await it.settle()
        await it.advance(3000)
        assert it.objects(kinds.EVENTS) == []
