"""Cells of the core group's kinds that are no workloads, and of Events. Source: pkg/printers/internalversion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.resources.printers import text


def config_map_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    return [text.name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), text.age(obj, now)]


def secret_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    return [text.name(obj), obj.get("type") or "", len(obj.get("data") or ()), text.age(obj, now)]


def namespace_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    return [text.name(obj), text.part(obj, "status").get("phase") or "", text.age(obj, now)]


def component_status_cells(obj: Obj, _now: dt.datetime) -> list[Any]:
    status, message, error = "Unknown", "", ""
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            status = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            message, error = condition.get("message") or "", condition.get("error") or ""
            break
    return [text.name(obj), status, message, error]


_ROLE_PREFIX = "node-role.kubernetes.io/"


def node_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    status = text.part(obj, "status")
    info = text.part(status, "nodeInfo")
    details = (info.get(key) or text.UNKNOWN for key in ("osImage", "kernelVersion", "containerRuntimeVersion"))
    return [
        text.name(obj),
        _node_status(obj),
        _node_roles(obj["metadata"].get("labels") or {}),
        text.age(obj, now),
        info.get("kubeletVersion") or "",
        _node_address(status, "InternalIP"),
        _node_address(status, "ExternalIP"),
        *details,
    ]


def _node_status(obj: Obj) -> str:
    ready = text.condition_status(text.part(obj, "status").get("conditions"), "Ready")
    shown = [{"": "Unknown", "True": "Ready"}.get(ready, "NotReady")]
    if text.part(obj, "spec").get("unschedulable"):
        shown.append("SchedulingDisabled")
    return ",".join(shown)


def _node_roles(labels: Mapping[str, str]) -> str:
    roles = {key[len(_ROLE_PREFIX) :] for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get("kubernetes.io/role", ""))
    return ",".join(sorted(roles - {""})) or text.NONE


def _node_address(status: Mapping[str, Any], kind: str) -> str:
    addresses = status.get("addresses") or ()
    return next((a.get("address", "") for a in addresses if a.get("type") == kind), text.NONE)


def service_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    cluster_ips = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [text.NONE])
    return [
        text.name(obj),
        spec.get("type") or "",
        cluster_ips[0],
        _external_ip(spec, text.part(obj, "status", "loadBalancer")),
        ",".join(_service_port(port) for port in spec.get("ports") or ()) or text.NONE,
        text.age(obj, now),
        text.label_set(spec.get("selector")),
    ]


def _service_port(port: Mapping[str, Any]) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node_port}/{port.get('protocol', 'TCP')}"


def _external_ip(spec: Mapping[str, Any], load_balancer: Mapping[str, Any]) -> str:
    external = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or text.NONE
        case "LoadBalancer":
            return ",".join([*ingress_points(load_balancer), *external]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName") or "")
    return text.UNKNOWN


def ingress_points(load_balancer: Mapping[str, Any]) -> list[str]:
    """Addresses and host names of a LoadBalancerStatus, sorted, each once."""
    return sorted(
        {point.get("ip") or point.get("hostname") or "" for point in load_balancer.get("ingress") or ()} - {""}
    )


def endpoints_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    subsets = obj.get("subsets") or ()
    shown = text.shortened(_addresses(subsets), empty="") if subsets else text.NONE
    return [text.name(obj), shown, text.age(obj, now)]


def _addresses(subsets: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for subset in subsets:
        addresses = [address.get("ip", "") for address in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            yield from addresses
        for port in ports:
            for address in addresses:
                yield f"[{address}]:{port.get('port')}" if ":" in address else f"{address}:{port.get('port')}"


def event_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    """Events of both groups, in the stored version core/v1."""
    source, target = text.part(obj, "source"), text.part(obj, "involvedObject")
    series = obj.get("series")
    first = text.since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = text.since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series is not None:
        last, count = text.since(series.get("lastObservedTime"), now), series.get("count") or 0
    component = source.get("component") or obj.get("reportingComponent") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    kind = target.get("kind", "").lower()
    return [
        last,
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{kind}/{target['name']}" if target.get("name") else kind,
        target.get("fieldPath") or "",
        f"{component}, {instance}" if instance else component,
        (obj.get("message") or "").strip(),
        first,
        count,
        text.name(obj),
    ]


def resource_quota_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    hard, used = text.part(obj, "status", "hard"), text.part(obj, "status", "used")
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    limits = [line for name, line in shown.items() if name.startswith("limits.")]
    requests = [line for name, line in shown.items() if not name.startswith("limits.")]
    return [text.name(obj), ", ".join(requests), ", ".join(limits), text.age(obj, now)]


_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def _access_modes(modes: Iterable[str] | None) -> str:
    found = set(modes or ())
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in found)


def _storage_class(obj: Obj) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(_CLASS_ANNOTATION) or text.part(obj, "spec").get("storageClassName") or "")


def _volume_phase(obj: Obj) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return str(text.part(obj, "status").get("phase") or "")


def volume_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, claim = text.part(obj, "spec"), text.part(obj, "spec", "claimRef")
    return [
        text.name(obj),
        text.part(spec, "capacity").get("storage", "0"),
        _access_modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _volume_phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class(obj),
        text.optional(spec.get("volumeAttributesClassName")),
        text.part(obj, "status").get("reason") or "",
        text.age(obj, now),
        text.optional(spec.get("volumeMode")),
    ]


def claim_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec, status = text.part(obj, "spec"), text.part(obj, "status")
    bound = bool(spec.get("volumeName"))
    return [
        text.name(obj),
        _volume_phase(obj),
        spec.get("volumeName") or "",
        text.part(status, "capacity").get("storage", "0") if bound else "",
        _access_modes(status.get("accessModes")) if bound else "",
        _storage_class(obj),
        text.optional(spec.get("volumeAttributesClassName")),
        text.age(obj, now),
        text.optional(spec.get("volumeMode")),
    ]
