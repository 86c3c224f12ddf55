"""Nodes and pods in a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vapi.control.scheduler.assessment import Assessment, Outcome
from vapi.control.scheduler.node import node_spec
from vapi.control.scheduler.state import ClusterState, Demands, pod_info
from vapi.gvk import Obj

HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
NAMESPACES: Mapping[str, Mapping[str, str]] = {"default": {"team": "red"}, "other": {"team": "blue"}}


def node(name: str, *, zone: str = "", labels: Obj | None = None, room: Obj | None = None, **spec: Any) -> Obj:
    """With room for 4 cpu and 10 pods, unless `room` says otherwise."""
    all_labels = {HOSTNAME: name, **({ZONE: zone} if zone else {}), **(labels or {})}
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "10", **(room or {})}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": all_labels},
        "spec": spec,
        "status": {"capacity": allocatable, "allocatable": allocatable},
    }


def pod(
    name: str, cpu: str = "", *, on: str = "", namespace: str = "default", labels: Obj | None = None, **spec: Any
) -> Obj:
    """`on`: bound to that node. `namespace/name` is its uid."""
    requests = {"requests": {"cpu": cpu}} if cpu else {}
    wanted = {"containers": [{"name": "c", "image": "i", "resources": requests}], **spec}
    if on:
        wanted["nodeName"] = on
    metadata = {"name": name, "namespace": namespace, "uid": f"{namespace}/{name}", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": wanted}


def near(labels: Obj, key: str = HOSTNAME, **term: Any) -> Obj:
    """A required podAffinity or podAntiAffinity."""
    each = {"topologyKey": key, "labelSelector": {"matchLabels": labels}, **term}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [each]}


def spread(labels: Obj, key: str = ZONE, **more: Any) -> list[Obj]:
    selector = {"labelSelector": {"matchLabels": labels}}
    return [{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", **selector, **more}]


def on_nodes(*names: str) -> Obj:
    fields = [{"key": "metadata.name", "operator": "In", "values": list(names)}]
    required = {"nodeSelectorTerms": [{"matchFields": fields}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def namespace_labels(name: str) -> Mapping[str, str]:
    return NAMESPACES[name]


class World:
    """A state of these nodes and bound pods."""

    def __init__(self, *objects: Obj) -> None:
        self.state = ClusterState()
        self.demands = Demands()
        for each in objects:
            self.put(each)

    def put(self, obj: Obj) -> None:
        if obj["kind"] == "Node":
            self.state.put_node(node_spec(obj))
        else:
            self.state.put_pod(pod_info(obj, self.demands))

    def assessment(self, wanted: Obj) -> Assessment:
        return Assessment(pod_info(wanted, self.demands).demand, namespace_labels)

    def outcome(self, wanted: Obj) -> Outcome:
        return self.assessment(wanted).outcome(pod_info(wanted, self.demands), self.state.nodes)

    def fitting(self, wanted: Obj) -> list[str]:
        return [each.node.name for each in self.outcome(wanted).fitting]

    def message(self, wanted: Obj) -> str:
        return self.outcome(wanted).verdict.message()
