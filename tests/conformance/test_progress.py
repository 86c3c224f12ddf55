"""One line on a terminal, failures in a log."""

from __future__ import annotations

import io

from conformance.progress import LINE_EVERY_S, Progress
from conformance.result import Outcome, Result


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_a_log_shows_failures_and_a_line_a_minute() -> None:
    out, clock = io.StringIO(), Clock()
    progress = Progress("run", 4, out, clock)
    progress.result(Result("good", Outcome.PASS))
    assert out.getvalue() == ""
    progress.result(Result("bad", Outcome.FAIL, 3.2))
    assert out.getvalue() == "FAIL bad (3 s)\n"
    clock.s = LINE_EVERY_S
    progress.tick()
    assert out.getvalue().endswith("run: 2/4, 1 failed, 1:00, about 1:00 left\n")


def test_a_terminal_has_one_line_that_is_rewritten() -> None:
    out, clock = Terminal(), Clock()
    progress = Progress("run", 2, out, clock)
    progress.result(Result("good", Outcome.PASS))
    progress.result(Result("good", Outcome.PASS))
    assert "\n" not in out.getvalue()
    with progress.ticking():
        pass
    assert out.getvalue().endswith("\r\x1b[Krun: 2/2, 0 failed, 0:00\n")
