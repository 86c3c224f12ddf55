"""The scale subresource: an autoscaling/v1 Scale made from, and written back to, an object with replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vapi import errors
from vapi.clock import Clock
from vapi.gvk import GVK, GVR, Obj
from vapi.registry import managed_fields, scale_fields
from vapi.registry.ownership import FieldOwnership
from vapi.registry.registry import Registry
from vapi.registry.virtual import Call, CallHandler, Reply
from vapi.registry.writes import APPLY
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

    def __init__(self, registry: Registry, fields: FieldOwnership, clock: Clock) -> None:
        self._registry = registry
        self._fields = fields
        self._clock = clock

    def handlers(self) -> Mapping[tuple[str, str, str], CallHandler]:
        return {(group, plural, "scale"): self.handle for group, plural in SCALABLE}

    async def handle(self, call: Call) -> Reply:
        row = SCALABLE[(call.row.gvr.group, call.row.gvr.resource)]
        if call.verb is Verb.GET:
            entry = await self._registry.get(call.row, call.namespace, call.name)
            return Reply(to_scale(entry.obj(), row), 200)

        def change(obj: Obj) -> Obj:
            return self._scaled(call, obj, row)

        written = await self._registry.change(
            call.caller, call.row, call.namespace, call.name, change, subresource="scale", tracked=True
        )
        return Reply(to_scale(written.entry.obj(), row), 200)

    def _scaled(self, call: Call, obj: Obj, row: ScaleRow) -> Obj:
        """`obj`, edited, as the wanted Scale has it: its replicas and who owns them. Raises ApiError.

        Source: pkg/registry/apps/deployment/storage scaleUpdatedObjectInfo.
        """
        metadata, paths = obj["metadata"], {call.row.gvk.api_version: scale_fields.REPLICAS}
        owners = metadata.get("managedFields") or []
        old = managed_fields.with_entries(to_scale(obj, row), scale_fields.to_scale(owners, paths))
        wanted = self._wanted(call, old)
        obj["spec"]["replicas"] = _replicas(call, old, wanted)
        owners = scale_fields.to_parent(
            owners, wanted["metadata"].get("managedFields"), api_version=call.row.gvk.api_version, paths=paths
        )
        return managed_fields.with_entries(obj, owners)

    def _wanted(self, call: Call, old: Obj) -> Obj:
        """The Scale after the write, managedFields included."""
        now, patch = self._clock.now(), call.patch
        if patch is not None and patch.content_type == APPLY:
            return self._fields.apply(
                SCALE_ROW,
                old,
                patch,
                caller=call.caller,
                subresource="scale",
                name=call.name,
                namespace=call.namespace,
                now=now,
            )
        wanted = self._fields.patch(SCALE_ROW, old, patch, call.caller) if patch is not None else call.body or {}
        metadata = wanted.get("metadata")
        if not isinstance(metadata, dict):
            metadata = wanted["metadata"] = {}
        self._fields.track(SCALE_ROW, old, wanted, manager=call.caller.field_manager, subresource="scale", now=now)
        return wanted


def _replicas(call: Call, old: Obj, wanted: Obj) -> int:
    """Of the wanted Scale, once its preconditions hold. Raises ApiError."""
    metadata, stored = wanted["metadata"], old["metadata"]
    if metadata.get("name", call.name) != call.name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        )
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        cause = errors.field_invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise errors.invalid(SCALE, call.name, [cause])
    gvr, uid, version = call.row.gvr, metadata.get("uid"), metadata.get("resourceVersion")
    if uid and uid != stored["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored['uid']}"
        raise errors.conflict(GVR(gvr.group, gvr.version, f"{gvr.resource}/scale"), call.name, why)
    if version and version != stored["resourceVersion"]:
        raise errors.conflict(gvr, call.name)
    return int(replicas)
