"""The values that cross the storage seam: revisions, stored keys, log events and pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Revision = int
"""A point in the store's one history; grows with every commit, never falls, starts at 0 (an empty store)."""


class EventType(StrEnum):
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as it stood at `revision` (its last write; etcd's mod_revision)."""

    key: str
    value: bytes
    create_revision: Revision
    revision: Revision


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log.

    `value` of a DELETED event is the last one stored. `prev_revision` is the
    revision of the write before (0 for CREATED). `prev_value` is filled by
    `Store.after` for UPDATED events; a live event may leave it None, for its
    consumer holds the current state.
    """

    type: EventType
    key: str
    value: bytes
    revision: Revision
    create_revision: Revision
    prev_revision: Revision = 0
    prev_value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """A promise: no event with a revision ≤ `revision` will follow."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class Page:
    """Keys in ascending byte order, all as of `revision`; `more` tells whether others follow the last one."""

    items: tuple[KeyValue, ...]
    revision: Revision
    more: bool
