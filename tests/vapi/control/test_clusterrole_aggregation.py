"""Which rules an aggregating ClusterRole gets."""

from __future__ import annotations

from tests.vapi.control.cluster import cluster
from vapi.control import kinds
from vapi.control.clusterrole_aggregation import aggregate
from vapi.gvk import Obj

READ = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
WRITE = {"apiGroups": [""], "resources": ["pods"], "verbs": ["update"]}


def role(name: str, *rules: Obj, **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": labels}, "rules": list(rules)}


def test_rules_come_in_order_of_selectors_and_names_each_once() -> None:
    roles = [role("b", READ, WRITE, to="edit"), role("a", WRITE, to="edit"), role("c", READ, to="view")]
    rule: Obj = {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}, {"matchLabels": {"to": "edit"}}]}
    assert aggregate("mine", rule, roles) == [READ, WRITE]
    assert aggregate("mine", {"clusterRoleSelectors": [{"matchLabels": {"to": "edit"}}]}, roles) == [WRITE, READ]


def test_a_role_does_not_aggregate_itself() -> None:
    rule: Obj = {"clusterRoleSelectors": [{}]}
    assert aggregate("a", rule, [role("a", READ)]) == []


async def test_an_aggregating_role_follows_the_roles_it_selects() -> None:
    async with cluster("clusterrole-aggregation-controller") as it:
        head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
        rule = {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}
        await it.create(kinds.CLUSTER_ROLES, {**head, "metadata": {"name": "view"}, "aggregationRule": rule})
        await it.create(kinds.CLUSTER_ROLES, {**head, **role("a", READ, to="view")})
        await it.settle()
        view = await it.get(kinds.CLUSTER_ROLES, "view", "")
        assert view["rules"] == [READ]
        managers = {each["manager"]: each["operation"] for each in view["metadata"]["managedFields"]}
        assert managers["clusterrole-aggregation-controller"] == "Apply"
        await it.client.delete(kinds.CLUSTER_ROLES, "", "a")
        await it.settle()
        assert not (await it.get(kinds.CLUSTER_ROLES, "view", "")).get("rules")
