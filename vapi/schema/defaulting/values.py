"""Small helpers of all defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.schema import quantity

_MILLI = 10**6
"""In nanos."""


def fill(obj: Obj, defaults: Mapping[str, Any]) -> None:
    """Set what is not there. The values must be immutable."""
    for name, value in defaults.items():
        if name not in obj:
            obj[name] = value


def child(obj: Obj, name: str) -> Obj:
    """The struct at `name`, made if it is not there (Go's non-pointer struct fields always are)."""
    found = obj.get(name)
    if found is None:
        found = obj[name] = {}
    result: Obj = found
    return result


def round_resources(resources: Obj | None) -> None:
    """Resource quantities are whole thousandths: `1.0005` became `1000500u`, and here `1001m`."""
    if not resources:
        return
    for name, text in resources.items():
        if text[-1] in "nu" or "e-" in text or "E-" in text or "." in text:
            nanos = quantity.parse(text).nanos
            resources[name] = quantity.canonical(f"{-(-nanos // _MILLI)}m")


def round_requirements(resources: Obj | None) -> None:
    """Of a `resources` with limits and requests."""
    if resources:
        round_resources(resources.get("limits"))
        round_resources(resources.get("requests"))
