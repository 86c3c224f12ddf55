"""Aggregated ClusterRoles: the rules of a role with an aggregationRule, from those of the roles it selects. Pure.

`control.clusterrole_aggregation` writes the answer. Source: kubernetes
pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vapi.gvk import Obj


def aggregates(role: Obj) -> bool:
    """Whether the role's rules are made, not written."""
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def aggregate(role: Obj, roles: Iterable[Obj]) -> list[Obj] | None:
    """The rules `role` shall have, or None if it aggregates nothing.

    Selector by selector, roles in order of names, each different rule once;
    the role itself is left out. `roles` are all ClusterRoles.
    """
    if not aggregates(role):
        return None
    name = role["metadata"]["name"]
    ordered = sorted(roles, key=lambda candidate: str(candidate["metadata"]["name"]))
    rules: list[Obj] = []
    for selector in role["aggregationRule"]["clusterRoleSelectors"]:
        for candidate in ordered:
            metadata = candidate["metadata"]
            if metadata["name"] == name or not selects(selector, metadata.get("labels") or {}):
                continue
            for rule in candidate.get("rules") or ():
                if rule not in rules:
                    rules.append(rule)
    return rules


def selects(selector: Obj, labels: Obj) -> bool:
    """Whether a LabelSelector matches; an empty one matches everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(requirement, labels) for requirement in selector.get("matchExpressions") or ())


def _meets(requirement: Obj, labels: Obj) -> bool:
    key, operator = requirement["key"], requirement["operator"]
    values: list[Any] = requirement.get("values") or []
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    if operator == "Exists":
        return key in labels
    return key not in labels
