"""Questions as bytes, on loopback: UDP and TCP, what is too long, what is malformed, and the names of others."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.planes import SERVICES, plane, turns
from tests.vapi.dns.names import DOMAIN, HTTP, endpoint, put, service, slice_, small_cluster
from vapi.config import Address
from vapi.dns import embedded, forwarder, messages, server
from vapi.dns.forwarder import Forwarder, nameservers, resolvers
from vapi.dns.manifest import Mode, Settings
from vapi.dns.records import Index
from vapi.dns.server import Responder, serving

SVC = "default.svc.cluster.local"
LOOPBACK = "127.0.0.1"
DEADLINE_S = 5.0


def responder(index: Index, *resolvers: tuple[str, int]) -> Responder:
    return Responder(index, DOMAIN, Forwarder(resolvers), random.Random(1))


@contextlib.asynccontextmanager
async def running(index: Index, *resolvers: tuple[str, int]) -> AsyncIterator[int]:
    async with serving(responder(index, *resolvers), LOOPBACK, 0) as port:
        yield port


async def ask(port: int, name: str, type_: str = "A", *, tcp: bool = False, **options: Any) -> dns.message.Message:
    query = dns.message.make_query(name, type_, **options)
    transport = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    answer: dns.message.Message = await transport(query, LOOPBACK, port=port, timeout=DEADLINE_S)
    return answer


def texts(answer: dns.message.Message) -> list[str]:
    return sorted(line for rrset in answer.answer for line in rrset.to_text().splitlines())


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
async def test_a_name_of_the_cluster_is_answered_with_authority(tcp: bool) -> None:
    async with running(small_cluster()) as port:
        answer = await ask(port, f"web.{SVC}", tcp=tcp)
    assert texts(answer) == [f"web.{SVC}. 5 IN A 10.0.0.2"]
    assert answer.flags & dns.flags.AA
    assert answer.flags & dns.flags.RA


@pytest.mark.parametrize(
    ("name", "type_", "found"),
    [
        (f"_http._tcp.db.{SVC}", "SRV", [f"0 50 80 db-0.db.{SVC}.", f"0 50 80 db-1.db.{SVC}."]),
        ("3.0.1.10.in-addr.arpa", "PTR", [f"db-0.db.{SVC}."]),
        ("dns-version.cluster.local", "TXT", ['"1.1.0"']),
        ("cluster.local", "NS", ["ns.dns.cluster.local."]),
        ("cluster.local", "SOA", ["ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5"]),
        (f"six.{SVC}", "AAAA", ["2001:db8::5"]),
        (f"alias.{SVC}", "A", [f"web.{SVC}.", "10.0.0.2"]),
        (f"circle.{SVC}", "A", [f"circle.{SVC}."]),
        (f"nowhere.{SVC}", "A", [f"nothing.{SVC}."]),
    ],
)
async def test_records_of_each_type(name: str, type_: str, found: list[str]) -> None:
    async with running(small_cluster()) as port:
        answer = await ask(port, name, type_)
    assert answer.rcode() == dns.rcode.NOERROR
    assert sorted(rdata.to_text() for rrset in answer.answer for rdata in rrset) == sorted(found)


@pytest.mark.parametrize(
    ("name", "type_", "rcode"),
    [(f"nothing.{SVC}", "A", dns.rcode.NXDOMAIN), (f"web.{SVC}", "TXT", dns.rcode.NOERROR)],
    ids=["no name", "no record"],
)
async def test_what_is_not_there_may_be_remembered_for_five_seconds(name: str, type_: str, rcode: int) -> None:
    async with running(small_cluster()) as port:
        answer = await ask(port, name, type_)
    assert answer.rcode() == rcode
    assert answer.answer == []
    (soa,) = answer.authority
    assert (
        soa.to_text() == "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5"
    )


async def test_a_name_is_answered_in_the_askers_own_spelling() -> None:
    async with running(small_cluster()) as port:
        answer = await ask(port, f"WeB.{SVC}")
    assert str(answer.answer[0].name) == f"WeB.{SVC}."


def crowded(count: int) -> Index:
    index = small_cluster()
    many = [endpoint(f"10.2.{n // 250}.{n % 250}") for n in range(count)]
    put(index, service("many", clusterIP="None", ports=[HTTP]), many=slice_(*many))
    return index


@pytest.mark.parametrize(
    ("payload", "room_bytes"), [(None, 512), (1000, 1000), (4096, 1232), (100, 512)], ids=["old", "1000", "4096", "100"]
)
async def test_an_answer_is_cut_to_what_the_asker_takes(payload: int | None, room_bytes: int) -> None:
    edns: dict[str, Any] = {"use_edns": -1} if payload is None else {"use_edns": 0, "payload": payload}
    async with running(crowded(500)) as port:
        for type_ in ("A", "SRV"):
            cut = await ask(port, f"many.{SVC}", type_, **edns)
            whole = await ask(port, f"many.{SVC}", type_, tcp=True)
            assert cut.flags & dns.flags.TC
            assert room_bytes * 0.6 < len(cut.to_wire()) <= room_bytes
            assert len(texts(whole)) == 500
            assert not whole.flags & dns.flags.TC


async def test_an_answer_longer_than_any_message_has_as_many_addresses_as_fit() -> None:
    async with running(crowded(5_000)) as port:
        answer = await ask(port, f"many.{SVC}", tcp=True)
        srv = await ask(port, f"many.{SVC}", "SRV", tcp=True)
    assert 4_000 < len(texts(answer)) < 5_000
    assert answer.flags & dns.flags.TC
    assert srv.flags & dns.flags.TC


async def test_the_order_of_addresses_changes() -> None:
    async with running(crowded(10)) as port:
        orders = {tuple(rdata.to_text() for rdata in (await ask(port, f"many.{SVC}")).answer[0]) for _ in range(5)}
    assert len(orders) > 1


def changed(**what: object) -> Callable[[], dns.message.Message]:
    def make() -> dns.message.Message:
        query = dns.message.make_query(f"web.{SVC}", "A")
        for name, value in what.items():
            getattr(query, name)(value) if name.startswith("set_") else setattr(query, name, value)
        return query

    return make


@pytest.mark.parametrize(
    ("make", "rcode"),
    [
        (changed(set_opcode=4), dns.rcode.NOTIMP),
        (changed(question=[]), dns.rcode.FORMERR),
        (lambda: dns.message.make_query("version.bind", "TXT", "CH"), dns.rcode.REFUSED),
        (lambda: dns.message.make_query("cluster.local", "AXFR"), dns.rcode.REFUSED),
    ],
    ids=["notify", "no question", "chaos", "transfer"],
)
def test_what_is_no_question_of_ours_is_refused(make: Callable[[], dns.message.Message], rcode: int) -> None:
    question = messages.parse(make().to_wire())
    answer = responder(small_cluster()).at_once(question, 512)
    assert answer is not None
    assert answer.rcode() == rcode


@pytest.mark.parametrize(
    "wire",
    [b"", b"x", b"\0" * 11, b"\xff" * 40, dns.message.make_query("a", "A").to_wire()[:-1]],
    ids=["empty", "a letter", "short", "ones", "cut"],
)
def test_what_is_malformed_is_not_answered(wire: bytes) -> None:
    with pytest.raises(messages.Malformed):
        messages.parse(wire)


def test_an_answer_is_never_answered() -> None:
    with pytest.raises(messages.Malformed):
        messages.parse(dns.message.make_response(dns.message.make_query("a", "A")).to_wire())


async def test_the_server_goes_on_after_what_is_malformed() -> None:
    async with running(small_cluster()) as port:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(LOOPBACK, port))
        transport.sendto(b"nonsense")
        transport.close()
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"\0\x08nonsense")
        assert await reader.read() == b""
        writer.close()
        assert texts(await ask(port, f"web.{SVC}"))


async def test_no_more_connections_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    async with running(small_cluster()) as port:
        _, first = await asyncio.open_connection(LOOPBACK, port)
        await turns(50)
        reader, second = await asyncio.open_connection(LOOPBACK, port)
        assert await reader.read() == b""
        first.close()
        second.close()


# --- the names of others --------------------------------------------------------------------------------------


def others() -> Index:
    """A resolver for the tests: our own server, for another domain's names."""
    index = Index()
    index.put_namespace("default")
    many = [endpoint(f"10.3.0.{n}") for n in range(200)]
    www = service("www", clusterIP="198.51.100.7", ports=[HTTP])
    put(index, www, service("big", clusterIP="None"), big=slice_(*many))
    return index


