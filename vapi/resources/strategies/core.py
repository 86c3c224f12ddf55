"""Rules of the core group."""

from __future__ import annotations

from collections.abc import Mapping

from vapi import names
from vapi.clock import rfc3339
from vapi.gvk import Obj
from vapi.resources.strategies import claims, mirrors
from vapi.resources.strategies.pods import prepare, rules, warnings
from vapi.resources.strategy import Strategy, WriteContext

KUBERNETES = "kubernetes"
"""The finalizer in a Namespace's spec, which the namespace controller takes off."""


def prepare_namespace(obj: Obj, _context: WriteContext) -> None:
    finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
    if KUBERNETES not in finalizers:
        finalizers.append(KUBERNETES)
    obj["status"] = {"phase": "Active"}


def prepare_namespace_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The finalizers of the spec have an endpoint of their own."""
    if context.subresource:
        return
    finalizers = (old.get("spec") or {}).get("finalizers")
    spec = new.setdefault("spec", {})
    if finalizers:
        spec["finalizers"] = finalizers
    else:
        spec.pop("finalizers", None)


def prepare_volume(obj: Obj, context: WriteContext) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": rfc3339(context.now)}


def prepare_volume_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The time of the phase: the client's if it sets one, else now where the phase changes."""
    if context.subresource != "status":
        return
    status, stored = new.setdefault("status", {}), old.get("status") or {}
    sent, before = status.get("lastPhaseTransitionTime"), stored.get("lastPhaseTransitionTime")
    if status.get("phase") == stored.get("phase"):
        if not sent and before:
            status["lastPhaseTransitionTime"] = before
    elif not sent or sent == before:
        status["lastPhaseTransitionTime"] = rfc3339(context.now)


STRATEGIES: Mapping[str, Strategy] = {
    "namespaces": Strategy(
        name_check=names.dns_label, prepare_create=prepare_namespace, prepare_update=prepare_namespace_update
    ),
    "nodes": Strategy(warnings=mirrors.of_node),
    "persistentvolumes": Strategy(prepare_create=prepare_volume, prepare_update=prepare_volume_update),
    "persistentvolumeclaims": Strategy(
        prepare_create=claims.prepare_create,
        prepare_update=claims.prepare_update,
        validate=claims.validate,
        validate_update=claims.validate_update,
    ),
    "pods": Strategy(
        prepare_create=prepare.prepare_create,
        prepare_update=prepare.prepare_update,
        validate=rules.validate,
        validate_update=rules.validate_update,
        validate_subresource=rules.validate_subresource,
        warnings=warnings.of_pod,
    ),
    "podtemplates": Strategy(validate=rules.validate_template),
    "services": Strategy(name_check=names.dns_label),
}
