"""Load for the crash tests: writers that note what was acknowledged, and a watch that notes what it was told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.vapi_process import Refused, Vapi

SILENCE_S = 1.0
"""A watch that is told nothing for this long hangs up and goes on from where it was."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    path: str
    """Of the object."""
    uid: str
    revision: int


@dataclass
class Load:
    """`make(n)` gives (path of the collection, object) for the n-th write; each is tried once."""

    vapi: Vapi
    make: Callable[[int], tuple[str, dict[str, Any]]]
    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """What the server answered with an error: none should be."""
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self, writers: int) -> Iterator[None]:
        """Until the block ends; a server that does not answer is asked again, for the next object."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._write, args=(stop,)) for _ in range(writers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _write(self, stop: threading.Event) -> None:
        while not stop.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            path, obj = self.make(number)
            try:
                made = self.vapi.call("POST", path, obj)
            except Refused as error:
                self.refused.append(str(error))
            except (OSError, HTTPException, ValueError):
                stop.wait(0.02)  # killed: it may have been written or not, nobody was told
            else:
                metadata = made["metadata"]
                self.acknowledged.append(
                    Acknowledged(f"{path}/{metadata['name']}", metadata["uid"], int(metadata["resourceVersion"]))
                )


@dataclass
class Watch:
    """A client's watch of one collection, which goes on from its last revision when it is cut."""

    vapi: Vapi
    path: str
    revision: int
    told: list[tuple[int, str, str]] = field(default_factory=list)
    """(revision, type, uid), as they came."""
    failures: list[str] = field(default_factory=list)
    """Statuses: a 410 would be one."""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _follow(self, stop: threading.Event) -> None:
        while not stop.is_set():
            query = f"?watch=true&allowWatchBookmarks=true&resourceVersion={self.revision}"
            try:
                with self.vapi.open("GET", self.path + query, timeout_s=SILENCE_S) as answer:
                    for line in answer:
                        self._note(json.loads(line))
                        if stop.is_set():
                            return
            except Refused as error:
                self.failures.append(str(error))
                return
            except (OSError, HTTPException, ValueError):
                stop.wait(0.05)

    def _note(self, event: dict[str, Any]) -> None:
        obj = event["object"]
        if event["type"] == "ERROR":
            self.failures.append(json.dumps(obj))
            return
        self.revision = int(obj["metadata"]["resourceVersion"])
        if event["type"] != "BOOKMARK":
            self.told.append((self.revision, event["type"], obj["metadata"]["uid"]))
