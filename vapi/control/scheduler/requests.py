"""What a pod asks of a node, as whole numbers: cpu in thousandths, everything else in units. Pure.

Source: component-helpers resource.PodRequests; pkg/scheduler/framework/types.go CalculateResource.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vapi.gvk import Obj
from vapi.schema import quantity

CPU, MEMORY, STORAGE, PODS = "cpu", "memory", "ephemeral-storage", "pods"
HUGE_PAGES = "hugepages-"
FLOOR = {CPU: 100 * 10**6, MEMORY: 200 * 1024 * 1024 * quantity.NANO}
"""What a container that asks for nothing counts for when nodes are scored, in 10⁻⁹. Source: util/pod_resources.go."""

Nanos = dict[str, int]
"""Resource → amount in 10⁻⁹."""
Source = Callable[[Obj], Mapping[str, str]]
"""Container → its requests."""


@dataclass(frozen=True, slots=True)
class Requests:
    """`amounts`: none of them 0. `scored_cpu`, `scored_memory`: never 0 for a pod with containers."""

    amounts: tuple[tuple[str, int], ...]
    cpu: int
    memory: int
    scored_cpu: int
    scored_memory: int


def node_amounts(resources: Mapping[str, str]) -> dict[str, int]:
    """Of a Node's allocatable, in the same units."""
    return {name: whole(name, _nanos(str(text))) for name, text in resources.items()}


def whole(resource: str, nanos: int) -> int:
    """Rounded up, as Quantity.MilliValue and Value do."""
    return -(-nanos // (10**6 if resource == CPU else quantity.NANO))


@lru_cache(maxsize=1024)
def _nanos(text: str) -> int:
    return quantity.parse(text).nanos


def pod_requests(spec: Obj, status: Obj | None = None) -> Requests:
    """`status` of a pod on a node: what it was given already counts until a resize has come through."""
    total = _aggregate(spec, _spec_requests)
    if status:
        total = _with_status(spec, status, total)
    _finish(spec, total)
    scored = _aggregate(spec, _spec_requests, floor=FLOOR)
    _finish(spec, scored)
    amounts = {name: whole(name, nanos) for name, nanos in sorted(total.items()) if nanos > 0}
    return Requests(
        amounts=tuple(amounts.items()),
        cpu=amounts.get(CPU, 0),
        memory=amounts.get(MEMORY, 0),
        scored_cpu=whole(CPU, scored.get(CPU, 0)),
        scored_memory=whole(MEMORY, scored.get(MEMORY, 0)),
    )


def _spec_requests(container: Obj) -> Mapping[str, str]:
    return (container.get("resources") or {}).get("requests") or {}


def _finish(spec: Obj, total: Nanos) -> None:
    """The pod's own requests in place of its containers', and its overhead on top."""
    own = (spec.get("resources") or {}).get("requests") or {}
    for name, text in own.items():
        if name in (CPU, MEMORY) or name.startswith(HUGE_PAGES):
            total[name] = _nanos(str(text))
    _add(total, _parsed(spec.get("overhead") or {}))


def _with_status(spec: Obj, status: Obj, asked: Nanos) -> Nanos:
    """The greatest of what is asked, allocated and in force; what is asked does not count if it can never be."""
    statuses = {
        each["name"]: each
        for which in ("initContainerStatuses", "containerStatuses")
        for each in status.get(which) or ()
        if each.get("allocatedResources") or each.get("resources")
    }
    if not statuses:
        return asked
    infeasible = any(
        condition.get("type") == "PodResizePending" and condition.get("reason") == "Infeasible"
        for condition in status.get("conditions") or ()
    )

    def allocated(container: Obj) -> Mapping[str, str]:
        known = statuses.get(container["name"], {})
        return known.get("allocatedResources") or ({} if infeasible else _spec_requests(container))

    def actuated(container: Obj) -> Mapping[str, str]:
        known = statuses.get(container["name"], {})
        return (known.get("resources") or {}).get("requests") or allocated(container)

    total = {} if infeasible else dict(asked)
    _raise(total, _aggregate(spec, allocated))
    _raise(total, _aggregate(spec, actuated))
    return total


def _aggregate(spec: Obj, source: Source, floor: Nanos | None = None) -> Nanos:
    """All containers together, or the greediest init container; sidecars beside both. `floor`: for what is missing."""
    running: Nanos = {}
    sidecars: Nanos = {}
    starting: Nanos = {}
    for container in spec.get("containers") or ():
        _add(running, _or_floor(source(container), floor))
    for container in spec.get("initContainers") or ():
        own = _or_floor(source(container), floor)
        if container.get("restartPolicy") == "Always":
            _add(running, own)
            _add(sidecars, own)
            _raise(starting, sidecars)
        else:
            _add(own, sidecars)
            _raise(starting, own)
    _raise(running, starting)
    return running


def _or_floor(requests: Mapping[str, str], floor: Nanos | None) -> Nanos:
    return {**(floor or {}), **_parsed(requests)}


def _parsed(texts: Mapping[str, str]) -> Nanos:
    return {name: _nanos(str(text)) for name, text in texts.items()}


def _add(total: Nanos, more: Mapping[str, int]) -> None:
    for name, nanos in more.items():
        total[name] = total.get(name, 0) + nanos


def _raise(total: Nanos, other: Mapping[str, int]) -> None:
    for name, nanos in other.items():
        total[name] = max(total.get(name, 0), nanos)
