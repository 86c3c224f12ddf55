"""Server-side apply: an applied configuration merged into the live object by schema, and who owns what. Pure.

What the manager applied before and no longer applies goes, unless somebody else
owns it; a field that another manager owns with another value is a conflict,
which `force` takes over; equal values are shared. An apply that changes no value
keeps the object and the times of its entries.

kubectl is special, as upstream: it may take over what its own client-side apply
wrote (annotation last-applied-configuration), and keeps that annotation up to date.
Source: structured-merge-diff merge.Updater.Apply; apimachinery
util/managedfields/internal (structuredMerge, lastAppliedManager, lastAppliedUpdater); contract §3.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vapi import encoding, errors
from vapi.errors import Cause
from vapi.gvk import GVK, GVR, Obj
from vapi.registry import fieldpath, gotext, managed_fields, typed, typed_merge
from vapi.registry.fieldpath import FieldSet, Path
from vapi.registry.managed_fields import APPLY, BEFORE_FIRST_APPLY, UPDATE, Convert, Entry, Key, Managers
from vapi.schema.types import SchemaType

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
MAX_ANNOTATIONS_BYTES = 256 * 1024  # apimachinery TotalAnnotationSizeLimitB


@dataclass(frozen=True, slots=True)
class Conflict:
    key: Key
    path: Path


@dataclass(frozen=True, slots=True)
class _Request:
    """What stays the same through one apply."""

    config: Obj
    schema: SchemaType
    manager: str
    api_version: str
    subresource: str
    now: str
    ignored: FieldSet | None
    convert: Convert | None
    known: Callable[[str], bool] | None

    @property
    def key(self) -> Key:
        return managed_fields.key_of(self.manager, APPLY, self.api_version, self.subresource)


class _Conflicts(Exception):
    def __init__(self, conflicts: list[Conflict]) -> None:
        super().__init__()
        self.conflicts = conflicts


def apply(
    *,
    live: Obj | None,
    config: Any,
    schema: SchemaType,
    gvk: GVK,
    manager: str,
    force: bool = False,
    subresource: str = "",
    now: str,
    zero: Obj | None = None,
    ignored: FieldSet | None = None,
    convert: Convert | None = None,
    known: Callable[[str], bool] | None = None,
) -> Obj:
    """The object after applying `config`, managedFields included and not yet defaulted.

    `live` is the stored object in gvk's version, None: it is created. For `now`,
    `zero`, `ignored`, `known` and `convert` see `managed_fields.track_update`. The answer
    shares parts with `live` and `config`; copy before editing in place. Where it
    equals live, nothing is to be stored.

    Raises ApiError: 400 (not an object, another kind, managedFields given), 409
    (conflicts, one cause a field), 500 (what is not in the schema, duplicate keys).
    """
    config = {} if config is None else config
    _check(config, schema, gvk)
    request = _Request(config, schema, manager, gvk.api_version, subresource, now, ignored, convert, known)
    managers = _managers(live, request, zero)
    base = managed_fields.with_entries(live, []) if live is not None else None
    try:
        result = _apply(base, dict(managers), request, force=force)
    except _Conflicts as refused:
        left = _not_kubectls_own(refused.conflicts, live, request)
        if left:
            raise _conflict_error(left) from None
        result = _apply(base, dict(managers), request, force=True)
    obj, managers = result
    if manager == KUBECTL:
        obj = _with_last_applied(obj, config)
    return managed_fields.with_entries(obj, managed_fields.encode(managers))


def refuse_uid_on_create(gvr: GVR, name: str, config: Obj) -> None:
    """409 for an apply that names the uid of an object that does not exist."""
    metadata = config.get("metadata")
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise errors.conflict(gvr, name, why)


# --- checks --------------------------------------------------------------------------------------


def _check(config: Any, schema: SchemaType, gvk: GVK) -> None:
    if not isinstance(config, dict):
        raise errors.bad_request(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{gotext.json_kind(config)} into Go value of type map[string]interface {{}}"
        )
    api_version, kind = config.get("apiVersion") or "", config.get("kind") or ""
    if (api_version, kind) != (gvk.api_version, gvk.kind):
        raise errors.bad_request(f"invalid object type: {_kind_text(api_version, kind)}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    wrong = typed_merge.validation_error(config, schema)
    if wrong:
        raise errors.bare_error(500, f"failed to create typed patch object ({_name_text(config)}): {wrong}")


def _kind_text(api_version: Any, kind: Any) -> str:
    """As Go prints a GroupVersionKind: `/v1, Kind=Secret`."""
    group_version = str(api_version)
    return f"{group_version if '/' in group_version else '/' + group_version}, Kind={kind}"


def _name_text(config: Obj) -> str:
    metadata = config.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    namespace, name = (
        text if isinstance(text, str) else "" for text in (metadata.get("namespace"), metadata.get("name"))
    )
    kind = _kind_text(config["apiVersion"], config["kind"])
    return f"{namespace}/{name}; {kind}"


# --- apply ---------------------------------------------------------------------------------------


def _managers(live: Obj | None, request: _Request, zero: Obj | None) -> Managers:
    """Of the live object; if nobody is known, `before-first-apply` owns all there is."""
    if live is None:
        return {}
    try:
        managers = managed_fields.live_managers(live)
    except ValueError as error:
        raise errors.bare_error(500, f"failed to decode managed fields: {error}") from None
    if managers:
        managers = managed_fields.with_known(managers, request.known)
        node = typed.root(request.schema)
        return {
            key: entry._replace(fields=typed_merge.reconcile(node, entry.fields))
            if entry.api_version == request.api_version
            else entry
            for key, entry in managers.items()
        }
    tracked = managed_fields.track_update(
        old=None,
        new=managed_fields.with_entries(live, []),
        schema=request.schema,
        manager=BEFORE_FIRST_APPLY,
        api_version=request.api_version,
        subresource=request.subresource,
        now=request.now,
        zero=zero,
        ignored=request.ignored,
    )
    return managed_fields.decode(tracked)


def _apply(live: Obj | None, managers: Managers, request: _Request, *, force: bool) -> tuple[Obj, Managers]:
    """Raises _Conflicts. `managers` is edited."""
    key = request.key
    last = managers.get(key)
    try:
        owned = typed.applied(request.config, request.schema)
        if request.ignored:
            owned = fieldpath.without(owned, request.ignored)
        managers[key] = Entry(request.api_version, last.time if last else None, owned)
        if live is None:
            obj: Obj | None = request.config
        else:
            obj = typed_merge.merge(typed.root(request.schema), live, request.config)
            obj = _prune(obj, managers, last, request)
            _take(live, obj, managers, request, force=force)
    except typed.Malformed as error:
        raise errors.bare_error(500, f"failed to merge config: {error}") from None
    unchanged = live is not None and typed.same(live, obj)
    if live is not None and last is not None:
        obj = typed_merge.without_emptied(obj)
    fields = managed_fields.strip(_own(managers.pop(key).fields))
    if fields:
        time = (last.time if last else None) if unchanged else request.now
        managers[key] = Entry(request.api_version, time, fields)
    return (live if unchanged and live is not None else obj or {}), managers


def _own(fields: FieldSet) -> FieldSet:
    """A copy as deep as `strip` edits."""
    metadata = fields.get("f:metadata")
    return {**fields, "f:metadata": dict(metadata)} if metadata is not None else dict(fields)


def _take(live: Obj, obj: Obj, managers: Managers, request: _Request, *, force: bool) -> None:
    """Find conflicts with the other managers, then take from them what changed or went. Edits `managers`."""
    changed, removed = typed.compare(live, obj, request.schema)
    if request.ignored:
        changed, removed = fieldpath.without(changed, request.ignored), fieldpath.without(removed, request.ignored)
    versions: managed_fields.Versions = {request.api_version: (changed, removed)}
    conflicts: list[Conflict] = []
    left: Managers = {}
    for key, entry in managers.items():
        difference = (
            managed_fields.versioned(
                versions, entry.api_version, live, obj, ignored=request.ignored, convert=request.convert
            )
            if changed or removed
            else None
        )
        if key == request.key or difference is None:
            left[key] = entry
            continue
        wanted = fieldpath.intersection(entry.fields, difference[0])
        conflicts += [Conflict(key, path) for path in fieldpath.paths(wanted)]
        rest = fieldpath.difference(fieldpath.difference(entry.fields, difference[0]), difference[1])
        if rest:
            left[key] = entry._replace(fields=rest)
    if conflicts and not force:
        raise _Conflicts(conflicts)
    managers.clear()
    managers.update(left)


# --- prune ---------------------------------------------------------------------------------------


def _prune(merged: Obj, managers: Managers, last: Entry | None, request: _Request) -> Obj:
    """`merged` without what the manager applied last time, does not apply now, and nobody else owns."""
    if last is None or not last.fields:
        return merged
    same_version = last.api_version == request.api_version
    if same_version and not fieldpath.difference(last.fields, managers[request.key].fields):
        return merged  # nothing is given up
    in_last = _in_version(merged, last.api_version, request)
    if in_last is None:
        return merged
    merged, schema = in_last
    node = typed.root(schema)
    named = typed_merge.with_named_fields(node, last.fields)
    pruned: Obj = typed_merge.remove(node, merged, named) or {}
    pruned = _add_back_owned(merged, pruned, managers, last.api_version, request)
    all_fields, kept = (_named_set(value, schema) for value in (merged, pruned))
    dangling = fieldpath.intersection(fieldpath.difference(all_fields, kept), named)
    pruned = typed_merge.remove(node, merged, dangling, emptied=typed_merge.EMPTIED) or {}
    back = _in_version(pruned, request.api_version, request)
    return back[0] if back is not None else merged


def _in_version(obj: Obj, api_version: str, request: _Request) -> tuple[Obj, SchemaType] | None:
    if obj.get("apiVersion", request.api_version) == api_version == request.api_version:
        return obj, request.schema
    return request.convert(obj, api_version) if request.convert is not None else None


def _named_set(obj: Obj, schema: SchemaType) -> FieldSet:
    return typed_merge.with_named_fields(typed.root(schema), typed.applied(obj, schema))


def _add_back_owned(merged: Obj, pruned: Obj, managers: Managers, first: str, request: _Request) -> Obj:
    """Put back what any manager owns, this one's new set included: the version of the pruned object first."""
    owned: dict[str, FieldSet] = {first: {}}
    for entry in managers.values():
        owned[entry.api_version] = fieldpath.union(owned.get(entry.api_version, {}), entry.fields)
    for api_version, fields in owned.items():
        before, after = _in_version(merged, api_version, request), _in_version(pruned, api_version, request)
        if before is None or after is None:
            continue
        merged, schema = before
        node = typed.root(schema)
        kept = fieldpath.union(_named_set(after[0], schema), typed_merge.with_named_fields(node, fields))
        pruned = typed_merge.remove(node, merged, fieldpath.difference(_named_set(merged, schema), kept)) or {}
    back = _in_version(pruned, first, request)
    return back[0] if back is not None else pruned


