"""zero_object: what Go writes for an empty object of a kind.

Kubernetes compares a new object with this to find what its creator owns: a
struct that is always written (`spec: {}`) or a list that is null without its
items is nobody's, so a created Deployment has no `.` at spec.template, a
ReplicationController, where the template is a pointer, has one.
Source: endpoints/handlers/create.go (scope.Creater.New), encoding/json.
"""

from __future__ import annotations

from typing import Any

from vapi.gvk import Obj
from vapi.schema.gotypes import Form, GoType

_SCALARS: dict[Form, Any] = {
    Form.STRING: "",
    Form.BOOL: False,
    Form.INTEGER: 0,
    Form.FLOAT: 0,
    Form.QUANTITY: "0",
    Form.DURATION: "0s",
    Form.INT_OR_STRING: 0,
}
"""Everything else that is not a struct is null: lists, maps, times, raw JSON."""


def zero_object(type_: GoType | None) -> Obj:
    """Of a kind's struct; {} for one without (custom resources). Not to be edited when kept."""
    return {} if type_ is None else _zero_struct(type_)


def _zero_struct(type_: GoType) -> Obj:
    return {field.name: None if field.pointer else _zero(field.type) for field in type_.struct.always}


def _zero(type_: GoType) -> Any:
    return _zero_struct(type_) if type_.form is Form.STRUCT else _SCALARS.get(type_.form)
