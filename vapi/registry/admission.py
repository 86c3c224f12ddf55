"""Admission: what may change or refuse a write between decoding and validation, as a list of plugins in Kubernetes' order.

A plugin is a row: which resources and operations it looks at, and a mutating
and a validating hook. Both may await (webhooks will); built-in ones read the
watch cache through `Lookup` and do not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
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
