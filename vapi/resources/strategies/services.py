"""Services: what an update keeps or drops, and what they must be. The numbers are the allocator's, after validation.

Source: pkg/registry/core/service (strategy.go, storage), pkg/apis/core/validation ValidateService* (1.37).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from vapi.errors import (
    Cause,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, endpoints, godump, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import WriteContext

NONE = "None"
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_MAX_AFFINITY_S = 86400
_TRAFFIC = ("PreferClose", "PreferSameZone", "PreferSameNode")
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_CHANGED = "may not change once set"
_TWO_FAMILIES = "may specify no more than one IP for each IP family"


# --- preparation ----------------------------------------------------------------------------------


def prepare_create(obj: Obj, _context: WriteContext) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def prepare_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """Numbers that are left out stay; what the new type does not have goes, unless the client sets it anew."""
    if context.subresource:
        return
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    _normalize_ips(spec, before)
    if _has_ips(spec) and _has_ips(before):
        for key in ("clusterIP", "clusterIPs"):
            if not spec.get(key) and before.get(key):
                spec[key] = before[key]
    elif _has_ips(before):
        _drop_same(spec, before, "clusterIP", "clusterIPs")
        for key in ("ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            _drop_same(spec, before, key)
    _node_ports(spec, before)
    if _has_health_check(before):
        if not _has_health_check(spec):
            _drop_same(spec, before, "healthCheckNodePort")
        elif not spec.get("healthCheckNodePort") and "healthCheckNodePort" in before:
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            _drop_same(spec, before, key)
    if is_external(before) and not is_external(spec):
        _drop_same(spec, before, "externalTrafficPolicy")
    if spec.get("type") != "LoadBalancer" and "loadBalancer" in (new.get("status") or {}):
        new["status"] = {**new["status"], "loadBalancer": {}}


def _has_ips(spec: Obj) -> bool:
    return spec.get("type") != "ExternalName"


def _has_node_ports(spec: Obj) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _has_health_check(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_external(spec: Obj) -> bool:
    """Whether it can be reached from outside the cluster."""
    return _has_node_ports(spec) or (spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs")))


def _drop_same(spec: Obj, before: Obj, *keys: str) -> None:
    if all(spec.get(key) == before.get(key) for key in keys):
        for key in keys:
            spec.pop(key, None)


def _normalize_ips(spec: Obj, before: Obj) -> None:
    """A client that knows `clusterIP` alone changes `clusterIPs` with it."""
    one, were = spec.get("clusterIP", ""), before.get("clusterIP", "")
    if before.get("clusterIPs") and not spec.get("clusterIPs") and one == were:
        spec["clusterIPs"] = before["clusterIPs"]
    if one == were or (spec.get("clusterIPs") or []) != (before.get("clusterIPs") or []):
        return
    if were and not one:
        spec.pop("clusterIPs", None)
    else:
        spec["clusterIPs"] = [one]


def _node_ports(spec: Obj, before: Obj) -> None:
    if not _has_node_ports(before):
        return
    ports, known = spec.get("ports") or (), before.get("ports") or ()
    numbers = {port.get("nodePort", 0) for port in ports} - {0}
    if not _has_node_ports(spec):
        if numbers == {port.get("nodePort", 0) for port in known} - {0}:
            for port in ports:
                port.pop("nodePort", None)
        return
    if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return  # whoever leaves them out wants none
    by_name = {port.get("name", ""): port.get("nodePort", 0) for port in known}
    for port in ports:
        number = by_name.get(port.get("name", ""), 0)
        if not port.get("nodePort") and number and number not in numbers:
            port["nodePort"] = number


# --- validation -----------------------------------------------------------------------------------


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec, annotations = obj.get("spec") or {}, obj["metadata"].get("annotations") or {}
    hints, mode = annotations.get(_TOPOLOGY_HINTS), annotations.get(_TOPOLOGY_MODE)
    if hints is not None and mode is not None and hints != mode:
        detail = f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified"
        causes.append(field_invalid(f"metadata.annotations[{_TOPOLOGY_MODE}]", mode, detail))
    kind, ports = spec.get("type", ""), spec.get("ports") or ()
    headless = _is_headless(spec)
    if not ports and not headless and kind != "ExternalName":
        causes.append(field_required("spec.ports"))
    _by_type(causes, spec, headless=headless)
    _ports(causes, ports)
    checks.labels(causes, "spec.selector", spec.get("selector"))
    _affinity(causes, spec)
    if kind != "ExternalName":
        _cluster_ips(causes, spec)
    for index, ip in enumerate(spec.get("externalIPs") or ()):
        found: Causes = []
        checks.ip(found, f"spec.externalIPs[{index}]", ip)
        if not found:
            endpoints.usable_ip(found, f"spec.externalIPs[{index}]", ip)
        causes.extend(found)
    checks.required_one_of(causes, "spec.type", kind, _TYPES)
    _numbers(causes, ports, kind)
    _load_balancer(causes, spec, annotations)
    _traffic(causes, spec)
    return causes


def _is_headless(spec: Obj) -> bool:
    return (spec.get("clusterIPs") or ()) == [NONE]


def _by_type(causes: Causes, spec: Obj, *, headless: bool) -> None:
    kind = spec.get("type")
    if kind in ("LoadBalancer", "NodePort") and headless:
        causes.append(field_invalid("spec.clusterIPs[0]", NONE, f"may not be set to 'None' for {kind} services"))
    if kind != "ExternalName":
        return
    for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(key):
            causes.append(field_forbidden(f"spec.{key}", "may not be set for ExternalName services"))
    name = spec.get("externalName", "").removesuffix(".")
    if checks.required(causes, "spec.externalName", name):
        checks.dns_subdomain(causes, "spec.externalName", name)


def _ports(causes: Causes, ports: Sequence[Obj]) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        if name:
            checks.dns_label(causes, f"{path}.name", name)
            checks.unique(causes, f"{path}.name", name, seen)
        elif len(ports) > 1:
            causes.append(field_required(f"{path}.name"))
        checks.port(causes, f"{path}.port", port.get("port", 0))
        checks.required_one_of(causes, f"{path}.protocol", port.get("protocol"), checks.PROTOCOLS)
        checks.port_or_name(causes, f"{path}.targetPort", port.get("targetPort"))
        if port.get("appProtocol") is not None:
            checks.qualified(causes, f"{path}.appProtocol", port["appProtocol"])


def _numbers(causes: Causes, ports: Sequence[Obj], kind: str) -> None:
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                detail = "may not be used when `type` is 'ClusterIP'"
                causes.append(field_forbidden(f"spec.ports[{index}].nodePort", detail))
    node_ports: set[Any] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("nodePort", 0))
        if key[1] and key in node_ports:
            causes.append(field_duplicate(f"spec.ports[{index}].nodePort", key[1]))
        node_ports.add(key)
    seen: set[Any] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port", 0))
        if key in seen:
            shown = {"protocol": key[0], "port": key[1], "targetPort": 0}
            causes.append(godump.duplicate(f"spec.ports[{index}]", "core.ServicePort", shown))
        seen.add(key)


def _affinity(causes: Causes, spec: Obj) -> None:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    checks.required_one_of(causes, "spec.sessionAffinity", affinity, ("ClientIP", "None"))
    path = "spec.sessionAffinityConfig"
    if affinity == "None" and config is not None:
        causes.append(field_forbidden(path, "must not be set when session affinity is None"))
    if affinity != "ClientIP":
        return
    detail = "when session affinity type is ClientIP"
    client = (config or {}).get("clientIP")
    seconds = (client or {}).get("timeoutSeconds")
    if config is None:
        causes.append(field_required(path, detail))
    elif client is None:
        causes.append(field_required(f"{path}.clientIP", detail))
    elif seconds is None:
        causes.append(field_required(f"{path}.clientIP.timeoutSeconds", detail))
    elif not 0 < seconds <= _MAX_AFFINITY_S:
        limit = f"must be greater than 0 and less than {_MAX_AFFINITY_S}"
        causes.append(field_invalid(f"{path}.clientIP.timeoutSeconds", seconds, limit))


def _cluster_ips(causes: Causes, spec: Obj) -> None:
    ips, one, path = spec.get("clusterIPs") or [], spec.get("clusterIP", ""), "spec.clusterIPs"
    if one and ips and ips[0] != one:
        causes.append(field_invalid(path, ips, "first value must match `clusterIP`"))
    elif ips and not one:
        causes.append(field_invalid(path, ips, "must be empty when `clusterIP` is not specified"))
    families, seen = spec.get("ipFamilies") or (), set[str]()
    for index, family in enumerate(families):
        checks.one_of(causes, f"spec.ipFamilies[{index}]", family, ("IPv4", "IPv6"))
        checks.unique(causes, f"spec.ipFamilies[{index}]", family, seen)
    checks.one_of(causes, "spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), _POLICIES)
    found: Causes = []
    for index, ip in enumerate(ips):
        if index == 0 and ip == NONE:
            if len(ips) > 1:
                found.append(field_invalid(path, ips, "'None' must be the first and only value"))
            continue
        checks.ip(found, f"{path}[{index}]", ip)
    causes.extend(found)
    if len(ips) > 2:
        causes.append(field_invalid(path, ips, "may only hold up to 2 values"))
    if not found:
        _families(causes, ips, families)


def _families(causes: Causes, ips: Sequence[str], families: Collection[str]) -> None:
    versions = [f"IPv{address.version}" if (address := values.parse_ip(ip)) else "" for ip in ips]
    if len(ips) > 1 and len(set(versions)) == 1:
        causes.append(field_invalid("spec.clusterIPs", ips, _TWO_FAMILIES))
    if ips == [NONE]:
        return
    for index, (ip, version, family) in enumerate(zip(ips, versions, families, strict=False)):
        if version != family and family in ("IPv4", "IPv6"):
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            causes.append(field_invalid(f"spec.clusterIPs[{index}]", ip, detail))


def _load_balancer(causes: Causes, spec: Obj, annotations: Obj) -> None:
    balances = spec.get("type") == "LoadBalancer"
    only = "may only be used when `type` is 'LoadBalancer'"
    ranges = spec.get("loadBalancerSourceRanges") or ()
    if ranges:
        path = "spec.LoadBalancerSourceRanges"
        if not balances:
            causes.append(field_forbidden(path, only))
        for index, value in enumerate(ranges):
            checks.cidr(causes, f"{path}[{index}]", value.strip())
    elif _SOURCE_RANGES in annotations:
        path = f"metadata.annotations[{_SOURCE_RANGES}]"
        if not balances:
            causes.append(field_forbidden(path, only))
        for value in filter(None, annotations[_SOURCE_RANGES].strip().split(",")):
            checks.cidr(causes, path, value.strip())
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balances:
        causes.append(field_forbidden("spec.allocateLoadBalancerNodePorts", only))
    if spec.get("allocateLoadBalancerNodePorts") is None and balances:
        causes.append(field_required("allocateLoadBalancerNodePorts"))
    if spec.get("loadBalancerClass") is not None:
        if balances:
            checks.qualified(causes, "spec.loadBalancerClass", spec["loadBalancerClass"])
        else:
            causes.append(field_forbidden("spec.loadBalancerClass", only))


def _traffic(causes: Causes, spec: Obj) -> None:
    policy, path = spec.get("externalTrafficPolicy", ""), "spec.externalTrafficPolicy"
    if not is_external(spec):
        if policy:
            causes.append(field_invalid(path, policy, "may only be set for externally-accessible services"))
    else:
        checks.required_one_of(causes, path, policy, ("Cluster", "Local"))
    number = spec.get("healthCheckNodePort", 0)
    if number and not _has_health_check(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(field_invalid("spec.healthCheckNodePort", number, detail))
    elif number:
        checks.port(causes, "spec.healthCheckNodePort", number)
    internal = spec.get("internalTrafficPolicy")
    if internal is None and spec.get("type") in ("ClusterIP", "LoadBalancer", "NodePort"):
        causes.append(field_required("spec.internalTrafficPolicy"))
    checks.one_of(causes, "spec.internalTrafficPolicy", internal, ("Cluster", "Local"))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _TRAFFIC:
        causes.append(field_not_supported("spec.trafficDistribution", distribution, _TRAFFIC))


# --- updates --------------------------------------------------------------------------------------


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec, before = new["spec"], old["spec"]
    if _has_ips(spec) and _has_ips(before):
        _ips_update(causes, spec, before)
        if not _is_headless(spec) and not _is_headless(before):
            _families_update(causes, spec, before)
    if spec.get("type") == before.get("type") == "LoadBalancer":
        name = "loadBalancerClass"
        if spec.get(name) != before.get(name):
            causes.append(field_invalid(f"spec.{name}", spec.get(name), _CHANGED))
    if _has_health_check(spec) and _has_health_check(before):
        name = "healthCheckNodePort"
        if spec.get(name) != before.get(name):
            causes.append(field_forbidden(f"spec.{name}", checks.IMMUTABLE))
    return causes


def _ips_update(causes: Causes, spec: Obj, before: Obj) -> None:
    if _is_headless(spec) and _is_headless(before):
        return
    path, new, old = "spec.clusterIPs", spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    if len(old) == len(new):
        for index, (ip, was) in enumerate(zip(new, old, strict=True)):
            if ip != was:
                causes.append(field_invalid(f"{path}[{index}]", new, _CHANGED))
        return
    if old and not new:
        causes.append(field_invalid(f"{path}[0]", None, "primary clusterIP can not be unset"))
    elif old and new[0] != old[0]:
        causes.append(field_invalid(f"{path}[0]", new, _CHANGED))
    if len(old) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        causes.append(field_invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))


def _families_update(causes: Causes, spec: Obj, before: Obj) -> None:
    path, new, old = "spec.ipFamilies", spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    if not new:
        return  # the allocator fills them in
    if len(old) == len(new):
        if new != old:
            causes.append(field_invalid(f"{path}[0]", new, _CHANGED))
        return
    if old and new[0] != old[0]:
        causes.append(field_invalid(f"{path}[0]", spec.get("clusterIPs"), _CHANGED))
    if len(old) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = "must be set to 'SingleStack' when releasing the secondary ipFamily"
        causes.append(field_invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))


def validate_subresource(subresource: str, new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    if subresource == "status":
        balancer, known = ((obj.get("status") or {}).get("loadBalancer") or {} for obj in (new, old))
        listed = balancer.get("ingress") or ()
        if listed and old["spec"].get("type") != "LoadBalancer":
            detail = "may only be used when `spec.type` is 'LoadBalancer'"
            causes.append(field_forbidden("status.loadBalancer.ingress", detail))
        else:
            _ingress(causes, listed, [item.get("ip", "") for item in known.get("ingress") or ()])
    return causes


def _ingress(causes: Causes, listed: Sequence[Obj], known: Sequence[str]) -> None:
    for index, item in enumerate(listed):
        path, ip, mode = f"status.loadBalancer.ingress[{index}]", item.get("ip", ""), item.get("ipMode")
        if ip:
            checks.ip(causes, f"{path}.ip", ip, known)
        if mode is not None and not ip:
            causes.append(field_forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set"))
        else:
            checks.one_of(causes, f"{path}.ipMode", mode, ("Proxy", "VIP"))
        endpoints.load_balancer_hostname(causes, f"{path}.hostname", item.get("hostname", ""))


def warnings(obj: Obj, _old: Obj | None) -> Sequence[str]:
    spec, found = obj.get("spec") or {}, []
    if _TOPOLOGY_HINTS in (obj["metadata"].get("annotations") or {}):
        found.append(f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead")
    headless = spec.get("type") == "ClusterIP" and spec.get("clusterIP") == NONE
    if headless:
        found += [f"spec.{key} is ignored for headless services" for key in _NOT_HEADLESS if spec.get(key)]
        if spec.get("sessionAffinity") != "None":
            found.append("spec.SessionAffinity is ignored for headless services")
    external = spec.get("type") == "ExternalName"
    if spec.get("externalIPs") and not headless and not external:
        found.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if spec.get("externalIPs") and external:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if spec.get("externalName") and not external:
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


_NOT_HEADLESS = ("loadBalancerIP", "externalIPs")
