"""RuntimeClass: the overhead, node selector and tolerations that come with a Pod's runtime."""

from __future__ import annotations

from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo
from vapi.registry.plugins.refusal import refuse

RUNTIME_CLASSES = GVR("node.k8s.io", "v1", "runtimeclasses")


def runtime_class(lookup: Lookup) -> AdmissionPlugin:
    plugin = _RuntimeClass(lookup)
    return AdmissionPlugin(
        "RuntimeClass",
        frozenset({Operation.CREATE}),
        frozenset({("", "pods")}),
        mutate=plugin.mutate,
        validate=plugin.validate,
    )


class _RuntimeClass:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._facts: EntryMemo[Obj] = EntryMemo(lambda obj: {k: obj.get(k) or {} for k in ("overhead", "scheduling")})

    def mutate(self, request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        spec = request.obj["spec"]
        if spec.get("runtimeClassName") is None:
            return
        facts = self._of(request, spec["runtimeClassName"])
        fixed = facts["overhead"].get("podFixed")
        if fixed:
            if spec.get("overhead") and spec["overhead"] != fixed:
                raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(fixed)
        if facts["scheduling"]:
            _schedule(request, spec, facts["scheduling"])

    def validate(self, request: AdmissionRequest) -> None:
        """What is left after all mutation: an overhead only with a class that has just that one."""
        if request.obj is None:
            return
        spec = request.obj["spec"]
        name = spec.get("runtimeClassName")
        fixed = self._of(request, name)["overhead"].get("podFixed") if name is not None else None
        if fixed:
            if spec.get("overhead") != fixed:
                raise refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        elif spec.get("overhead"):
            raise refuse(request, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")

    def _of(self, request: AdmissionRequest, name: str) -> Obj:
        entry = self._lookup.cached(RUNTIME_CLASSES, "", name)
        if entry is None:
            raise refuse(request, f'pod rejected: RuntimeClass "{name}" not found')
        return self._facts.of(entry)


def _schedule(request: AdmissionRequest, spec: Obj, scheduling: Obj) -> None:
    wanted = scheduling.get("nodeSelector") or {}
    present = spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if present.get(key, value) != value:
            raise refuse(
                request,
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {present[key]}",
            )
    if wanted:
        spec["nodeSelector"] = {**present, **wanted}
    tolerations = merged_tolerations(spec.get("tolerations") or [], scheduling.get("tolerations") or [])
    if tolerations:
        spec["tolerations"] = tolerations


def merged_tolerations(first: list[Obj], second: list[Obj]) -> list[Obj]:
    """Both, in order, without what another one of them covers. Source: pkg/util/tolerations MergeTolerations."""
    everything = [*first, *second]
    merged: list[Obj] = []
    for index, toleration in enumerate(everything):
        covered = any(_covers(other, toleration) for other in merged)
        later = (other for other in everything[index + 1 :] if other != toleration)
        if not covered and not any(_covers(other, toleration) for other in later):
            merged.append(toleration)
    return merged


def _covers(wide: Obj, narrow: Obj) -> bool:
    """Whether `wide` tolerates all that `narrow` does."""
    if wide == narrow:
        return True
    operator = wide.get("operator") or "Equal"
    if (narrow.get("key") or "") != (wide.get("key") or "") and (wide.get("key") or operator != "Exists"):
        return False
    if wide.get("effect") and narrow.get("effect") != wide["effect"]:
        return False
    limit = wide.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and limit is not None:
        seconds = narrow.get("tolerationSeconds")
        if seconds is None or seconds > limit:
            return False
    if operator == "Exists":
        return True
    return narrow.get("operator") == "Equal" and (narrow.get("value") or "") == (wide.get("value") or "")
