"""What objects use of a ResourceQuota: counts, compute resources of pods, storage of claims. Pure.

Amounts are in 10⁻⁹ (`schema.quantity`) beside a text in whose family of suffixes the sum is written.
Source: pkg/quota/v1/evaluator/core; component-helpers resource.PodRequests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vapi.clock import parse_rfc3339
from vapi.gvk import Obj
from vapi.resources.strategies import quantities
from vapi.schema import quantity
from vapi.selectors import label_selector_from_obj

Amounts = Mapping[str, tuple[int, str]]
"""Resource → (nanos, spelled like)."""
ONE: tuple[int, str] = (quantity.NANO, "1")
COMPUTE = ("cpu", "memory", "ephemeral-storage")
HUGE_PAGES = "hugepages-"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
COUNT = "count/"
ALIASES = frozenset({"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
"""Kinds of group "" that are counted under their bare name as well."""


@dataclass(frozen=True, slots=True)
class PodUsage:
    """`amounts`: while it runs; `until`: when a deleted pod stops counting, in seconds of the epoch, 0 for never."""

    amounts: tuple[tuple[str, tuple[int, str]], ...]
    finished: bool
    until: float
    terminating: bool
    """Has a deadline: quota's word for it."""
    best_effort: bool
    priority_class: str
    crosses_namespaces: bool

    def counts(self, now: float) -> bool:
        return not self.finished and not (self.until and now > self.until)


def pod_usage(pod: Obj) -> PodUsage:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    until = 0.0
    if metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds") is not None:
        until = parse_rfc3339(metadata["deletionTimestamp"]).timestamp() + metadata["deletionGracePeriodSeconds"]
    return PodUsage(
        amounts=tuple({"pods": ONE, **compute(total(spec, "requests"), total(spec, "limits"))}.items()),
        finished=status.get("phase") in ("Succeeded", "Failed"),
        until=until,
        terminating=(spec.get("activeDeadlineSeconds") or -1) >= 0,
        best_effort=status.get("qosClass", "BestEffort") == "BestEffort",
        priority_class=spec.get("priorityClassName", ""),
        crosses_namespaces=_crosses_namespaces(spec),
    )


def compute(requests: Amounts, limits: Amounts) -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    for name in COMPUTE:
        if name in requests:
            found[name] = found[f"requests.{name}"] = requests[name]
        if name in limits:
            found[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if name.startswith(HUGE_PAGES):
            found[name] = found[f"requests.{name}"] = amount
        elif name not in COMPUTE:
            found[f"requests.{name}"] = amount
    return found


def total(spec: Obj, which: str) -> dict[str, tuple[int, str]]:
    """All containers together, or the greediest init container, sidecars beside both; the pod's own, if it says."""
    running: dict[str, tuple[int, str]] = {}
    for container in spec.get("containers") or ():
        _add(running, amounts_of(container, which))
    sidecars: dict[str, tuple[int, str]] = {}
    starting: dict[str, tuple[int, str]] = {}
    for container in spec.get("initContainers") or ():
        own = dict(sidecars)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, amounts_of(container, which))
            _add(running, amounts_of(container, which))
            own = dict(sidecars)
        else:
            _add(own, amounts_of(container, which))
        _raise(starting, own)
    _raise(running, starting)
    running.update(amounts_of(spec, which))
    if running or which == "requests":
        _add(running, _amounts(spec.get("overhead") or {}))
    return running


def amounts_of(holder: Obj, which: str) -> dict[str, tuple[int, str]]:
    return _amounts((holder.get("resources") or {}).get(which) or {})


