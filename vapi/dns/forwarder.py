"""Forwarder: asks the resolvers of this machine for the names of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message

TRY_S = 2.0
"""For one resolver; the first of resolv.conf is asked first, as resolver libraries do. Clients wait 5 s."""
MAX_RESOLVERS = 3
"""Source: resolv.conf(5), MAXNS."""
PORT = 53

Resolver = tuple[str, int]


class Unanswered(Exception):
    """No resolver answered."""


class Forwarder:
    """Keeps nothing between questions: each is asked from a port of its own, so that answers cannot be forged."""

    def __init__(self, resolvers: Sequence[Resolver]) -> None:
        self._resolvers = tuple(resolvers)

    async def ask(self, query: dns.message.Message) -> dns.message.Message:
        """Over TCP where the answer is too long. Raises Unanswered."""
        for address, port in self._resolvers:
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(
                    query, address, timeout=TRY_S, port=port, ignore_unexpected=True, ignore_errors=True
                )
            except (dns.exception.DNSException, OSError, EOFError):
                continue
            return answer
        raise Unanswered


def resolvers(forward: Sequence[str]) -> list[Resolver]:
    """Of the setting: `ADDR:PORT` each, or the path of a resolv.conf. Raises OSError."""
    found: list[Resolver] = []
    for text in forward:
        if text.startswith("/"):
            found += nameservers(Path(text).read_text())
        else:
            host, _, port = text.rpartition(":")
            found.append((host.removeprefix("[").removesuffix("]"), int(port)))
    return found


def nameservers(text: str) -> list[Resolver]:
    """Of a resolv.conf."""
    lines = (line.split() for line in text.splitlines())
    return [(words[1], PORT) for words in lines if len(words) > 1 and words[0] == "nameserver"][:MAX_RESOLVERS]