WWW = "www.default.svc.example.com"


@contextlib.asynccontextmanager
async def forwarding(index: Index) -> AsyncIterator[int]:
    elsewhere = Responder(others(), "example.com", Forwarder(()), random.Random(1))
    async with serving(elsewhere, LOOPBACK, 0) as resolver, running(index, (LOOPBACK, resolver)) as port:
        yield port


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
async def test_names_of_others_are_forwarded(tcp: bool) -> None:
    async with forwarding(small_cluster()) as port:
        answer = await ask(port, WWW, tcp=tcp)
        nothing = await ask(port, "nothing.default.svc.example.com", tcp=tcp)
    assert texts(answer) == [f"{WWW}. 5 IN A 198.51.100.7"]
    assert not answer.flags & dns.flags.AA
    assert nothing.rcode() == dns.rcode.NXDOMAIN
    assert nothing.authority


async def test_an_external_name_is_followed_to_others() -> None:
    index = small_cluster()
    put(index, service("outside", type="ExternalName", externalName=WWW))
    async with forwarding(index) as port:
        answer = await ask(port, f"outside.{SVC}")
    assert texts(answer) == [f"outside.{SVC}. 5 IN CNAME {WWW}.", f"{WWW}. 5 IN A 198.51.100.7"]


async def test_a_long_answer_of_others_comes_whole_over_tcp() -> None:
    async with forwarding(small_cluster()) as port:
        cut = await ask(port, "big.default.svc.example.com")
        whole = await ask(port, "big.default.svc.example.com", tcp=True)
    assert cut.flags & dns.flags.TC
    assert len(texts(whole)) == 200


