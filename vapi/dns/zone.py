"""Zone: the answer to a question about the cluster's names. Pure: (index, zone, name, type) → Answer.

Names are lower case, without the last dot. Source: Kubernetes DNS specification
1.1.0; where it leaves room, CoreDNS 1.14 plugin kubernetes with `pods insecure`.
Compared with CoreDNS 1.14.7 on 730 questions: the same but where that answers oddly: TXT and SOA of names without
such a record, SRV of pods, labels before a pod's, an alias of nothing (ours is still shown), reverse names for other
types than PTR.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from vapi.dns.records import NO_PORT, Endpoint, Index, Port, Service, Slice, family

T = TypeVar("T")

TTL_S = 5
"""Of every record and of what is not there. Source: CoreDNS plugin kubernetes, defaultTTL."""
SCHEMA_VERSION = "1.1.0"
REVERSE = ("in-addr.arpa", "ip6.arpa")
IPV4_LABELS = 4
IPV6_LABELS = 32
SRV_WEIGHT = 100
"""Shared by the targets of one name."""
ADDRESS_BYTES: Mapping[str, int] = MappingProxyType({"A": 16, "AAAA": 28})
SRV_BYTES = 21
"""Of an SRV record without its target. Addresses of targets go along only where there is room."""
PTR_BYTES = 16
NAME_SERVER = "ns.dns"
DNS_SERVICE = ("kube-system", "kube-dns")


class Result(StrEnum):
    FOUND = "found"
    """The name exists; there may be no record of the type."""
    NO_NAME = "no such name"
    ELSEWHERE = "elsewhere"
    """Not ours to answer."""


@dataclass(frozen=True, slots=True)
class Record:
    """`type` is A, AAAA, CNAME, NS, PTR or TXT, with `value` as its text; or SRV, whose `value` is the target."""

    name: str
    type: str
    value: str
    weight: int = 0
    port: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """`zone`: of the SOA record, which goes along when there is no other. `alias`: where a CNAME leads, to follow."""

    result: Result
    zone: str = ""
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    alias: str = ""
    soa: bool = False
    """The SOA record itself was asked for."""
    cut: bool = False
    """There are more records than there is room for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of many records, in which order. `shuffle`: so that clients that take the first spread; None: as they are.

    Chosen before anything is made of them: a headless Service may have 5,000 endpoints, and 77 fit into a datagram.
    """

    room_bytes: int = 1 << 30
    shuffle: random.Random | None = None

    def of(self, items: Iterable[T], item_bytes: int) -> tuple[list[T], bool]:
        """And whether something was left out."""
        all_ = list(dict.fromkeys(items))
        count = min(len(all_), max(self.room_bytes // item_bytes, 1))
        return (self.shuffle.sample(all_, count) if self.shuffle else all_[:count]), count < len(all_)


ALL = Choice()
ELSEWHERE = Answer(Result.ELSEWHERE)


def lookup(index: Index, domain: str, name: str, type_: str, choice: Choice = ALL) -> Answer:
    """`domain`: the cluster's."""
    if name == domain or name.endswith(f".{domain}"):
        labels = name[: -len(domain)].rstrip(".").split(".") if name != domain else []
        return _in_domain(index, domain, labels, name, type_, choice)
    for zone in REVERSE:
        if name == zone or name.endswith(f".{zone}"):
            return _reverse(index, domain, zone, name, type_, choice)
    return ELSEWHERE


# --- names of the cluster -----------------------------------------------------------------------------------


