"""Samples: one small valid object of every stored kind, and the calls of the kinds that are not stored."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

from vapi.gvk import GVR, Obj

_FILE = Path(__file__).with_name("samples.yaml")


@functools.cache
def _samples() -> dict[str, Obj]:
    found: dict[str, Obj] = yaml.safe_load(_FILE.read_text())
    return found


def sample(gvr: GVR, name: str = "") -> Obj:
    """A private object of the resource, named `name` unless its kind fixes the name. Raises KeyError."""
    found = _samples()
    key = f"{gvr.resource}.{gvr.group}" if gvr.group else gvr.resource
    obj: dict[str, Any] = copy.deepcopy(found.get(f"{gvr.resource}.{gvr.version}.{gvr.group}") or found[key])
    metadata = obj.setdefault("metadata", {})
    metadata.setdefault("name", name)
    return obj
