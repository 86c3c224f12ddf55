"""A wire that can be cut: a TCP relay on loopback between a store and its etcd, for the faults of a network."""

from __future__ import annotations

import asyncio
import contextlib


class Link:
    """Relays to one address. `hold_answers` keeps back what the server says; `cut` breaks every connection."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self.requests = b""
        """What was sent since `hold_answers`."""
        self.address = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def hold_answers(self) -> None:
        self.requests = b""
        self._answers.clear()

    def release_answers(self) -> None:
        self._answers.set()

    def cut(self) -> None:
        """Break what is open; new connections are taken."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._relay(reader, writer)
        self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
            self._writers.add(server_writer)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._copy(reader, server_writer, answers=False))
                    both.create_task(self._copy(server_reader, writer, answers=True))
            except* OSError:
                pass
            finally:
                self._writers.discard(server_writer)
                server_writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while chunk := await reader.read(1 << 16):
            if answers:
                await self._answers.wait()
            elif not self._answers.is_set():
                self.requests += chunk
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError("the other side closed")
