"""The answers to questions about the cluster's names, as tables. CoreDNS 1.14.7 gives the same."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vapi.dns.names import DOMAIN, endpoint, put, service, slice_, small_cluster
from vapi.dns.records import Index
from vapi.dns.zone import Answer, Result, lookup, reversed_address

SVC = "default.svc.cluster.local"


@pytest.fixture(scope="module")
def index() -> Index:
    return small_cluster()


def ask(index: Index, name: str, type_: str) -> Answer:
    return lookup(index, DOMAIN, name, type_)


def values(answer: Answer) -> list[str]:
    return sorted(record.value for record in answer.records)


@pytest.mark.parametrize(
    ("name", "type_", "found"),
    [
        (f"web.{SVC}", "A", ["10.0.0.2"]),
        (f"web.{SVC}", "AAAA", ["fd00::2"]),
        (f"kubernetes.{SVC}", "A", ["10.0.0.1"]),
        ("kube-dns.kube-system.svc.cluster.local", "A", ["10.0.0.10"]),
        (f"_http._tcp.web.{SVC}", "A", ["10.0.0.2"]),
        (f"db.{SVC}", "A", ["10.1.0.3", "10.1.0.4"]),
        (f"bare.{SVC}", "A", ["10.1.0.6"]),
        (f"six.{SVC}", "AAAA", ["2001:db8::5"]),
        (f"db-0.db.{SVC}", "A", ["10.1.0.3"]),
        (f"db-1.db.{SVC}", "A", ["10.1.0.4"]),
        (f"10-1-0-1.web.{SVC}", "A", ["10.1.0.1"]),
        (f"2001-db8-0--5.six.{SVC}", "AAAA", ["2001:db8::5"]),
        (f"outside.{SVC}", "CNAME", ["www.example.com"]),
        (f"outside.{SVC}", "A", ["www.example.com"]),
        ("1-2-3-4.default.pod.cluster.local", "A", ["1.2.3.4"]),
        ("2001-db8--1.default.pod.cluster.local", "AAAA", ["2001:db8::1"]),
        ("--1.default.pod.cluster.local", "AAAA", ["::1"]),
        ("2.0.0.10.in-addr.arpa", "PTR", [f"web.{SVC}"]),
        ("3.0.1.10.in-addr.arpa", "PTR", [f"db-0.db.{SVC}"]),
        ("1.0.1.10.in-addr.arpa", "PTR", [f"10-1-0-1.web.{SVC}"]),
        (ipaddress.ip_address("fd00::2").reverse_pointer, "PTR", [f"web.{SVC}"]),
        (ipaddress.ip_address("2001:db8::5").reverse_pointer, "PTR", [f"2001-db8-0--5.six.{SVC}"]),
        ("cluster.local", "NS", ["ns.dns.cluster.local"]),
        ("ns.dns.cluster.local", "A", ["10.0.0.10"]),
        ("dns-version.cluster.local", "TXT", ["1.1.0"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_has_records(index: Index, name: str, type_: str, found: list[str]) -> None:
    answer = ask(index, name, type_)
    assert answer.result is Result.FOUND
    assert values(answer) == found


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        (f"_http._tcp.web.{SVC}", [(f"web.{SVC}", 80, 50)]),
        (f"http.tcp.web.{SVC}", [(f"web.{SVC}", 80, 50)]),
        (f"_dns._udp.web.{SVC}", [(f"web.{SVC}", 53, 50)]),
        (f"_https._tcp.kubernetes.{SVC}", [(f"kubernetes.{SVC}", 443, 100)]),
        (f"_http._tcp.db.{SVC}", [(f"db-0.db.{SVC}", 80, 50), (f"db-1.db.{SVC}", 80, 50)]),
        (f"db-0.db.{SVC}", [(f"db-0.db.{SVC}", 80, 100)]),
        (f"web.{SVC}", [(f"web.{SVC}", 53, 25), (f"web.{SVC}", 80, 25)]),
        (f"bare.{SVC}", []),
    ],
)
def test_a_port_is_found_by_srv(index: Index, name: str, targets: list[tuple[str, int, int]]) -> None:
    answer = ask(index, name, "SRV")
    assert answer.result is Result.FOUND
    assert sorted((r.value, r.port, r.weight) for r in answer.records) == targets


def test_the_addresses_of_srv_targets_come_along(index: Index) -> None:
    assert {(r.name, r.value) for r in ask(index, f"_http._tcp.db.{SVC}", "SRV").additional} == {
        (f"db-0.db.{SVC}", "10.1.0.3"),
        (f"db-1.db.{SVC}", "10.1.0.4"),
    }


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("cluster.local", "A"),
        ("svc.cluster.local", "A"),
        ("pod.cluster.local", "A"),
        (SVC, "A"),
        ("default.pod.cluster.local", "A"),
        (f"db.{SVC}", "AAAA"),
        (f"web.{SVC}", "TXT"),
        (f"web.{SVC}", "ANY"),
        (f"outside.{SVC}", "MX"),
        ("1-2-3-4.default.pod.cluster.local", "AAAA"),
        ("2.0.0.10.in-addr.arpa", "A"),
    ],
)
def test_a_name_without_such_a_record_exists(index: Index, name: str, type_: str) -> None:
    answer = ask(index, name, type_)
    assert answer.result is Result.FOUND
    assert answer.zone
    assert not answer.records


@pytest.mark.parametrize(
    "name",
    [
        "default.cluster.local",
        "nothing.svc.cluster.local",
        "nothing.pod.cluster.local",
        f"nothing.{SVC}",
        f"*.{SVC}",
        f"empty.{SVC}",
        f"by-name.{SVC}",
        f"db-2.db.{SVC}",
        f"10-1-0-2.web.{SVC}",
        f"_dns._tcp.web.{SVC}",
        f"_nothing._tcp.db.{SVC}",
        f"a._http._tcp.web.{SVC}",
        f"_http._tcp.outside.{SVC}",
        f"address.{SVC}",
        "web.kube-system.svc.cluster.local",
        "1-2-3.default.pod.cluster.local",
        "300-2-3-4.default.pod.cluster.local",
        "1-2-3-4.nothing.pod.cluster.local",
    ],
)
def test_a_name_of_the_domain_that_nobody_has_does_not_exist(index: Index, name: str) -> None:
    assert ask(index, name, "A") == Answer(Result.NO_NAME, DOMAIN)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "example.com",
        "notcluster.local",
        "local",
        "arpa",
        "in-addr.arpa",
        "9.9.9.9.in-addr.arpa",
        "2.0.1.10.in-addr.arpa",
        "a.b.c.d.in-addr.arpa",
        "0.0.10.in-addr.arpa",
        "1.ip6.arpa",
    ],
)
def test_other_names_are_asked_elsewhere(index: Index, name: str) -> None:
    assert ask(index, name, "A").result is Result.ELSEWHERE
    assert ask(index, name, "PTR").result is Result.ELSEWHERE


def test_an_external_name_leads_on_unless_it_is_asked_for_itself(index: Index) -> None:
    assert ask(index, f"outside.{SVC}", "A").alias == "www.example.com"
    assert ask(index, f"outside.{SVC}", "CNAME").alias == ""


def test_the_domain_is_a_setting() -> None:
    index = small_cluster()
    assert values(lookup(index, "team.example", "web.default.svc.team.example", "A")) == ["10.0.0.2"]
    assert lookup(index, "team.example", f"web.{SVC}", "A").result is Result.ELSEWHERE
    assert values(lookup(index, "team.example", "2.0.0.10.in-addr.arpa", "PTR")) == ["web.default.svc.team.example"]


def test_names_follow_their_objects() -> None:
    index = small_cluster()
    put(index, service("web", clusterIP="10.0.0.99", ports=[]), db=slice_(endpoint("10.1.0.9", hostname="db-0")))
    assert values(ask(index, f"db.{SVC}", "A")) == ["10.1.0.9"]
    assert ask(index, "3.0.1.10.in-addr.arpa", "PTR").result is Result.ELSEWHERE
    assert ask(index, "2.0.0.10.in-addr.arpa", "PTR").result is Result.ELSEWHERE
    index.drop_service("default", "web")
    index.drop_slice("default", "db-1")
    index.drop_namespace("kube-system")
    assert ask(index, f"web.{SVC}", "A").result is Result.NO_NAME
    assert ask(index, f"db.{SVC}", "A").result is Result.NO_NAME
    assert ask(index, "9.0.1.10.in-addr.arpa", "PTR").result is Result.ELSEWHERE
    assert ask(index, "kube-system.svc.cluster.local", "A").result is Result.NO_NAME


def test_a_slice_may_come_before_its_service_and_change_hands() -> None:
    index = Index()
    index.put_namespace("default")
    put(index, a=slice_(endpoint("10.1.0.1")))
    assert ask(index, f"a.{SVC}", "A").result is Result.NO_NAME
    put(index, service("a", clusterIP="None"), service("b", clusterIP="None"))
    assert values(ask(index, f"a.{SVC}", "A")) == ["10.1.0.1"]
    index.put_slice("default", "a-1", "", next(iter(index.slices("default", "a"))))
    assert ask(index, f"a.{SVC}", "A").result is Result.NO_NAME


@given(st.ip_addresses())
def test_every_address_is_read_from_its_reverse_name(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert reversed_address(address.reverse_pointer) == str(address)


@given(st.lists(st.text("abc01.-_*", max_size=8), max_size=6).map(".".join), st.sampled_from(["A", "SRV", "PTR", "X"]))
def test_no_name_is_too_odd_to_be_answered(name: str, type_: str) -> None:
    index = small_cluster()
    for tail in ("", ".cluster.local", f".{SVC}", ".default.pod.cluster.local", ".in-addr.arpa", ".ip6.arpa"):
        assert ask(index, name + tail, type_).result in Result
