"""Owners by another version of a kind: what they own is compared in their version."""

from __future__ import annotations

from typing import Any

from tests.planes import plane
from vapi import encoding
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane
from vapi.registry.caller import PatchRequest, system_caller

V1, V2 = (GVR("autoscaling", version, "horizontalpodautoscalers") for version in ("v1", "v2"))
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
SPEC = {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": TARGET, "metrics": [CPU]}
APPLIED = {
    "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": SPEC,
}  # fmt: skip


async def write(server: ControlPlane, gvr: GVR, manager: str, body: Obj, content_type: str) -> Obj:
    caller = system_caller("test")
    caller.field_manager = manager
    patch = PatchRequest(content_type=content_type, body=encoding.dumps(body), force=True)
    written = await server.registry.patch(caller, server.registry.row(gvr), "default", "h", patch)
    return written.entry.obj()


def owned(obj: Obj, manager: str) -> dict[str, Any]:
    """The fields of its spec; {} once it owns none."""
    (fields,) = [e["fieldsV1"] for e in obj["metadata"]["managedFields"] if e["manager"] == manager] or [{}]
    spec: dict[str, Any] = fields.get("f:spec", {})
    return spec


async def test_who_writes_through_v1_takes_its_fields_from_an_owner_by_v2() -> None:
    """As recorded of 1.37.1, with a controller beside."""
    async with plane() as server:
        first = await write(server, V2, "a", APPLIED, APPLY)
        assert owned(first, "a").keys() == {"f:minReplicas", "f:maxReplicas", "f:scaleTargetRef", "f:metrics"}
        second = await write(server, V1, "b", {"spec": {"maxReplicas": 7}}, MERGE)
        assert owned(second, "a").keys() == {"f:minReplicas", "f:scaleTargetRef", "f:metrics"}
        assert owned(second, "b") == {"f:maxReplicas": {}}
        third = await write(server, V1, "c", {"spec": {"targetCPUUtilizationPercentage": 80}}, MERGE)
        assert "f:metrics" not in owned(third, "a")
        assert owned(third, "c") == {"f:targetCPUUtilizationPercentage": {}}
        last = await write(server, V2, "a", APPLIED, APPLY)
        assert owned(last, "b") == owned(last, "c") == {}
