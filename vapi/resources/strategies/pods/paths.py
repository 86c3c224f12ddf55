"""Paths of files in specs: relative, and without a way up."""

from __future__ import annotations

from vapi.errors import field_invalid
from vapi.resources.strategies.checks import Causes


def no_backsteps(causes: Causes, path: str, target: str) -> None:
    if ".." in target.split("/"):
        causes.append(field_invalid(path, target, "must not contain '..'"))


def local_descending(causes: Causes, path: str, target: str) -> None:
    if target.startswith("/"):
        causes.append(field_invalid(path, target, "must be a relative path"))
    no_backsteps(causes, path, target)


def local_not_reserved(causes: Causes, path: str, target: str) -> None:
    local_descending(causes, path, target)
    if target.startswith("..") and not target.startswith("../"):
        causes.append(field_invalid(path, target, "must not start with '..'"))
