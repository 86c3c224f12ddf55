"""Ownership of replicas, carried between an object's managedFields and those of its Scale. Pure.

A write through /scale is tracked on the Scale, whose entries are made from the
parent's that own the replicas field; afterwards they are written back: who lost
the field loses it in the parent, who won it gets an entry with subresource
`scale` and no time.
Source: apimachinery util/managedfields.ScaleHandler; contract §3.11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.registry import fieldpath, managed_fields
from vapi.registry.fieldpath import FieldSet, Path
from vapi.registry.managed_fields import Entry, Managers

SCALE_VERSION = "autoscaling/v1"
REPLICAS: Path = ("f:spec", "f:replicas")

Paths = Mapping[str, Path]
"""apiVersion of the parent's kind → its replicas field. Entries of other versions are not the Scale's."""


def to_scale(entries: Any, paths: Paths) -> list[Obj]:
    """The managedFields of a Scale made from an object with `entries`."""
    managers: Managers = {}
    for key, entry in _decoded(entries).items():
        path = paths.get(entry.api_version)
        if path is not None and fieldpath.contains(entry.fields, path):
            managers[key] = Entry(SCALE_VERSION, entry.time, fieldpath.from_paths([REPLICAS]))
    return managed_fields.encode(managers)


def to_parent(entries: Any, scale_entries: Any, *, api_version: str, paths: Paths) -> list[Obj]:
    """The parent's managedFields after a write that left its Scale with `scale_entries`."""
    parents = _decoded(entries)
    scales = {
        key._replace(api_version=api_version) if key.api_version else key: entry
        for key, entry in _decoded(scale_entries).items()
    }
    managers: Managers = {}
    for key, entry in parents.items():
        path = paths.get(entry.api_version)
        if path is None:
            continue
        if not fieldpath.contains(entry.fields, path):
            managers[key] = entry
        elif key in scales:
            managers[key] = entry
            del scales[key]
        else:
            rest = fieldpath.difference(entry.fields, fieldpath.from_paths([path]))
            if rest:
                managers[key] = Entry(entry.api_version, entry.time, rest)
    replicas: FieldSet = fieldpath.from_paths([paths[api_version]])
    for key, entry in scales.items():
        if fieldpath.contains(entry.fields, REPLICAS):
            before = parents.get(key)
            managers[key] = Entry(api_version, before.time if before else None, replicas)
    return managed_fields.encode(managers)


def _decoded(entries: Any) -> Managers:
    return managed_fields.decode(entries) if entries else {}
