"""JSON in and out, and the byte splices of the hot path: the only module of vapi that imports orjson.

Stored values leave the resourceVersion out and begin with a constant of the
stored kind (`stored_prefix`), so that an answer is the stored bytes with a new
head: `single_head(...) + revision + b'",' + value[len(prefix):]`.
Equal objects are equal bytes: `metadata` first, every other key sorted.
"""

from __future__ import annotations

from typing import Any

import orjson

from vapi.gvk import Obj

_SORTED = orjson.OPT_SORT_KEYS


def loads(data: bytes | str | bytearray | memoryview) -> Any:
    """Raises ValueError (orjson.JSONDecodeError) on anything that is not JSON."""
    return orjson.loads(data)


def dumps(value: Any) -> bytes:
    return orjson.dumps(value)


def dumps_sorted(value: Any) -> bytes:
    return orjson.dumps(value, option=_SORTED)


def dumps_pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2)


def stored_prefix(api_version: str, kind: str) -> bytes:
    """What every stored value of a kind begins with."""
    return f'{{"apiVersion":"{api_version}","kind":"{kind}","metadata":{{'.encode()


def encode_stored(obj: Obj, prefix: bytes) -> bytes:
    """The stored bytes: `prefix` (of obj's own apiVersion and kind), metadata without resourceVersion, the rest sorted.

    `obj` must have a metadata with at least one other key (a name).
    """
    metadata = obj["metadata"]
    if "resourceVersion" in metadata:
        metadata = {k: v for k, v in metadata.items() if k != "resourceVersion"}
    head = orjson.dumps(metadata, option=_SORTED)
    rest = {k: v for k, v in obj.items() if k not in _HEAD_KEYS}
    if not rest:
        return prefix + head[1:] + b"}"
    return prefix + head[1:] + b"," + orjson.dumps(rest, option=_SORTED)[1:]


_HEAD_KEYS = frozenset(("apiVersion", "kind", "metadata"))


def single_head(prefix: bytes) -> bytes:
    """Head of a single object or watch event: apiVersion and kind included."""
    return prefix + b'"resourceVersion":"'


ITEM_HEAD = b'{"metadata":{"resourceVersion":"'
"""Head of an item of a built-in list: no apiVersion, no kind."""


def splice(head: bytes, revision: int, value: bytes, prefix_length: int) -> bytes:
    """`value` with its resourceVersion, under another head. *Measured*: 0.3 µs for a 3.5 KB Pod."""
    return b'%b%d",%b' % (head, revision, value[prefix_length:])


def decode_stored(value: bytes, revision: int) -> Obj:
    """A private dict of a stored value, with its resourceVersion; the caller may edit it."""
    obj: Obj = orjson.loads(value)
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj
