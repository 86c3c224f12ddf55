"""Sizes of ConfigMaps and Secrets: too large to be written down."""

from __future__ import annotations

import base64

from vapi.gvk import Obj
from vapi.resources.strategies import STRATEGIES

LIMIT = 1024 * 1024


def _messages(plural: str, obj: Obj) -> list[str]:
    causes = STRATEGIES["", plural].validate({"metadata": {"name": "a"}, **obj})
    return [f"{cause.field}: {cause.message}" for cause in causes]


def test_a_config_map_holds_one_mebibyte() -> None:
    assert _messages("configmaps", {"data": {"a": "x" * LIMIT}}) == []
    assert _messages("configmaps", {"data": {"a": "x" * LIMIT, "b": "y"}}) == [
        f"[]: Too long: may not be more than {LIMIT} bytes"
    ]


def test_binary_data_counts_by_what_it_encodes() -> None:
    binary = {"b": base64.b64encode(b"x" * (LIMIT // 2)).decode()}
    assert _messages("configmaps", {"data": {"a": "x" * (LIMIT // 2)}, "binaryData": binary}) == []


def test_a_secret_holds_one_mebibyte() -> None:
    fits, too_large = (base64.b64encode(b"x" * size).decode() for size in (LIMIT, LIMIT + 1))
    assert _messages("secrets", {"data": {"a": fits}, "type": "Opaque"}) == []
    assert _messages("secrets", {"data": {"a": too_large}, "type": "Opaque"}) == [
        f"data: Too long: may not be more than {LIMIT} bytes"
    ]
