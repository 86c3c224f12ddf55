"""Generic ephemeral volumes: a claim a volume, owned by its pod, and never somebody else's."""

from __future__ import annotations

from typing import Any

from tests.vapi.control.cluster import cluster
from vapi.control import kinds
from vapi.control.ephemeral_volume import claim_of
from vapi.gvk import Obj
from vapi.resources.strategies.mirrors import HOST_UID

NAME = "ephemeral-volume-controller"
SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def pod(**template: Any) -> Obj:
    volume = {"name": "tmp", "ephemeral": {"volumeClaimTemplate": {"spec": SPEC, **template}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [volume, {"name": "e", "emptyDir": {}}]},
    }


def claim(**metadata: Any) -> Obj:
    names = {"name": "web-tmp", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {**names, **metadata}, "spec": SPEC}


async def test_a_pod_owns_the_claim_of_its_volume() -> None:
    async with cluster(NAME) as it:
        made = await it.create(kinds.PODS, pod(metadata={"labels": {"a": "b"}}))
        await it.settle()
        found = await it.client.get(kinds.CLAIMS, "default", "web-tmp")
        assert found["metadata"]["ownerReferences"] == [kinds.controller_reference(kinds.POD, made)]
        assert found["metadata"]["labels"] == {"a": "b"}
        assert found["spec"]["resources"] == SPEC["resources"]


async def test_a_claim_that_is_deleted_while_its_pod_lives_is_made_again() -> None:
    async with cluster(NAME) as it:
        await it.create(kinds.PODS, pod())
        await it.settle()
        first = await it.client.get(kinds.CLAIMS, "default", "web-tmp")
        await it.client.delete(kinds.CLAIMS, "default", "web-tmp")
        await it.settle()
        second = await it.client.get(kinds.CLAIMS, "default", "web-tmp")
        assert second["metadata"]["uid"] != first["metadata"]["uid"]


async def test_somebody_elses_claim_is_left_alone_and_said() -> None:
    async with cluster(NAME) as it:
        other = await it.create(kinds.CLAIMS, claim())
        await it.create(kinds.PODS, pod())
        await it.settle()
        assert (await it.client.get(kinds.CLAIMS, "default", "web-tmp")) == other
        events = [entry.obj() for entry in it.client.entries(kinds.EVENTS)]
        assert [(e["reason"], e["message"]) for e in events] == [
            (
                "FailedBinding",
                "ephemeral volume: PVC default/web-tmp was not created for pod default/web (pod is not owner)",
            )
        ]


async def test_a_pod_that_the_hosts_controllers_made_has_its_claims_there() -> None:
    async with cluster(NAME) as it:
        uid = "7d1c5d2e-0000-4000-8000-000000000001"
        mirror = pod()
        mirror["metadata"] |= {"uid": uid, "annotations": {HOST_UID: f"{uid}/{uid}"}}
        await it.client.copy(kinds.PODS, mirror)
        await it.settle()
        assert list(it.client.entries(kinds.CLAIMS)) == []


def test_the_template_stays_as_it_is() -> None:
    made = {**pod(), "metadata": {"name": "web", "namespace": "default", "uid": "u"}}
    found = claim_of(made, made["spec"]["volumes"][0])
    found["spec"]["resources"]["requests"]["storage"] = "2Gi"
    assert SPEC["resources"] == {"requests": {"storage": "1Gi"}}
