"""Escalation: nobody gives by a role or a binding what they do not have."""

from __future__ import annotations

import pytest

from tests.vapi.auth.rbac_objects import (
    GROUP,
    binding,
    cluster_binding,
    cluster_role,
    role,
    rule,
    user,
)
from tests.vapi.auth.shelf import Shelf
from tests.vapi.auth.writes import admit, create, refusal, update
from tests.vapi.schema.golden import recorded
from vapi.auth.escalation import escalation_plugin
from vapi.auth.rbac import Rbac
from vapi.authorizer import User
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin

ALICE = User("alice", groups=("devs", "system:authenticated"))
ROOT = User("root", groups=("system:masters",))
RBAC_ROLES = rule("get,list,create,update,patch", GROUP, "roles,rolebindings")
SHELF = (
    role("manager", rule("get,list", "", "configmaps"), RBAC_ROLES),
    binding("manager", "manager", user("alice")),
    role("subset", rule("get", "", "configmaps")),
    cluster_role("edit", rule("*", "", "*")),
)
MORE = [rule("get,delete", "", "configmaps,secrets"), rule("*", "apps", "*")]


def plugin(*more: Obj) -> AdmissionPlugin:
    rbac = Rbac()
    rbac.attach(Shelf(*SHELF, *more))
    return escalation_plugin(rbac)


def the_recorded(index: int) -> Obj:
    """The Status of an exchange, as recorded in the namespace replay-auth (ours is ns)."""
    answer: Obj = recorded("auth_1.37.json")[index]["response"]
    return answer


def same_error(error: ApiError, index: int) -> bool:
    return error.status() == the_recorded(index)


def test_what_is_held_may_be_given() -> None:
    admit(create(role("subset", rule("get", "", "configmaps")), who=ALICE), plugin())


def test_a_role_with_more_is_refused_with_a_list_of_it() -> None:
    assert same_error(refusal(create(role("more", *MORE), who=ALICE), plugin()), 12)


def test_a_role_may_not_be_widened() -> None:
    old = role("subset", rule("get", "", "configmaps"))
    new = role("subset", rule("get", "", "secrets"))
    assert same_error(refusal(update(old, new, who=ALICE), plugin()), 13)


def test_a_binding_of_what_is_held_is_allowed() -> None:
    admit(create(binding("ok", "subset", user("bob")), who=ALICE), plugin())


def test_a_binding_of_more_is_refused() -> None:
    error = refusal(create(binding("edit", "edit", user("bob"), kind="ClusterRole"), who=ALICE), plugin())
    assert error.details == the_recorded(15)["details"]
    assert error.message.endswith('not currently held:\n{APIGroups:[""], Resources:["*"], Verbs:["*"]}')


def test_a_binding_of_a_missing_role_is_not_found() -> None:
    assert same_error(refusal(create(binding("nope", "nope", user("bob")), who=ALICE), plugin()), 16)


def test_masters_give_everything() -> None:
    admit(create(role("more", *MORE), who=ROOT), plugin())
    admit(create(binding("b", "nope", user("bob")), who=ROOT), plugin())


def test_the_verb_escalate_allows_any_role() -> None:
    may = (role("may", rule("escalate", GROUP, "roles")), binding("may", "may", user("alice")))
    admit(create(role("more", *MORE), who=ALICE), plugin(*may))


@pytest.mark.parametrize("name", ["edit", "other"])
def test_the_verb_bind_allows_a_binding_of_the_roles_it_names(name: str) -> None:
    may = (
        role("may", rule("bind", GROUP, "clusterroles", names="edit")),
        binding("may", "may", user("alice")),
        cluster_role("other", rule("get", "", "nodes")),
    )
    wanted = create(binding("b", name, user("bob"), kind="ClusterRole"), who=ALICE)
    if name == "edit":
        admit(wanted, plugin(*may))
    else:
        assert refusal(wanted, plugin(*may)).code == 403


def test_what_only_the_garbage_collector_writes_is_no_escalation() -> None:
    old = role("big", *MORE)
    new = role("big", *MORE)
    new["metadata"]["ownerReferences"] = [{"uid": "u"}]
    admit(update(old, new, who=ALICE), plugin())
    new["metadata"]["labels"] = {"a": "b"}
    assert refusal(update(old, new, who=ALICE), plugin()).code == 403


def test_an_aggregation_rule_needs_every_right() -> None:
    aggregate = cluster_role("a", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})
    error = refusal(create(aggregate, who=ALICE), plugin())
    assert error.message.endswith("must have cluster-admin privileges to use the aggregationRule")
    everything = cluster_role("all", rule("*", "*", "*"), rule("*", urls="*"))
    admit(create(aggregate, who=ALICE), plugin(everything, cluster_binding("all", "all", user("alice"))))


def test_bindings_that_point_nowhere_are_told() -> None:
    broken = binding("broken", "gone", user("alice"))
    message = refusal(create(role("more", *MORE), who=ALICE), plugin(broken)).message
    assert message.endswith('; resolution errors: [role.rbac.authorization.k8s.io "gone" not found]')
