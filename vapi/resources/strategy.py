"""Strategy: the rules of a kind as pure hooks, where the generic write path asks for them.

Order on a write (design §5): decode → default → (managedFields) → admission →
`prepare_*` (graft) → `validate*` → compare-and-swap. Hooks edit the private
dict they are given first; `old` is shared and never edited. What a hook needs
to know of the request is in `WriteContext`. Hooks never await and look nothing up.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vapi.errors import Cause
from vapi.gvk import Obj


@dataclass(frozen=True, slots=True)
class WriteContext:
    """`subresource` is "" for the main endpoint; `user` is a vapi.authorizer.User."""

    subresource: str
    now: dt.datetime
    user: Any = None
    dry_run: bool = False


def _nothing(_obj: Obj) -> None:
    return None


def _prepare_create(_obj: Obj, _context: WriteContext) -> None:
    return None


def _prepare_update(_new: Obj, _old: Obj, _context: WriteContext) -> None:
    return None


def _valid(_obj: Obj) -> Sequence[Cause]:
    return ()


def _valid_update(_new: Obj, _old: Obj) -> Sequence[Cause]:
    return ()


def _valid_subresource(_subresource: str, _new: Obj, _old: Obj) -> Sequence[Cause]:
    return ()


def _no_warnings(_obj: Obj, _old: Obj | None) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Strategy:
    """One row of rules; the defaults do nothing.

    What the generic path does for every kind, so that no hook repeats it:
    metadata (uid, timestamps, generation, immutable metadata), name and
    namespace checks, dropping status on main writes and everything but status
    (and metadata as §3.7 says) on status writes when the row has a status
    subresource, metadata validation.
    """

    default: Callable[[Obj], None] = _nothing
    """Fill in defaults (vapi.schema.defaults); runs on every decoded body."""
    prepare_create: Callable[[Obj, WriteContext], None] = _prepare_create
    prepare_update: Callable[[Obj, Obj, WriteContext], None] = _prepare_update
    """`(new, old, context)`: keep what this endpoint may not change. Also called for subresources."""
    validate: Callable[[Obj], Sequence[Cause]] = _valid
    validate_update: Callable[[Obj, Obj], Sequence[Cause]] = _valid_update
    """Immutability and the like, on the main endpoint; `validate` has run on `new` before."""
    validate_subresource: Callable[[str, Obj, Obj], Sequence[Cause]] = _valid_subresource
    """`(subresource, new, old)`: a write through another endpoint, in place of the two above."""
    warnings: Callable[[Obj, Obj | None], Sequence[str]] = _no_warnings
    """`(new, old)` of a write through the main endpoint; `old` is None on create."""
    name_check: Callable[[str], str] | None = None
    """Name → "" or why it is no name; None: DNS subdomain."""
    status_on_create: bool = False
    """A POST may bring its status (Nodes: a kubelet registers with it)."""
    generation_ignores: frozenset[str] = frozenset({"metadata", "status"})
    """Top-level keys whose change does not raise the generation."""
