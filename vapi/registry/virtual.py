"""Calls that are not CRUD on a stored object: review kinds and subresources with a body of their own.

One table, (group, resource, subresource) → handler, filled by the composition
root from `auth` (reviews, tokens), `registry` (eviction, binding, scale,
finalize) and `sync` (nothing: tunnels are HTTP and live in `endpoints`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from vapi.gvk import Obj
from vapi.registry.caller import Caller, PatchRequest
from vapi.resources.resource import Resource, Verb


@dataclass(frozen=True, slots=True)
class Call:
    """`body` is the decoded object of a create or update; None for get. `patch` is the body of a PATCH."""

    caller: Caller
    row: Resource
    subresource: str
    verb: Verb
    namespace: str
    name: str
    body: Obj | None = None
    patch: PatchRequest | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """`obj` complete with apiVersion and kind."""

    obj: Obj
    code: int = 201


CallHandler = Callable[[Call], Awaitable[Reply]]
CallTable = Mapping[tuple[str, str, str], CallHandler]
"""(group, plural, subresource or "") → handler."""
