"""The recorded patches and applies of a real kube-apiserver, replayed on the pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.registry.life import Life, entries, recorded
from tests.vapi.schema.golden import GOLDEN
from vapi.errors import ApiError
from vapi.gvk import Obj

# What the registry decides: existence, versions, identity, what the decoder of the kind says.
_NOT_PURE = frozenset(
    (
        "mergepatch type",
        "mergepatch stale rv",
        "mergepatch change name",
        "ssa name mismatch",
        "ssa stale rv",
        "ssa uid on create",
        "merge patch nonexist",
        "merge patch strict unknown",
        "patch uid",
        "too big",
        "cm > 1MiB",
    )
)


def _order(entry: Obj) -> tuple[str, str, str]:
    return entry["operation"], entry["manager"], entry.get("subresource", "")


def _replay(file: str) -> list[str]:
    life, different = Life(), []
    for number, exchange in enumerate(recorded(file)):
        if exchange["title"] in _NOT_PURE:
            continue
        where = f"{number} {exchange['title']}"
        wanted: Any = exchange["response"]
        try:
            made = life.play(exchange)
        except ApiError as error:
            if error.status() != wanted:
                different.append(f"{where}: {error.status()} instead of {wanted}")
            continue
        if exchange["status"] >= 300:
            different.append(f"{where}: no error")
        elif wanted["kind"] != "Scale" and sorted(entries(made), key=_order) != entries(wanted):
            different.append(f"{where}: {entries(made)} instead of {entries(wanted)}")
    return different


@pytest.mark.parametrize("file", ["patch_ssa.json", "patch_errors.json"])
def test_recorded_patches_are_answered_as_kubernetes_does(file: str) -> None:
    assert _replay(file) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [("patch_ssa.json", "patch_ssa_1.37.json"), ("patch_errors.json", "api_errors_1.37.json")],
)
def test_the_copied_exchanges_are_the_recorded_ones(file: str, source: str) -> None:
    if not (GOLDEN / source).exists():
        pytest.skip("the recordings are not beside this repository")
    import json

    originals = {(e["title"], e["request"]["path"]): e for e in json.loads((GOLDEN / source).read_text())}
    for copied in recorded(file):
        original = originals[copied["title"], copied["request"]["path"]]
        assert (copied["status"], copied["response"]) == (original["status"], original["response"])
