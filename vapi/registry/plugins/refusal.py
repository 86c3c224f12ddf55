"""How admission refuses: 403, naming the object as far as it has a name yet."""

from __future__ import annotations

from vapi import errors
from vapi.errors import ApiError
from vapi.registry.admission import AdmissionRequest


def refuse(request: AdmissionRequest, why: str) -> ApiError:
    """`pods "x" is forbidden: <why>`; an object to be named by generateName is called by that, else `Unknown`.

    Source: apiserver admission.NewForbidden.
    """
    name = request.name
    if not name:
        metadata = (request.obj or {}).get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or "Unknown"
    return errors.forbidden(request.row.gvr, name, why)
