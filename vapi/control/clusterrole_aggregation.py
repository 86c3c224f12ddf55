"""clusterrole-aggregation controller: gives a ClusterRole with an aggregationRule the rules of those it selects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vapi import encoding, selectors
from vapi.cacher.entry import Change
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources
from vapi.gvk import Obj

APPLY = "application/apply-patch+yaml"


def aggregate(name: str, aggregation_rule: Obj, roles: Iterable[Obj]) -> list[Obj]:
    """The rules that the ClusterRole `name` should have; pure.

    In order of the selectors, then of the selected roles' names, each rule once.
    Source: pkg/controller/clusterroleaggregation.
    """
    by_name = sorted(roles, key=lambda role: str(role["metadata"]["name"]))
    rules: list[Obj] = []
    for wanted in aggregation_rule.get("clusterRoleSelectors") or ():
        selector = selectors.label_selector_from_obj(wanted)
        for role in by_name:
            metadata = role["metadata"]
            if metadata["name"] == name or not selector.matches(metadata.get("labels") or {}):
                continue
            rules.extend(rule for rule in role.get("rules") or () if rule not in rules)
    return rules


class ClusterRoleAggregationController(Controller[str]):
    """Keys are names of ClusterRoles. A change of any looks at all that aggregate: few, with an unknown graph."""

    name = "clusterrole-aggregation-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.client = context.client.named(self.name)
        self._aggregation = context.informers.facts(kinds.CLUSTER_ROLES, _has_aggregation_rule)

    def sources(self) -> Sources[str]:
        return {kinds.CLUSTER_ROLES: self._concerned}

    def all_keys(self) -> Iterable[str]:
        return self._aggregating()

    def _concerned(self, _change: Change) -> Iterable[str]:
        return self._aggregating()

    def _aggregating(self) -> Sequence[str]:
        return [e.name for e in self.client.entries(kinds.CLUSTER_ROLES) if self._aggregation.of(e)]

    async def reconcile(self, key: str) -> None:
        entry = self.client.cached(kinds.CLUSTER_ROLES, "", key)
        if entry is None:
            return
        role = entry.obj()
        rule = role.get("aggregationRule")
        if rule is None:
            return
        rules = aggregate(key, rule, [each.obj() for each in self.client.entries(kinds.CLUSTER_ROLES)])
        if rules == (role.get("rules") or []):
            return
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": key},
            "rules": rules,
        }
        patch = encoding.dumps(body)
        await self.client.patch(kinds.CLUSTER_ROLES, "", key, patch, content_type=APPLY, force=True)


def _has_aggregation_rule(role: Obj) -> bool:
    return role.get("aggregationRule") is not None
