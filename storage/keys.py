"""Keys: what is a valid one, and where the range of a prefix ends.

Keys are text; every backend orders them by their UTF-8 bytes, which is the order of Python's `str` too.
"""

from __future__ import annotations

MAX_KEY_BYTES = 2048
"""More than a Kubernetes name (253) twice with group and resource; a guess with room. etcd itself has no limit."""

_FIRST_SURROGATE = 0xD800
_AFTER_SURROGATES = 0xE000
_LAST_CODE_POINT = 0x10FFFF


def check_key(key: str) -> None:
    """Raises ValueError for a key that no backend may store: empty, too long, with NUL or a lone surrogate."""
    if not key:
        raise ValueError("a key must not be empty")
    if "\0" in key:
        raise ValueError("a key must not contain NUL")
    if len(key) > MAX_KEY_BYTES or (not key.isascii() and len(key.encode()) > MAX_KEY_BYTES):
        raise ValueError(f"a key must not be longer than {MAX_KEY_BYTES} bytes")


def prefix_end(prefix: str) -> str | None:
    """The first text after all that begin with `prefix`; None where there is no end (the empty prefix).

    Encoded as UTF-8 it bounds the same range in bytes: surrogates, which have no encoding, are skipped.
    """
    for index in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[index]) + 1
        if code == _FIRST_SURROGATE:
            code = _AFTER_SURROGATES
        if code <= _LAST_CODE_POINT:
            return prefix[:index] + chr(code)
    return None
