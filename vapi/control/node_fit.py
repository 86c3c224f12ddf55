"""Which nodes a pod may be on: node selector, required node affinity, taints and tolerations. Pure.

Source: component-helpers scheduling/corev1/nodeaffinity and helpers.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from vapi import encoding
from vapi.gvk import Obj
from vapi.selectors import Operator, Predicate, Requirement

NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What placing asks of a Node."""

    name: str
    labels: tuple[tuple[str, str], ...]
    taints: tuple[Taint, ...]
    unschedulable: bool


def node_facts(node: Obj) -> NodeFacts:
    spec = node.get("spec") or {}
    return NodeFacts(
        name=node["metadata"]["name"],
        labels=tuple(sorted((node["metadata"].get("labels") or {}).items())),
        taints=tuple(
            Taint(each.get("key", ""), each.get("value", ""), each.get("effect", ""))
            for each in spec.get("taints") or ()
        ),
        unschedulable=bool(spec.get("unschedulable")),
    )


class NodeAffinity:
    """The node selector and the required affinity of a pod spec, compiled once for many nodes."""

    def __init__(self, spec: Obj) -> None:
        self._wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        self._terms: list[tuple[list[Predicate], list[Predicate]]] | None = None
        if required is not None:
            self._terms = [
                (_predicates(term.get("matchExpressions")), _predicates(term.get("matchFields")))
                for term in required.get("nodeSelectorTerms") or ()
            ]

    def fits(self, name: str, labels: Mapping[str, str]) -> bool:
        """Of several terms one must match, all of its parts; one without parts matches nothing."""
        if any(labels.get(key) != value for key, value in self._wanted.items()):
            return False
        if self._terms is None:
            return True
        fields = {"metadata.name": name}
        return any(
            bool(by_label or by_field)
            and all(each(labels) for each in by_label)
            and all(each(fields) for each in by_field)
            for by_label, by_field in self._terms
        )


def _predicates(expressions: Iterable[Obj] | None) -> list[Predicate]:
    return [
        _predicate(each["key"], Operator(each["operator"]), frozenset(each.get("values") or ()))
        for each in expressions or ()
    ]


@lru_cache(maxsize=512)
def _predicate(key: str, operator: Operator, values: frozenset[str]) -> Predicate:
    return Requirement(key, operator, values).predicate()


def affinity_of(spec: Obj) -> NodeAffinity:
    """Compiled once for all pods of a template."""
    return _affinity(
        encoding.dumps_sorted([spec.get("nodeSelector"), (spec.get("affinity") or {}).get("nodeAffinity")])
    )


@lru_cache(maxsize=512)
def _affinity(text: bytes) -> NodeAffinity:
    selector, affinity = encoding.loads(text)
    return NodeAffinity({"nodeSelector": selector, "affinity": {"nodeAffinity": affinity}})


def tolerates(toleration: Obj, taint: Taint) -> bool:
    """An empty effect or key means every one."""
    if toleration.get("effect") and toleration["effect"] != taint.effect:
        return False
    if toleration.get("key") and toleration["key"] != taint.key:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("value", "") == taint.value)


def untolerated(taints: Iterable[Taint], tolerations: Sequence[Obj], effects: Sequence[str]) -> Taint | None:
    """The first taint with one of `effects` that keeps the pod away."""
    for taint in taints:
        if taint.effect in effects and not any(tolerates(each, taint) for each in tolerations):
            return taint
    return None
