"""PodTopologyLabels: a Pod carries the zone and region of the Node it is put on."""

from __future__ import annotations

from collections.abc import Callable

from vapi.cacher.entry import Entry
from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation

NODES = GVR("", "v1", "nodes")
LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


def pod_topology_labels(lookup: Lookup) -> AdmissionPlugin:
    """Of Pods created on a node, and of Bindings (whose labels go over to the Pod)."""

    def mutate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        found = topology_labels(lookup.cached, _node_of(request.obj))
        if found:
            metadata = request.obj["metadata"]
            metadata["labels"] = {**(metadata.get("labels") or {}), **found}

    return AdmissionPlugin(
        "PodTopologyLabels",
        frozenset({Operation.CREATE}),
        frozenset({("", "pods"), ("", "pods/binding")}),
        mutate=mutate,
    )


def topology_labels(cached: Callable[[GVR, str, str], Entry | None], node: str) -> dict[str, str]:
    """What a pod gets from that node; "" or a node that is not there: nothing."""
    entry = cached(NODES, "", node) if node else None
    return {label: entry.labels[label] for label in LABELS if label in entry.labels} if entry is not None else {}


def _node_of(obj: Obj) -> str:
    target = obj.get("target")
    if target is not None:
        return target.get("name") or "" if (target.get("kind") or "Node") == "Node" else ""
    return (obj.get("spec") or {}).get("nodeName") or ""
