"""A line of the log: for a person at a terminal, for a machine otherwise."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from vapi import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def the_root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    names = [name for name in root.manager.loggerDict if isinstance(root.manager.loggerDict[name], logging.Logger)]
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_off_a_terminal_each_record_is_one_json_object_with_its_facts() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream)
    facts = {"resource": "pods", "revision": 7, "path": Path("/x"), "none": None}
    logging.getLogger("vapi.test").info("object written", extra=facts)
    (line,) = lines(stream)
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "vapi.test",
        "message": "object written",
        "resource": "pods",
        "revision": 7,
        "path": "/x",
        "none": None,
    }


def test_a_line_break_in_a_fact_does_not_break_the_line() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream)
    logging.getLogger("vapi.test").info("told", extra={"text": "one\ntwo"})
    assert [json.loads(line)["text"] for line in lines(stream)] == ["one\ntwo"]


def test_a_traceback_is_a_field() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream)
    try:
        raise ValueError("deep")
    except ValueError:
        logging.getLogger("vapi.test").exception("failed")
    (line,) = lines(stream)
    assert "ValueError: deep" in json.loads(line)["traceback"]


def test_on_a_terminal_the_facts_stand_behind_the_message() -> None:
    stream = Terminal()
    logs.configure("INFO", stream)
    logging.getLogger("vapi.test").warning("host does not answer", extra={"host": "h1", "try": 2})
    (line,) = lines(stream)
    assert "WARN" in line and "host does not answer" in line and "host=h1 try=2" in line
    assert "{" not in line


def test_on_a_terminal_a_traceback_follows_its_line() -> None:
    stream = Terminal()
    logs.configure("INFO", stream)
    try:
        raise ValueError("deep")
    except ValueError:
        logging.getLogger("vapi.test").exception("failed")
    assert lines(stream)[-1] == "ValueError: deep"


@pytest.mark.parametrize(("level", "told"), [("DEBUG", 3), ("INFO", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_decides_what_is_told(level: str, told: int) -> None:
    stream = io.StringIO()
    logs.configure(level, stream)
    log = logging.getLogger("vapi.test")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert len(lines(stream)) == told


def test_libraries_are_heard_from_warnings_on_only() -> None:
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("aiohttp.server").warning("trouble")
    assert [json.loads(line)["message"] for line in lines(stream)] == ["trouble"]


def test_configuring_twice_does_not_double_the_lines() -> None:
    stream = io.StringIO()
    logs.configure("INFO", stream)
    logs.configure("INFO", stream)
    logging.getLogger("vapi.test").info("once")
    assert len(lines(stream)) == 1
