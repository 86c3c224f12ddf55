"""ReplicationControllers: their selector is a plain map."""

from __future__ import annotations

from sync.translator import Context
from sync.translators import template, workload
from vapi.gvk import GVK, GVR, Obj

REPLICATIONCONTROLLERS = GVR("", "v1", "replicationcontrollers")


def to_spec(virtual: Obj, context: Context) -> Obj:
    spec: Obj = dict(virtual["spec"])
    spec["selector"] = context.selector_labels(spec.get("selector"), virtual["metadata"]["namespace"])
    spec["template"] = template.host_template(spec["template"], virtual, REPLICATIONCONTROLLERS, context)
    return spec


TRANSLATOR = workload.row(REPLICATIONCONTROLLERS, GVK("", "v1", "ReplicationController"), to_spec, exact=workload.EXACT)
