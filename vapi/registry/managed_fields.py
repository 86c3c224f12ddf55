"""managedFields: which manager owns which fields, after each create, update and non-apply patch. Pure.

An entry is one (manager, operation, apiVersion, subresource). Fields that a
write added or changed move to its manager, removed ones leave everybody; an
entry whose set is empty goes, and an entry's time moves only with its set.
Entries of another apiVersion are compared in that version, through a `Convert`;
where there is none the entry stays as it is.

Lists of entries are values: what is returned may share parts with the old
object's list and is never edited afterwards.
Source: apimachinery util/managedfields/internal (managedFieldsUpdater, stripMeta,
capManagers, skipNonApplied, decodeLiveOrNew), structured-merge-diff merge.Updater.

*Measured* (CPython 3.11, one of 4 shared cores, the Pod of the tests): create 7-10 µs, update of a
label and an image 11-16 µs, status update 11 µs, an update that changes nothing 5 µs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from vapi.gvk import Obj
from vapi.registry import fieldpath, typed, typed_merge
from vapi.registry.fieldpath import FieldSet
from vapi.schema.types import SchemaType

APPLY, UPDATE = "Apply", "Update"
MAX_UPDATE_MANAGERS = 10  # upstream DefaultMaxUpdateManagers
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"

Convert: TypeAlias = Callable[[Obj, str], "tuple[Obj, SchemaType] | None"]
"""An object in any apiVersion of its kind, its own included, with that version's schema; None if it cannot be had.

Pure; it may share parts with its argument.
"""

_STRIPPED_ROOT = ("f:apiVersion", "f:kind")
_STRIPPED_META = (
    "f:name",
    "f:namespace",
    "f:creationTimestamp",
    "f:selfLink",
    "f:uid",
    "f:clusterName",
    "f:generation",
    "f:managedFields",
    "f:resourceVersion",
    fieldpath.SELF,
)


class Key(NamedTuple):
    """What makes an entry one; appliers keep theirs when they change the version (api_version "")."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    def text(self) -> str:
        """Kubernetes' manager identifier, which it sorts by."""
        fields = [("manager", self.manager), ("operation", self.operation), ("apiVersion", self.api_version)]
        fields.append(("subresource", self.subresource))
        return "{" + ",".join(f'"{n}":{fieldpath.json_text(v)}' for n, v in fields if v) + "}"


class Entry(NamedTuple):
    api_version: str
    time: str | None
    fields: FieldSet


Managers: TypeAlias = dict[Key, Entry]


def key_of(manager: str, operation: str, api_version: str, subresource: str) -> Key:
    return Key(manager or "unknown", operation, api_version if operation == UPDATE else "", subresource)


# --- wire form -----------------------------------------------------------------------------------


def decode(entries: Any) -> Managers:
    """Managers of a `managedFields` list from outside. Raises ValueError on what Kubernetes cannot read."""
    if not isinstance(entries, list | tuple):
        raise ValueError("managedFields must be a list")
    managers: Managers = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(f"managed fields entry {index} is not an object")
        texts = [entry.get(n) or "" for n in ("manager", "operation", "apiVersion", "subresource", "fieldsType")]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError(f"managed fields entry {index} is malformed")
        manager, operation, api_version, subresource, fields_type = texts
        if operation not in (APPLY, UPDATE):
            raise ValueError("operation must be `Apply` or `Update`")
        if not api_version:
            raise ValueError("apiVersion must not be empty")
        if fields_type != "FieldsV1":
            raise ValueError(f"missing or invalid fieldsType {fields_type!r} in managed fields entry {index}")
        key = Key(manager, operation, api_version if operation == UPDATE else "", subresource)
        fields = fieldpath.decode(entry.get("fieldsV1"))
        if fields:  # who owns nothing is no manager
            managers[key] = Entry(api_version, entry.get("time"), fields)
    return managers


def _stored(entries: Iterable[Obj]) -> Managers:
    """As `decode`, of a list that this module wrote."""
    managers: Managers = {}
    for entry in entries:
        operation, api_version = entry["operation"], entry["apiVersion"]
        key = Key(
            entry.get("manager", ""),
            operation,
            api_version if operation == UPDATE else "",
            entry.get("subresource", ""),
        )
        managers[key] = Entry(api_version, entry.get("time"), entry.get("fieldsV1") or {})
    return managers


