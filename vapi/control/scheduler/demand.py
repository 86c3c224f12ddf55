"""Demand: what a pod wants of its place, compiled once for all pods that want the same. Pure.

Also what a placed pod means to others: its labels, ports and its own rules about neighbours.
Source: pkg/scheduler/framework/types.go (PodInfo, AffinityTerm), plugins/podtopologyspread/common.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vapi import encoding
from vapi.control.node_fit import NO_EXECUTE, NO_SCHEDULE, NodeAffinity, affinity_of
from vapi.control.scheduler.requests import Requests, pod_requests
from vapi.gvk import Obj
from vapi.selectors import Labels, LabelSelector, label_selector_from_obj

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
ANY_ADDRESS = "0.0.0.0"
HARD_AFFINITY_WEIGHT = 1
"""Of somebody else's required affinity, when nodes are scored. Source: InterPodAffinityArgs, its default."""
NEW_PODS = (NO_SCHEDULE, NO_EXECUTE)
"""Effects of taints that keep a new pod out."""

_SPEC_PARTS = (
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "overhead",
    "resources",
    "priority",
    "preemptionPolicy",
)


@dataclass(frozen=True, slots=True)
class HostPort:
    ip: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """Pods in `namespaces`, or in namespaces that `in_namespaces` selects, with labels that `selector` matches."""

    topology_key: str
    namespaces: frozenset[str]
    in_namespaces: LabelSelector
    selector: LabelSelector

    def matches(self, namespace: str, labels: Labels, namespace_labels: Labels) -> bool:
        if namespace in self.namespaces or self.in_namespaces.matches(namespace_labels):
            return self.selector.matches(labels)
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """`weight` is negative for what a pod would rather not have near it."""

    weight: int
    term: Term


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A topologySpreadConstraint. `itself`: whether the pod counts among those it is to be spread from."""

    topology_key: str
    max_skew: int
    min_domains: int
    selector: LabelSelector
    honors_affinity: bool
    honors_taints: bool
    itself: bool


@dataclass(frozen=True, slots=True, eq=False)
class PreferredNodes:
    weight: int
    affinity: NodeAffinity


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Demand:
    """Two pods with the same `key` want and mean the same."""

    key: bytes
    namespace: str
    labels: Labels
    requests: Requests
    ports: tuple[HostPort, ...]
    tolerations: tuple[Obj, ...]
    affinity: NodeAffinity
    only_nodes: frozenset[str] | None
    """Names that the required affinity gives; None: it names none."""
    preferred_nodes: tuple[PreferredNodes, ...]
    spread: tuple[Spread, ...]
    soft_spread: tuple[Spread, ...]
    near: tuple[Term, ...]
    apart: tuple[Term, ...]
    preferences: tuple[Weighted, ...]
    own_spread: bool
    """It says itself how it wants to be spread, so the default does not hold."""
    priority: int
    preempts: bool

    @property
    def opinions(self) -> bool:
        """Whether it has rules about pods near it."""
        return bool(self.near or self.apart or self.preferences)

    @property
    def alone(self) -> bool:
        """No rule of it looks at other pods, but for what they take away."""
        return not (self.opinions or self.spread or self.soft_spread)


def demand_key(pod: Obj) -> bytes:
    """Of everything that `compiled` reads. Of the status only what says that a resize is under way."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    given = _given(status) if spec.get("nodeName") else None
    containers = [
        [
            [
                each["name"] if given else "",
                (each.get("resources") or {}).get("requests"),
                each.get("restartPolicy"),
                [port for port in each.get("ports") or () if port.get("hostPort")],
            ]
            for each in spec.get(which) or ()
        ]
        for which in ("containers", "initContainers")
    ]
    parts = {name: spec[name] for name in _SPEC_PARTS if name in spec}
    return encoding.dumps_sorted([metadata["namespace"], metadata.get("labels"), containers, parts, given])


def _given(status: Obj) -> list[Obj] | None:
    found = [
        {"name": each["name"], "allocatedResources": each.get("allocatedResources"), "resources": each.get("resources")}
        for which in ("initContainerStatuses", "containerStatuses")
        for each in status.get(which) or ()
        if each.get("allocatedResources") or each.get("resources")
    ]
    return [*found, *(c for c in status.get("conditions") or () if c.get("type") == "PodResizePending")] or None


