"""Server: UDP and TCP around the zone. What the index knows is answered at once; other names take a task each.

Bounds: `MAX_FORWARDED` questions wait for resolvers (SERVFAIL beyond), `MAX_CONNECTIONS` over TCP (closed beyond),
each ended after `IDLE_S`, one question at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import dns.message
import dns.rcode

from vapi.dns import messages, zone
from vapi.dns.forwarder import Forwarder, Unanswered
from vapi.dns.messages import Malformed, Question
from vapi.dns.records import Index
from vapi.dns.zone import Answer, Choice, Record, Result

log = logging.getLogger(__name__)

MAX_FORWARDED = 1_000
MAX_CONNECTIONS = 200
MAX_ALIASES = 8
"""Followed from one name to the next; ExternalNames can lead in a circle."""
MANY = 100
"""Records that are written on the loop: 2.5 ms."""
IDLE_S = 10.0
BIND_TRIES = 20
LENGTH_BYTES = 2
"""Before each message over TCP."""


class Responder:
    """Answers questions from the index, and asks the forwarder for what is not in it."""

    def __init__(self, index: Index, domain: str, forwarder: Forwarder, shuffle: random.Random) -> None:
        """`shuffle`: of the choice and order of addresses."""
        self._index = index
        self._domain = domain
        self._forwarder = forwarder
        self._shuffle = shuffle
        self._waiting = 0

    def at_once(self, question: Question, room_bytes: int) -> dns.message.Message | None:
        """None: `ask` for it. Never awaits; *measured*: 0.15 ms, and 2 ms for a name with 5,000 addresses."""
        if question.refusal is not None:
            return messages.refused(question, question.refusal)
        records, last, name = self._follow(question, room_bytes)
        if name:
            return None
        return messages.answered(question, records, last, serial=self._index.serial)

    async def whole(self, question: Question) -> bytes:
        """As long as a message can be; where that is much, made in a thread (law 9)."""
        if question.refusal is None:
            records, last, name = self._follow(question, messages.MAX_BYTES)
            if name:
                return messages.encode(await self.ask(question), messages.MAX_BYTES)
            if len(records) > MANY:
                return await asyncio.to_thread(_wire, question, records, last, self._index.serial)
        answer = self.at_once(question, messages.MAX_BYTES)
        assert answer is not None  # nothing was awaited since the look above
        return messages.encode(answer, messages.MAX_BYTES)

    async def ask(self, question: Question) -> dns.message.Message:
        """For what only others know."""
        records, _, name = self._follow(question, messages.MAX_UDP_BYTES)
        if self._waiting >= MAX_FORWARDED:
            return messages.refused(question, dns.rcode.SERVFAIL)
        self._waiting += 1
        try:
            found = await self._forwarder.ask(messages.query(question, name))
        except Unanswered:
            return messages.refused(question, dns.rcode.SERVFAIL)
        finally:
            self._waiting -= 1
        return messages.forwarded(question, records, found)

    def _follow(self, question: Question, room_bytes: int) -> tuple[Sequence[Record], Answer, str]:
        """The records on the way, the last answer, and the name that must be asked elsewhere, or ""."""
        records: list[Record] = []
        name = question.name
        choice = Choice(messages.records_room_bytes(question, room_bytes), self._shuffle)
        for _ in range(MAX_ALIASES):
            last = zone.lookup(self._index, self._domain, name, question.type, choice)
            if last.result is Result.ELSEWHERE:
                return records, last, name or "."
            records += last.records
            if not last.alias:
                return records, last, ""
            name = last.alias
        return records, last, ""


def _wire(question: Question, records: Sequence[Record], last: Answer, serial: int) -> bytes:
    return messages.encode(messages.answered(question, records, last, serial=serial), messages.MAX_BYTES)


@contextlib.asynccontextmanager
async def serving(responder: Responder, host: str, port: int) -> AsyncIterator[int]:
    """The port, the same for UDP and TCP, until the block ends. Raises OSError."""
    datagrams, streams = _Datagrams(responder), _Streams(responder)
    transport, server = await _bind(host, port, datagrams, streams)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        transport.close()
        server.close()
        await _end(datagrams.tasks | streams.tasks)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """No TaskGroup: it would wrap the errors of whoever runs us, and one question is no reason to end the others."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _bind(
    host: str, port: int, datagrams: _Datagrams, streams: _Streams
) -> tuple[asyncio.DatagramTransport, asyncio.Server]:
    """Port 0: one that both have free."""
    loop = asyncio.get_running_loop()
    for attempt in range(BIND_TRIES):
        server = await asyncio.start_server(streams.connected, host, port)
        try:
            found = server.sockets[0].getsockname()[1]
            transport, _ = await loop.create_datagram_endpoint(lambda: datagrams, local_addr=(host, found))
        except OSError:
            server.close()
            if port or attempt == BIND_TRIES - 1:
                raise
        else:
            return transport, server
    raise AssertionError("unreachable")


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, responder: Responder) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        """No more than `MAX_FORWARDED` that wait: the responder refuses the rest."""
        self._responder = responder
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's is none by inheritance

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            question = messages.parse(data)
        except Malformed:
            return
        room_bytes = messages.udp_room_bytes(question)
        try:
            answer = self._responder.at_once(question, room_bytes)
        except Exception:
            log.exception("DNS question failed", extra={"name": question.name, "type": question.type})
            answer = messages.refused(question, dns.rcode.SERVFAIL)
        if answer is None:
            task = asyncio.get_running_loop().create_task(self._later(question, room_bytes, addr))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        else:
            self._send(answer, room_bytes, addr)

    async def _later(self, question: Question, room_bytes: int, addr: Any) -> None:
        try:
            answer = await self._responder.ask(question)
        except Exception:
            log.exception("DNS question failed", extra={"name": question.name, "type": question.type})
            answer = messages.refused(question, dns.rcode.SERVFAIL)
        self._send(answer, room_bytes, addr)

    def _send(self, answer: dns.message.Message, room_bytes: int, addr: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(messages.encode(answer, room_bytes), addr)


class _Streams:
    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self.tasks: set[asyncio.Task[Any]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self.tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        self.tasks.add(task)
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    size = int.from_bytes(await reader.readexactly(LENGTH_BYTES))
                    question = messages.parse(await reader.readexactly(size))
                wire = await _whole(self._responder, question)
                writer.write(len(wire).to_bytes(LENGTH_BYTES) + wire)
                async with asyncio.timeout(IDLE_S):
                    await writer.drain()
        except (TimeoutError, OSError, EOFError, Malformed):
            return
        finally:
            self.tasks.discard(task)
            writer.close()


async def _whole(responder: Responder, question: Question) -> bytes:
    """SERVFAIL where it goes wrong: the client must not wait for nothing."""
    try:
        return await responder.whole(question)
    except Exception:
        log.exception("DNS question failed", extra={"name": question.name, "type": question.type})
        return messages.encode(messages.refused(question, dns.rcode.SERVFAIL), messages.MAX_BYTES)