def live_managers(live: Obj) -> Managers:
    """Of a stored object. Raises ValueError if somebody else wrote them and wrote them badly."""
    entries = live["metadata"].get("managedFields")
    if not entries:
        return {}
    try:
        return _stored(entries)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def encode(managers: Managers) -> list[Obj]:
    """In Kubernetes' order: Apply before Update, then time (none first), manager, apiVersion, subresource."""
    if len(managers) > 1:
        ordered = sorted(
            managers.items(),
            key=lambda item: (
                item[0].operation,
                item[1].time or "",
                item[0].manager,
                item[1].api_version,
                item[0].subresource,
            ),
        )
    else:
        ordered = list(managers.items())
    return [_entry(key, entry) for key, entry in ordered]


def _entry(key: Key, entry: Entry) -> Obj:
    encoded: Obj = {"manager": key.manager} if key.manager else {}
    encoded |= {"operation": key.operation, "apiVersion": entry.api_version}
    if entry.time:
        encoded["time"] = entry.time
    encoded["fieldsType"] = "FieldsV1"
    encoded["fieldsV1"] = entry.fields
    if key.subresource:
        encoded["subresource"] = key.subresource
    return encoded


def with_entries(obj: Obj, entries: list[Obj]) -> Obj:
    """`obj` with these managedFields (none: without the key); a new dict with a new metadata."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**obj, "metadata": metadata}


# --- tracking ------------------------------------------------------------------------------------


def track_update(
    *,
    old: Obj | None,
    new: Obj,
    schema: SchemaType,
    manager: str,
    api_version: str,
    subresource: str = "",
    now: str,
    zero: Obj | None = None,
    ignored: FieldSet | None = None,
    convert: Convert | None = None,
    known: Callable[[str], bool] | None = None,
) -> list[Obj]:
    """The managedFields of `new` after `manager` wrote it over `old` (None: created it); [] means no such key.

    `old` and `new` are in `api_version`, `new` defaulted, with the managedFields
    that the client sent, which count as Kubernetes counts them: readable ones
    replace the stored, `[]` or `[{}]` clears them, others and those sent to a
    subresource are not looked at. `now` is RFC 3339 in seconds. `zero` is what Go
    writes for an empty object of the kind (`zero_objects`; {} for custom
    resources): its fields are nobody's. `ignored`: fields this endpoint does not
    write (the main one: `{"f:status": {}}`). Owners by an apiVersion that is not `known` are dropped.

    Never fails: what cannot be compared keeps the old entries, as UpdateNoErrors does.
    """
    live = old["metadata"].get("managedFields") if old is not None else None
    managers = _base(live, new["metadata"].get("managedFields"), subresource)
    if not managers and old is not None:
        return []  # nobody applied it yet and it was not tracked from its creation: start with the first apply
    managers = with_known(managers, known)
    base = old if old is not None else zero or {}
    try:
        changed, removed = (typed.compare if old is not None else typed.added)(base, new, schema)
    except typed.Malformed:
        return list(live or [])
    strip(changed)
    if ignored:
        changed, removed = fieldpath.without(changed, ignored), fieldpath.without(removed, ignored)
    if changed or removed:
        versions: Versions = {api_version: (changed, removed)}
        for key, entry in list(managers.items()):
            difference = versioned(versions, entry.api_version, base, new, ignored=ignored, convert=convert)
            if difference is None:
                continue
            before = entry.fields
            if not schema.name and entry.api_version == api_version:
                before = typed_merge.reconcile(typed.root(schema), before)  # a CRD's schema may have changed since
            fields = fieldpath.difference(fieldpath.difference(before, difference[0]), difference[1])
            if not fields:
                del managers[key]
            elif fields is not entry.fields:
                managers[key] = Entry(entry.api_version, entry.time, fields)
    if changed:
        key = key_of(manager, UPDATE, api_version, subresource)
        own = managers.get(key)
        fields = fieldpath.union(own.fields, changed) if own else changed
        managers[key] = Entry(api_version, now, fields)
    return encode(_capped(managers))


def with_known(managers: Managers, known: Callable[[str], bool] | None) -> Managers:
    """Those of an apiVersion that is `known`."""
    if known is None or all(known(entry.api_version) for entry in managers.values()):
        return managers
    return {key: entry for key, entry in managers.items() if known(entry.api_version)}


def strip(fields: FieldSet) -> FieldSet:
    """Take out, in place, what is never tracked. `fields` must be the caller's own, metadata included."""
    for element in _STRIPPED_ROOT:
        fields.pop(element, None)
    metadata = fields.get("f:metadata")
    if metadata is not None:
        for element in _STRIPPED_META:
            metadata.pop(element, None)
        if not metadata:
            del fields["f:metadata"]
    return fields


