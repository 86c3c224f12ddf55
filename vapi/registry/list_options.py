"""The resourceVersion rules of LIST and WATCH as pure functions: options in, a plan or an ApiError out.

Source: apiserver storage/cacher and apimachinery internalversion/validation (ValidateListOptions); contract §3.1-3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vapi import errors
from vapi.errors import Cause, field_forbidden, field_invalid, field_not_supported
from vapi.registry import continue_token
from vapi.registry.caller import ListOptions, WatchOptions
from vapi.registry.continue_token import ContinueToken

_FIELD = "resourceVersionMatch"


class ReadMode(StrEnum):
    CURRENT = "current"
    """Not older than any write acknowledged before the request."""
    ANY = "any"
    NOT_OLDER = "not older than"
    EXACT = "exactly at"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class ReadPlan:
    mode: ReadMode
    revision: int = 0
    start: str = ""
    """CONTINUE: the next key, relative to the prefix."""
    limit: int = 0


def list_plan(options: ListOptions) -> ReadPlan:
    """Raises ApiError 400 or 422."""
    version, match, token = options.resource_version, options.resource_version_match, options.continue_token
    _check_match(version, match, token)
    limit = max(0, options.limit)
    if token:
        if version:
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        decoded: ContinueToken = continue_token.decode(token)
        return ReadPlan(ReadMode.CONTINUE, decoded.revision, decoded.start, limit)
    if not version:
        return ReadPlan(ReadMode.CURRENT, limit=limit)
    revision = _parse_list_version(version)
    if revision == 0:
        return ReadPlan(ReadMode.ANY)
    if match == "Exact" or (not match and limit):
        return ReadPlan(ReadMode.EXACT, revision, limit=limit)
    return ReadPlan(ReadMode.NOT_OLDER, revision, limit=limit)


def _check_match(version: str, match: str, token: str) -> None:
    if not match:
        return
    causes: list[Cause] = []
    if not version:
        causes.append(field_forbidden(_FIELD, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if token:
        causes.append(field_forbidden(_FIELD, "resourceVersionMatch is forbidden when continue is provided"))
    if match not in ("Exact", "NotOlderThan"):
        causes.append(field_not_supported(_FIELD, match, ("Exact", "NotOlderThan", "")))
    elif match == "Exact" and version == "0":
        causes.append(field_forbidden(_FIELD, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if causes:
        raise errors.invalid(errors.options_gvk("ListOptions"), "", causes)


def _parse_list_version(text: str) -> int:
    try:
        return parse_version(text)
    except ValueError as error:
        raise errors.bad_request(f"invalid resource version: {error}") from None


def parse_version(text: str) -> int:
    """A resourceVersion as a revision. Raises ValueError, worded as Go's parser."""
    problem = ""
    if not text.isascii() or not text.isdigit():
        problem = "invalid syntax"
    elif len(text) > 20 or int(text) >= 1 << 64:
        problem = "value out of range"
    if problem:
        detail = f"strconv.ParseUint: parsing {errors.go_quote(text)}: {problem}"
        raise ValueError(field_invalid("resourceVersion", text, detail).text())
    return int(text)


def read_version(text: str) -> int:
    """Of a GET or WATCH. Raises ApiError 400 (kube-apiserver answers 500 without a reason; contract §3.1)."""
    try:
        return parse_version(text) if text else 0
    except ValueError as error:
        raise errors.bad_request(str(error)) from None


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """`initial`: begin with the current state; `revision` 0 with it means "current", else not older than that."""

    initial: bool
    revision: int
    current: bool
    """The state (or starting point) must include every write acknowledged before the request."""
    closing_bookmark: bool


def watch_plan(options: WatchOptions) -> WatchPlan:
    """Raises ApiError 400 or 422."""
    match, send = options.resource_version_match, options.send_initial_events
    causes: list[Cause] = []
    if send is None:
        if match:
            causes.append(
                field_forbidden(
                    _FIELD, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                )
            )
    elif not match:
        causes.append(
            field_forbidden(_FIELD, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        )
    if match and match != "NotOlderThan":
        causes.append(field_not_supported(_FIELD, match, ("NotOlderThan",)))
    if causes:
        raise errors.invalid(errors.options_gvk("ListOptions"), "", causes)
    revision = read_version(options.resource_version)
    if send is None:
        return WatchPlan(revision == 0, revision, current=not options.resource_version, closing_bookmark=False)
    return WatchPlan(
        initial=send,
        revision=revision,
        current=not options.resource_version,
        closing_bookmark=send and options.allow_bookmarks,
    )
