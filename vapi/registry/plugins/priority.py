"""Priority: priorityClassName → priority and preemptionPolicy of a Pod, and at most one default class."""

from __future__ import annotations

from dataclasses import dataclass

from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo
from vapi.registry.plugins.refusal import refuse

PRIORITY_CLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses")
PREEMPT = "PreemptLowerPriority"


@dataclass(frozen=True, slots=True)
class PriorityClass:
    name: str
    value: int
    policy: str
    default: bool = False


SYSTEM = {
    "system-cluster-critical": PriorityClass("system-cluster-critical", 2_000_000_000, PREEMPT),
    "system-node-critical": PriorityClass("system-node-critical", 2_000_001_000, PREEMPT),
}
"""Known before they exist: the pods that need them may come first."""

_NONE = PriorityClass("", 0, PREEMPT)


def priority(lookup: Lookup) -> AdmissionPlugin:
    plugin = _Priority(lookup)
    return AdmissionPlugin(
        "Priority",
        frozenset({Operation.CREATE, Operation.UPDATE}),
        frozenset({("", "pods")}),
        mutate=plugin.admit_pod,
    )


def one_default_class(lookup: Lookup) -> AdmissionPlugin:
    plugin = _Priority(lookup)
    return AdmissionPlugin(
        "Priority",
        frozenset({Operation.CREATE, Operation.UPDATE}),
        frozenset({("scheduling.k8s.io", "priorityclasses")}),
        validate=plugin.validate_class,
    )


class _Priority:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._facts: EntryMemo[PriorityClass] = EntryMemo(_facts)

    def admit_pod(self, request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        spec = request.obj["spec"]
        if request.old is not None:
            _keep(spec, request.old["spec"])
            return
        chosen = self._chosen(request, spec.get("priorityClassName") or "")
        given = spec.get("priority")
        if given is not None and given != chosen.value:
            raise refuse(
                request,
                f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
                f"controller computed {chosen.value} from the given PriorityClass name",
            )
        policy = spec.get("preemptionPolicy")
        if policy is not None and chosen.policy and policy != chosen.policy:
            raise refuse(
                request,
                f"the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; priority admission "
                f"controller computed {chosen.policy} from the given PriorityClass name",
            )
        if chosen.name:
            spec["priorityClassName"] = chosen.name
        spec["priority"] = chosen.value
        if chosen.policy:
            spec["preemptionPolicy"] = chosen.policy

    def validate_class(self, request: AdmissionRequest) -> None:
        if request.obj is None or not request.obj.get("globalDefault"):
            return
        present = self._default()
        if present.name and (request.old is None or present.name != request.obj["metadata"]["name"]):
            raise refuse(
                request, f"PriorityClass {present.name} is already marked as default. Only one default can exist"
            )

    def _chosen(self, request: AdmissionRequest, name: str) -> PriorityClass:
        if not name:
            return self._default()
        entry = self._lookup.cached(PRIORITY_CLASSES, "", name)
        if entry is not None:
            return self._facts.of(entry)
        if name in SYSTEM:
            return SYSTEM[name]
        raise refuse(request, f"no PriorityClass with name {name} was found")

    def _default(self) -> PriorityClass:
        """The class marked as default; of several (written at once), the one with the lowest value."""
        lowest = _NONE
        for entry in self._lookup.entries(PRIORITY_CLASSES):
            facts = self._facts.of(entry)
            if facts.default and (lowest is _NONE or facts.value < lowest.value):
                lowest = facts
        return lowest


def _facts(obj: Obj) -> PriorityClass:
    return PriorityClass(
        obj["metadata"]["name"], obj.get("value", 0), obj.get("preemptionPolicy", ""), bool(obj.get("globalDefault"))
    )


def _keep(spec: Obj, old: Obj) -> None:
    """An update by a client that does not know the fields keeps them."""
    for field in ("priority", "preemptionPolicy"):
        if spec.get(field) is None and old.get(field) is not None:
            spec[field] = old[field]