def _in_domain(index: Index, domain: str, labels: list[str], name: str, type_: str, choice: Choice) -> Answer:
    """By the labels before the domain: [[endpoint | _port, _protocol], service], namespace, "svc" and the like."""
    found = Answer(Result.FOUND, domain)
    match labels:
        case []:
            return _apex(index, domain, type_)
        case ["dns-version"]:
            records = (Record(name, "TXT", SCHEMA_VERSION),) if type_ == "TXT" else ()
            return Answer(Result.FOUND, domain, records)
        case ["ns", "dns"]:
            return Answer(Result.FOUND, domain, tuple(_server_addresses(index, domain, type_)))
        case ["svc"] | ["pod"]:
            return found
        case [namespace, "svc"] | [namespace, "pod"] if index.has_namespace(namespace):
            return found
        case [address, namespace, "pod"] if index.has_namespace(namespace):
            return _pod(domain, address, name, type_)
        case [*host, service_name, namespace, "svc"] if len(host) <= 2:
            service = index.service(namespace, service_name)
            if service is not None:
                return _service(_Asked(index, domain, service, host), name, type_, choice)
    return Answer(Result.NO_NAME, domain)


def _apex(index: Index, domain: str, type_: str) -> Answer:
    if type_ == "SOA":
        return Answer(Result.FOUND, domain, soa=True)
    if type_ != "NS":
        return Answer(Result.FOUND, domain)
    glue = [record for family in ("A", "AAAA") for record in _server_addresses(index, domain, family)]
    return Answer(Result.FOUND, domain, (Record(domain, "NS", f"{NAME_SERVER}.{domain}"),), tuple(glue))


def _server_addresses(index: Index, domain: str, type_: str) -> Iterator[Record]:
    """Of the server itself: it is asked at the Service's."""
    service = index.service(*DNS_SERVICE)
    for address in service.addresses if service is not None else ():
        if _family(address) == type_:
            yield Record(f"{NAME_SERVER}.{domain}", type_, address)


