"""DefaultTolerationSeconds and TaintNodesByCondition: how long a Pod stays on a lost node, and how a Node begins."""

from __future__ import annotations

from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Operation

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_BOTH = frozenset({NOT_READY, UNREACHABLE})
STAY_S = 300
"""Source: defaulttolerationseconds --default-not-ready-toleration-seconds."""


def default_toleration_seconds() -> AdmissionPlugin:
    def mutate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        stay_a_while(request.obj["spec"])

    return AdmissionPlugin(
        "DefaultTolerationSeconds",
        frozenset({Operation.CREATE, Operation.UPDATE}),
        frozenset({("", "pods")}),
        mutate=mutate,
    )


def stay_a_while(spec: Obj) -> None:
    """Edits a PodSpec: the tolerations that every stored Pod has."""
    tolerations = spec.get("tolerations")
    if not tolerations:
        spec["tolerations"] = [_stays(NOT_READY), _stays(UNREACHABLE)]
        return
    if {t.get("key") for t in tolerations if t.get("effect") == "NoExecute"} >= _BOTH:
        return
    missing = [key for key in (NOT_READY, UNREACHABLE) if not any(_tolerates(t, key) for t in tolerations)]
    if missing:
        spec["tolerations"] = [*tolerations, *map(_stays, missing)]


def taint_nodes() -> AdmissionPlugin:
    """A new Node is not ready until the node controller has seen it."""

    def mutate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        spec = request.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(t.get("key") == NOT_READY and t.get("effect") == "NoSchedule" for t in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]

    return AdmissionPlugin(
        "TaintNodesByCondition", frozenset({Operation.CREATE}), frozenset({("", "nodes")}), mutate=mutate
    )


def _stays(key: str) -> Obj:
    return {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": STAY_S}


def _tolerates(toleration: Obj, key: str) -> bool:
    return (toleration.get("key") or key) == key and (toleration.get("effect") or "NoExecute") == "NoExecute"
