"""How endpoints are spread over EndpointSlices: few writes, at most so many endpoints a slice. Pure.

Endpoints stay in the slice they are in; new ones go first where something
changes anyway, then where all of them fit, then into new slices.
Source: endpointslice staging reconciler.go reconcileByPortMapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vapi.control.service_endpoints import port_key
from vapi.gvk import Obj


@dataclass(slots=True)
class Group:
    """Endpoints with the same address type and ports. With no endpoints it is one empty slice."""

    address_type: str
    ports: list[Obj]
    endpoints: dict[str, Obj] = field(default_factory=dict)
    """By what tells them apart: the pod's uid, else the address."""

    def key(self) -> tuple[Any, ...]:
        return self.address_type, frozenset(port_key(port) for port in self.ports)


@dataclass(slots=True)
class Wanted:
    """One slice as it should be. `slice`: the existing one to write it to, None for a new one."""

    address_type: str
    ports: list[Obj]
    endpoints: list[Obj]
    slice: Obj | None = None


@dataclass(slots=True)
class Plan:
    writes: list[Wanted] = field(default_factory=list)
    keep: list[Obj] = field(default_factory=list)
    """Slices whose endpoints and ports are right."""
    delete: list[Obj] = field(default_factory=list)


def endpoint_key(endpoint: Obj) -> str:
    return str((endpoint.get("targetRef") or {}).get("uid") or (endpoint.get("addresses") or [""])[0])


def _slice_key(existing: Obj) -> tuple[Any, ...]:
    return existing.get("addressType"), frozenset(port_key(port) for port in existing.get("ports") or ())


def plan(existing: Sequence[Obj], groups: Sequence[Group], most: int) -> Plan:
    """`existing`: private objects; those written come back in `Wanted.slice`, not yet edited."""
    result = Plan()
    by_key: dict[tuple[Any, ...], list[Obj]] = {}
    for each in sorted(existing, key=lambda each: str(each["metadata"]["name"])):
        by_key.setdefault(_slice_key(each), []).append(each)
    for group in groups:
        _plan_group(by_key.pop(group.key(), []), group, most, result)
    for unwanted in by_key.values():
        result.delete.extend(unwanted)
    _reuse(result)
    return result


def _plan_group(existing: Sequence[Obj], group: Group, most: int, result: Plan) -> None:
    rest = dict(group.endpoints)
    filled: list[tuple[Obj, list[Obj]]] = []
    for each in existing:
        known = (endpoint_key(endpoint) for endpoint in each.get("endpoints") or ())
        filled.append((each, [rest.pop(key) for key in known if key in rest][:most]))
    changed = [(each, kept) for each, kept in filled if kept != (each.get("endpoints") or [])]
    new = list(rest.values())
    for _, kept in changed:
        room = most - len(kept)
        kept.extend(new[:room])
        new = new[room:]
    rest_size = len(new) % most
    roomy = [kept for _, kept in filled if len(kept) + rest_size <= most]
    if rest_size and roomy:
        max(roomy, key=len).extend(new[-rest_size:])
        del new[-rest_size:]
    _collect(filled, group, result)
    for start in range(0, len(new), most):
        result.writes.append(Wanted(group.address_type, group.ports, new[start : start + most]))
    if not group.endpoints and not existing:
        result.writes.append(Wanted(group.address_type, group.ports, []))


def _collect(filled: Sequence[tuple[Obj, list[Obj]]], group: Group, result: Plan) -> None:
    for index, (each, endpoints) in enumerate(filled):
        if not endpoints and (group.endpoints or index):
            result.delete.append(each)
        elif endpoints == (each.get("endpoints") or []):
            result.keep.append(each)
        else:
            result.writes.append(Wanted(group.address_type, group.ports, endpoints, each))


def _reuse(result: Plan) -> None:
    """A slice to delete becomes a slice to create, if the address type is the same."""
    for wanted in result.writes:
        if wanted.slice is None:
            usable = [each for each in result.delete if each.get("addressType") == wanted.address_type]
            if usable:
                wanted.slice = usable[0]
                result.delete.remove(usable[0])
