"""A patch takes what it leaves alone from the stored object; nobody can tell."""

from __future__ import annotations

from tests.planes import PODS, plane, pod
from vapi.gvk import Obj
from vapi.plane import ControlPlane
from vapi.registry.admission import Admission, AdmissionPlugin, AdmissionRequest, Operation
from vapi.registry.caller import PatchRequest, system_caller
from vapi.registry.typed import added, compare


async def _annotated(running: ControlPlane) -> Obj:
    request = PatchRequest("application/merge-patch+json", b'{"metadata":{"annotations":{"a":"b"}}}')
    row = running.registry.row(PODS)
    caller = system_caller("patcher")
    return (await running.registry.patch(caller, row, "default", "p", request)).entry.obj()


async def test_a_patch_of_metadata_keeps_spec_and_status() -> None:
    async with plane() as running:
        before = await running.client("test").create(PODS, pod("p"))
        after = await _annotated(running)
    assert (after["spec"], after["status"]) == (before["spec"], before["status"])
    assert after["metadata"]["annotations"] == {"a": "b"}
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_what_admission_adds_deep_in_a_shared_part_counts_as_a_change() -> None:
    seen: list[str] = []

    def tolerate(request: AdmissionRequest) -> None:
        assert request.obj is not None
        request.obj["spec"].setdefault("tolerations", []).append({"key": "k", "operator": "Exists"})
        seen.append(request.name)

    async with plane() as running:
        before = await running.client("test").create(PODS, pod("p"))
        plugin = AdmissionPlugin("Tolerate", frozenset({Operation.UPDATE}), None, mutate=tolerate)
        running.registry.use_admission(Admission((plugin,)))
        after = await _annotated(running)
    assert seen == ["p", "p"]  # the second time on a copy
    assert after["spec"]["tolerations"] == [{"key": "k", "operator": "Exists"}]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


async def test_the_fields_of_a_new_object_are_those_that_differ_from_nothing() -> None:
    async with plane() as running:
        made = await running.client("test").create(PODS, pod("p", app="web"))
        schema = running.schemas.definitions.for_gvk(running.registry.row(PODS).gvk)
        zero: Obj = {"metadata": {}, "spec": {"containers": None}, "status": {}}
        cases: list[Obj] = [made, made, {"metadata": {"name": "x"}}, {"spec": {}}, {"spec": None}]
        for obj in cases:
            assert added(zero, obj, schema) == compare(zero, obj, schema)
