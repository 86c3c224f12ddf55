"""When a bookmark is due."""

from __future__ import annotations

import pytest

from vapi.cacher.bookmarks import next_bookmark


@pytest.mark.parametrize(
    ("now", "last", "ends_at", "due"),
    [
        (100, 100, 1_900, 160),
        (150, 100, 1_900, 160),
        (170, 100, 1_900, 160),  # late: at once
        (100, 100, 130, 128),  # shortly before the end
        (128, 128, 130, 130),  # the last one was sent: the end
        (100, 100, 101, 101),  # too short for one
        (1_890, 1_850, 1_900, 1_898),
    ],
)
def test_a_minute_after_the_last_or_just_before_the_end(now: float, last: float, ends_at: float, due: float) -> None:
    assert next_bookmark(now=now, last=last, ends_at=ends_at) == due
