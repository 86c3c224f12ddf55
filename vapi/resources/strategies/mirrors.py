"""Mirrors of the host's objects: who writes to a copy of a host's node is told that the copy follows its original."""

from __future__ import annotations

from collections.abc import Sequence

from vapi.gvk import Obj

MIRROR = "vapi.dev/mirror"
"""Label of what sync copies from the host (Nodes, classes, volumes); the host's uid where it decides.

An object of the tenant's own has none, and stays as it is written.
"""


def of_node(obj: Obj, _old: Obj | None) -> Sequence[str]:
    """`kubectl cordon`, `taint` and `label` go through, and sync takes them back at once."""
    if MIRROR not in (obj["metadata"].get("labels") or {}):
        return ()
    return ("this Node is a copy of the host's: what is changed in it here is taken back",)
