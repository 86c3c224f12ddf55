"""Watch: a watcher's events as frames, `{"type":…,"object":…}` a line, encoded once and shared by all who watch alike.

One drain of the watcher is one chunk of the stream, so one write: up to about
64 KB. The stream ends when the watcher does; a client that goes closes it.
Source: apiserver handlers/watch.go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from vapi import encoding
from vapi.cacher.entry import Entry
from vapi.cacher.watcher import Watcher, WatchEvent, WatchEventType
from vapi.clock import Clock
from vapi.endpoints.forms import Form, Forms
from vapi.endpoints.http import JSON, NO_CACHE, ApiResponse
from vapi.endpoints.negotiate import Answer
from vapi.endpoints.responses import LOOK_EVERY, SLICE_S
from vapi.resources.resource import Resource

KEPT_FRAMES = 64  # the newest: watchers of one kind wake in one turn of the loop, so few are enough
KEPT_BYTES = 256 << 10
MAX_FRAME_SIZE_KEPT = KEPT_BYTES // 4
MAX_SOURCES = 512  # kinds × forms in use; each at most KEPT_BYTES
AGE_S = 1.0  # how long a frame with ages in it is good: their resolution

_HEADS = {kind: f'{{"type":"{kind.value}","object":'.encode() for kind in WatchEventType}
_TAIL = b"}\n"


class FrameSource:
    """The frames of one row in one form. Runs on the loop, never awaits."""

    def __init__(self, form: Form, clock: Clock) -> None:
        self.form = form
        self._clock = clock
        self._kept: dict[tuple[int, WatchEventType, int], tuple[Entry, bytes, float]] = {}
        self.kept_bytes = 0
        self._joined: tuple[Sequence[WatchEvent], bytes] = ((), b"")

    def joined(self, events: Sequence[WatchEvent]) -> bytes | None:
        """The frames of a batch that watchers share (the very tuple), if they were joined a moment ago."""
        kept, data = self._joined
        return data if kept is events else None

    def keep_joined(self, events: Sequence[WatchEvent], data: bytes) -> None:
        if not self.form.ages and isinstance(events, tuple):
            self._joined = (events, data)

    @property
    def kept(self) -> int:
        return len(self._kept)

    def frame(self, event: WatchEvent) -> bytes:
        entry = event.entry
        if entry is None:
            return self._without_entry(event)
        key = (id(entry), event.type, event.revision)
        kept = self._kept.get(key)
        # the entry is held, so its id is not another's; the test is for the reader
        if kept is not None and kept[0] is entry and (not self.form.ages or self._clock.monotonic() < kept[2]):
            return kept[1]
        frame = _HEADS[event.type] + self.form.event(entry, event.revision) + _TAIL
        if len(frame) <= MAX_FRAME_SIZE_KEPT:
            self._keep(key, entry, frame)
        return frame

    def _keep(self, key: tuple[int, WatchEventType, int], entry: Entry, frame: bytes) -> None:
        replaced = self._kept.pop(key, None)
        if replaced is not None:
            self.kept_bytes -= len(replaced[1])
        good_until = self._clock.monotonic() + AGE_S if self.form.ages else 0.0
        self._kept[key] = (entry, frame, good_until)
        self.kept_bytes += len(frame)
        while len(self._kept) > KEPT_FRAMES or self.kept_bytes > KEPT_BYTES:
            oldest = next(iter(self._kept))
            self.kept_bytes -= len(self._kept.pop(oldest)[1])

    def _without_entry(self, event: WatchEvent) -> bytes:
        if event.error is not None:
            return _HEADS[WatchEventType.ERROR] + encoding.dumps(event.error.status()) + _TAIL
        bookmark = self.form.bookmark(event.revision, initial_end=event.initial_end)
        return _HEADS[WatchEventType.BOOKMARK] + bookmark + _TAIL

    def first(self, event: WatchEvent, frame: bytes) -> bytes:
        """The frame as the first of a stream: a Table brings its columns."""
        if event.error is not None:
            return frame
        return _HEADS[event.type] + self.form.first(frame[len(_HEADS[event.type]) : -len(_TAIL)]) + _TAIL


class Watches:
    """Every running watch of one server, and the sources they share."""

    def __init__(self, forms: Forms, clock: Clock) -> None:
        self._forms = forms
        self._clock = clock
        self._sources: dict[tuple[int, Answer, str], tuple[Resource, FrameSource]] = {}
        self._running: set[Watcher] = set()
        self._closing = False

    @property
    def count(self) -> int:
        return len(self._running)

    def source(self, row: Resource, answer: Answer, include_object: str) -> FrameSource:
        """Raises ApiError 400 for an includeObject that is none."""
        key = (id(row), answer, include_object)
        found = self._sources.get(key)
        if found is not None and found[0] is row:
            return found[1]
        source = FrameSource(self._forms.form(row, answer, include_object), self._clock)
        if len(self._sources) >= MAX_SOURCES:
            self._sources.clear()
        self._sources[key] = (row, source)
        return source

    def response(self, watcher: Watcher, source: FrameSource) -> ApiResponse:
        self._running.add(watcher)
        if self._closing:
            watcher.finish()

        def gone() -> None:
            self._running.discard(watcher)
            watcher.close()

        return ApiResponse(
            200,
            JSON,
            headers=[NO_CACHE],
            stream=self._stream(watcher, source),
            on_disconnect=gone,
            is_watch=True,
        )

    async def _stream(self, watcher: Watcher, source: FrameSource) -> AsyncIterator[bytes]:
        first = True
        try:
            while events := await watcher.next():
                if not first and (data := source.joined(events)) is not None:
                    yield data
                    continue
                shareable = not first
                frames: list[bytes] = []
                until = time.perf_counter() + SLICE_S
                for index, event in enumerate(events):
                    frame = source.frame(event)
                    if first:
                        frame = source.first(event, frame)
                        first = False
                    frames.append(frame)
                    if source.form.slow and index % LOOK_EVERY == 0 and time.perf_counter() > until:
                        await asyncio.sleep(0)
                        until = time.perf_counter() + SLICE_S
                data = b"".join(frames) if len(frames) > 1 else frames[0]
                if shareable:
                    source.keep_joined(events, data)
                yield data
        finally:
            self._running.discard(watcher)
            watcher.close()

    async def close(self) -> None:
        """End all of them (a last bookmark, EOF), a slice at a time."""
        self._closing = True
        for index, watcher in enumerate(tuple(self._running)):
            watcher.finish()
            if index % 50 == 49:
                await asyncio.sleep(0)
