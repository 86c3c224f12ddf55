"""Forms: an entry as the bytes a client asked for: the object itself, PartialObjectMetadata, or a row of a Table.

The object's own form moves bytes: a new head on the stored value (*measured*:
0.3 µs for a 3.5 KB Pod). The others decode once per event and form, shared by all watchers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vapi import encoding, errors
from vapi.cacher.entry import Entry
from vapi.clock import Clock
from vapi.endpoints.negotiate import MEDIA_TYPES, Answer, Shape, not_offered
from vapi.gvk import Obj
from vapi.registry.reads import Listing
from vapi.resources import table
from vapi.resources.resource import Resource
from vapi.resources.table import IncludeObject, Printer

INITIAL_END = "k8s.io/initial-events-end"
LIST_TAIL = table.TAIL


class Form(Protocol):
    """One row in one form. `revision` is what the object is shown with; 0: with none (dry run)."""

    slow: bool
    """Whether an entry costs a decode; then lists yield to the loop more often."""
    ages: bool
    """Whether what is encoded now will be wrong a second later."""

    def single(self, entry: Entry, revision: int) -> bytes: ...

    def item(self, entry: Entry) -> bytes:
        """An element of a list."""

    def list_head(self, listing: Listing) -> bytes:
        """Up to the first item; `LIST_TAIL` follows the last."""

    def event(self, entry: Entry, revision: int) -> bytes:
        """The object of a watch event after the first."""

    def bookmark(self, revision: int, *, initial_end: bool) -> bytes: ...

    def first(self, event: bytes) -> bytes:
        """The object of a watch's first event, made from what `event` or `bookmark` gave."""


def shown(row: Resource, entry: Entry, revision: int) -> Obj:
    """A private dict of the entry in the row's version."""
    obj: Obj = encoding.loads(entry.value)
    if revision:
        obj["metadata"]["resourceVersion"] = str(revision)
    if row.from_stored is not None:
        obj = row.from_stored(obj)
    obj["apiVersion"], obj["kind"] = row.gvk.api_version, row.kind
    return obj


def list_metadata(listing: Listing) -> Obj:
    metadata: Obj = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        metadata["continue"] = listing.continue_token
        if listing.remaining is not None:
            metadata["remainingItemCount"] = listing.remaining
    return metadata


def _opened(document: Obj) -> bytes:
    """JSON of a document whose last key is an empty list, without the end: items follow."""
    return encoding.dumps(document)[: -len(LIST_TAIL)]


def _bookmark_metadata(revision: int, initial_end: bool) -> Obj:
    metadata: Obj = {"resourceVersion": str(revision)}
    if initial_end:
        metadata["annotations"] = {INITIAL_END: "true"}
    return metadata


class ObjectForm:
    """The object itself, spliced where the row is served in its stored version."""

    def __init__(self, row: Resource) -> None:
        self._row = row
        self.slow = row.converts
        self.ages = False
        self._prefix = row.prefix_bytes
        self._skip = len(self._prefix)
        self._head = row.single_head
        self._item_head = row.single_head if row.custom else encoding.ITEM_HEAD

    def single(self, entry: Entry, revision: int) -> bytes:
        value = entry.value
        if self.slow or not value.startswith(self._prefix):
            return encoding.dumps(shown(self._row, entry, revision))
        return encoding.splice(self._head, revision, value, self._skip) if revision else value

    def item(self, entry: Entry) -> bytes:
        value = entry.value
        if self.slow or not value.startswith(self._prefix):
            obj = shown(self._row, entry, entry.revision)
            if not self._row.custom:
                del obj["apiVersion"], obj["kind"]
            return encoding.dumps(obj)
        return encoding.splice(self._item_head, entry.revision, value, self._skip)

    def list_head(self, listing: Listing) -> bytes:
        row = self._row
        return _opened(
            {
                "kind": row.list_kind,
                "apiVersion": row.gvk.api_version,
                "metadata": list_metadata(listing),
                "items": [],
            }
        )

    event = single

    def bookmark(self, revision: int, *, initial_end: bool) -> bytes:
        row = self._row
        metadata = _bookmark_metadata(revision, initial_end)
        return encoding.dumps({"kind": row.kind, "apiVersion": row.gvk.api_version, "metadata": metadata})

    def first(self, event: bytes) -> bytes:
        return event


