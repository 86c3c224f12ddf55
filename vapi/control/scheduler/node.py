"""NodeInfo: a node and the pods on it, with the sums that placing asks for, kept as pods come and go.

Runs on the loop, never awaits; only the scheduler's one worker changes it.
Source: pkg/scheduler/framework/types.go (NodeInfo, HostPortInfo).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vapi.control.node_fit import NodeFacts, node_facts
from vapi.control.scheduler.demand import ANY_ADDRESS, Demand, HostPort
from vapi.control.scheduler.requests import CPU, MEMORY, PODS, node_amounts
from vapi.gvk import Obj


@dataclass(frozen=True, slots=True, eq=False)
class PodInfo:
    """A pod that waits, or is on `node`. Times as Kubernetes writes them; `controller`: its uid, "" for none."""

    uid: str
    namespace: str
    name: str
    node: str
    demand: Demand
    created: str
    started: str
    deleting: bool
    preempted: bool
    """It is going because the scheduler took its place."""
    controller: str
    claims: tuple[str, ...]
    gated: bool = False
    nominated: str = ""

    @property
    def important(self) -> tuple[int, str, str]:
        """Sorts the most important first. Source: MoreImportantVictim."""
        return -self.demand.priority, self.started or "~", self.uid


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What placing asks of a Node object; two that are equal place alike."""

    facts: NodeFacts
    allocatable: tuple[tuple[str, int], ...]


def node_spec(node: Obj) -> NodeSpec:
    allocatable = node_amounts((node.get("status") or {}).get("allocatable") or {})
    return NodeSpec(node_facts(node), tuple(sorted(allocatable.items())))


class NodeInfo:
    """`generation` changes with everything, `spec_generation` only with the Node object."""

    __slots__ = (
        "allocatable",
        "controllers",
        "cpu",
        "facts",
        "generation",
        "labels",
        "memory",
        "name",
        "nominated",
        "opinionated",
        "pods",
        "ports",
        "requested",
        "spec",
        "spec_generation",
    )

    def __init__(self, spec: NodeSpec, generation: int) -> None:
        self.name = spec.facts.name
        self.pods: dict[str, PodInfo] = {}
        self.opinionated: dict[str, PodInfo] = {}
        """uid → those that have rules about pods near them."""
        self.requested: dict[str, int] = {}
        self.cpu = self.memory = 0
        """Requested, with a floor for each container: for the score."""
        self.ports: Counter[HostPort] = Counter()
        self.controllers: Counter[str] = Counter()
        self.nominated: dict[str, PodInfo] = {}
        """Pods that wait for others to leave this node."""
        self.use(spec, generation)

    def use(self, spec: NodeSpec, generation: int) -> None:
        self.spec = spec
        self.facts = spec.facts
        self.labels: Mapping[str, str] = dict(spec.facts.labels)
        self.allocatable: Mapping[str, int] = dict(spec.allocatable)
        self.generation = self.spec_generation = generation

    def add(self, pod: PodInfo, generation: int) -> None:
        """It must not be there."""
        self._count(pod, 1)
        self.pods[pod.uid] = pod
        if pod.demand.opinions:
            self.opinionated[pod.uid] = pod
        self.generation = generation

    def remove(self, uid: str, generation: int) -> PodInfo:
        """Raises KeyError."""
        pod = self.pods.pop(uid)
        self.opinionated.pop(uid, None)
        self._count(pod, -1)
        self.generation = generation
        return pod

    def _count(self, pod: PodInfo, sign: int) -> None:
        requests = pod.demand.requests
        for name, amount in requests.amounts:
            self.requested[name] = self.requested.get(name, 0) + sign * amount
        self.cpu += sign * requests.scored_cpu
        self.memory += sign * requests.scored_memory
        for port in pod.demand.ports:
            self.ports[port] += sign
            if not self.ports[port]:
                del self.ports[port]
        if pod.controller:
            self.controllers[pod.controller] += sign
            if not self.controllers[pod.controller]:
                del self.controllers[pod.controller]

    def clone(self) -> NodeInfo:
        """To try what would be if pods were not there, or were."""
        made = copy.copy(self)
        made.pods = dict(self.pods)
        made.opinionated = dict(self.opinionated)
        made.requested = dict(self.requested)
        made.ports = self.ports.copy()
        made.controllers = self.controllers.copy()
        return made

    def with_pods(self, more: Iterable[PodInfo]) -> NodeInfo:
        """A clone, with those of `more` that are not there yet."""
        made = self.clone()
        for pod in more:
            if pod.uid not in made.pods:
                made.add(pod, self.generation)
        return made

    @property
    def room(self) -> int:
        """For how many pods."""
        return self.allocatable.get(PODS, 0)

    def usage(self) -> tuple[int, int, int, int]:
        """Requested and allocatable cpu, requested and allocatable memory."""
        return (
            self.requested.get(CPU, 0),
            self.allocatable.get(CPU, 0),
            self.requested.get(MEMORY, 0),
            self.allocatable.get(MEMORY, 0),
        )

    def conflicts(self, wanted: HostPort) -> bool:
        """Whether that port is taken: an address conflicts with itself and with that for all of them."""
        if wanted.ip == ANY_ADDRESS:
            return any(port.protocol == wanted.protocol and port.port == wanted.port for port in self.ports)
        return wanted in self.ports or HostPort(ANY_ADDRESS, wanted.protocol, wanted.port) in self.ports
