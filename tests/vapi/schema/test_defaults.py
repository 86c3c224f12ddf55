"""All recorded pairs of a minimal object and what the server makes of it, less what others add."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from tests.vapi.schema.golden import GOLDEN, recorded
from vapi.gvk import GVK, GroupVersion, Obj
from vapi.schema.decode import FieldValidation, decode_body
from vapi.schema.defaulting.pods import pull_policy
from vapi.schema.defaults import DEFAULTS, apply_defaults, default_and_complete
from vapi.schema.schemas import Schemas

pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason="golden data is not beside this checkout")

PAIRS = recorded("defaults_1.37.json") if GOLDEN.exists() else []

METADATA = ("uid", "generation", "creationTimestamp", "namespace")
"""Set by the generic write path."""

LEFT_TO_OTHERS: dict[str, tuple[str, ...]] = {
    # admission: service account, its token volume, tolerations, priority; strategy: phase and QoS
    "Pod": (
        "spec.serviceAccountName",
        "spec.serviceAccount",
        "spec.tolerations",
        "spec.priority",
        "spec.preemptionPolicy",
        "status",
    ),
    # allocation
    "Service": (
        "spec.clusterIP",
        "spec.clusterIPs",
        "spec.ipFamilies",
        "spec.ipFamilyPolicy",
        "spec.ports[].nodePort",
        "spec.healthCheckNodePort",
    ),
    # strategies, by uid or generation
    "DaemonSet": ("metadata.annotations",),
    "Job": ("metadata.labels", "spec.selector", "spec.template.metadata.labels"),
    # admission
    "PersistentVolumeClaim": ("metadata.finalizers",),
    "PersistentVolume": ("metadata.finalizers", "status.lastPhaseTransitionTime"),
    "Node": ("spec.taints",),
    # strategy
    "Namespace": ("spec.finalizers",),
    # what controllers write to a status is taken out of the recording
    "ReplicaSet": ("status",),
    "ReplicationController": ("status",),
}


def without(obj: Any, path: str) -> None:
    """Remove `spec.ports[].nodePort` in place."""
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    if not isinstance(obj, dict) or name not in obj:
        return
    if not rest:
        del obj[name]
        return
    for item in obj[name] if head.endswith("[]") else [obj[name]]:
        without(item, rest)


def pruned(obj: Obj) -> Obj:
    obj = copy.deepcopy(obj)
    for path in [*(f"metadata.{name}" for name in METADATA), *LEFT_TO_OTHERS.get(obj["kind"], ())]:
        without(obj, path)
    if obj["kind"] == "Pod":
        access = re.compile("kube-api-access-")
        spec = obj["spec"]
        spec["volumes"] = [v for v in spec.get("volumes", []) if not access.match(v["name"])]
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            container["volumeMounts"] = [m for m in container.get("volumeMounts", []) if not access.match(m["name"])]
    return obj


def kind_of(obj: Obj) -> GVK:
    group_version = GroupVersion.parse(obj["apiVersion"])
    return GVK(group_version.group, group_version.version, obj["kind"])


def defaulted(obj: Obj, schemas: Schemas) -> Obj:
    gvk = kind_of(obj)
    decoded = decode_body(
        json.dumps(obj).encode(),
        "application/json",
        expected=gvk,
        field_validation=FieldValidation.STRICT,
        schemas=schemas,
    )
    default_and_complete(gvk, decoded.obj, schemas=schemas)
    return decoded.obj


ACCEPTED = [pair for pair in PAIRS if pair["status"] == 201]


@pytest.mark.parametrize("pair", ACCEPTED, ids=[f"{i}-{p['in']['kind']}" for i, p in enumerate(ACCEPTED)])
def test_an_object_is_defaulted_as_recorded(pair: dict[str, Any], schemas: Schemas) -> None:
    assert pruned(defaulted(pair["in"], schemas)) == pruned(pair["out"])


@pytest.mark.parametrize("pair", ACCEPTED, ids=[f"{i}-{p['in']['kind']}" for i, p in enumerate(ACCEPTED)])
def test_defaulting_what_the_server_answered_changes_nothing(pair: dict[str, Any], schemas: Schemas) -> None:
    kind = pair["out"]["kind"]
    if kind in ("ReplicaSet", "ReplicationController"):  # their recorded status is not whole
        pytest.skip("status left out of the recording")
    assert defaulted(pair["out"], schemas) == pair["out"]


def test_what_the_server_answered_passes_the_gate(schemas: Schemas) -> None:
    for pair in ACCEPTED:
        assert schemas.gate.passes(kind_of(pair["out"]), pair["out"]), pair["in"]


@pytest.mark.parametrize("gvk", DEFAULTS, ids=lambda gvk: f"{gvk.kind}-{gvk.version}")
def test_an_object_with_nothing_in_it_can_be_defaulted(gvk: GVK, schemas: Schemas) -> None:
    obj: Obj = {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": {"name": "x"}}
    default_and_complete(gvk, obj, schemas=schemas)
    again = copy.deepcopy(obj)
    default_and_complete(gvk, again, schemas=schemas)
    assert again == obj
    assert schemas.gate.is_complete(gvk, obj)


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("localhost:5000/nginx", "Always"),
        ("nginx:1.2", "IfNotPresent"),
        ("localhost:5000/a/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "a" * 64, "Always"),
        ("Not An Image", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def pod(spec: Obj) -> Obj:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"iscsi": {"lun": 1}}, {"iscsi": {"lun": 1, "iscsiInterface": "default"}}),
        ({"rbd": {}}, {"rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}}),
        (
            {"azureDisk": {}},
            {"azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"}},
        ),
        ({"scaleIO": {}}, {"scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"}}),
        ({"image": {"reference": "a:1"}}, {"image": {"reference": "a:1", "pullPolicy": "IfNotPresent"}}),
        (
            {"ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"ephemeral": {"volumeClaimTemplate": {"spec": {"volumeMode": "Filesystem"}}}},
        ),
    ],
    ids=lambda value: next(iter(value), "none"),
)
def test_a_volume_gets_the_defaults_of_its_source(volume: Obj, expected: Obj) -> None:
    obj = pod({"containers": [], "volumes": [{"name": "v", **volume}]})
    apply_defaults(kind_of(obj), obj)
    assert obj["spec"]["volumes"] == [{"name": "v", **expected}]


def test_resources_are_rounded_to_thousandths(schemas: Schemas) -> None:
    container = {"name": "c", "image": "i:1", "resources": {"limits": {"cpu": "1.0005", "memory": "1Gi"}}}
    done = defaulted(pod({"containers": [container]}), schemas)
    assert done["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1001m", "memory": "1Gi"},
        "requests": {"cpu": "1001m", "memory": "1Gi"},
    }


def test_an_event_has_all_the_fields_that_go_writes(schemas: Schemas) -> None:
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "x"}, "involvedObject": {}}
    done = defaulted(event, schemas)
    assert done["eventTime"] is None
    assert done["source"] == {}
    assert done["reportingComponent"] == ""
