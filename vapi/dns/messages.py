"""Messages: DNS questions and answers as bytes, with dnspython. Pure but for the order of addresses, which is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from vapi.dns.zone import NAME_SERVER, TTL_S, Answer, Record, Result

UDP_BYTES = 512
"""Of an answer to who does not say that more fits (RFC 1035)."""
MAX_UDP_BYTES = 1232
"""Fits every path unfragmented. Source: DNS flag day 2020."""
MAX_BYTES = 65_535
_SOA_TIMES = (7200, 1800, 86_400)
"""Refresh, retry, expire, as CoreDNS: nobody transfers this zone."""
_RESERVE_BYTES = 60
"""Of the header, the client's EDNS option and a first name, beside the question."""


class Malformed(Exception):
    """Not to be answered at all."""


@dataclass(frozen=True, slots=True)
class Question:
    """`name`: lower case, without the last dot. `refusal`: what it must be answered with, instead of an answer."""

    message: dns.message.Message
    name: str = ""
    type: str = ""
    refusal: dns.rcode.Rcode | None = None


def parse(wire: bytes) -> Question:
    """Raises Malformed."""
    try:
        message = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        raise Malformed from None
    except Exception as error:  # dnspython's promise of its own errors alone is not kept for every byte string
        raise Malformed from error
    if message.flags & dns.flags.QR:
        raise Malformed
    if message.opcode() != dns.opcode.QUERY:
        return Question(message, refusal=dns.rcode.NOTIMP)
    if len(message.question) != 1:
        return Question(message, refusal=dns.rcode.FORMERR)
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN or asked.rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
        return Question(message, refusal=dns.rcode.REFUSED)
    return Question(message, asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype))


def refused(question: Question, rcode: dns.rcode.Rcode) -> dns.message.Message:
    response = dns.message.make_response(question.message, recursion_available=True)
    response.set_rcode(rcode)
    return response


def answered(question: Question, records: Sequence[Record], last: Answer, *, serial: int) -> dns.message.Message:
    """`records`: of the aliases on the way and of `last`, in order."""
    response = dns.message.make_response(question.message, recursion_available=True)
    response.flags |= dns.flags.AA
    if last.result is Result.NO_NAME and not records:
        response.set_rcode(dns.rcode.NXDOMAIN)
    if last.cut:
        response.flags |= dns.flags.TC
    response.answer.extend(_rrsets(records, question))
    if last.soa:
        response.answer.append(_soa(last.zone, serial))
    elif not last.records and last.zone:
        response.authority.append(_soa(last.zone, serial))
    response.additional.extend(_rrsets(last.additional, question))
    return response


def forwarded(question: Question, records: Sequence[Record], found: dns.message.Message) -> dns.message.Message:
    """What a resolver said; after `records`, if an alias of ours leads there."""
    response = dns.message.make_response(question.message, recursion_available=True)
    response.answer.extend(_rrsets(records, question))
    response.answer.extend(found.answer)
    if not records:
        response.set_rcode(found.rcode())
        response.authority.extend(found.authority)
        response.additional.extend(found.additional)
        response.flags |= found.flags & dns.flags.AD
    return response


def query(question: Question, name: str) -> dns.message.Message:
    """To a resolver: the same about `name`."""
    asked = question.message.question[0]
    own = dns.message.make_query(
        _name(name, question),
        asked.rdtype,
        use_edns=0,
        payload=MAX_UDP_BYTES,
        want_dnssec=bool(question.message.ednsflags & dns.flags.DO),
    )
    own.flags |= question.message.flags & dns.flags.CD
    return own


def udp_room_bytes(question: Question) -> int:
    """What the client takes."""
    if question.message.edns < 0:
        return UDP_BYTES
    return min(max(question.message.payload, UDP_BYTES), MAX_UDP_BYTES)


def records_room_bytes(question: Question, room_bytes: int) -> int:
    """What a message has for records: as many as fit go out even where not all do.

    Old resolver libraries take what comes, and never ask again over TCP.
    """
    return room_bytes - _RESERVE_BYTES - len(question.name)


def encode(message: dns.message.Message, room_bytes: int) -> bytes:
    """Cut, and marked so, where it does not fit."""
    return message.to_wire(max_size=room_bytes, prefer_truncation=True)


def _rrsets(records: Iterable[Record], question: Question) -> list[dns.rrset.RRset]:
    found: dict[tuple[str, str], dns.rrset.RRset] = {}
    for record in records:
        rrset = found.get((record.name, record.type))
        if rrset is None:
            type_ = dns.rdatatype.from_text(record.type)
            rrset = dns.rrset.RRset(_name(record.name, question), dns.rdataclass.IN, type_)
            found[record.name, record.type] = rrset
        rrset.add(_rdata(record), TTL_S)
    return list(found.values())


def _name(text: str, question: Question) -> dns.name.Name:
    """The client's own spelling of the name it asked for: some compare letter by letter."""
    return question.message.question[0].name if text == question.name else dns.name.from_text(text)


_srv: Callable[..., dns.rdata.Rdata] = SRV
_make_soa: Callable[..., dns.rdata.Rdata] = SOA
_NAMED: Mapping[str, Callable[..., dns.rdata.Rdata]] = MappingProxyType({"CNAME": CNAME, "NS": NS, "PTR": PTR})
"""Whose value is a name."""
_PLAIN: Mapping[str, Callable[..., dns.rdata.Rdata]] = MappingProxyType({"A": A, "AAAA": AAAA})


def _rdata(record: Record) -> dns.rdata.Rdata:
    in_, type_ = dns.rdataclass.IN, dns.rdatatype.from_text(record.type)
    if record.type in _PLAIN:
        return _PLAIN[record.type](in_, type_, record.value)
    if record.type == "SRV":
        target = dns.name.from_text(record.value)
        return _srv(in_, type_, 0, record.weight, record.port, target)
    if record.type == "TXT":
        return TXT(in_, type_, [record.value])
    return _NAMED[record.type](in_, type_, dns.name.from_text(record.value))


def _soa(zone: str, serial: int) -> dns.rrset.RRset:
    server, person = dns.name.from_text(f"{NAME_SERVER}.{zone}"), dns.name.from_text(f"hostmaster.{zone}")
    data = _make_soa(dns.rdataclass.IN, dns.rdatatype.SOA, server, person, serial & 0xFFFF_FFFF, *_SOA_TIMES, TTL_S)
    return dns.rrset.from_rdata(dns.name.from_text(zone), TTL_S, data)
