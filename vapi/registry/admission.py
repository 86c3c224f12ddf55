"""Admission: what may change or refuse a write between decoding and validation: plugins in Kubernetes' order.

A plugin is a row: which resources and operations it looks at, and a mutating
and a validating hook. Both may await (webhooks will); built-in ones read the
watch cache through `Lookup` and do not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vapi.cacher.entry import Entry
from vapi.gvk import GVR, Obj
from vapi.registry.caller import Caller
from vapi.resources.resource import Resource


class Operation(StrEnum):
    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


@dataclass(slots=True)
class AdmissionRequest:
    """`obj` is the private new object (hooks edit it), None on DELETE; `old` is shared, never edited."""

    caller: Caller
    row: Resource
    operation: Operation
    namespace: str
    name: str
    subresource: str
    obj: Obj | None
    old: Obj | None


class Lookup(Protocol):
    """The watch cache, synchronous."""

    def cached(self, gvr: GVR, namespace: str, name: str) -> Entry | None: ...

    def entries(self, gvr: GVR, namespace: str = "") -> Iterable[Entry]: ...


Hook = Callable[[AdmissionRequest], Awaitable[None] | None]
"""Raises ApiError to refuse. A plain function where it need not await."""


@dataclass(frozen=True, slots=True)
class AdmissionPlugin:
    """`resources`: (group, plural) or (group, plural/subresource); None: all."""

    name: str
    operations: frozenset[Operation]
    resources: frozenset[tuple[str, str]] | None
    mutate: Hook | None = None
    validate: Hook | None = None


class Admission:
    """The plugins, in order; which of them look at a request is worked out once per resource and operation."""

    def __init__(self, plugins: Sequence[AdmissionPlugin]) -> None:
        self._plugins = tuple(plugins)
        self._mutating: dict[tuple[str, str, Operation], tuple[Hook, ...]] = {}
        self._validating: dict[tuple[str, str, Operation], tuple[Hook, ...]] = {}

    async def mutate(self, request: AdmissionRequest) -> None:
        """Raises ApiError. Plugins may replace `request.obj`."""
        key = _key(request)
        hooks = self._mutating.get(key)
        if hooks is None:
            hooks = self._mutating[key] = tuple(p.mutate for p in self._of(key) if p.mutate is not None)
        for hook in hooks:
            answer = hook(request)
            if answer is not None:
                await answer

    async def validate(self, request: AdmissionRequest) -> None:
        """Raises ApiError."""
        key = _key(request)
        hooks = self._validating.get(key)
        if hooks is None:
            hooks = self._validating[key] = tuple(p.validate for p in self._of(key) if p.validate is not None)
        for hook in hooks:
            answer = hook(request)
            if answer is not None:
                await answer

    def _of(self, key: tuple[str, str, Operation]) -> Iterable[AdmissionPlugin]:
        group, resource, operation = key
        for plugin in self._plugins:
            if operation in plugin.operations and (plugin.resources is None or (group, resource) in plugin.resources):
                yield plugin


def _key(request: AdmissionRequest) -> tuple[str, str, Operation]:
    resource = request.row.gvr.resource
    if request.subresource:
        resource = f"{resource}/{request.subresource}"
    return request.row.gvr.group, resource, request.operation