# --- conflicts -----------------------------------------------------------------------------------


def _conflict_error(conflicts: list[Conflict]) -> errors.ApiError:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {_manager_text(c.key)}", fieldpath.describe(c.path))
        for c in conflicts
    ]
    if len(causes) == 1:
        return errors.apply_conflict(f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}", causes)
    lines: list[str] = []
    for key in sorted({c.key for c in conflicts}, key=Key.text):
        lines.append(f"conflicts with {_manager_text(key)}:")
        lines += [f"- {fieldpath.describe(c.path)}" for c in conflicts if c.key == key]
    return errors.apply_conflict(f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines), causes)


def _manager_text(key: Key) -> str:
    text = errors.quote_value(key.manager)
    if key.subresource:
        text += f" with subresource {errors.quote_value(key.subresource)}"
    return f"{text} using {key.api_version}" if key.operation == UPDATE else text


# --- kubectl -------------------------------------------------------------------------------------


def _not_kubectls_own(conflicts: list[Conflict], live: Obj | None, request: _Request) -> list[Conflict]:
    """Conflicts that remain when `kubectl` may take what its client-side apply wrote and nobody changed since."""
    if request.manager != KUBECTL or live is None:
        return conflicts
    text = _annotations(live).get(LAST_APPLIED)
    try:
        before = encoding.loads(text) if text else None
        if not isinstance(before, dict) or before.get("apiVersion") != request.api_version:
            return conflicts
        owned = typed.applied(before, request.schema)
        changed, removed = typed.compare(before, live, request.schema)
    except ValueError:
        return conflicts
    owned = fieldpath.difference(fieldpath.difference(owned, changed), removed)
    return [conflict for conflict in conflicts if not fieldpath.contains(owned, conflict.path)]


def _annotations(obj: Obj) -> Obj:
    return (obj.get("metadata") or {}).get("annotations") or {}


def _with_last_applied(obj: Obj, config: Obj) -> Obj:
    """Bring the annotation of client-side apply up to date, where there is one."""
    annotations = _annotations(obj)
    if not annotations.get(LAST_APPLIED):
        return obj
    applied = dict(config)
    if _annotations(config).get(LAST_APPLIED) is not None:
        kept = {key: value for key, value in _annotations(config).items() if key != LAST_APPLIED}
        applied["metadata"] = {**config["metadata"], "annotations": kept}
    annotations = {**annotations, LAST_APPLIED: fieldpath.go_escaped(encoding.dumps_sorted(applied).decode()) + "\n"}
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        del annotations[LAST_APPLIED]
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}
