"""What plain objects have in common: a list of fields that go out whole."""

from __future__ import annotations

from collections.abc import Iterable

from sync.translator import Context
from vapi.gvk import GVK, Obj


def with_fields(virtual: Obj, gvk: GVK, context: Context, fields: Iterable[str]) -> Obj:
    """The twin with its metadata and `fields`, as they are; a field that is null or missing stays away."""
    desired: Obj = {
        "apiVersion": gvk.api_version,
        "kind": gvk.kind,
        "metadata": context.host_metadata(virtual, gvk),
    }
    for field in fields:
        if virtual.get(field) is not None:
            desired[field] = virtual[field]
    return desired


def immutable_differs(desired: Obj, host: Obj) -> bool:
    """An immutable ConfigMap or Secret on the host that must change after all: the tenant made a new one."""
    if not host.get("immutable"):
        return False
    return not desired.get("immutable") or any(
        (desired.get(k) or {}) != (host.get(k) or {}) for k in ("data", "binaryData")
    )


def contains(live: object, desired: object) -> bool:
    """Whether `live` has all of `desired`: maps may have more keys, lists not more items."""
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(k in live and contains(live[k], v) for k, v in desired.items())
    if isinstance(desired, list):
        return (
            isinstance(live, list)
            and len(live) == len(desired)
            and all(contains(a, b) for a, b in zip(live, desired, strict=True))
        )
    return type(live) is type(desired) and live == desired
