"""What a bootstrap object that exists already still lacks. Pure: (existing, expected) → the object to write, or None.

Rights are added and never taken away; who does not want that annotates the
object with autoupdate=false. Source: component-helpers auth/rbac/reconciliation.
"""

from __future__ import annotations

from vapi.auth.rules import compile_rules, uncovered
from vapi.gvk import Obj

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
APF_AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
MANDATORY = frozenset({"exempt", "catch-all"})
"""Priority and fairness objects that are what they are, whatever their annotation says."""


def role(existing: Obj, expected: Obj) -> Obj | None:
    """For Roles and ClusterRoles."""
    if _protected(existing):
        return None
    changed = _with_metadata(existing, expected)
    wanted = expected.get("aggregationRule")
    if wanted:
        changed["aggregationRule"] = _with_selectors(existing.get("aggregationRule") or {}, wanted)
    else:
        # an aggregated role that should not be one gets its rules back
        changed.pop("aggregationRule", None)
        if (existing.get("rules") or []) != expected["rules"]:
            missing = uncovered(compile_rules(existing.get("rules")), expected["rules"])
            changed["rules"] = [*(existing.get("rules") or ()), *missing]
    return changed if changed != existing else None


def binding(existing: Obj, expected: Obj) -> Obj | None:
    """For RoleBindings and ClusterRoleBindings. A different roleRef is for `must_recreate`."""
    if _protected(existing):
        return None
    changed = _with_metadata(existing, expected)
    present = existing.get("subjects") or []
    missing = [subject for subject in expected.get("subjects") or () if subject not in present]
    if missing:
        changed["subjects"] = [*present, *missing]
    return changed if changed != existing else None


def must_recreate(existing: Obj, expected: Obj) -> bool:
    """A roleRef is immutable: the binding has to be deleted first."""
    return not _protected(existing) and existing["roleRef"] != expected["roleRef"]


def flow_control(existing: Obj, expected: Obj) -> Obj | None:
    """For FlowSchemas and PriorityLevelConfigurations."""
    annotations = existing["metadata"].get("annotations") or {}
    if existing["metadata"]["name"] not in MANDATORY and annotations.get(APF_AUTOUPDATE) != "true":
        return None
    if existing.get("spec") == expected["spec"]:
        return None
    return {**existing, "spec": expected["spec"]}


def untouched(_existing: Obj, _expected: Obj) -> None:
    """What is only created: namespaces, priority classes, APIServices."""
    return


def _protected(existing: Obj) -> bool:
    return bool((existing["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false")


def _with_metadata(existing: Obj, expected: Obj) -> Obj:
    """A shallow copy that has the expected labels and annotations too; what is there already stays."""
    metadata = dict(existing["metadata"])
    for field in ("labels", "annotations"):
        merged = {**(expected["metadata"].get(field) or {}), **(metadata.get(field) or {})}
        if merged:
            metadata[field] = merged
    return {**existing, "metadata": metadata}


def _with_selectors(existing: Obj, expected: Obj) -> Obj:
    present = existing.get("clusterRoleSelectors") or []
    missing = [selector for selector in expected["clusterRoleSelectors"] if selector not in present]
    return {"clusterRoleSelectors": [*present, *missing]} if missing else existing
