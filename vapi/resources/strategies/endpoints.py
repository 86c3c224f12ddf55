"""Endpoints and EndpointSlices, and the addresses that stand in them.

Source: pkg/apis/core/validation ValidateEndpoints, pkg/apis/discovery/validation (1.37).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from vapi.errors import Cause, field_duplicate, field_invalid, field_required, field_too_many
from vapi.gvk import Obj
from vapi.resources.strategies import checks, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy, WriteContext

_HOSTNAME = "kubernetes.io/hostname"
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ADDRESSES, _MAX_PORTS, _MAX_ENDPOINTS, _MAX_HINTS, _MAX_TOPOLOGY = 100, 20_000, 1000, 8, 16


def usable_ip(causes: Causes, path: str, text: str) -> None:
    """Traffic can be sent there."""
    address = values.parse_sloppy_ip(text)
    if address is None:
        causes.append(field_invalid(path, text, "must be a valid IP address"))
        return
    if address.is_unspecified:
        causes.append(field_invalid(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        causes.append(field_invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        causes.append(field_invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if any(address in network for network in _LOCAL_MULTICAST):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        causes.append(field_invalid(path, text, detail))


_LOCAL_MULTICAST = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))


def load_balancer_hostname(causes: Causes, path: str, hostname: str) -> None:
    if hostname:
        checks.dns_subdomain(causes, path, hostname)
        if values.parse_ip(hostname):
            causes.append(field_invalid(path, hostname, "must be a DNS name, not an IP address"))


# --- Endpoints ------------------------------------------------------------------------------------


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            causes.append(field_required(path, "must specify `addresses` or `notReadyAddresses`"))
        for kind in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(kind) or ()):
                _address(causes, f"{path}.{kind}[{place}]", address)
        ports = subset.get("ports") or ()
        for place, port in enumerate(ports):
            _port(causes, f"{path}.ports[{place}]", port, named=len(ports) > 1)
    return causes


def _address(causes: Causes, path: str, address: Obj) -> None:
    ip = address.get("ip", "")
    checks.ip(causes, f"{path}.ip", ip)
    if address.get("hostname"):
        checks.dns_label(causes, f"{path}.hostname", address["hostname"])
    if address.get("nodeName") is not None:
        checks.dns_subdomain(causes, f"{path}.nodeName", address["nodeName"])
    usable_ip(causes, f"{path}.ip", ip)


def _port(causes: Causes, path: str, port: Obj, *, named: bool) -> None:
    name = port.get("name", "")
    if name:
        checks.dns_label(causes, f"{path}.name", name)
    elif named:
        causes.append(field_required(f"{path}.name"))
    checks.port(causes, f"{path}.port", port.get("port", 0))
    checks.required_one_of(causes, f"{path}.protocol", port.get("protocol"), checks.PROTOCOLS)
    if port.get("appProtocol") is not None:
        checks.qualified(causes, f"{path}.appProtocol", port["appProtocol"])


# --- EndpointSlices -------------------------------------------------------------------------------


def validate_slice(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    kind = obj.get("addressType", "")
    checks.required_one_of(causes, "addressType", kind, _ADDRESS_TYPES)
    _slice_ports(causes, obj.get("ports") or ())
    listed = obj.get("endpoints") or ()
    if len(listed) > _MAX_ENDPOINTS:
        causes.append(field_too_many("endpoints", len(listed), _MAX_ENDPOINTS))
        return causes
    for index, endpoint in enumerate(listed):
        _endpoint(causes, f"endpoints[{index}]", endpoint, kind)
    return checks.generated_last(causes, "addressType: ", r"endpoints\[\d+\]\.addresses: (Required|Too many)")


def _slice_ports(causes: Causes, ports: Sequence[Obj]) -> None:
    if len(ports) > _MAX_PORTS:
        causes.append(field_too_many("ports", len(ports), _MAX_PORTS))
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.get("name") or ""
        if name:
            checks.dns_label(causes, f"{path}.name", name)
        checks.unique(causes, f"{path}.name", name, seen)
        checks.required_one_of(causes, f"{path}.protocol", port.get("protocol"), checks.PROTOCOLS)
        if port.get("appProtocol") is not None:
            checks.qualified(causes, f"{path}.appProtocol", port["appProtocol"])


def _endpoint(causes: Causes, path: str, endpoint: Obj, kind: str) -> None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        causes.append(field_required(f"{path}.addresses"))
    elif len(addresses) > _MAX_ADDRESSES:
        causes.append(field_too_many(f"{path}.addresses", len(addresses), _MAX_ADDRESSES))
    for index, address in enumerate(addresses):
        _slice_address(causes, f"{path}.addresses", index, address, kind)
    if endpoint.get("nodeName") is not None:
        checks.dns_subdomain(causes, f"{path}.nodeName", endpoint["nodeName"])
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_TOPOLOGY:
        causes.append(field_too_many(f"{path}.deprecatedTopology", len(topology), _MAX_TOPOLOGY))
    checks.labels(causes, f"{path}.deprecatedTopology", topology)
    if endpoint.get("hostname") is not None:
        checks.dns_label(causes, f"{path}.hostname", endpoint["hostname"])
    if endpoint.get("hints"):
        _hints(causes, f"{path}.hints", endpoint["hints"])


def _slice_address(causes: Causes, path: str, index: int, address: str, kind: str) -> None:
    here, found = f"{path}[{index}]", Causes()
    if kind == "FQDN":
        domain_name(causes, here, address)
        return
    if kind not in ("IPv4", "IPv6"):
        return
    problem = values.ip(address) if kind == "IPv4" else values.ip_name(address)
    checks.text(found, here, address, problem)
    if not found:
        parsed = values.parse_ip(address)
        if parsed is not None and f"IPv{parsed.version}" != kind:
            found.append(field_invalid(path, address, f"must be an {kind} address"))
        usable_ip(found, here, address)
    causes.extend(found)


def domain_name(causes: Causes, path: str, name: str) -> None:
    """Fully qualified, of at least two parts."""
    if not checks.required(causes, path, name):
        return
    name = name.removesuffix(".")
    if problem := checks.dns_subdomain_problem(name):
        causes.append(field_invalid(path, name, problem))
    elif "." not in name:
        detail = "should be a domain with at least two segments separated by dots"
        causes.append(field_invalid(path, name, detail))
    else:
        for label in name.split("."):
            checks.dns_label(causes, path, label)


def _hints(causes: Causes, path: str, hints: Obj) -> None:
    for kind, check in (("forZones", checks.label_value_problem), ("forNodes", checks.dns_subdomain_problem)):
        listed, seen = hints.get(kind) or (), set[str]()
        if len(listed) > _MAX_HINTS:
            causes.append(field_too_many(f"{path}.{kind}", len(listed), _MAX_HINTS))
            return
        for index, item in enumerate(listed):
            name = item.get("name", "")
            if name in seen:
                causes.append(field_duplicate(f"{path}.{kind}[{index}].name", name))
            seen.add(name)
            checks.text(causes, f"{path}.{kind}[{index}].name", name, check(name))


def validate_slice_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.unchanging(causes, "addressType", new.get("addressType"), old.get("addressType"))
    return causes


def prepare_slice(obj: Obj, _context: WriteContext) -> None:
    """The old topology of v1beta1 cannot be written any more."""
    for endpoint in obj.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def prepare_slice_update(new: Obj, old: Obj, _context: WriteContext) -> None:
    """It goes with the first change of the endpoints; a node's name in it is kept as what it means now."""
    if new.get("endpoints") == old.get("endpoints"):
        return
    known = {(each.get("deprecatedTopology") or {}).get(_HOSTNAME) for each in old.get("endpoints") or ()}
    for endpoint in new.get("endpoints") or ():
        name = (endpoint.pop("deprecatedTopology", None) or {}).get(_HOSTNAME)
        if name and name in known and endpoint.get("nodeName") is None and not checks.dns_subdomain_problem(name):
            endpoint["nodeName"] = name


DISCOVERY: Mapping[str, Strategy] = {
    "endpointslices": Strategy(
        prepare_create=prepare_slice,
        prepare_update=prepare_slice_update,
        validate=validate_slice,
        validate_update=validate_slice_update,
    )
}
