"""Rules of networking.k8s.io: Ingresses and their classes, NetworkPolicies, IPAddresses, ServiceCIDRs.

Source: pkg/apis/networking/validation, pkg/registry/networking (1.37).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vapi import names
from vapi.errors import (
    Cause,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_long,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, endpoints, godump, values
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.batch import domain_path
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

INGRESS_CLASS = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_NOT_IN_PATHS, _NOT_AT_END = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")
_MAX_CONTROLLER = 250
_POLICY_TYPES = ("Ingress", "Egress")
_FAMILIES = 2


# --- Ingresses ------------------------------------------------------------------------------------


def validate_ingress(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and default is None:
        shown: list[Obj] | None = [] if "rules" in spec else None
        causes.append(field_invalid("spec", shown, "either `defaultBackend` or `rules` must be specified"))
    if default is not None:
        _backend(causes, "spec.defaultBackend", default)
    for index, rule in enumerate(rules):
        _rule(causes, f"spec.rules[{index}]", rule)
    for index, tls in enumerate(spec.get("tls") or ()):
        for place, host in enumerate(tls.get("hosts") or ()):
            checks.text(causes, f"spec.tls[{index}].hosts[{place}]", host, _host_problem(host))
        if tls.get("secretName"):
            checks.dns_subdomain(causes, f"spec.tls[{index}].secretName", tls["secretName"])
    name = spec.get("ingressClassName")
    if name is not None:
        checks.dns_subdomain(causes, "spec.ingressClassName", name)
    if not obj["metadata"].get("resourceVersion"):
        _class_annotation(causes, obj, name)
    return causes


def _class_annotation(causes: Causes, obj: Obj, name: str | None) -> None:
    said = (obj["metadata"].get("annotations") or {}).get(INGRESS_CLASS)
    if said is not None and name is not None and said != name:
        detail = "must match `ingressClassName` when both are specified"
        causes.append(field_invalid(f"annotations.{INGRESS_CLASS}", said, detail))


def _host_problem(host: str) -> str:
    return values.wildcard_subdomain(host) if "*" in host else checks.dns_subdomain_problem(host)


def _rule(causes: Causes, path: str, rule: Obj) -> None:
    host = rule.get("host", "")
    if host:
        if values.parse_sloppy_ip(host):
            causes.append(field_invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
        checks.text(causes, f"{path}.host", host, _host_problem(host))
    http = rule.get("http")
    if http is not None:
        listed = http.get("paths") or ()
        checks.required(causes, f"{path}.http.paths", listed)
        for index, each in enumerate(listed):
            _path(causes, f"{path}.http.paths[{index}]", each)


def _path(causes: Causes, path: str, wanted: Obj) -> None:
    kind, text, here = wanted.get("pathType"), wanted.get("path", ""), f"{path}.path"
    if kind is None:
        causes.append(field_required(f"{path}.pathType", "pathType must be specified"))
        return
    if kind not in _PATH_TYPES:
        causes.append(field_not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    elif (text or kind != "ImplementationSpecific") and not text.startswith("/"):
        causes.append(field_invalid(here, text, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        causes.extend(field_invalid(here, text, f"must not contain '{part}'") for part in _NOT_IN_PATHS if part in text)
        causes.extend(
            field_invalid(here, text, f"cannot end with '{part}'") for part in _NOT_AT_END if text.endswith(part)
        )
    _backend(causes, f"{path}.backend", wanted.get("backend") or {})


def _backend(causes: Causes, path: str, backend: Obj) -> None:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        causes.append(field_invalid(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _typed_reference(causes, f"{path}.resource", resource)
    elif service is not None:
        _service(causes, path, service)
    else:
        causes.append(field_invalid(path, "", "resource or service backend is required"))


def _service(causes: Causes, path: str, service: Obj) -> None:
    name, port = service.get("name", ""), service.get("port") or {}
    if checks.required(causes, f"{path}.service.name", name):
        checks.dns_label(causes, f"{path}.service.name", name)
    called, number = port.get("name", ""), port.get("number", 0)
    if called and number:
        causes.append(field_invalid(path, "", "cannot set both port name & port number"))
    elif called:
        checks.port_or_name(causes, f"{path}.service.port.name", called)
    elif number:
        checks.port(causes, f"{path}.service.port.number", number)
    else:
        causes.append(field_required(path, "port name or number is required"))


def _typed_reference(causes: Causes, path: str, ref: Obj) -> None:
    group = ref.get("apiGroup")
    if group is not None:
        checks.dns_subdomain(causes, f"{path}.apiGroup", group)
    for key in ("kind", "name"):
        _segment(causes, f"{path}.{key}", ref.get(key, ""))


def _segment(causes: Causes, path: str, value: str) -> None:
    if checks.required(causes, path, value):
        checks.text(causes, path, value, names.path_segment(value))


def _ingress_status(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    listed, stored = _balanced(new), _balanced(old)
    known = [each["ip"] for each in stored if each.get("ip")]
    for index, each in enumerate(listed):
        path = f"status.loadBalancer.ingress[{index}]"
        if each.get("ip"):
            checks.ip(causes, f"{path}.ip", each["ip"], known)
        endpoints.load_balancer_hostname(causes, f"{path}.hostname", each.get("hostname", ""))
    return causes


def _balanced(obj: Obj) -> Sequence[Obj]:
    listed: Sequence[Obj] = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return listed


def _ingress_warnings(obj: Obj, old: Obj | None) -> Sequence[str]:
    deprecated = INGRESS_CLASS in (obj["metadata"].get("annotations") or {})
    if old is not None or not deprecated or (obj.get("spec") or {}).get("ingressClassName") is not None:
        return ()
    return (f"annotation \"{INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead",)


# --- IngressClasses -------------------------------------------------------------------------------


def validate_class(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    controller = spec.get("controller", "")
    if len(controller) > _MAX_CONTROLLER:
        causes.append(field_too_long("spec.controller", _MAX_CONTROLLER))
    domain_path(causes, "spec.controller", controller)
    parameters = spec.get("parameters")
    if parameters is not None:
        _typed_reference(causes, "spec.parameters", parameters)
        _scope(causes, "spec.parameters", parameters)
    return checks.generated_last(causes, r"spec\.parameters\.kind: Required", r"spec\.parameters\.name: Required")


def _scope(causes: Causes, path: str, parameters: Obj) -> None:
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        causes.append(field_required(f"{path}.scope"))
    elif scope not in _SCOPES:
        causes.append(field_not_supported(f"{path}.scope", scope, _SCOPES))
    elif scope == "Cluster":
        if namespace is not None:
            causes.append(field_forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif namespace is None:
        causes.append(field_required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
    else:
        checks.dns_label(causes, f"{path}.namespace", namespace)


def validate_class_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    checks.immutable(causes, "spec.controller", after.get("controller", ""), before.get("controller", ""))
    return causes


# --- NetworkPolicies ------------------------------------------------------------------------------


def validate_policy(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    checks.label_selector(causes, "spec.podSelector", spec.get("podSelector"))
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for place, port in enumerate(rule.get("ports") or ()):
                _policy_port(causes, f"{path}.ports[{place}]", port)
            for place, peer in enumerate(rule.get(peers) or ()):
                _peer(causes, f"{path}.{peers}[{place}]", peer)
    kinds = spec.get("policyTypes") or ()
    if len(kinds) > len(_POLICY_TYPES):
        causes.append(field_invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes"))
        return causes
    for index, kind in enumerate(kinds):
        checks.one_of(causes, f"spec.policyTypes[{index}]", kind, _POLICY_TYPES)
    return checks.generated_last(causes, r".*\.ipBlock\.cidr: Required")


def _policy_port(causes: Causes, path: str, wanted: Obj) -> None:
    checks.one_of(causes, f"{path}.protocol", wanted.get("protocol"), ("TCP", "UDP", "SCTP"))
    port, end = wanted.get("port"), wanted.get("endPort")
    if isinstance(port, int):
        checks.port(causes, f"{path}.port", port)
        if end is not None:
            if end < port:
                causes.append(field_invalid(f"{path}.endPort", end, "must be greater than or equal to `port`"))
            checks.port(causes, f"{path}.endPort", end)
        return
    if end is not None:
        detail = f"may not be specified when `port` is {'non-numeric' if port is not None else 'not specified'}"
        causes.append(field_invalid(f"{path}.endPort", end, detail))
    if port is not None:
        checks.port_or_name(causes, f"{path}.port", port)


def _peer(causes: Causes, path: str, peer: Obj) -> None:
    there = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in there:
        if key == "ipBlock":
            _block(causes, f"{path}.ipBlock", peer[key])
        else:
            checks.label_selector(causes, f"{path}.{key}", peer[key])
    if not there:
        causes.append(field_required(path, "must specify a peer"))
    elif len(there) > 1 and "ipBlock" in there:
        causes.append(field_forbidden(path, "may not specify both ipBlock and another peer"))


def _block(causes: Causes, path: str, block: Obj) -> None:
    text = block.get("cidr", "")
    if not checks.required(causes, f"{path}.cidr", text):
        return
    checks.cidr(causes, f"{path}.cidr", text)
    network = values.parse_cidr(text)
    if network is None:
        return
    for index, excepted in enumerate(block.get("except") or ()):
        here = f"{path}.except[{index}]"
        checks.cidr(causes, here, excepted)
        part = values.parse_cidr(excepted)
        if part is None:
            continue
        if part.network_address not in network or part.prefixlen <= network.prefixlen:
            causes.append(field_invalid(here, excepted, "must be a strict subset of `cidr`"))


# --- IPAddresses and ServiceCIDRs -----------------------------------------------------------------


def validate_address(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    parent, path = (obj.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        return [field_required(path)]
    if parent.get("group"):
        checks.dns_subdomain(causes, f"{path}.group", parent["group"])
    for key in ("resource", "name"):
        _segment(causes, f"{path}.{key}", parent.get(key, ""))
    namespace = parent.get("namespace", "")
    if namespace:
        checks.text(causes, f"{path}.namespace", namespace, names.path_segment(namespace))
    return checks.generated_last(causes, r"spec\.parentRef\.(resource|name): Required")


def validate_address_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    checks.unchanging(causes, "spec.parentRef", after.get("parentRef"), before.get("parentRef"))
    return causes


def validate_range(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _cidrs(causes, spec)
    return causes


def _cidrs(causes: Causes, spec: Obj) -> None:
    listed, path = spec.get("cidrs") or [], "spec.cidrs"
    if not listed:
        causes.append(field_required(path, "at least one CIDR required"))
        return
    if len(listed) > _FAMILIES:
        causes.append(godump.invalid(path, "networking.ServiceCIDRSpec", spec, "may only hold up to 2 values"))
        return
    for index, cidr in enumerate(listed):
        checks.text(causes, f"{path}[{index}]", cidr, values.canonical_cidr(cidr))
    networks = [network for cidr in listed if (network := values.parse_cidr(cidr))]
    if len(networks) == _FAMILIES and networks[0].version == networks[1].version:
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        causes.append(field_invalid(path, listed, detail))


def validate_range_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = (new.get("spec") or {}).get("cidrs") or [], (old.get("spec") or {}).get("cidrs") or []
    if len(after) == len(before) or (len(before) == 1 and len(after) == _FAMILIES):
        for index, (now, was) in enumerate(zip(after, before, strict=False)):
            checks.immutable(causes, f"spec.cidrs[{index}]", now, was)
    else:
        causes.append(field_invalid("spec.cidrs", after or None, checks.IMMUTABLE))
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "ingressclasses": Strategy(validate=validate_class, validate_update=validate_class_update),
    "ingresses": Strategy(
        validate=validate_ingress, validate_subresource=on_status(_ingress_status), warnings=_ingress_warnings
    ),
    "ipaddresses": Strategy(
        name_check=values.ip_name, validate=validate_address, validate_update=validate_address_update
    ),
    "networkpolicies": Strategy(validate=validate_policy),
    "servicecidrs": Strategy(validate=validate_range, validate_update=validate_range_update),
}
