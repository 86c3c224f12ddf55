"""What comparing with a real kube-apiserver 1.37.1 found (tests.tools.differential), kept as it answered there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.planes import FakeClock
from tests.vapi.endpoints.servers import CONFIGMAPS, Api, Reply, api, configmap

CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


async def patch(server: Api, path: str, body: object, media: str = MERGE) -> Reply:
    return await server.send("PATCH", path, body, content_type=media)


async def test_a_namespace_on_a_cluster_scoped_object_is_dropped() -> None:
    async with api() as server:
        made = await server.create(CLASSES, {"metadata": {"name": "p", "namespace": "x"}, "value": 1})
        assert (made.status, "namespace" in made.json["metadata"]) == (201, False)
        body = {"metadata": {"namespace": "x", "labels": {"a": "b"}}}
        changed = await patch(server, f"{CLASSES}/p", body)
        assert (changed.status, "namespace" in changed.json["metadata"]) == (200, False)


async def test_a_body_without_a_name_is_refused_before_anybody_looks_for_the_object() -> None:
    async with api() as server:
        reply = await server.send("PUT", f"{CONFIGMAPS}/c", {"data": {}})
        nameless = "the name of the object (c based on URL) was undeterminable: name must be provided"
        assert (reply.status, reply.message) == (400, nameless)
        applied = await patch(
            server, f"{CONFIGMAPS}/c?fieldManager=m", {"apiVersion": "v1", "kind": "ConfigMap"}, APPLY
        )
        assert (applied.status, applied.message) == (400, nameless)
        await server.create(CONFIGMAPS, configmap("c", a="1"))
        again = await patch(server, f"{CONFIGMAPS}/c?fieldManager=m", {"apiVersion": "v1", "kind": "ConfigMap"}, APPLY)
        assert again.status == 200  # the merged object has the name


async def test_a_uid_in_a_put_of_a_missing_object_conflicts() -> None:
    async with api() as server:
        path = "/api/v1/namespaces/default/limitranges/l"
        reply = await server.send("PUT", path, {"metadata": {"name": "l", "uid": "u"}, "spec": {"limits": []}})
        assert reply.status == 409
        assert reply.message.endswith("Precondition failed: UID in precondition: u, UID in object meta: ")


async def test_what_waits_for_its_finalizers_is_in_the_way_with_another_text() -> None:
    async with api() as server:
        held = configmap("c")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        await server.create(CONFIGMAPS, held)
        await server.send("DELETE", f"{CONFIGMAPS}/c")
        for query in ("", "?dryRun=All"):
            reply = await server.create(CONFIGMAPS + query, configmap("c"))
            assert reply.message == 'object is being deleted: configmaps "c" already exists'


@pytest.mark.parametrize(
    ("target", "body", "answer"),
    [
        ("?resourceVersion=1", None, 409),
        ("?uid=u", None, 409),
        ("?uid=u", {}, 200),  # an empty object is a body, and the query is not looked at
        ("", {"kind": {}}, 400),
    ],
)
async def test_deletes_read_the_query_or_the_body(target: str, body: Any, answer: int) -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c"))
        assert (await server.send("DELETE", f"{CONFIGMAPS}/c{target}", body)).status == answer


async def test_a_refused_delete_of_a_collection_says_what_the_one_said() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c"))
        reply = await server.send("DELETE", CONFIGMAPS, {"preconditions": {"uid": "x"}})
        assert reply.status == 409
        assert "the UID in the precondition (x) does not match the UID in record" in reply.message


async def test_jobs_warn_of_orphans_whatever_becomes_of_the_delete() -> None:
    async with api() as server:
        for path in (f"{JOBS}/none", JOBS):
            assert any("child pods are preserved" in w for w in (await server.send("DELETE", path)).headers("Warning"))


async def test_a_patched_kind_must_be_one() -> None:
    async with api() as server:
        await server.create(CONFIGMAPS, configmap("c"))
        unknown = await patch(server, f"{CONFIGMAPS}/c", {"apiVersion": "x/v1"})
        assert unknown.status == 422 and 'no kind "ConfigMap" is registered for version "x/v1"' in unknown.message
        number = await patch(server, f"{CONFIGMAPS}/c", {"kind": 1})
        assert "couldn't get version/kind; json parse error" in number.message
        moved = await patch(server, f"{CONFIGMAPS}/c", {"metadata": {"namespace": "other"}}, STRATEGIC)
        assert moved.status == 400


async def test_lone_surrogates_are_replaced_and_quoted() -> None:
    async with api() as server:
        made = await server.send("POST", CONFIGMAPS, b'{"metadata":{"name":"c"},"data":{"a":"\\ud800"}}')
        assert made.json["data"] == {"a": "\ufffd"}
        wrong = await server.send("POST", CONFIGMAPS, b'{"kind":"\\ud800","metadata":{"name":"d"}}')
        assert wrong.status == 400 and "\ufffd" in wrong.message


async def test_an_applied_null_in_a_list_becomes_what_go_makes_of_it() -> None:
    async with api() as server:
        path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/e?fieldManager=m"
        slice_ = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "e"}}
        reply = await patch(server, path, {**slice_, "addressType": "IPv4", "endpoints": [], "ports": [None]}, APPLY)
        assert reply.status == 201
        assert reply.json["ports"][0]["protocol"] == "TCP"


async def test_an_event_forgets_its_owners_when_written_through_its_other_group() -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"},
        "reason": "r",
        "type": "Normal",
    }
    async with api(clock=FakeClock()) as server:
        await server.create(EVENTS, event)
        reply = await patch(server, f"{NEW_EVENTS}/e", {"metadata": {"labels": {"a": "b"}}})
        owners = [entry["apiVersion"] for entry in reply.json["metadata"]["managedFields"]]
        assert owners == ["events.k8s.io/v1"]