class PartialForm:
    """metadata alone: what the garbage collector's and metadata clients' informers take."""

    slow = True
    ages = False

    def __init__(self, row: Resource, version: str) -> None:
        self._row = row
        self._version = version

    def single(self, entry: Entry, revision: int) -> bytes:
        return table.partial_metadata(_stored(entry, revision), version=self._version, convert=self._row.from_stored)

    def item(self, entry: Entry) -> bytes:
        return self.single(entry, entry.revision)

    def list_head(self, listing: Listing) -> bytes:
        return table.partial_list_head(list_metadata(listing), version=self._version)

    event = single

    def bookmark(self, revision: int, *, initial_end: bool) -> bytes:
        return table.partial_metadata({"metadata": _bookmark_metadata(revision, initial_end)}, version=self._version)

    def first(self, event: bytes) -> bytes:
        return event


def _stored(entry: Entry, revision: int) -> Obj:
    obj: Obj = encoding.loads(entry.value)
    if revision:
        obj["metadata"]["resourceVersion"] = str(revision)
    return obj


_NO_COLUMNS = b'"columnDefinitions":null'


class TableForm:
    """What kubectl prints. Ages are as of the moment of encoding."""

    slow = True
    ages = True

    def __init__(self, printer: Printer, version: str, include: IncludeObject, clock: Clock) -> None:
        self._printer = printer
        self._version = version
        self._include = include
        self._clock = clock

    def _row(self, stored: Obj) -> bytes:
        return table.render_row(
            self._printer, stored, now=self._clock.now(), include=self._include, version=self._version
        )

    def _head(self, metadata: Obj, *, columns: bool) -> bytes:
        return table.table_head(self._printer, metadata, version=self._version, columns=columns)

    def single(self, entry: Entry, revision: int) -> bytes:
        return self.of_object(_stored(entry, revision))

    def of_object(self, stored: Obj) -> bytes:
        version = stored["metadata"].get("resourceVersion")
        metadata = {"resourceVersion": version} if version else {}
        return self._head(metadata, columns=True) + self._row(stored) + LIST_TAIL

    def item(self, entry: Entry) -> bytes:
        return self._row(_stored(entry, entry.revision))

    def list_head(self, listing: Listing) -> bytes:
        return self._head(list_metadata(listing), columns=True)

    def event(self, entry: Entry, revision: int) -> bytes:
        return self._later({"resourceVersion": str(revision)}, _stored(entry, revision))

    def _later(self, metadata: Obj, stored: Obj) -> bytes:
        return self._head(metadata, columns=False) + self._row(stored) + LIST_TAIL

    def bookmark(self, revision: int, *, initial_end: bool) -> bytes:
        blank = {"metadata": _bookmark_metadata(revision, initial_end)}
        return self._later({"resourceVersion": str(revision)}, blank)

    def first(self, event: bytes) -> bytes:
        return event.replace(_NO_COLUMNS, b'"columnDefinitions":' + self._printer.columns, 1)


class Forms:
    """Makes forms, and keeps those of the objects themselves. `printers`: a row → its Table, None where it has none."""

    def __init__(self, clock: Clock, printers: Callable[[Resource], Printer | None] = table.printer_of) -> None:
        self._printers = printers
        self._clock = clock
        self._objects: dict[int, tuple[Resource, ObjectForm]] = {}

    def plain(self, row: Resource) -> ObjectForm:
        """By identity: a row is replaced, never changed (a CRD's, at every change of it)."""
        found = self._objects.get(id(row))
        if found is not None and found[0] is row:
            return found[1]
        if len(self._objects) >= MAX_FORMS:
            self._objects.clear()
        form = ObjectForm(row)
        self._objects[id(row)] = (row, form)
        return form

    def form(self, row: Resource, answer: Answer, include_object: str = "") -> Form:
        """Raises ApiError 400 for an includeObject that is none, 406 for a Table of what has none."""
        match answer.shape:
            case Shape.OBJECT:
                return self.plain(row)
            case Shape.PARTIAL | Shape.PARTIAL_LIST:
                return PartialForm(row, answer.version)
            case Shape.TABLE:
                return self.table(self._printers(row), answer, include_object)

    def table(self, printer: Printer | None, answer: Answer, include_object: str) -> TableForm:
        """Raises like `form`."""
        if printer is None:
            raise not_offered(MEDIA_TYPES)
        include = _INCLUDE.get(include_object)
        if include is None:
            raise errors.bad_request(f"unrecognized includeObject value: {errors.quote_value(include_object)}")
        return TableForm(printer, answer.version, include, self._clock)


_INCLUDE = {"": IncludeObject.METADATA, **{include.value: include for include in IncludeObject}}
MAX_FORMS = 2_000  # rows of all group-versions and CRDs, many times over
