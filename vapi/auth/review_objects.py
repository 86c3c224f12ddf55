"""Shapes of review objects: fields in Kubernetes' order without the empty ones, and their managedFields. Pure."""

from __future__ import annotations

from typing import Any

from vapi.gvk import Obj

_SELECTOR: dict[str, Any] = {"rawSelector": None, "requirements": None}
_SUBJECT: dict[str, Any] = {
    "resourceAttributes": {
        "namespace": None,
        "verb": None,
        "group": None,
        "version": None,
        "resource": None,
        "subresource": None,
        "name": None,
        "fieldSelector": _SELECTOR,
        "labelSelector": _SELECTOR,
    },
    "nonResourceAttributes": {"path": None, "verb": None},
}
ACCESS_SPEC: dict[str, Any] = {**_SUBJECT, "user": None, "groups": None, "extra": None, "uid": None}
SELF_ACCESS_SPEC: dict[str, Any] = _SUBJECT
TOKEN_REVIEW_SPEC: dict[str, Any] = {"token": None, "audiences": None}
BOUND_REFERENCE: dict[str, Any] = {"kind": None, "apiVersion": None, "name": None, "uid": None}


def in_order(value: Obj, shape: dict[str, Any]) -> Obj:
    """`value` with the fields of `shape` in its order; empty texts and lists left out, given structs kept.

    A shape maps a field to the shape below it, or to None for what is taken as it is.
    """
    ordered: Obj = {}
    for field, below in shape.items():
        found = value.get(field)
        if below is not None:
            if found is not None:
                ordered[field] = in_order(found, below)
        elif found:
            ordered[field] = found
    return ordered


def fields_of(value: Obj, *, nullable: frozenset[str] = frozenset()) -> Obj:
    """The fieldsV1 of what a client set in a spec.

    A struct that was given is owned itself (`.`); those in `nullable` are part
    of an empty object already (`boundObjectRef: null`), so only their fields are.
    Source: recorded, golden auth 23, 45.
    """
    fields: Obj = {}
    for key, found in value.items():
        if isinstance(found, dict):
            fields[f"f:{key}"] = {**({} if key in nullable else {".": {}}), **fields_of(found)}
        elif found not in (None, "", []):
            fields[f"f:{key}"] = {}
    return fields


def managed_fields(fields: Obj, *, manager: str, api_version: str, time: str, subresource: str = "") -> list[Obj]:
    """One Update entry over `spec`; none if nothing is owned."""
    if not fields:
        return []
    entry: Obj = {
        "manager": manager,
        "operation": "Update",
        "apiVersion": api_version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": fields},
    }
    if subresource:
        entry["subresource"] = subresource
    return [entry]