def _amounts(texts: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    return {name: (quantity.parse(str(text)).nanos, str(text)) for name, text in texts.items()}


def _add(total: dict[str, tuple[int, str]], more: Amounts) -> None:
    for name, (nanos, like) in more.items():
        before, spelled = total.get(name, (0, like))
        total[name] = (before + nanos, spelled)


def _raise(total: dict[str, tuple[int, str]], other: Amounts) -> None:
    for name, amount in other.items():
        if name not in total or amount[0] > total[name][0]:
            total[name] = amount


def _crosses_namespaces(spec: Obj) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        required = terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        for term in (*required, *(each.get("podAffinityTerm") or {} for each in preferred)):
            if term.get("namespaces") or term.get("namespaceSelector") is not None:
                return True
    return False


def service_usage(service: Obj) -> tuple[tuple[str, tuple[int, str]], ...]:
    spec = service["spec"]
    ports = spec.get("ports") or ()
    kind = spec.get("type", "ClusterIP")
    node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        node_ports = sum(1 for port in ports if port.get("nodePort"))
    counts = {"services": 1, "services.nodeports": node_ports, "services.loadbalancers": int(kind == "LoadBalancer")}
    return tuple((name, (count * quantity.NANO, "1")) for name, count in counts.items())


def claim_usage(claim: Obj) -> tuple[tuple[str, tuple[int, str]], ...]:
    spec = claim["spec"]
    annotations = claim["metadata"].get("annotations") or {}
    of_class = annotations.get(CLASS_ANNOTATION) or spec.get("storageClassName") or ""
    found: dict[str, tuple[int, str]] = {"persistentvolumeclaims": ONE}
    storage = amounts_of(spec, "requests").get("storage")
    if storage is not None:
        allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
        if allocated is not None:
            storage = max(storage, (quantity.parse(allocated).nanos, allocated))
        found["requests.storage"] = storage
    if of_class:
        found |= {f"{of_class}{CLASS_SUFFIX}{name}": amount for name, amount in found.items()}
    return tuple(found.items())


def in_scopes(quota: Obj, pod: PodUsage) -> bool:
    """All of a quota's scopes."""
    spec = quota["spec"]
    scopes = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    return all(
        _in_scope(each, pod) for each in (*scopes, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ()))
    )


def _in_scope(scope: Obj, pod: PodUsage) -> bool:
    name = scope["scopeName"]
    simple = {
        "Terminating": pod.terminating,
        "NotTerminating": not pod.terminating,
        "BestEffort": pod.best_effort,
        "NotBestEffort": not pod.best_effort,
        "CrossNamespacePodAffinity": pod.crosses_namespaces,
    }
    if name in simple:
        return simple[name]
    if name != "PriorityClass":
        return False
    if scope["operator"] == "Exists":
        return bool(pod.priority_class)
    labels = {name: pod.priority_class} if pod.priority_class else {}
    expression = {"key": name, "operator": scope["operator"], "values": scope.get("values") or []}
    return label_selector_from_obj({"matchExpressions": [expression]}).matches(labels)


def has_scopes(quota: Obj) -> bool:
    return bool(quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"))


@dataclass(slots=True)
class Sum:
    """Amounts added up, in the spelling of the first that came."""

    amounts: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, more: Iterable[tuple[str, tuple[int, str]]]) -> None:
        _add(self.amounts, dict(more))

    def text(self, name: str) -> str:
        nanos, like = self.amounts.get(name, (0, "0"))
        return quantities.spelled(nanos, like) if nanos else "0"


def is_of_pods(name: str) -> bool:
    """Whether pods use it: compute resources, and extended ones under `requests.`."""
    if name == "requests.storage":
        return False
    known = ("pods", *COMPUTE, *(f"limits.{each}" for each in COMPUTE))
    return name in known or name.startswith(("requests.", HUGE_PAGES))


def is_of_claims(name: str) -> bool:
    return name.endswith(("persistentvolumeclaims", "requests.storage")) and (
        CLASS_SUFFIX in name or name in ("persistentvolumeclaims", "requests.storage")
    )


def object_counts(group: str, resource: str) -> dict[str, tuple[int, str]]:
    """What any object uses of a quota on their number."""
    name = f"{COUNT}{resource}.{group}" if group else f"{COUNT}{resource}"
    return {name: ONE, resource: ONE} if not group and resource in ALIASES else {name: ONE}


SERVICES = frozenset({"services", "services.nodeports", "services.loadbalancers"})


def is_of(name: str, group: str, resource: str) -> bool:
    """Whether objects of a kind use it."""
    if counted(name) == (resource, group):
        return True
    if group:
        return False
    match resource:
        case "pods":
            return is_of_pods(name)
        case "services":
            return name in SERVICES
        case "persistentvolumeclaims":
            return is_of_claims(name)
        case _:
            return False


def usage(group: str, resource: str, obj: Obj, now: float) -> dict[str, tuple[int, str]]:
    """All that an object uses, by name."""
    found = object_counts(group, resource)
    if group:
        return found
    match resource:
        case "pods":
            pod = pod_usage(obj)
            return found | dict(pod.amounts) if pod.counts(now) else found
        case "services":
            return found | dict(service_usage(obj))
        case "persistentvolumeclaims":
            return found | dict(claim_usage(obj))
        case _:
            return found


def counted(name: str) -> tuple[str, str] | None:
    """(resource, group) of a quota on a number of objects."""
    if name in ALIASES:
        return name, ""
    if not name.startswith(COUNT):
        return None
    resource, _, group = name.removeprefix(COUNT).partition(".")
    return resource, group
