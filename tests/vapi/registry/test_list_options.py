"""The table of the contract (§3.1): options of LIST and WATCH to what is read, or why not."""

from __future__ import annotations

from typing import Any

import pytest

from vapi.errors import ApiError
from vapi.registry import continue_token
from vapi.registry.caller import ListOptions, WatchOptions
from vapi.registry.continue_token import ContinueToken
from vapi.registry.list_options import ReadMode, ReadPlan, WatchPlan, list_plan, read_version, watch_plan

TOKEN = continue_token.encode(ContinueToken(9, "/b"))


def lists(version: str = "", match: str = "", limit: int = 0, token: str = "") -> ListOptions:
    return ListOptions(resource_version=version, resource_version_match=match, limit=limit, continue_token=token)


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        (lists(), ReadPlan(ReadMode.CURRENT)),
        (lists(limit=5), ReadPlan(ReadMode.CURRENT, limit=5)),
        (lists(limit=-5), ReadPlan(ReadMode.CURRENT)),
        (lists("0", limit=5), ReadPlan(ReadMode.ANY)),
        (lists("0", "NotOlderThan"), ReadPlan(ReadMode.ANY)),
        (lists("7"), ReadPlan(ReadMode.NOT_OLDER, 7)),
        (lists("7", "NotOlderThan", 5), ReadPlan(ReadMode.NOT_OLDER, 7, limit=5)),
        (lists("7", limit=5), ReadPlan(ReadMode.EXACT, 7, limit=5)),
        (lists("7", "Exact"), ReadPlan(ReadMode.EXACT, 7)),
        (lists(token=TOKEN, limit=5), ReadPlan(ReadMode.CONTINUE, 9, "b", 5)),
    ],
    ids=str,
)
def test_what_a_list_reads(options: ListOptions, plan: ReadPlan) -> None:
    assert list_plan(options) == plan


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (lists(match="Exact"), 422, "forbidden unless resourceVersion is provided"),
        (lists(match="NotOlderThan"), 422, "forbidden unless resourceVersion is provided"),
        (lists("0", "Exact"), 422, '"exact" is forbidden for resourceVersion "0"'),
        (lists("7", "Foo"), 422, 'Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""'),
        (lists("7", token=TOKEN), 400, "specifying resource version is not allowed when using continue"),
        (lists("7", "Exact", token=TOKEN), 422, "forbidden when continue is provided"),
        (lists("abc"), 400, 'invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint'),
        (lists("-1"), 400, "invalid resource version"),
        (lists(token="!"), 400, "invalid continue token"),
    ],
    ids=str,
)
def test_what_a_list_refuses(options: ListOptions, code: int, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        list_plan(options)
    assert (caught.value.code, why in caught.value.message) == (code, True), caught.value.message


def watches(version: str = "", **options: Any) -> WatchOptions:
    return WatchOptions(resource_version=version, **options)


NOT_OLDER = {"resource_version_match": "NotOlderThan"}


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        (watches(), WatchPlan(initial=True, revision=0, current=True, closing_bookmark=False)),
        (watches("0"), WatchPlan(initial=True, revision=0, current=False, closing_bookmark=False)),
        (watches("7"), WatchPlan(initial=False, revision=7, current=False, closing_bookmark=False)),
        (
            watches(send_initial_events=True, allow_bookmarks=True, **NOT_OLDER),
            WatchPlan(initial=True, revision=0, current=True, closing_bookmark=True),
        ),
        (
            watches("7", send_initial_events=True, **NOT_OLDER),
            WatchPlan(initial=True, revision=7, current=False, closing_bookmark=False),
        ),
        (
            watches(send_initial_events=False, allow_bookmarks=True, **NOT_OLDER),
            WatchPlan(initial=False, revision=0, current=True, closing_bookmark=False),
        ),
    ],
    ids=str,
)
def test_where_a_watch_begins(options: WatchOptions, plan: WatchPlan) -> None:
    assert watch_plan(options) == plan


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (watches("7", **NOT_OLDER), 422, "forbidden for watch unless sendInitialEvents is provided"),
        (watches(send_initial_events=True), 422, "requires setting resourceVersionMatch to NotOlderThan"),
        (
            watches(send_initial_events=True, resource_version_match="Exact"),
            422,
            'Unsupported value: "Exact": supported values: "NotOlderThan"',
        ),
        (watches("abc"), 400, "strconv.ParseUint"),
    ],
    ids=str,
)
def test_what_a_watch_refuses(options: WatchOptions, code: int, why: str) -> None:
    with pytest.raises(ApiError) as caught:
        watch_plan(options)
    assert (caught.value.code, why in caught.value.message) == (code, True), caught.value.message


def test_a_version_of_too_many_digits_is_none() -> None:
    assert read_version("1" * 20) == int("1" * 20)
    for text in ("1" * 21, "١", "1 ", "+1"):
        with pytest.raises(ApiError):
            read_version(text)
