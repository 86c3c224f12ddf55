"""Embedded: the DNS server of this process, from its parts. Imported only where it is wanted."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import AsyncIterator, Sequence

from vapi.config import Address
from vapi.dns.directory import Directory
from vapi.dns.forwarder import Forwarder, resolvers
from vapi.dns.manifest import Settings
from vapi.dns.server import Responder, serving
from vapi.registry.client import Client


@contextlib.asynccontextmanager
async def running(client: Client, settings: Settings, listen: Sequence[Address]) -> AsyncIterator[Address]:
    """Where it listens, until the block ends: at the first of `listen` that is this machine's. Raises OSError."""
    forwarder = Forwarder(resolvers(settings.forward))
    directory = Directory(client)
    try:
        await directory.fill()
        responder = Responder(directory.index, settings.domain, forwarder, random.Random())
        async with contextlib.AsyncExitStack() as stack:
            yield await _listening(stack, responder, listen)
    finally:
        directory.close()


async def _listening(stack: contextlib.AsyncExitStack, responder: Responder, listen: Sequence[Address]) -> Address:
    for address in listen[:-1]:
        try:
            return Address(
                address.host, await stack.enter_async_context(serving(responder, address.host, address.port))
            )
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
    last = listen[-1]
    return Address(last.host, await stack.enter_async_context(serving(responder, last.host, last.port)))
