"""A small cluster as the zone sees it, for the tests of DNS."""

from __future__ import annotations

from typing import Any

from vapi.dns import records
from vapi.dns.records import Index
from vapi.gvk import Obj

DOMAIN = "cluster.local"
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}


def service(name: str, namespace: str = "default", **spec: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def slice_(*endpoints: Obj, ports: list[Obj] | None = None, family: str = "IPv4") -> Obj:
    return {"addressType": family, "endpoints": list(endpoints), "ports": [HTTP] if ports is None else ports}


def endpoint(*addresses: str, hostname: str | None = None, ready: bool | None = True) -> Obj:
    found: Obj = {"addresses": list(addresses), "conditions": {} if ready is None else {"ready": ready}}
    return found if hostname is None else {**found, "hostname": hostname}


def put(index: Index, *services: Obj, **slices: Obj) -> None:
    for each in services:
        index.put_service(records.service(each))
    for name, each in slices.items():
        index.put_slice("default", f"{name}-1", name, records.slice_of(each))


def small_cluster() -> Index:
    """`web` with two ports and two families, `db` headless with a StatefulSet's names, ExternalNames, and so on."""
    index = Index()
    index.serial = 7
    for namespace in ("default", "kube-system"):
        index.put_namespace(namespace)
    put(
        index,
        service("kube-dns", "kube-system", clusterIP="10.0.0.10", clusterIPs=["10.0.0.10"], ports=[DNS]),
        service("kubernetes", clusterIP="10.0.0.1", ports=[{"name": "https", "port": 443}]),
        service("web", clusterIP="10.0.0.2", clusterIPs=["10.0.0.2", "fd00::2"], ports=[HTTP, DNS]),
        service("db", clusterIP="None", clusterIPs=["None"], ports=[HTTP]),
        service("six", clusterIP="None", ports=[HTTP]),
        service("bare", clusterIP="None"),
        service("empty", clusterIP="None", ports=[HTTP]),
        service("by-name", clusterIP="None", ports=[HTTP]),
        service("outside", type="ExternalName", externalName="www.Example.com."),
        service("alias", type="ExternalName", externalName="web.default.svc.cluster.local"),
        service("nowhere", type="ExternalName", externalName="nothing.default.svc.cluster.local"),
        service("circle", type="ExternalName", externalName="circle.default.svc.cluster.local"),
        service("address", type="ExternalName", externalName="192.0.2.1"),
        web=slice_(endpoint("10.1.0.1"), endpoint("10.1.0.2", ready=False)),
        db=slice_(endpoint("10.1.0.3", hostname="db-0"), endpoint("10.1.0.4", hostname="DB-1", ready=None)),
        six=slice_(endpoint("2001:db8:0::5"), family="IPv6"),
        bare=slice_(endpoint("10.1.0.6"), ports=[]),
        **{"by-name": slice_(endpoint("www.example.com"), family="FQDN")},
    )
    return index
