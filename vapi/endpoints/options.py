"""Options of a request: the query (and, for deletes, the body) as the values the registry takes.

What is wrong is refused in Kubernetes' words: numbers that are none with 400,
values that are not allowed as Invalid of the options' pseudo kind.
Source: apimachinery internalversion (conversion of queries) and metav1/validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vapi import errors
from vapi.endpoints.request import Query
from vapi.errors import Cause
from vapi.gvk import Obj
from vapi.registry.caller import DeleteOptions, ListOptions, Preconditions, WatchOptions
from vapi.resources.resource import Propagation

MAX_FIELD_MANAGER_BYTES = 128
FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")
PROPAGATION = ("Foreground", "Background", "Orphan", "nil")
DEFAULT_FIELD_VALIDATION = "Warn"


def parse_int(text: str) -> int:
    """As strconv.ParseInt(text, 10, 64). Raises ApiError 400."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise errors.bad_request(f"strconv.ParseInt: parsing {errors.quote_value(text)}: invalid syntax")
    number = int(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise errors.bad_request(f"strconv.ParseInt: parsing {errors.quote_value(text)}: value out of range")
    return number


def _number(query: Query, name: str) -> int:
    text = query.get(name)
    return parse_int(text) if text else 0


def list_options(query: Query) -> ListOptions:
    """Raises ApiError 400 or 422. The resourceVersion rules are the registry's."""
    limit = max(0, _number(query, "limit"))
    _number(query, "timeoutSeconds")
    if "sendInitialEvents" in query.first:
        forbidden = errors.field_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
        raise errors.invalid(errors.options_gvk("ListOptions"), "", [forbidden])
    return ListOptions(
        label_selector=query.get("labelSelector"),
        field_selector=query.get("fieldSelector"),
        limit=limit,
        continue_token=query.get("continue"),
        resource_version=query.get("resourceVersion"),
        resource_version_match=query.get("resourceVersionMatch"),
    )


def watch_options(query: Query) -> WatchOptions:
    """Raises ApiError 400."""
    _number(query, "limit")
    send = query.flag("sendInitialEvents") if "sendInitialEvents" in query.first else None
    return WatchOptions(
        label_selector=query.get("labelSelector"),
        field_selector=query.get("fieldSelector"),
        resource_version=query.get("resourceVersion"),
        resource_version_match=query.get("resourceVersionMatch"),
        allow_bookmarks=query.flag("allowWatchBookmarks"),
        send_initial_events=send,
        timeout_s=float(max(0, _number(query, "timeoutSeconds"))),
    )


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`field_manager` "": not given."""

    field_manager: str = ""
    dry_run: bool = False
    field_validation: str = DEFAULT_FIELD_VALIDATION
    force: bool | None = None


_NO_OPTIONS = WriteOptions()


def write_options(query: Query, kind: str, *, apply: bool = False) -> WriteOptions:
    """`kind`: CreateOptions, UpdateOptions or PatchOptions, whose errors these are. Raises ApiError 422."""
    first = query.first
    if not first and not apply:
        return _NO_OPTIONS
    force = query.flag("force") if kind == "PatchOptions" and "force" in first else None
    return _write_options(
        kind, apply, query.get("fieldManager"), query.all("dryRun"), query.get("fieldValidation"), force
    )


@lru_cache(1024)
def _write_options(
    kind: str, apply: bool, manager: str, dry_run: tuple[str, ...], validation: str, force: bool | None
) -> WriteOptions:
    causes: list[Cause] = []
    if kind == "PatchOptions":
        if apply and not manager:
            causes.append(errors.field_required("fieldManager", "is required for apply patch"))
        if not apply and force is not None:
            causes.append(errors.field_forbidden("force", "may not be specified for non-apply patch"))
    causes += _manager_causes(manager)
    causes += _dry_run_causes(dry_run)
    if validation not in FIELD_VALIDATION:
        causes.append(errors.field_not_supported("fieldValidation", validation, FIELD_VALIDATION))
    if causes:
        raise errors.invalid(errors.options_gvk(kind), "", causes)
    return WriteOptions(manager, bool(dry_run), validation or DEFAULT_FIELD_VALIDATION, force)


def _manager_causes(manager: str) -> Sequence[Cause]:
    causes: list[Cause] = []
    if len(manager.encode()) > MAX_FIELD_MANAGER_BYTES:
        causes.append(errors.field_too_long("fieldManager", MAX_FIELD_MANAGER_BYTES))
    if not manager.isprintable():
        position = 0
        for char in manager:
            if not char.isprintable():
                detail = f"invalid character U+{ord(char):04X} (at position {position})"
                causes.append(errors.field_invalid("fieldManager", manager, detail))
            position += len(char.encode())
    return causes


def _dry_run_causes(values: Sequence[str]) -> Sequence[Cause]:
    if all(value == "All" for value in values):
        return ()
    return (errors.field_not_supported("dryRun", list(values), ("All",)),)


def default_field_manager(user_agent: str) -> str:
    """The User-Agent up to its first slash, cut to what a manager may be; "unknown" without one."""
    name = user_agent.partition("/")[0]
    if not name.isprintable():
        name = "".join(char for char in name if char.isprintable())
    return name.encode()[:MAX_FIELD_MANAGER_BYTES].decode(errors="ignore") or "unknown"


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    options: DeleteOptions
    dry_run: bool


def delete_options(query: Query, body: Obj | None) -> DeleteRequest:
    """From the body if there is one, else from the query. Raises ApiError 400 or 422.

    `body` is decoded; its apiVersion may be any (the group of the URL, v1, or none).
    An empty object is a body, too: the query is not looked at, as upstream.
    """
    return _delete_options(_query_options(query) if body is None else body)


def _query_options(query: Query) -> Obj:
    first = query.first
    found: dict[str, Any] = {
        "dryRun": list(query.all("dryRun")),
        "propagationPolicy": first.get("propagationPolicy"),
    }
    if first.get("gracePeriodSeconds"):
        found["gracePeriodSeconds"] = parse_int(first["gracePeriodSeconds"])
    if "orphanDependents" in first:
        found["orphanDependents"] = query.flag("orphanDependents")
    # Source: apimachinery Convert_url_Values_To_v1_DeleteOptions
    found["preconditions"] = {"uid": first.get("uid"), "resourceVersion": first.get("resourceVersion")}
    return found


def _delete_options(body: Obj) -> DeleteRequest:
    policy, orphan = body.get("propagationPolicy"), body.get("orphanDependents")
    dry_run = body.get("dryRun") or ()
    causes: list[Cause] = []
    if policy is not None and orphan is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(errors.field_invalid("propagationPolicy", policy, detail))
    if policy is not None and policy not in PROPAGATION[:3]:
        causes.append(errors.field_not_supported("propagationPolicy", policy, PROPAGATION))
    causes += _dry_run_causes(dry_run)
    if causes:
        raise errors.invalid(errors.options_gvk("DeleteOptions"), "", causes)
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    options = DeleteOptions(
        grace_period_s=grace,
        propagation=Propagation(policy) if policy is not None else None,
        preconditions=Preconditions(
            uid=preconditions.get("uid") or "", resource_version=preconditions.get("resourceVersion") or ""
        ),
        orphan_dependents=orphan,
    )
    return DeleteRequest(options, bool(dry_run))