def _pod(domain: str, label: str, name: str, type_: str) -> Answer:
    """The name is its own proof: any address is somebody's pod."""
    dotted = label.count("-") == 3 and "--" not in label
    try:
        address = str(ipaddress.ip_address(label.replace("-", "." if dotted else ":")))
    except ValueError:
        return Answer(Result.NO_NAME, domain)
    records = (Record(name, type_, address),) if _family(address) == type_ else ()
    return Answer(Result.FOUND, domain, records)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A Service, and the labels before it: one is an endpoint, two are a port, none means everything."""

    index: Index
    domain: str
    service: Service
    host: list[str]

    @property
    def own(self) -> str:
        return f"{self.service.name}.{self.service.namespace}.svc.{self.domain}"

    @property
    def endpoint(self) -> str:
        return self.host[0] if len(self.host) == 1 else ""

    @property
    def by_cluster_ip(self) -> bool:
        return bool(self.service.addresses) and not self.endpoint

    @property
    def exists(self) -> bool:
        if self.by_cluster_ip:
            return bool(self.ports(self.service.ports))
        return next(self.slices(), None) is not None

    def ports(self, ports: Iterable[Port]) -> list[Port]:
        """A name may have its underscore or not, as in CoreDNS."""
        if len(self.host) != 2:
            return list(ports)
        name, protocol = (label.removeprefix("_") for label in self.host)
        return [p for p in ports if p.name == name and p.protocol == protocol]

    def slices(self) -> Iterator[tuple[Slice, Sequence[Endpoint], list[Port]]]:
        """With the endpoints and the ports that were asked for."""
        for slice_ in self.index.slices(self.service.namespace, self.service.name):
            ports = self.ports(slice_.ports)
            wanted = self.endpoint
            endpoints = [e for e in slice_.endpoints if e.label == wanted] if wanted else slice_.endpoints
            if ports and endpoints:
                yield slice_, endpoints, ports


def _service(asked: _Asked, name: str, type_: str, choice: Choice) -> Answer:
    if asked.service.external_name:
        return _external(asked.domain, asked.service, asked.host, name, type_)
    if not asked.exists:
        return Answer(Result.NO_NAME, asked.domain)
    if type_ == "SRV":
        return _srv(asked, name, choice)
    if type_ not in ADDRESS_BYTES:
        return Answer(Result.FOUND, asked.domain)
    if asked.by_cluster_ip:
        addresses: Iterable[str] = (a for a in asked.service.addresses if family(a) == type_)
    else:
        addresses = (e.address for s, endpoints, _ in asked.slices() if s.type == type_ for e in endpoints)
    chosen, cut = choice.of(addresses, ADDRESS_BYTES[type_])
    return Answer(Result.FOUND, asked.domain, tuple(Record(name, type_, a) for a in chosen), cut=cut)


def _external(domain: str, service: Service, host: list[str], name: str, type_: str) -> Answer:
    target = service.external_name.rstrip(".").lower()
    if host or _family(target):  # an address is no name to lead to
        return Answer(Result.NO_NAME, domain)
    if type_ not in ("A", "AAAA", "CNAME"):
        return Answer(Result.FOUND, domain)
    alias = "" if type_ == "CNAME" else target
    return Answer(Result.FOUND, domain, (Record(name, "CNAME", target),), alias=alias)


def _srv(asked: _Asked, name: str, choice: Choice) -> Answer:
    """One record a target and port; the weight counts each protocol and family, as CoreDNS does."""
    if asked.by_cluster_ip:
        ports = asked.ports(asked.service.ports)
        found = [("", address, port.port) for port in ports for address in asked.service.addresses]
    else:
        found = [
            (endpoint.label, endpoint.address, port.port)
            for _, endpoints, ports in asked.slices()
            for endpoint in endpoints
            for port in ports
            if port.port != NO_PORT
        ]
    weight = max(SRV_WEIGHT // len(found), 1) if found else 0
    own = asked.own
    chosen, cut = choice.of(found, SRV_BYTES + len(own) + max((len(label) for label, _, _ in found), default=0))
    named = [(f"{label}.{own}" if label else own, address, port) for label, address, port in chosen]
    return Answer(
        Result.FOUND,
        asked.domain,
        tuple(dict.fromkeys(Record(name, "SRV", target, weight, port) for target, _, port in named)),
        tuple(dict.fromkeys(Record(target, family(address), address) for target, address, _ in named)),
        cut=cut,
    )


# --- names of addresses -------------------------------------------------------------------------------------


def _reverse(index: Index, domain: str, zone: str, name: str, type_: str, choice: Choice) -> Answer:
    """Addresses that are not the cluster's have their names elsewhere."""
    address = reversed_address(name)
    if not address:
        return ELSEWHERE
    service = index.service_at(address)
    if service is not None:
        names = [f"{service[1]}.{service[0]}.svc.{domain}"]
    else:
        names = [f"{label}.{name_}.{namespace}.svc.{domain}" for label, (namespace, name_) in index.labels_at(address)]
    if not names:
        return ELSEWHERE
    if type_ != "PTR":
        return Answer(Result.FOUND, zone)
    chosen, cut = choice.of(names, PTR_BYTES + max(map(len, names)))
    return Answer(Result.FOUND, zone, tuple(Record(name, "PTR", n) for n in chosen), cut=cut)


def reversed_address(name: str) -> str:
    """Of `4.3.2.1.in-addr.arpa`, or of 32 nibbles under ip6.arpa; "" for anything else."""
    *labels, kind, _arpa = name.split(".")
    try:
        if kind == "in-addr" and len(labels) == IPV4_LABELS:
            return str(ipaddress.IPv4Address(".".join(reversed(labels))))
        if kind == "ip6" and len(labels) == IPV6_LABELS:
            digits = "".join(reversed(labels))
            return str(ipaddress.IPv6Address(":".join(digits[i : i + 4] for i in range(0, IPV6_LABELS, 4))))
    except ValueError:
        return ""
    return ""


def _family(text: str) -> str:
    """A, AAAA, or "" for what is no address."""
    try:
        return "AAAA" if ipaddress.ip_address(text).version == 6 else "A"
    except ValueError:
        return ""
