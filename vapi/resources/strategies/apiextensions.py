"""Rules of apiextensions.k8s.io: CustomResourceDefinitions, all but what a schema may say.

As upstream, what all versions have in common is looked at once, under the spec.
Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/{v1,validation} (1.37).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from vapi import names
from vapi.errors import (
    Cause,
    field_forbidden,
    field_invalid,
    field_required,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump, webhooks
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy, WriteContext

APPROVED = "api-approved.kubernetes.io"
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"
_NEEDED = f'protected groups must have approval annotation "{APPROVED}"'
_SCOPES, _CONVERSIONS = ("Cluster", "Namespaced"), ("None", "Webhook")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MAX_WARNING = 256
_COMMON = {
    "subresources": "subresources",
    "schema": "validation",
    "additionalPrinterColumns": "additionalPrinterColumns",
}
"""Of a version → where upstream keeps it once all versions are the same."""
_MIXED = "may have mixed case, but should otherwise match: "


def prepare_create(obj: Obj, _context: WriteContext) -> None:
    obj["status"] = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}}
    _remember_stored(obj)


def prepare_update(new: Obj, _old: Obj, context: WriteContext) -> None:
    if not context.subresource:
        _remember_stored(new)


def _remember_stored(obj: Obj) -> None:
    """The storage version is one in which objects may be stored from now on."""
    for version in (obj.get("spec") or {}).get("versions") or ():
        if version.get("storage"):
            status = obj.setdefault("status", {})
            stored = status.get("storedVersions") or []
            if version.get("name") not in stored:
                # the old status is shared with the stored object
                obj["status"] = {**status, "storedVersions": [*stored, version.get("name")]}
            return


def validate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec, metadata = obj.get("spec") or {}, obj["metadata"]
    name, new = metadata.get("name", ""), not metadata.get("resourceVersion")
    if new and name != f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}":
        causes.append(field_invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    _spec(causes, "spec", spec)
    _names(causes, "status.acceptedNames", (obj.get("status") or {}).get("acceptedNames") or {})
    _stored_versions(causes, (obj.get("status") or {}).get("storedVersions") or [], spec.get("versions") or ())
    if new:
        _approval(causes, obj)
    return causes


def _spec(causes: Causes, path: str, spec: Obj) -> None:
    group, versions, called = spec.get("group", ""), spec.get("versions") or [], spec.get("names") or {}
    if checks.required(causes, f"{path}.group", group):
        if problem := checks.dns_subdomain_problem(group):
            causes.append(field_invalid(f"{path}.group", group, problem))
        elif "." not in group:
            causes.append(field_invalid(f"{path}.group", group, "should be a domain with at least one dot"))
    checks.required_one_of(causes, f"{path}.scope", spec.get("scope"), _SCOPES)
    common = _common(versions)
    if common.get("validation", {}).get("openAPIV3Schema") is None:
        for index, version in enumerate(versions):
            if (version.get("schema") or {}).get("openAPIV3Schema") is None:
                causes.append(field_required(f"{path}.versions[{index}].schema.openAPIV3Schema"))
    for index, version in enumerate(versions):
        _version(causes, f"{path}.versions[{index}]", version, common)
    _version_set(causes, f"{path}.versions", versions, common)
    if versions:
        # upstream keeps the name of the first a second time
        first = versions[0].get("name", "")
        checks.text(causes, f"{path}.version", first, names.dns1035_label(first))
    for key in ("plural", "singular", "kind", "listKind"):
        checks.required(causes, f"{path}.names.{key}", called.get(key))
    _names(causes, f"{path}.names", called)
    _subresources(causes, f"{path}.subresources", common.get("subresources") or {})
    for index, column in enumerate(common.get("additionalPrinterColumns") or ()):
        _column(causes, f"{path}.additionalPrinterColumns[{index}]", column)
    _conversion(causes, f"{path}.conversion", spec.get("conversion"))
    if spec.get("preserveUnknownFields"):
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        causes.append(field_invalid(f"{path}.preserveUnknownFields", True, detail))


def _common(versions: Sequence[Obj]) -> dict[str, Any]:
    if not versions:
        return {}
    first = versions[0]
    return {
        place: first[key]
        for key, place in _COMMON.items()
        if first.get(key) is not None and all(version.get(key) == first[key] for version in versions)
    }


def _version(causes: Causes, path: str, version: Obj, common: Mapping[str, Any]) -> None:
    name = version.get("name", "")
    checks.text(causes, f"{path}.name", name, names.dns1035_label(name))
    _deprecation(causes, f"{path}.deprecationWarning", version)
    if "subresources" not in common:
        _subresources(causes, f"{path}.subresources", version.get("subresources") or {})
    if "additionalPrinterColumns" not in common:
        for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
            _column(causes, f"{path}.additionalPrinterColumns[{index}]", column)


def _deprecation(causes: Causes, path: str, version: Obj) -> None:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        causes.append(field_invalid(path, warning, "can only be set for deprecated versions"))
        return
    if len(warning.encode()) > _MAX_WARNING:
        causes.append(field_invalid(path, warning, f"must be <= {_MAX_WARNING} characters long"))
    if not warning:
        causes.append(field_invalid(path, warning, "must not be an empty string"))
    for index, character in enumerate(warning):
        if not character.isprintable():
            at = len(warning[:index].encode())
            detail = f"must only contain printable UTF-8 characters; non-printable character found at index {at}"
            causes.append(field_invalid(path, warning, detail))
            break


def _version_set(causes: Causes, path: str, versions: Sequence[Obj], common: Mapping[str, Any]) -> None:
    problems = []
    if len({version.get("name") for version in versions}) < len(versions):
        problems.append("must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        problems.append("must have exactly one version marked as storage version")
    if problems:
        gone = {key for key, place in _COMMON.items() if place in common}
        shown = [{key: value for key, value in version.items() if key not in gone} for version in versions]
        kind = "[]apiextensions.CustomResourceDefinitionVersion"
        for problem in problems:
            causes.append(godump.invalid(path, kind, shown, problem) if shown else field_invalid(path, [], problem))


def _names(causes: Causes, path: str, called: Obj) -> None:
    for key, mixed in (("plural", False), ("singular", False), ("kind", True), ("listKind", True)):
        name = called.get(key, "")
        if name and (problem := names.dns1035_label(name.lower() if mixed else name)):
            causes.append(field_invalid(f"{path}.{key}", name, f"{_MIXED if mixed else ''}{problem}"))
    _labels(causes, f"{path}.shortNames", called.get("shortNames") or ())
    if called.get("kind") and called["kind"] == called.get("listKind"):
        detail = "kind and listKind may not be the same"
        causes.append(field_invalid(f"{path}.listKind", called["listKind"], detail))
    _labels(causes, f"{path}.categories", called.get("categories") or ())


def _labels(causes: Causes, path: str, listed: Sequence[str]) -> None:
    for index, name in enumerate(listed):
        checks.text(causes, f"{path}[{index}]", name, names.dns1035_label(name))


_SCALE = (
    ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
    ("statusReplicasPath", (".status.",), "should be a json path under .status"),
    ("labelSelectorPath", (".spec.", ".status."), "should be a json path under either .spec or .status"),
)


def _subresources(causes: Causes, path: str, subresources: Obj) -> None:
    scale = subresources.get("scale")
    if scale is None:
        return
    for key, heads, detail in _SCALE:
        wanted, here = scale.get(key, ""), f"{path}.scale.{key}"
        if not wanted:
            if key != "labelSelectorPath":
                causes.append(field_required(here))
        elif not _simple_path(causes, here, wanted):
            continue
        elif not wanted.startswith(heads):
            causes.append(field_invalid(here, wanted, detail))


def _simple_path(causes: Causes, path: str, wanted: str) -> bool:
    if wanted.startswith("."):
        return True
    causes.append(field_invalid(path, wanted, "must be a simple json path starting with ."))
    return False


def _column(causes: Causes, path: str, column: Obj) -> None:
    kind, form, where = column.get("type", ""), column.get("format", ""), column.get("jsonPath", "")
    checks.required(causes, f"{path}.name", column.get("name"))
    of_types = f"must be one of {','.join(_COLUMN_TYPES)}"
    if checks.required(causes, f"{path}.type", kind, of_types) and kind not in _COLUMN_TYPES:
        causes.append(field_invalid(f"{path}.type", kind, of_types))
    if form and form not in _COLUMN_FORMATS:
        causes.append(field_invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if checks.required(causes, f"{path}.JSONPath", where):
        _simple_path(causes, f"{path}.JSONPath", where)


def _conversion(causes: Causes, path: str, conversion: Obj | None) -> None:
    if conversion is None:
        return
    checks.required_one_of(causes, f"{path}.strategy", conversion.get("strategy"), _CONVERSIONS)
    hook = conversion.get("webhook") or {}
    config, versions = hook.get("clientConfig"), hook.get("conversionReviewVersions") or ()
    here = f"{path}.webhookClientConfig"
    if conversion.get("strategy") != "Webhook":
        detail = "should not be set when strategy is not set to Webhook"
        if config is not None:
            causes.append(field_forbidden(here, detail))
        if versions:
            causes.append(field_forbidden(f"{path}.conversionReviewVersions", detail))
        return
    if config is None:
        causes.append(field_required(here, "required when strategy is set to Webhook"))
    else:
        webhooks.client(causes, here, config)
    webhooks.review_versions(causes, f"{path}.conversionReviewVersions", versions)


def _stored_versions(causes: Causes, stored: list[str], versions: Sequence[Obj]) -> None:
    path = "status.storedVersions"
    if not stored:
        causes.append(field_invalid(path, None, "must have at least one stored version"))
        return
    for version in versions:
        if version.get("storage") and version.get("name") not in stored:
            causes.append(field_invalid(path, stored, f"must have the storage version {version.get('name')}"))
    there = {version.get("name") for version in versions}
    for index, name in enumerate(stored):
        if name not in there:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            causes.append(field_invalid(f"{path}[{index}]", name, detail))


def _approval(causes: Causes, obj: Obj) -> None:
    """Groups of the Kubernetes community."""
    group = (obj.get("spec") or {}).get("group", "")
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return
    path, said = f"metadata.annotations[{APPROVED}]", _annotation(obj)
    if not said:
        causes.append(field_required(path, f"{_NEEDED}, {_SEE}"))
    elif not _is_approved(said):
        detail = f'{_NEEDED} with either a URL or a reason starting with "unapproved", {_SEE}'
        causes.append(field_invalid(path, said, detail))


def _annotation(obj: Obj) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(APPROVED, ""))


def _is_approved(said: str) -> bool:
    if said.startswith("unapproved"):
        return True
    try:
        parts = urlsplit(said)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def _state(obj: Obj) -> tuple[bool, bool, bool]:
    said = _annotation(obj)
    return (bool(said), said.startswith("unapproved"), _is_approved(said))


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    called, were = after.get("names") or {}, before.get("names") or {}
    established = any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in (old.get("status") or {}).get("conditions") or ()
    )
    if established:
        checks.immutable(causes, "spec.scope", after.get("scope"), before.get("scope"))
        checks.immutable(causes, "spec.names.kind", called.get("kind"), were.get("kind"))
    checks.immutable(causes, "spec.group", after.get("group"), before.get("group"))
    checks.immutable(causes, "spec.names.plural", called.get("plural"), were.get("plural"))
    if _state(new) != _state(old):
        _approval(causes, new)
    return causes


def _status(new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _names(causes, "status.acceptedNames", (new.get("status") or {}).get("acceptedNames") or {})
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "customresourcedefinitions": Strategy(
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_update=validate_update,
        validate_subresource=on_status(_status),
    ),
}
