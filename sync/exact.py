"""Exact: what a host object has more than was asked for, where nobody may add anything. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vapi.gvk import Obj

_NOTHING = object()


def beyond(paths: Iterable[str], live: Obj, desired: Obj) -> Obj:
    """A merge patch that makes `live` exactly `desired` below those `paths` where it has more; {} where it has not.

    What is desired there is in the patch as well: an addition may exclude it (minAvailable and maxUnavailable).
    """
    patch: dict[str, Any] = {}
    for path in paths:
        *above, field = path.split(".")
        have, want = live, desired
        for part in above:
            have, want = have.get(part) or {}, want.get(part) or {}
        if field not in have:
            continue
        surplus = _surplus(have[field], want[field]) if field in want else None
        if surplus is _NOTHING:
            continue
        there = patch
        for part in above:
            there = there.setdefault(part, {})
        there[field] = _over(want.get(field), surplus)
    return patch


def _surplus(live: object, desired: object) -> object:
    """Keys to be removed, as nulls, and lists to be replaced; _NOTHING where `live` has no more than `desired`."""
    if isinstance(live, dict) and isinstance(desired, dict):
        each = {k: _surplus(v, desired[k]) if k in desired else None for k, v in live.items()}
        found = {k: v for k, v in each.items() if v is not _NOTHING}
        return found or _NOTHING
    return desired if isinstance(live, list) and live != desired else _NOTHING


def _over(desired: object, surplus: object) -> object:
    if isinstance(desired, dict) and isinstance(surplus, dict):
        return desired | {k: _over(desired.get(k), v) for k, v in surplus.items()}
    return surplus
