"""Mirrors of the host's objects: who writes to a copy of a host's node is told that the copy follows its original."""

from __future__ import annotations

from collections.abc import Sequence

from vapi.gvk import Obj

MIRROR = "vapi.dev/mirror"
EDITABLE = "editable"
"""Its value on a Node of a host that is the tenant's alone: what is changed in it reaches the host."""
"""Label of what sync copies from the host (Nodes, classes, volumes); the host's uid where it decides.

An object of the tenant's own has none, and stays as it is written.
"""

HOST_UID = "vapi.dev/host-uid"
"""Annotation, the mark: `<uid here>/<uid on the host>`. Void under another uid: it came with a copied manifest."""


def is_child(obj: Obj) -> bool:
    """Whether a controller of the host made it, for a workload of the tenant's: its mirror has the host's uid."""
    metadata = obj["metadata"]
    uid = metadata.get("uid")
    return bool(uid) and (metadata.get("annotations") or {}).get(HOST_UID) == f"{uid}/{uid}"


def keep_mark(new: Obj, old: Obj) -> None:
    """Edits `new`, which a client writes: the mark is as it was."""
    before = (old["metadata"].get("annotations") or {}).get(HOST_UID)
    metadata = new["metadata"]
    annotations = metadata.get("annotations") or {}
    if annotations.get(HOST_UID) == before:
        return
    annotations = {k: v for k, v in annotations.items() if k != HOST_UID}
    if before is not None:
        annotations[HOST_UID] = before
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]


def of_node(obj: Obj, _old: Obj | None) -> Sequence[str]:
    """`kubectl cordon`, `taint` and `label` go through, and sync takes them back at once."""
    if (obj["metadata"].get("labels") or {}).get(MIRROR) in (None, EDITABLE):
        return ()
    return ("this Node is a copy of the host's: what is changed in it here is taken back",)
