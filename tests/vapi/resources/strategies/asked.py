"""Requests written down with a real API server's answers, and how they are put to a plane of ours.

A case: a title, steps, and what the last step got: code, causes, warnings. A step is
`["POST", version, plural, body]` or `["PATCH", version, plural, name, merge patch, subresource]`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vapi.errors import ApiError
from vapi.plane import ControlPlane
from vapi.registry.caller import Caller, DeleteOptions, PatchRequest, system_caller
from vapi.resources.resource import Propagation, Resource
from vapi.schema.decode import FieldValidation, decode_body

RECORDED = Path(__file__).parent / "recorded"
OK = 200
_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Case = dict[str, Any]
Step = list[Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """`code`: OK for any success. Causes as `field: message (reason)`, with uids taken out."""

    code: int
    causes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def cases(name: str) -> list[Case]:
    found: list[Case] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def causes_of(status: dict[str, Any]) -> tuple[str, ...]:
    listed = (status.get("details") or {}).get("causes") or ()
    return tuple(_UID.sub("<uid>", f"{c.get('field', '')}: {c['message']} ({c.get('reason', '')})") for c in listed)


def recorded(case: Case) -> Answer:
    return Answer(case["code"], tuple(case.get("causes", ())), tuple(case.get("warnings", ())))


async def ask(plane: ControlPlane, case: Case) -> Answer:
    """The answer to the last step; what the steps made is gone again afterwards."""
    steps = case["steps"]
    caller = system_caller("test")
    try:
        for step in steps:
            caller = system_caller("test")
            caller.dry_run = step is steps[-1] and step[0] == "POST"
            await _step(plane, caller, step)
    except ApiError as error:
        return Answer(error.code, causes_of(error.status()))
    finally:
        if len(steps) > 1:
            await _remove(plane, steps[0])
    return Answer(OK, (), tuple(caller.warnings))


def _row(plane: ControlPlane, step: Step) -> Resource:
    group, _, version = step[1].rpartition("/")
    row = plane.catalog.row(group, version, step[2])
    assert row is not None
    return row


async def _step(plane: ControlPlane, caller: Caller, step: Step) -> None:
    row = _row(plane, step)
    namespace = "default" if row.namespaced else ""
    if step[0] == "POST":
        decoded = decode_body(
            json.dumps(step[3]).encode(),
            "application/json",
            expected=row.gvk,
            schemas=plane.schemas,
            field_validation=FieldValidation.WARN,
        )
        await plane.registry.create(caller, row, namespace, decoded.obj)
        return
    _, _, _, name, patch, subresource = step
    request = PatchRequest("application/merge-patch+json", json.dumps(patch).encode(), field_validation="Ignore")
    await plane.registry.patch(caller, row, namespace, name, request, subresource=subresource)


async def _remove(plane: ControlPlane, made: Step) -> None:
    row = _row(plane, made)
    options = DeleteOptions(grace_period_s=0, propagation=Propagation.BACKGROUND)
    namespace = "default" if row.namespaced else ""
    try:
        await plane.registry.delete(system_caller("test"), row, namespace, made[3]["metadata"]["name"], options)
    except ApiError as error:
        assert error.code in (404, 409), error
