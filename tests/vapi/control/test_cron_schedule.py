"""Schedules and time zones."""

from __future__ import annotations

import datetime as dt

import pytest

from vapi.control.cron_schedule import ScheduleError, parse


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("*/5 * * * *", "", "2026-01-01T00:03", "2026-01-01T00:05"),
        ("*/5 * * * *", "", "2026-01-01T00:05", "2026-01-01T00:10"),
        ("5/20 * * * *", "", "2026-01-01T00:06", "2026-01-01T00:25"),
        ("@hourly", "", "2026-01-01T00:03", "2026-01-01T01:00"),
        ("@weekly", "", "2026-01-01T00:00", "2026-01-04T00:00"),
        ("0 9 * * mon-FRI", "", "2026-01-02T09:00", "2026-01-05T09:00"),
        ("0 0 1 1 ?", "", "2026-01-01T00:00", "2027-01-01T00:00"),
        ("0 9 * * *", "Asia/Tokyo", "2026-01-01T00:00", "2026-01-02T00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-07-01T00:00", "2026-07-01T07:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-01-01T00:00", "2026-01-01T08:00"),
        ("@every 1h30m", "", "2026-01-01T00:03", "2026-01-01T01:33"),
    ],
)
def test_the_next_time(text: str, zone: str, after: str, expected: str) -> None:
    assert parse(text, zone).next(at(after)) == at(expected)


@pytest.mark.parametrize(
    ("text", "after", "until", "expected"),
    [
        ("*/5 * * * *", "2026-01-01T00:00", "2026-01-01T00:04", None),
        ("*/5 * * * *", "2026-01-01T00:00", "2026-01-01T00:05", "2026-01-01T00:05"),
        ("*/5 * * * *", "2026-01-01T00:00", "2026-01-01T03:07", "2026-01-01T03:05"),
        ("@every 10m", "2026-01-01T00:01", "2026-01-01T00:10", None),
        ("@every 10m", "2026-01-01T00:01", "2026-01-01T00:35", "2026-01-01T00:31"),
    ],
)
def test_the_latest_time(text: str, after: str, until: str, expected: str | None) -> None:
    assert parse(text).latest(at(after), at(until)) == (at(expected) if expected else None)


def test_a_time_that_the_clocks_skip_runs_right_after_and_one_that_comes_twice_runs_once() -> None:
    schedule = parse("30 2 * * *", "Europe/Berlin")
    assert schedule.next(at("2026-03-28T12:00")) == at("2026-03-29T01:00")
    first = schedule.next(at("2026-10-24T12:00"))
    assert first is not None
    second = schedule.next(first)
    assert second is not None
    assert second - first > dt.timedelta(hours=23)


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "* * * * * *", "@never", "@every soon", "a b c d e"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError):
        parse(text)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(ScheduleError, match="unknown time zone Mars/Base"):
        parse("* * * * *", "Mars/Base")
