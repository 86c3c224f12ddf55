"""Cells of networking.k8s.io and discovery.k8s.io. Source: pkg/printers/internalversion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.resources.printers import text
from vapi.resources.printers.core import ingress_points


def ingress_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    return [
        text.name(obj),
        text.optional(spec.get("ingressClassName"), text.NONE),
        _hosts(spec.get("rules") or ()),
        ",".join(ingress_points(text.part(obj, "status", "loadBalancer"))),
        "80, 443" if spec.get("tls") else "80",
        text.age(obj, now),
    ]


def _hosts(rules: Iterable[Mapping[str, Any]]) -> str:
    rules = list(rules)
    hosts: list[str] = []
    more = False
    for rule in rules:
        more = more or len(hosts) == 3
        if not more and rule.get("host"):
            hosts.append(rule["host"])
    shown = ",".join(hosts) or "*"
    return f"{shown} + {len(rules) - 3} more..." if more else shown


def ingress_class_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    spec = text.part(obj, "spec")
    parameters = spec.get("parameters")
    shown = text.NONE
    if parameters is not None:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [text.name(obj), spec.get("controller") or "", shown, text.age(obj, now)]


def network_policy_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    return [text.name(obj), text.selector(text.part(obj, "spec").get("podSelector")), text.age(obj, now)]


def service_cidr_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    return [text.name(obj), ",".join(text.part(obj, "spec").get("cidrs") or ()), text.age(obj, now)]


def ip_address_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    """One cell more than there are columns: upstream prints the age and declares no column for it."""
    parent = text.part(obj, "spec", "parentRef")
    resource = ".".join(filter(None, (parent.get("resource"), parent.get("group"))))
    path = [part for part in (resource, parent.get("namespace"), parent.get("name")) if part]
    return [text.name(obj), "/".join(path) or text.NONE, text.age(obj, now)]


def endpoint_slice_cells(obj: Obj, now: dt.datetime) -> list[Any]:
    ports = [_slice_port(port) for port in obj.get("ports") or ()]
    addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    kind = obj.get("addressType") or ""
    return [text.name(obj), kind, text.shortened(ports), text.shortened(addresses), text.age(obj, now)]


def _slice_port(port: Mapping[str, Any]) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return str(port["name"]) if port.get("name") is not None else "*"
