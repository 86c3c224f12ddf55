"""What of a pod can still change on the host, as strategic patches, each through its subresource.

Only paths that Kubernetes lets change, by container name or key, so that what
the host added (sidecars, tolerations, labels) stays. An answer other than asked
for is final: `settle` notes the pair of hashes on the twin.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any

from sync import metadata as md
from sync.translator import Write
from vapi.gvk import Obj

_IMAGES = ("containers", "initContainers")
_OWN_BOOKKEEPING = frozenset({md.ANSWERED, md.DESIRED})

_SUFFIXES: Mapping[str, Decimal] = MappingProxyType(
    {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
    | {s: Decimal(1000) ** i for i, s in enumerate("kMGTPE", 1)}
    | {f"{s}i": Decimal(1024) ** i for i, s in enumerate("KMGTPE", 1)}
)


def quantity(text: Any) -> Decimal | str:
    """The number of a resource quantity; the text itself if it is none."""
    written = str(text)
    number = written.rstrip("numkKMGTPEi")
    try:
        return Decimal(number) * _SUFFIXES[written[len(number) :]]
    except (InvalidOperation, KeyError):
        return written


def update(desired: Obj, host: Obj) -> Iterable[Write]:
    """In the order in which they must go out; empty: the twin is as it should be."""
    return list(_writes(desired, host))


def _writes(desired: Obj, host: Obj) -> Iterator[Write]:
    metadata = metadata_changes(desired, host)
    spec: dict[str, Any] = lifted_gates(desired, host)
    asked_before = _noted(host) == _verdict(desired, host)
    if not asked_before:
        spec |= _spec(desired["spec"], host["spec"])
    patch: Obj = {}
    if metadata:
        patch["metadata"] = metadata
    if spec:
        patch["spec"] = spec
    if patch:
        patch.setdefault("metadata", {})["uid"] = host["metadata"]["uid"]
        yield Write(patch)
    resources = _resources(desired["spec"], host["spec"])
    if resources and not asked_before:
        yield Write({"spec": {"containers": resources}}, "resize", optional=True)
    yield from _ephemeral(desired["spec"], host["spec"])
    yield from _gate_conditions(desired, host)


def metadata_changes(desired: Obj, host: Obj) -> Obj:
    """The labels and annotations that differ; null for those that we have set and the tenant has removed.

    And the owners that somebody has taken off: nobody would collect it.
    """
    sent = md.sent_keys(host)
    changes: Obj = {}
    for kind, ours_before in (("labels", sent.labels), ("annotations", sent.annotations)):
        want: Mapping[str, str] = desired["metadata"].get(kind) or {}
        have: Mapping[str, str] = host["metadata"].get(kind) or {}
        change: dict[str, str | None] = {
            k: v for k, v in want.items() if have.get(k) != v and k not in _OWN_BOOKKEEPING
        }
        change |= {k: None for k in ours_before if k in have and k not in want}
        if change:
            changes[kind] = change
    owners = {each.get("uid") for each in host["metadata"].get("ownerReferences") or ()}
    missing = [each for each in desired["metadata"].get("ownerReferences") or () if each["uid"] not in owners]
    if missing:
        changes["ownerReferences"] = missing
    return changes


def _by_name(containers: Any) -> dict[str, Obj]:
    return {c["name"]: c for c in containers or ()}


def _spec(want: Obj, have: Obj) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for kind in _IMAGES:
        there = _by_name(have.get(kind))
        images = [
            {"name": c["name"], "image": c["image"]}
            for c in want.get(kind) or ()
            if c["name"] in there and "image" in c and c["image"] != there[c["name"]].get("image")
        ]
        if images:
            changes[kind] = images
    deadline = want.get("activeDeadlineSeconds")
    if deadline is not None and deadline != have.get("activeDeadlineSeconds"):
        changes["activeDeadlineSeconds"] = deadline
    missing = [t for t in want.get("tolerations") or () if not _tolerated(t, have.get("tolerations") or ())]
    if missing:
        changes["tolerations"] = [*(have.get("tolerations") or ()), *missing]  # one can only add to them
    return changes


def _tolerated(toleration: Obj, there: Iterable[Obj]) -> bool:
    """Equal, but for the default operator."""
    return any({"operator": "Equal", **toleration} == {"operator": "Equal", **other} for other in there)


def lifted_gates(desired: Obj, host: Obj) -> dict[str, Any]:
    """Scheduling gates that we set and the tenant has lifted; the host's own stay."""
    ours = md.sent_keys(host).gates
    wanted = {g["name"] for g in desired["spec"].get("schedulingGates") or ()}
    lifted = [g["name"] for g in host["spec"].get("schedulingGates") or () if g["name"] in ours - wanted]
    return {"schedulingGates": [{"$patch": "delete", "name": n} for n in lifted]} if lifted else {}


