"""Where the range of a prefix ends, in text and in bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.keys import MAX_KEY_BYTES, check_key, prefix_end

# Without surrogates: they have no UTF-8.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [("/a/", "/a0"), ("a", "b"), ("", None), ("\U0010ffff", None), ("a\U0010ffff", "b"), ("\ud7ff", "\ue000")],
)
def test_the_end_of_a_prefix(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


@given(TEXT, TEXT)
def test_exactly_what_begins_with_the_prefix_lies_before_its_end(prefix: str, key: str) -> None:
    end = prefix_end(prefix)
    assert key.startswith(prefix) == (prefix <= key and (end is None or key < end))
    if end is not None:
        assert (key < end) == (key.encode() < end.encode())


def test_the_longest_key_is_valid_and_one_byte_more_is_not() -> None:
    check_key("x" * MAX_KEY_BYTES)
    check_key("ü" * (MAX_KEY_BYTES // 2))
    for key in ("x" * (MAX_KEY_BYTES + 1), "ü" * (MAX_KEY_BYTES // 2 + 1)):
        with pytest.raises(ValueError, match="longer"):
            check_key(key)
