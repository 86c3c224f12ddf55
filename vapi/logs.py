"""Logging: constant messages with facts as fields; readable on a terminal, JSON lines otherwise."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from vapi import encoding
from vapi.clock import rfc3339_micro, utc_from_timestamp

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLORS = {"DEBUG": "\033[2m", "INFO": "", "WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"}
_RESET = "\033[0m"


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {k: v for k, v in vars(record).items() if k not in _STANDARD}


class TerminalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        color = _COLORS.get(record.levelname, "")
        clock = self.formatTime(record, "%H:%M:%S")
        facts = " ".join(f"{k}={v}" for k, v in _facts(record).items())
        line = f"{clock} {color}{record.levelname[:4]}{_RESET if color else ''} {record.getMessage()}"
        if facts:
            line += f"  \033[2m{facts}{_RESET}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": rfc3339_micro(utc_from_timestamp(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _facts(record).items():
            fields[key] = value if isinstance(value, str | int | float | bool) or value is None else str(value)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return encoding.dumps(fields).decode()


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send everything to `stream` (stderr). The libraries' own chatter starts at warning."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter() if stream.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiohttp", "asyncio", "kubernetes", "urllib3", "etcd3"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