def _base(live: Any, sent: Any, subresource: str) -> Managers:
    """The managers to start from: the client's, if it sent some and may. Source: decodeLiveOrNew."""
    if not subresource and sent is not None and sent != live:
        if _is_reset(sent):
            return {}
        with contextlib.suppress(ValueError):
            return decode(sent)  # entries that own nothing are an answer, too: then nobody owns anything
    try:
        return _stored(live) if live else {}
    except (KeyError, TypeError, AttributeError):
        return {}


def _is_reset(entries: Any) -> bool:
    if not isinstance(entries, list):
        return False
    return not entries or (len(entries) == 1 and isinstance(entries[0], dict) and not any(entries[0].values()))


Versions: TypeAlias = "dict[str, tuple[FieldSet, FieldSet] | None]"
"""Of one write: apiVersion → (changed or added, removed); None: the objects cannot be had in that version."""


def versioned(
    versions: Versions, api_version: str, old: Obj, new: Obj, *, ignored: FieldSet | None, convert: Convert | None
) -> tuple[FieldSet, FieldSet] | None:
    """The difference of `old` and `new` in another apiVersion, remembered in `versions`."""
    if api_version not in versions:
        versions[api_version] = _compare_in(api_version, old, new, ignored, convert)
    return versions[api_version]


def _compare_in(
    api_version: str, old: Obj, new: Obj, ignored: FieldSet | None, convert: Convert | None
) -> tuple[FieldSet, FieldSet] | None:
    if convert is None:
        return None
    before, after = convert(old, api_version), convert(new, api_version)
    if before is None or after is None:
        return None
    try:
        changed, removed = typed.compare(before[0], after[0], before[1])
    except typed.Malformed:
        return None
    if ignored:
        changed, removed = fieldpath.without(changed, ignored), fieldpath.without(removed, ignored)
    return changed, removed


def _capped(managers: Managers) -> Managers:
    """At most `MAX_UPDATE_MANAGERS` updaters: the oldest of one version are merged under one name."""
    updaters = [key for key in managers if key.operation == UPDATE]
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return managers
    updaters.sort(key=lambda key: (managers[key].time or "", key.text()))
    first: dict[str, Key] = {}
    for key in updaters:
        if excess <= 0:
            break
        entry = managers[key]
        version = entry.api_version
        if version not in first:
            first[version] = key
            continue
        bucket = key_of(ANCIENT, UPDATE, version, "")
        if key == bucket:
            continue
        if bucket not in managers:
            managers[bucket] = managers.pop(first[version])
        fields = fieldpath.union(managers[bucket].fields, entry.fields)
        managers.pop(key)
        # the younger time: this entry's
        managers[bucket] = Entry(version, entry.time, fields)
        excess -= 1
    return managers


def keep_times(old: Obj, new: Obj) -> Obj:
    """`new`, with the old times if times in managedFields are all that differs: a write that changes nothing.

    For the end of every update and patch, before looking whether something is
    to be stored. Source: apiserver fieldmanager.IgnoreManagedFieldsTimestampsTransformer.
    """
    before, after = old["metadata"].get("managedFields"), new["metadata"].get("managedFields")
    if not before or not after or len(before) != len(after) or before == after:
        return new
    if any(_timeless(left) != _timeless(right) for left, right in zip(before, after, strict=True)):
        return new
    restored = with_entries(new, before)
    return restored if typed.same(old, restored) else new


def _timeless(entry: Mapping[str, Any]) -> Obj:
    return {key: value for key, value in entry.items() if key != "time"}