async def test_the_next_resolver_is_asked_when_the_first_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "TRY_S", 0.1)
    elsewhere = Responder(others(), "example.com", Forwarder(()), random.Random(1))
    async with serving(elsewhere, LOOPBACK, 0) as gone:
        pass
    async with (
        serving(elsewhere, LOOPBACK, 0) as there,
        running(small_cluster(), (LOOPBACK, gone), (LOOPBACK, there)) as port,
    ):
        assert texts(await ask(port, WWW))


async def test_without_a_resolver_names_of_others_fail_at_once() -> None:
    async with running(small_cluster()) as port:
        assert (await ask(port, WWW)).rcode() == dns.rcode.SERVFAIL


async def test_no_more_questions_wait_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_FORWARDED", 0)
    async with forwarding(small_cluster()) as port:
        assert (await ask(port, WWW)).rcode() == dns.rcode.SERVFAIL


def test_resolvers_are_read_from_resolv_conf_or_given(tmp_path: Path) -> None:
    text = "# mine\nsearch a b\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions x\nnameserver a\nnameserver b\n"
    assert nameservers(text) == [("192.0.2.1", 53), ("fe80::1%eth0", 53), ("a", 53)]
    (tmp_path / "resolv.conf").write_text(text)
    assert resolvers([str(tmp_path / "resolv.conf")]) == nameservers(text)
    assert resolvers(["192.0.2.1:99", "[::1]:53"]) == [("192.0.2.1", 99), ("::1", 53)]


# --- from the watch cache ---------------------------------------------------------------------------------------


async def test_names_are_there_as_soon_as_their_objects_are() -> None:
    settings = Settings(Mode.EMBEDDED, forward=())
    async with plane() as tenant:
        client = tenant.client("tester")
        await client.create(SERVICES, service("first", clusterIP="10.0.0.1", ports=[HTTP]))
        async with embedded.running(client, settings, (Address("192.0.2.99", 0), Address(LOOPBACK, 0))) as where:
            assert texts(await ask(where.port, f"first.{SVC}")) == [f"first.{SVC}. 5 IN A 10.0.0.1"]
            await client.create(SERVICES, service("second", clusterIP="10.0.0.2", ports=[HTTP]))
            assert texts(await ask(where.port, f"second.{SVC}"))
            await client.delete(SERVICES, "default", "first")
            assert (await ask(where.port, f"first.{SVC}")).rcode() == dns.rcode.NXDOMAIN


async def test_a_port_that_is_taken_is_told() -> None:
    settings = Settings(Mode.EMBEDDED, forward=())
    async with plane() as tenant, running(small_cluster()) as taken:
        with pytest.raises(OSError, match="in use"):
            async with embedded.running(tenant.client("tester"), settings, (Address(LOOPBACK, taken),)):
                pass
