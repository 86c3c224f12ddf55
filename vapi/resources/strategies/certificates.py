"""Rules of certificates.k8s.io: signing requests carry who asked, and change only through their subresources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vapi.clock import rfc3339
from vapi.gvk import Obj
from vapi.resources.strategies import values
from vapi.resources.strategy import Strategy, WriteContext

_WHO = ("username", "uid", "groups", "extra")
_DECIDED = frozenset({"Approved", "Denied"})


def prepare_signing_request(obj: Obj, context: WriteContext) -> None:
    """Who asks is taken from the request, never from the body."""
    spec = obj.setdefault("spec", {})
    for key in _WHO:
        spec.pop(key, None)
    user = context.user
    if user is not None:
        found: dict[str, Any] = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(listed) for key, listed in user.extra.items()},
        }
        spec.update({key: value for key, value in found.items() if value})
    obj["status"] = {}


def prepare_signing_request_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The spec never changes; a status write keeps the decision, conditions get their times."""
    new["spec"] = old.get("spec", {})
    if not context.subresource:
        return
    conditions = new.get("status", {}).get("conditions") or []
    known = old.get("status", {}).get("conditions") or []
    if context.subresource == "status":
        for decision in _DECIDED:
            _keep_instances(conditions, known, decision)
    now = rfc3339(context.now)
    for condition in conditions:
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            same = (c for c in known if c.get("type") == condition.get("type"))
            times = (c.get("lastTransitionTime") for c in same if c.get("status") == condition.get("status"))
            condition["lastTransitionTime"] = next((t for t in times if t), now)


def _keep_instances(conditions: list[Obj], known: list[Obj], kind: str) -> None:
    """Equal in number: taken from the stored object. Otherwise left, for validation to refuse."""
    places = [i for i, c in enumerate(conditions) if c.get("type") == kind]
    stored = [c for c in known if c.get("type") == kind]
    if len(places) == len(stored):
        for place, condition in zip(places, stored, strict=True):
            conditions[place] = condition


STRATEGIES: Mapping[str, Strategy] = {
    "certificatesigningrequests": Strategy(
        name_check=values.anything,
        prepare_create=prepare_signing_request,
        prepare_update=prepare_signing_request_update,
    ),
    # which form a name has depends on the signer: `validate` says
    "clustertrustbundles": Strategy(name_check=values.anything),
}