def _resources(want: Obj, have: Obj) -> list[Obj]:
    """Containers whose requests or limits differ; what the host added to them is no difference."""
    there = _by_name(have.get("containers"))
    return [
        {"name": c["name"], "resources": c["resources"]}
        for c in want.get("containers") or ()
        if c["name"] in there and _more(c.get("resources") or {}, there[c["name"]].get("resources") or {})
    ]


def _more(want: Obj, have: Obj) -> bool:
    return any(
        quantity(value) != quantity((have.get(kind) or {}).get(resource, ""))
        for kind in ("requests", "limits")
        for resource, value in (want.get(kind) or {}).items()
    )


def _ephemeral(want: Obj, have: Obj) -> Iterator[Write]:
    there = _by_name(have.get("ephemeralContainers"))
    added = [c for c in want.get("ephemeralContainers") or () if c["name"] not in there]
    if added:
        yield Write({"spec": {"ephemeralContainers": added}}, "ephemeralcontainers")


def _gate_conditions(desired: Obj, host: Obj) -> Iterator[Write]:
    there = {c["type"]: c for c in (host.get("status") or {}).get("conditions") or ()}
    changed = [
        {k: v for k, v in c.items() if k != "observedGeneration"}
        for c in (desired.get("status") or {}).get("conditions") or ()
        if (there.get(c["type"]) or {}).get("status") != c.get("status")
    ]
    if changed:
        yield Write({"status": {"conditions": changed}}, "status", optional=True)


def _verdict(desired: Obj, host: Obj) -> str:
    """Hashes of the spec as we want it and of the same fields as the host has them."""
    want, have = desired["spec"], host["spec"]
    return f"{md.desired_hash(_mutable(want, want))}/{md.desired_hash(_mutable(want, have))}"


def _mutable(want: Obj, spec: Obj) -> list[Any]:
    """The mutable fields of `spec`, for the containers of `want`."""
    fields: list[Any] = []
    for kind in _IMAGES:
        there = _by_name(spec.get(kind))
        for container in want.get(kind) or ():
            found = there.get(container["name"]) or {}
            fields.append([kind, container["name"], found.get("image"), found.get("resources") or {}])
    fields.append(spec.get("activeDeadlineSeconds"))
    fields.append(spec.get("tolerations") or [])
    return fields


def _noted(host: Obj) -> str:
    return str((host["metadata"].get("annotations") or {}).get(md.ANSWERED, ""))


def settle(desired: Obj, answer: Obj) -> Write | None:
    """After a write: if the host's answer is not what we asked for, the note that it is final.

    Without it a restart would ask again, and an image that a webhook of the host
    rewrote at creation would restart its container.
    """
    if not _spec(desired["spec"], answer["spec"]) and not _resources(desired["spec"], answer["spec"]):
        return None
    verdict = _verdict(desired, answer)
    if _noted(answer) == verdict:
        return None
    return Write({"metadata": {"uid": answer["metadata"]["uid"], "annotations": {md.ANSWERED: verdict}}})
