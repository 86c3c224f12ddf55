"""The embedded server beside a real CoreDNS on the same API: the same records for the same questions."""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from tests.etcd_server import free_ports
from tests.host_cluster import BINARIES
from tests.vapi.dns.names import DNS, HTTP, endpoint, service, slice_
from tests.vapi_process import serving, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

LOOPBACK = "127.0.0.1"
SVC = "default.svc.cluster.local"
COREFILE = """\
.:{port} {{
    bind 127.0.0.1
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    forward . 127.0.0.1:{nobody}
}}
.:{nobody} {{
    bind 127.0.0.1
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
"""Other names are nobody's. A server of its own: in one server, the template would answer before the cluster."""

TYPES = ("A", "AAAA", "SRV", "CNAME", "PTR", "MX")

NAMES = (
    f"web.{SVC}",
    f"WEB.{SVC}",
    f"_http._tcp.web.{SVC}",
    f"http.tcp.web.{SVC}",
    f"_dns._tcp.web.{SVC}",
    f"_tcp.web.{SVC}",
    f"a.b.c.web.{SVC}",
    f"10-1-0-1.web.{SVC}",
    f"10-1-0-2.web.{SVC}",
    f"db.{SVC}",
    f"db-0.db.{SVC}",
    f"10-1-0-4.db.{SVC}",
    f"_http._tcp.db.{SVC}",
    f"six.{SVC}",
    f"_http._tcp.six.{SVC}",
    f"six-0.six.{SVC}",
    f"2001-db8--6.six.{SVC}",
    f"bare.{SVC}",
    f"empty.{SVC}",
    f"outside.{SVC}",
    f"alias.{SVC}",
    f"_http._tcp.alias.{SVC}",
    f"address.{SVC}",
    f"nothing.{SVC}",
    f"*.{SVC}",
    "kubernetes.default.svc.cluster.local",
    "_https._tcp.kubernetes.default.svc.cluster.local",
    "cluster.local",
    "svc.cluster.local",
    SVC,
    "nothing.svc.cluster.local",
    "default.pod.cluster.local",
    "1-2-3-4.default.pod.cluster.local",
    "1-2-3-4.nothing.pod.cluster.local",
    "1-2-3.default.pod.cluster.local",
    "2001-db8--1.default.pod.cluster.local",
)
ADDRESSES = ("10.1.0.1", "10.1.0.2", "10.1.0.3", "2001:db8::5", "192.0.2.99")
"""Asked for their names; and the cluster IP of web."""

ODD = {
    *((f"{label}.default.pod.cluster.local", "SRV") for label in ("1-2-3-4", "2001-db8--1")),
    (f"alias.{SVC}", "AAAA"),
}
"""CoreDNS: pods have SRV records with port 0; an alias whose target has no such record is not shown."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Ports of both; `web` is the cluster IP of that Service."""

    ours: int
    theirs: int
    web: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    program = BINARIES / "coredns"
    if not program.is_file():
        pytest.skip("no CoreDNS among the binaries of shared/host")
    directory = tmp_path_factory.mktemp("dns")
    api, ours, theirs, nobody = free_ports(4)
    dns_arguments = ("--dns", "embedded", "--dns-listen", f"{LOOPBACK}:{ours}", "--dns-forward", f"{LOOPBACK}:{nobody}")
    arguments = ("--host", "none", "--store", "memory", "--listen", f"{LOOPBACK}:{api}", *dns_arguments)
    with serving(directory / "vapi", *arguments, port=api) as vapi:
        vapi.apply(*objects())
        web = vapi.json("get", "service", "web")["spec"]["clusterIP"]
        (directory / "Corefile").write_text(COREFILE.format(port=theirs, nobody=nobody, kubeconfig=vapi.kubeconfig))
        with coredns(program, directory / "Corefile"):
            until(lambda: answers(theirs, f"bare.{SVC}", "A"), lambda found: bool(found[1]))
            yield Servers(ours, theirs, web)


class coredns:
    """Running until the block ends."""

    def __init__(self, program: Path, corefile: Path) -> None:
        self._command = [str(program), "-conf", str(corefile)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def objects() -> list[dict[str, Any]]:
    def named(kind: str, api_version: str, obj: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": api_version, "kind": kind, **obj}

    services = [
        service("web", ports=[HTTP, DNS]),
        service("db", clusterIP="None", ports=[HTTP]),
        service("six", clusterIP="None", ports=[HTTP]),
        service("bare", clusterIP="None"),
        service("empty", clusterIP="None", ports=[HTTP]),
        service("outside", type="ExternalName", externalName="www.example.com"),
        service("alias", type="ExternalName", externalName=f"web.{SVC}"),
        service("address", type="ExternalName", externalName="192.0.2.1"),
    ]
    slices = {
        "web": slice_(endpoint("10.1.0.1"), endpoint("10.1.0.2", ready=False)),
        "db": slice_(endpoint("10.1.0.3", hostname="db-0"), endpoint("10.1.0.4", ready=None)),
        "six": slice_(endpoint("2001:db8::5", hostname="six-0"), endpoint("2001:db8::6"), family="IPv6"),
        "bare": slice_(endpoint("10.1.0.6"), ports=[]),
    }
    return [named("Service", "v1", each) for each in services] + [
        named(
            "EndpointSlice",
            "discovery.k8s.io/v1",
            {"metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}}, **each},
        )
        for name, each in slices.items()
    ]


def answers(port: int, name: str, type_: str) -> tuple[str, list[str]]:
    """The code and the records, in lower case and sorted."""
    query = dns.message.make_query(name, type_)
    try:
        answer = dns.query.udp(query, LOOPBACK, port=port, timeout=1)
    except (dns.exception.Timeout, OSError):
        return "", []
    lines = [line.lower() for rrset in answer.answer for line in rrset.to_text().splitlines()]
    return dns.rcode.to_text(answer.rcode()), sorted(lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_the_same_records(servers: Servers, name: str) -> None:
    types = [t for t in TYPES if (name, t) not in ODD]
    assert {t: answers(servers.ours, name, t) for t in types} == {t: answers(servers.theirs, name, t) for t in types}


@pytest.mark.parametrize(
    "address", [*(lambda _, a=a: a for a in ADDRESSES), lambda servers: servers.web], ids=[*ADDRESSES, "of web"]
)
def test_an_address_has_the_same_names(servers: Servers, address: Callable[[Servers], str]) -> None:
    name = ipaddress.ip_address(address(servers)).reverse_pointer
    assert answers(servers.ours, name, "PTR") == answers(servers.theirs, name, "PTR")
