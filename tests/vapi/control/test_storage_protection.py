"""Classes of volume attributes outlive their deletion while a claim or a volume names them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.cluster import cluster
from vapi.control import kinds
from vapi.control.storage_protection import CLASS_FINALIZER, classes_named
from vapi.gvk import Obj

PROTECTION = "volumeattributesclass-protection-controller"
GOLD: Obj = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "VolumeAttributesClass",
    "metadata": {"name": "gold", "finalizers": [CLASS_FINALIZER]},
    "driverName": "disks.example.com",
    "parameters": {"iops": "9"},
}


def claim(**spec: Any) -> Obj:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    metadata = {"name": "data", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}


async def test_a_deleted_class_that_nobody_names_goes() -> None:
    async with cluster(PROTECTION) as it:
        await it.create(kinds.ATTRIBUTES_CLASSES, GOLD)
        await it.settle()
        await it.client.delete(kinds.ATTRIBUTES_CLASSES, "", "gold")
        await it.settle()
        assert it.client.cached(kinds.ATTRIBUTES_CLASSES, "", "gold") is None


async def test_a_deleted_class_waits_for_the_last_claim_that_names_it() -> None:
    async with cluster(PROTECTION) as it:
        await it.create(kinds.ATTRIBUTES_CLASSES, GOLD)
        await it.create(kinds.CLAIMS, claim(volumeAttributesClassName="gold"))
        await it.settle()
        await it.client.delete(kinds.ATTRIBUTES_CLASSES, "", "gold")
        await it.settle()
        assert it.client.cached(kinds.ATTRIBUTES_CLASSES, "", "gold") is not None
        await it.client.delete(kinds.CLAIMS, "default", "data")
        await it.settle()
        assert it.client.cached(kinds.ATTRIBUTES_CLASSES, "", "gold") is None


@pytest.mark.parametrize(
    ("obj", "named"),
    [
        ({"spec": {}}, ()),
        ({"spec": {"volumeAttributesClassName": "a"}, "status": {"currentVolumeAttributesClassName": "b"}}, ("a", "b")),
        ({"spec": {}, "status": {"modifyVolumeStatus": {"targetVolumeAttributesClassName": "c"}}}, ("c",)),
    ],
    ids=["none", "asked for and had", "changing to"],
)
def test_a_claim_names_each_class_it_needs(obj: Obj, named: tuple[str, ...]) -> None:
    assert classes_named(obj) == named
