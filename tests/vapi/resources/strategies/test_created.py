"""Objects right after their creation: all of a real server's defaults but what its plugins and controllers add."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.planes import plane
from tests.vapi.resources.golden import golden
from vapi.errors import ApiError
from vapi.gvk import GVK, Obj
from vapi.registry.caller import system_caller
from vapi.schema.decode import FieldValidation, decode_body

_SERVERS = re.compile(r"metadata\.(uid|resourceVersion|creationTimestamp|managedFields)(\b.*)?")
_LEFT_OUT: dict[str, str] = {
    "Pod": r"spec\.(serviceAccount(Name)?|tolerations|priority|preemptionPolicy|volumes.*)"
    r"|spec\.(initC|c)ontainers.*volumeMounts.*"
    r"|metadata\.annotations.*",
    "Service": r"spec\.(clusterIPs?|ipFamilies|ipFamilyPolicy|ports.*nodePort|healthCheckNodePort)",
    "PersistentVolumeClaim": r"metadata\.finalizers",
    "PersistentVolume": r"metadata\.finalizers|status\.lastPhaseTransitionTime",
    "Node": r"spec\.taints",
    "ReplicaSet": r"status\.replicas",
    "ReplicationController": r"status\.replicas",
    "Job": r".*controller-uid",  # made of the uid
    "CertificateSigningRequest": r"spec\.(username|groups|extra.*|uid)",
}


async def test_what_is_created_looks_as_on_a_real_server() -> None:
    different: dict[str, list[str]] = {}
    async with plane() as ours:
        for index, entry in enumerate(golden("defaults_1.37.json")):
            sent, wanted = entry["in"], entry["out"]
            if sent["kind"] == "Pod":
                sent["spec"]["serviceAccountName"] = "default"  # as the plugin does
            group, _, version = sent["apiVersion"].rpartition("/")
            row = ours.catalog.by_gvk(GVK(group, version, sent["kind"]))
            assert row is not None
            caller = system_caller("test")
            caller.dry_run = True  # some share a name
            body = decode_body(
                json.dumps(sent).encode(),
                "application/json",
                expected=row.gvk,
                schemas=ours.schemas,
                field_validation=FieldValidation.WARN,
            ).obj
            try:
                written = await ours.registry.create(caller, row, "default" if row.namespaced else "", body)
                found = written.entry.obj()
                found = row.from_stored(found) if row.from_stored else found
            except ApiError as error:
                found = error.status()
            allowed = re.compile(_LEFT_OUT.get(sent["kind"], "(?!)"))
            paths = [
                path
                for path in _differences(wanted, found, "")
                if not _SERVERS.fullmatch(path) and not allowed.fullmatch(path)
            ]
            if paths:
                different[f"{index} {sent['kind']}"] = paths
    assert different == {}


def _differences(wanted: Any, found: Any, path: str) -> list[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = sorted(wanted.keys() | found.keys())
        absent = object()
        return [
            different
            for key in keys
            for different in _differences(wanted.get(key, absent), found.get(key, absent), f"{path}.{key}".lstrip("."))
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        pairs = enumerate(zip(wanted, found, strict=True))
        return [different for index, (w, f) in pairs for different in _differences(w, f, f"{path}[{index}]")]
    return [] if wanted == found else [path]


@pytest.mark.parametrize(
    ("name", "plural", "made"),
    [
        ("system:any", "clusterroles", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}),
        ("1-digit-first", "services", {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 1}]}}),
    ],
)
async def test_names_are_checked_as_their_kind_wants_it(name: str, plural: str, made: Obj) -> None:
    async with plane() as ours:
        group, _, version = made["apiVersion"].rpartition("/")
        row = ours.catalog.row(group, version, plural)
        assert row is not None
        created = await ours.client("test").create(
            row.gvr, {**made, "metadata": {"name": name, **({"namespace": "default"} if row.namespaced else {})}}
        )
    assert created["metadata"]["name"] == name
