"""How far a run has come: one line that is rewritten on a terminal, only what fails in a log."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from conformance.result import Outcome, Result

TICK_S = 1.0
LINE_EVERY_S = 60.0  # in a log, so that nobody takes a long test for a hang


class Progress:
    """Told of each result as it comes. `total` may be corrected while the run goes on."""

    def __init__(
        self, title: str, total: int, out: TextIO = sys.stderr, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self._title, self._out, self._now = title, out, now
        self._done = self._failed = 0
        self._start = self._spoke = now()
        self._terminal = out.isatty()
        self._lock = threading.Lock()  # the clock's thread writes too

    def result(self, result: Result) -> None:
        with self._lock:
            self._done += 1
            if result.outcome is Outcome.FAIL:
                self._failed += 1
                self._clear()
                self._say(f"FAIL {result.name} ({result.time_s:.0f} s)")
        self.tick()

    def tick(self) -> None:
        """Rewrite the line (on a terminal), or add one if none was written for LINE_EVERY_S."""
        with self._lock:
            if self._terminal:
                self._out.write(f"\r\x1b[K{self.line()}")
                self._out.flush()
            elif self._now() - self._spoke >= LINE_EVERY_S:
                self._say(self.line())

    @contextlib.contextmanager
    def ticking(self) -> Iterator[None]:
        """Tick while a long test says nothing; at the end the line stays."""
        done = threading.Event()
        clock = threading.Thread(target=self._tick_until, args=(done,), daemon=True)
        clock.start()
        try:
            yield
        finally:
            done.set()
            clock.join()
            self._clear()
            self._say(self.line())

    def _tick_until(self, done: threading.Event) -> None:
        while not done.wait(TICK_S):
            self.tick()

    def line(self) -> str:
        spent_s = self._now() - self._start
        text = f"{self._title}: {self._done}/{self.total}, {self._failed} failed, {_clock(spent_s)}"
        left = self.total - self._done
        return text + (f", about {_clock(spent_s / self._done * left)} left" if self._done and left > 0 else "")

    def _clear(self) -> None:
        if self._terminal:
            self._out.write("\r\x1b[K")

    def _say(self, text: str) -> None:
        self._spoke = self._now()
        self._out.write(text + "\n")
        self._out.flush()


def _clock(seconds: float) -> str:
    """65 → 1:05"""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
