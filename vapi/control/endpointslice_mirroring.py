"""endpointslicemirroring controller: slices of Endpoints that somebody wrote by hand for a Service without a selector.

Not for Endpoints labelled skip-mirror, nor for leader election.
Source: pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vapi.control import kinds
from vapi.control import service_endpoints as backends
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.endpointslice import carry_out, service_of_slice
from vapi.control.endpointslice_plan import Group, endpoint_key, plan
from vapi.control.events import WARNING
from vapi.control.informer import Name
from vapi.control.pods import address_of
from vapi.gvk import Obj

MANAGER = "endpointslicemirroring-controller.k8s.io"
MOST = 1000
"""Addresses of one subset that are mirrored, in one slice. Source: --mirroring-max-endpoints-per-subset."""

LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
NOT_MIRRORED = frozenset(
    {"endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"}
)


class EndpointSliceMirroringController(Controller[Name]):
    """Keys are (namespace, name) of both the Service and its Endpoints."""

    name = "endpointslice-mirroring-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._selectors = context.informers.facts(kinds.SERVICES, backends.selector_of)
        self._slices = context.informers.owners(kinds.ENDPOINT_SLICES)

    def sources(self) -> Sources[Name]:
        return {
            kinds.SERVICES: own_name,
            kinds.ENDPOINTS: own_name,
            kinds.ENDPOINT_SLICES: lambda change: service_of_slice(change, MANAGER),
        }

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.ENDPOINTS))

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.ENDPOINTS, *key)
        if entry is None:
            return  # its slices go with it
        endpoints = entry.obj()
        existing = [
            each.obj()
            for each in self._slices.controlled_by(entry.uid)
            if each.labels.get(backends.MANAGED_BY_LABEL) == MANAGER and not each.deleting
        ]
        groups = self._groups(endpoints) if self._is_mirrored(key, endpoints) else []
        metadata = endpoints["metadata"]
        labels = {
            **(metadata.get("labels") or {}),
            backends.SERVICE_NAME_LABEL: key[1],
            backends.MANAGED_BY_LABEL: MANAGER,
        }
        annotations = {
            name: value for name, value in (metadata.get("annotations") or {}).items() if name not in NOT_MIRRORED
        }
        owner = kinds.controller_reference(kinds.ENDPOINTS_KIND, endpoints)
        await carry_out(self, key, plan(existing, groups, MOST), labels, owner, annotations)

    def _is_mirrored(self, key: Name, endpoints: Obj) -> bool:
        metadata = endpoints["metadata"]
        if (metadata.get("labels") or {}).get(backends.SKIP_MIRROR_LABEL) == "true":
            return False
        if LEADER_ANNOTATION in (metadata.get("annotations") or {}):
            return False
        service = self.client.cached(kinds.SERVICES, *key)
        return service is not None and self._selectors.of(service) is None

    def _groups(self, endpoints: Obj) -> list[Group]:
        groups, invalid = mirrored_groups(endpoints)
        if invalid:
            text = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
            self.events.record(self.name, endpoints, WARNING, "InvalidIPAddress", text)
        return groups


def mirrored_groups(endpoints: Obj) -> tuple[list[Group], int]:
    """One group a subset and family, at most `MOST` addresses each; and how many addresses are none."""
    groups: dict[Any, Group] = {}
    invalid = 0
    for subset in endpoints.get("subsets") or ():
        ports = [_slice_port(port) for port in subset.get("ports") or ()]
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                ip = address_of(address.get("ip", ""))
                if ip is None:
                    invalid += 1
                    continue
                group = Group(ip.family, ports)
                group = groups.setdefault(group.key(), group)
                endpoint = _slice_endpoint(address, ip.ip, ready=ready)
                if len(group.endpoints) < MOST:
                    group.endpoints.setdefault(endpoint_key(endpoint), endpoint)
    return list(groups.values()), invalid


def _slice_port(port: Obj) -> Obj:
    made = {"name": port.get("name", ""), "port": port["port"], "protocol": port.get("protocol", "TCP")}
    if port.get("appProtocol"):
        made["appProtocol"] = port["appProtocol"]
    return made


def _slice_endpoint(address: Obj, ip: str, *, ready: bool) -> Obj:
    endpoint: Obj = {"addresses": [ip], "conditions": {"ready": ready}}
    optional = {key: address.get(key) for key in ("targetRef", "nodeName", "hostname")}
    endpoint.update({key: value for key, value in optional.items() if value})
    return endpoint
