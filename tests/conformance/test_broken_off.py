"""A comparison that Ctrl-C ends tells what it had found, and that this is not all."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from conformance import __main__ as command
from conformance.replay.check import Unit


def until_ctrl_c() -> Iterator[Unit]:
    yield Unit("defaults:1", "a Pod")
    raise KeyboardInterrupt


def test_what_was_compared_before_ctrl_c_is_told_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(expected=None, only=(), out=None, all=False)
    assert command._told(until_ctrl_c(), arguments)
    assert capsys.readouterr().out.splitlines() == [
        "Broken off: only what follows was compared.",
        "defaults: 1 of 1 equal (100.0 %)",
        "all: 1 of 1 equal (100.0 %)",
    ]
