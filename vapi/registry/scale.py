"""The scale subresource: an autoscaling/v1 Scale made from, and written back to, an object with replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vapi import errors
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, Obj
from vapi.registry.ownership import FieldOwnership
from vapi.registry.registry import Registry
from vapi.registry.virtual import Call, CallHandler, Reply
from vapi.resources.resource import Resource, Verb
from vapi.resources.strategy import Strategy

SCALE = GVK("autoscaling", "v1", "Scale")
SCALE_ROW = Resource(
    gvr=GVR(SCALE.group, SCALE.version, "scales"),
    kind=SCALE.kind,
    singular="scale",
    namespaced=True,
    verbs=frozenset(),
    stored=None,
    strategy=Strategy(),
)
"""Of no route: what a patch of `<plural>/scale` is decoded by."""


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """Where a kind keeps its numbers; `plain_selector`: a label map, not a LabelSelector (ReplicationController)."""

    plain_selector: bool = False


SCALABLE: Mapping[tuple[str, str], ScaleRow] = {
    ("apps", "deployments"): ScaleRow(),
    ("apps", "replicasets"): ScaleRow(),
    ("apps", "statefulsets"): ScaleRow(),
    ("", "replicationcontrollers"): ScaleRow(plain_selector=True),
}


def to_scale(obj: Obj, row: ScaleRow) -> Obj:
    """The Scale of an object; `spec.replicas` is omitted when 0, as Go's omitempty does."""
    metadata = obj["metadata"]
    spec = obj.get("spec", {})
    replicas = spec.get("replicas", 0)
    selector = spec.get("selector") or {}
    text = ",".join(f"{k}={v}" for k, v in sorted(selector.items())) if row.plain_selector else selector_text(selector)
    status: Obj = {"replicas": obj.get("status", {}).get("replicas", 0)}
    if text:
        status["selector"] = text
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def selector_text(selector: Obj) -> str:
    """A metav1.LabelSelector as clients write it in a query. Source: metav1.LabelSelectorAsSelector and its String."""
    terms = [(k, f"{k}={v}") for k, v in (selector.get("matchLabels") or {}).items()]
    for requirement in selector.get("matchExpressions") or ():
        key, values = requirement["key"], ",".join(sorted(requirement.get("values") or ()))
        form = _OPERATORS[requirement["operator"]]
        terms.append((key, form.format(key=key, values=values)))
    return ",".join(text for _, text in sorted(terms, key=lambda term: term[0]))


_OPERATORS = {
    "In": "{key} in ({values})",
    "NotIn": "{key} notin ({values})",
    "Exists": "{key}",
    "DoesNotExist": "!{key}",
}


class Scales:
    """Handlers of `<plural>/scale` for the CallTable."""

    def __init__(self, registry: Registry, fields: FieldOwnership) -> None:
        self._registry = registry
        self._fields = fields

    def handlers(self) -> Mapping[tuple[str, str, str], CallHandler]:
        return {(group, plural, "scale"): self.handle for group, plural in SCALABLE}

    async def handle(self, call: Call) -> Reply:
        row = SCALABLE[(call.row.gvr.group, call.row.gvr.resource)]
        if call.verb is Verb.GET:
            entry = await self._registry.get(call.row, call.namespace, call.name)
            return Reply(to_scale(entry.obj(), row), 200)

        def change(obj: Obj) -> Obj:
            wanted = self._wanted(call, to_scale(obj, row))
            obj["spec"]["replicas"] = wanted
            return obj

        written = await self._registry.change(
            call.caller, call.row, call.namespace, call.name, change, subresource="scale"
        )
        return Reply(to_scale(written.entry.obj(), row), 200)

    def _wanted(self, call: Call, scale: Obj) -> int:
        patched = self._fields.patch(SCALE_ROW, scale, call.patch, call.caller) if call.patch is not None else call.body
        wanted = patched or {}
        metadata = wanted.get("metadata") or {}
        if metadata.get("name", call.name) != call.name:
            raise errors.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
            )
        version = metadata.get("resourceVersion")
        if version and version != scale["metadata"]["resourceVersion"]:
            raise errors.conflict(call.row.gvr, call.name)
        uid = metadata.get("uid")
        if uid and uid != scale["metadata"]["uid"]:
            raise errors.conflict(
                call.row.gvr,
                call.name,
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {scale['metadata']['uid']}",
            )
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise errors.bad_request("spec.replicas must be an integer")
        if replicas < 0:
            raise _negative(call, replicas)
        return replicas


def _negative(call: Call, replicas: int) -> ApiError:
    cause = errors.field_invalid("spec.replicas", replicas, "must be greater than or equal to 0")
    return errors.invalid(SCALE, call.name, [cause])
