"""Admission requests, and what the plugins make of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest

from tests.vapi.auth.shelf import row_of
from vapi.authorizer import User
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Operation
from vapi.registry.caller import Caller

SOMEBODY = User("somebody", groups=("system:authenticated",))


def create(obj: Obj, *, who: User = SOMEBODY, subresource: str = "", name: str | None = None) -> AdmissionRequest:
    metadata = obj["metadata"]
    return AdmissionRequest(
        Caller(who),
        row_of(obj),
        Operation.CREATE,
        metadata.get("namespace", ""),
        metadata.get("name", "") if name is None else name,
        subresource,
        obj,
        None,
    )


def update(old: Obj, new: Obj, *, who: User = SOMEBODY, subresource: str = "") -> AdmissionRequest:
    request = create(new, who=who, subresource=subresource)
    request.operation = Operation.UPDATE
    request.old = old
    return request


def delete(old: Obj, *, who: User = SOMEBODY) -> AdmissionRequest:
    request = create(old, who=who)
    request.operation, request.obj, request.old = Operation.DELETE, None, old
    return request


def concerned(plugins: Iterable[AdmissionPlugin], request: AdmissionRequest) -> list[AdmissionPlugin]:
    resource = request.row.gvr.resource + (f"/{request.subresource}" if request.subresource else "")
    key = (request.row.gvr.group, resource)
    return [p for p in plugins if request.operation in p.operations and (p.resources is None or key in p.resources)]


def admit(request: AdmissionRequest, *plugins: AdmissionPlugin) -> Obj:
    """The object after the hooks, which must not await."""
    chosen = concerned(plugins, request)
    for hook in (*(p.mutate for p in chosen), *(p.validate for p in chosen)):
        if hook is not None:
            assert not inspect.isawaitable(hook(request))
    return request.obj or {}


def refusal(request: AdmissionRequest, *plugins: AdmissionPlugin) -> ApiError:
    with pytest.raises(ApiError) as caught:
        admit(request, *plugins)
    return caught.value
