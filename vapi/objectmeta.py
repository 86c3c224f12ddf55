"""ObjectMeta: what the server sets, keeps and checks in `metadata`, the same for every kind. Pure.

Source: apiserver registry/rest (BeforeCreate, BeforeUpdate) and apimachinery api/validation (objectmeta.go).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import lru_cache

from vapi import names
from vapi.clock import rfc3339
from vapi.errors import Cause, field_forbidden, field_invalid, field_required, field_too_long
from vapi.gvk import Obj

MAX_ANNOTATIONS_BYTES = 256 << 10
GENERATED_PREFIX_LENGTH = 58
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
STANDARD_FINALIZERS = frozenset({"orphan", "foregroundDeletion", "kubernetes"})
_SERVER_SET = ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion")
_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")

NameCheck = Callable[[str], str]


def prepare_create(metadata: Obj, *, uid: str, now: dt.datetime, has_generation: bool) -> None:
    """What the server sets on a new object, and what a client may not."""
    for key in _SERVER_SET:
        metadata.pop(key, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = rfc3339(now)
    if has_generation:
        metadata["generation"] = 1
    else:
        metadata.pop("generation", None)
    drop_empty(metadata)


def prepare_update(new: Obj, old: Obj) -> None:
    """Keep what no client writes. A different uid stays, to be refused by validation."""
    for key in ("selfLink",):
        new.pop(key, None)
    for key in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName"):
        if not new.get(key) and key in old:
            new[key] = old[key]
    for key in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        if key in old:
            new[key] = old[key]
        else:
            new.pop(key, None)
    drop_empty(new)


def drop_empty(metadata: Obj) -> None:
    """Empty lists, maps and strings are left out, as Go's omitempty does."""
    for key in [k for k, v in metadata.items() if v is None or v == "" or v == {} or v == []]:
        del metadata[key]


def dedupe_owners(metadata: Obj) -> Sequence[str]:
    """Drops equal ownerReferences; the uids of those, each once."""
    references = metadata.get("ownerReferences")
    if not references or len(references) == 1:
        return ()
    unique: list[Obj] = []
    dropped: dict[str, None] = {}
    for reference in references:
        if reference in unique:
            dropped[reference.get("uid", "")] = None
        else:
            unique.append(reference)
    if dropped:
        metadata["ownerReferences"] = unique
    return tuple(dropped)


def owners_deduped(uids: Sequence[str]) -> str:
    """The warning. Source: apiserver handlers/create.go DuplicateOwnerReferencesWarningFormat."""
    return (
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, "
        "and may reject such requests as early as 1.24; please fix your requests; "
        f"duplicate UID(s) observed: {', '.join(uids)}"
    )


def generated_name(prefix: str, random_below: Callable[[int], int]) -> str:
    """`prefix` cut to 58 characters and five random ones. Source: apiserver storage/names."""
    suffix = "".join(SUFFIX_ALPHABET[random_below(len(SUFFIX_ALPHABET))] for _ in range(SUFFIX_LENGTH))
    return prefix[:GENERATED_PREFIX_LENGTH] + suffix


# --- validation -------------------------------------------------------------------------------------


def validate(metadata: Obj, *, name_check: NameCheck = names.dns_subdomain) -> Sequence[Cause]:
    causes: list[Cause] = []
    name = metadata.get("name", "")
    generate_name = metadata.get("generateName", "")
    if generate_name:
        # the check of the whole name tells; a prefix may end where a name may not
        problem = _generate_name_check(generate_name, name_check)
        if problem:
            causes.append(field_invalid("metadata.generateName", generate_name, problem))
    if not name:
        causes.append(field_required("metadata.name", "name or generateName is required"))
    elif problem := _cached_check(name_check, name):
        causes.append(field_invalid("metadata.name", name, problem))
    causes.extend(validate_labels(metadata.get("labels") or {}, "metadata.labels"))
    causes.extend(validate_annotations(metadata.get("annotations") or {}))
    causes.extend(_validate_owners(metadata.get("ownerReferences") or ()))
    causes.extend(_validate_finalizers(metadata.get("finalizers") or ()))
    return causes


def _generate_name_check(prefix: str, name_check: NameCheck) -> str:
    return _cached_check(name_check, prefix[:-1] + "a" if prefix.endswith(("-", ".")) else prefix)


@lru_cache(maxsize=4096)
def _cached_check(check: NameCheck, text: str) -> str:
    return check(text)


_qualified_name = lru_cache(maxsize=4096)(names.qualified_name)
_label_value = lru_cache(maxsize=4096)(names.label_value)


def validate_labels(labels: Obj, path: str) -> Sequence[Cause]:
    causes: list[Cause] = []
    for key, value in sorted(labels.items()):
        if problem := _qualified_name(key):
            causes.append(field_invalid(path, key, problem))
        if problem := _label_value(value):
            causes.append(field_invalid(path, value, problem))
    return causes


def validate_annotations(annotations: Obj) -> Sequence[Cause]:
    """Causes name the annotations of an object; those of a template have another path."""
    causes: list[Cause] = []
    size = 0
    for key, value in sorted(annotations.items()):
        # upper case is allowed in the prefix of an annotation, and reported as the client wrote it
        if problem := _qualified_name(key.lower()):
            causes.append(field_invalid("metadata.annotations", key, problem))
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATIONS_BYTES:
        causes.append(field_too_long("metadata.annotations", MAX_ANNOTATIONS_BYTES))
    return causes


def _validate_owners(references: Sequence[Obj]) -> Sequence[Cause]:
    causes: list[Cause] = []
    controllers: list[str] = []
    for index, reference in enumerate(references):
        path = f"metadata.ownerReferences[{index}]"
        for key in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(key):
                if key == "apiVersion":
                    causes.append(field_invalid(f"{path}.apiVersion", "", "version must not be empty"))
                else:
                    causes.append(field_required(f"{path}.{key}", "must not be empty"))
        if reference.get("controller"):
            controllers.append(f"{reference.get('kind')}/{reference.get('name')}")
            if len(controllers) > 1:
                detail = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controllers[-2]} and {controllers[-1]}'
                )
                ordered = [_ordered_owner(r) for r in references]
                causes.append(field_invalid("metadata.ownerReferences", ordered, detail))
    return causes


def _ordered_owner(reference: Obj) -> Obj:
    """In the order of the Go struct, as the error prints it."""
    order = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
    return {key: reference[key] for key in order if key in reference}


def _validate_finalizers(finalizers: Sequence[str]) -> Sequence[Cause]:
    causes: list[Cause] = []
    for index, finalizer in enumerate(finalizers):
        path = f"metadata.finalizers[{index}]"
        if problem := _qualified_name(finalizer):
            causes.append(field_invalid(path, finalizer, problem))
        elif "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(field_invalid(path, finalizer, detail))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer orphan and foregroundDeletion cannot be both set"
        causes.append(field_invalid("metadata.finalizers", list(finalizers), detail))
    return causes


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes = [
        field_invalid(f"metadata.{key}", new.get(key), "field is immutable")
        for key in _IMMUTABLE
        if new.get(key) != old.get(key)
    ]
    if "deletionTimestamp" in old:
        added = [f for f in new.get("finalizers") or () if f not in (old.get("finalizers") or ())]
        if added:
            listed = ", ".join(f'"{f}"' for f in added)
            causes.append(
                field_forbidden(
                    "metadata.finalizers",
                    "no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{listed}}}",
                )
            )
    return causes
