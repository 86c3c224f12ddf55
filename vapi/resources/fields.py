"""Field getters: what a field selector compares, read from a stored object as a string.

Kubernetes prints what a typed object would hold, so an unset bool is "false",
an unset int "0" and an unset string "". Source: ToSelectableFields of each registry.
"""

from __future__ import annotations

from typing import Any

from vapi.gvk import Obj
from vapi.resources.resource import FieldGetter


def _at(obj: Obj, path: tuple[str, ...]) -> Any:
    value: Any = obj
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def text(path: str) -> FieldGetter:
    keys = tuple(path.split("."))
    if len(keys) != 2:
        return lambda obj: str(_at(obj, keys) or "")
    outer, inner = keys

    def member(obj: Obj) -> str:
        """Of most labels, and read in every event: without a loop."""
        value = obj.get(outer)
        found = value.get(inner) if isinstance(value, dict) else None
        return found if isinstance(found, str) else str(found or "")

    return member


def boolean(path: str) -> FieldGetter:
    keys = tuple(path.split("."))
    return lambda obj: "true" if _at(obj, keys) else "false"


def number(path: str) -> FieldGetter:
    keys = tuple(path.split("."))
    return lambda obj: str(_at(obj, keys) or 0)


def texts(*paths: str) -> dict[str, FieldGetter]:
    """Fields whose label is their path."""
    return {path: text(path) for path in paths}


def event_source(event: Obj) -> str:
    """Label `source` of a core Event: who reported it, in the old field or the new one."""
    return str(_at(event, ("source", "component")) or event.get("reportingComponent") or "")


def never(_obj: Obj) -> str:
    """A label that is accepted and always empty (pods' `status.podIPs`)."""
    return ""