def compiled(pod: Obj, key: bytes) -> Demand:
    """`pod` has been validated and defaulted; nothing of it is kept but small immutable parts."""
    metadata, spec = pod["metadata"], pod["spec"]
    namespace, labels = metadata["namespace"], dict(metadata.get("labels") or {})
    affinity = spec.get("affinity") or {}
    near, apart = affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {}
    constraints = spec.get("topologySpreadConstraints") or ()
    return Demand(
        key=key,
        namespace=namespace,
        labels=labels,
        requests=pod_requests(spec, (pod.get("status") or {}) if spec.get("nodeName") else None),
        ports=tuple(_host_ports(spec)),
        tolerations=tuple(spec.get("tolerations") or ()),
        affinity=affinity_of(spec),
        only_nodes=_only_nodes(affinity),
        preferred_nodes=tuple(_preferred_nodes(affinity)),
        spread=tuple(_spread(constraints, labels, "DoNotSchedule")),
        soft_spread=tuple(_spread(constraints, labels, "ScheduleAnyway")),
        near=tuple(_term(each, namespace) for each in near.get(_REQUIRED) or ()),
        apart=tuple(_term(each, namespace) for each in apart.get(_REQUIRED) or ()),
        preferences=(*_weighted(near, namespace, 1), *_weighted(apart, namespace, -1)),
        own_spread=bool(constraints),
        priority=spec.get("priority") or 0,
        preempts=spec.get("preemptionPolicy") != "Never",
    )


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def _host_ports(spec: Obj) -> Iterable[HostPort]:
    """Of containers and of init containers that stay. Source: scheduler/util.GetHostPorts."""
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield HostPort(port.get("hostIP") or ANY_ADDRESS, port.get("protocol") or "TCP", port["hostPort"])


def _only_nodes(affinity: Obj) -> frozenset[str] | None:
    """Source: plugins/nodeaffinity PreFilter."""
    required = (affinity.get("nodeAffinity") or {}).get(_REQUIRED) or {}
    found: frozenset[str] = frozenset()
    terms = required.get("nodeSelectorTerms") or ()
    for term in terms:
        named = [
            frozenset(each.get("values") or ())
            for each in term.get("matchFields") or ()
            if each.get("key") == "metadata.name" and each.get("operator") == "In"
        ]
        if not named:
            return None
        found |= frozenset.intersection(*named)
    return found if terms else None


def _preferred_nodes(affinity: Obj) -> Iterable[PreferredNodes]:
    for each in (affinity.get("nodeAffinity") or {}).get(_PREFERRED) or ():
        preference = each.get("preference") or {}
        if each.get("weight") and (preference.get("matchExpressions") or preference.get("matchFields")):
            required = {_REQUIRED: {"nodeSelectorTerms": [preference]}}
            yield PreferredNodes(each["weight"], affinity_of({"affinity": {"nodeAffinity": required}}))


def _spread(constraints: Iterable[Obj], labels: Mapping[str, str], action: str) -> Iterable[Spread]:
    for each in constraints:
        if each.get("whenUnsatisfiable") != action:
            continue
        selector = each.get("labelSelector")
        keys = [key for key in each.get("matchLabelKeys") or () if key in labels]
        if keys and selector is not None:
            same = [{"key": key, "operator": "In", "values": [labels[key]]} for key in keys]
            selector = {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *same]}
        compiled_selector = label_selector_from_obj(selector)
        yield Spread(
            topology_key=each["topologyKey"],
            max_skew=each["maxSkew"],
            min_domains=each.get("minDomains") or 1,
            selector=compiled_selector,
            honors_affinity=each.get("nodeAffinityPolicy", "Honor") == "Honor",
            honors_taints=each.get("nodeTaintsPolicy", "Ignore") == "Honor",
            itself=compiled_selector.matches(labels),
        )


def _term(term: Obj, namespace: str) -> Term:
    names, selector = term.get("namespaces") or (), term.get("namespaceSelector")
    return Term(
        topology_key=term["topologyKey"],
        namespaces=frozenset(names if names or selector is not None else (namespace,)),
        in_namespaces=label_selector_from_obj(selector),
        selector=label_selector_from_obj(term.get("labelSelector")),
    )


def _weighted(affinity: Obj, namespace: str, sign: int) -> Iterable[Weighted]:
    for each in affinity.get(_PREFERRED) or ():
        yield Weighted(sign * each["weight"], _term(each["podAffinityTerm"], namespace))
