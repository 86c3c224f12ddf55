"""Entry: a stored object as the watch cache keeps it: its bytes, and the few facts that readers ask for.

Made once per event from one decode; shared by the view, the history, all
watchers and listers. Its dicts are never edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vapi import encoding
from vapi.gvk import Obj
from vapi.resources.resource import StoredKind

_EMPTY: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    key: str
    namespace: str
    name: str
    uid: str
    revision: int
    value: bytes
    """As stored: no resourceVersion, `metadata` first."""
    labels: Mapping[str, str]
    fields: Mapping[str, str]
    """The stored kind's indexed fields, metadata.name and metadata.namespace included."""
    owners: tuple[str, ...]
    """uids of the ownerReferences."""
    controller: str
    """uid of the owner with controller=true, or ""."""
    deleting: bool
    finalizers: tuple[str, ...]

    def obj(self) -> Obj:
        """A private decoded copy with its resourceVersion; the caller may edit it."""
        return encoding.decode_stored(self.value, self.revision)

    @property
    def size_bytes(self) -> int:
        return len(self.value)


def make_entry(kind: StoredKind, key: str, value: bytes, revision: int, obj: Obj | None = None) -> Entry:
    """`obj` is the decoded value, if somebody has it already; it is only read."""
    if obj is None:
        obj = encoding.loads(value)
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    name = metadata["name"]
    fields = {"metadata.name": name}
    if kind.namespaced:
        fields["metadata.namespace"] = namespace
    for label, getter in kind.fields.items():
        fields[label] = getter(obj)
    references = metadata.get("ownerReferences") or ()
    return Entry(
        key=key,
        namespace=namespace,
        name=name,
        uid=metadata.get("uid", ""),
        revision=revision,
        value=value,
        labels=metadata.get("labels") or _EMPTY,
        fields=fields,
        owners=tuple(r.get("uid", "") for r in references),
        controller=next((r.get("uid", "") for r in references if r.get("controller")), ""),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
    )


class ChangeType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """One event of one kind: `old` before, `entry` after (for DELETED the last state, at the deletion's revision)."""

    type: ChangeType
    entry: Entry
    old: Entry | None
    revision: int
