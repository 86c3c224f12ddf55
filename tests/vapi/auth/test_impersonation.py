"""Impersonation: the user the headers ask for, if the real one may."""

from __future__ import annotations

import pytest

from tests.vapi.auth.rbac_objects import cluster_binding, cluster_role, rule, user
from tests.vapi.auth.shelf import Shelf
from tests.vapi.schema.golden import recorded
from vapi.auth import refusals
from vapi.auth.impersonation import impersonate, wanted_user
from vapi.auth.rbac import Rbac
from vapi.auth.reviews import user_info
from vapi.authorizer import ANONYMOUS, Attributes, User
from vapi.errors import ApiError
from vapi.gvk import Obj

ROOT = User("root", groups=("system:masters", "system:authenticated"))
ALICE = User("alice", groups=("devs", "system:authenticated"))
AUTH = "authentication.k8s.io"
EXCHANGES = recorded("auth_1.37.json")


def rbac(*rules: Obj) -> Rbac:
    made = Rbac()
    made.attach(Shelf(cluster_role("r", *rules), cluster_binding("b", "r", user("alice"))))
    return made


def review(who: User) -> Attributes:
    return Attributes(who, "create", group=AUTH, version="v1", resource="selfsubjectreviews")


def headers(index: int) -> list[tuple[str, str]]:
    return list(EXCHANGES[index]["request"]["headers"].items())


@pytest.mark.parametrize("index", [64, 65, 67])
def test_an_admin_becomes_whom_the_headers_name(index: int) -> None:
    wanted = wanted_user(headers(index))
    assert wanted is not None
    became = user_info(impersonate(rbac(), review(ROOT), wanted))
    assert became == EXCHANGES[index]["response"]["status"]["userInfo"]


def test_anonymous_is_in_the_group_of_the_unauthenticated() -> None:
    became = impersonate(rbac(), review(ROOT), User("system:anonymous"))
    assert became == ANONYMOUS


def test_groups_without_a_user_are_refused() -> None:
    with pytest.raises(ApiError) as caught:
        wanted_user(headers(63))
    assert caught.value.status() == EXCHANGES[63]["response"]


def test_a_user_without_rights_is_refused_in_words_of_the_constrained_form() -> None:
    behaviour = recorded("api_behaviour_1.37.json")[99]
    with pytest.raises(ApiError) as caught:
        impersonate(rbac(), review(ALICE), User("bob"))
    assert caught.value.status() == behaviour["response"]


def test_anonymous_impersonates_nobody() -> None:
    attributes = Attributes(ANONYMOUS, "list", version="v1", resource="configmaps", namespace="replay-auth")
    with pytest.raises(ApiError) as caught:
        impersonate(rbac(), attributes, User("alice"))
    assert caught.value.status() == EXCHANGES[62]["response"]


def test_no_headers_ask_for_nobody() -> None:
    assert wanted_user([("Accept", "*/*"), ("Authorization", "x")]) is None


def test_header_names_have_no_case_and_extra_keys_may_be_escaped() -> None:
    asked = wanted_user([("IMPERSONATE-USER", "u"), ("impersonate-extra-acme.io%2fx", "1")])
    assert asked == User("u", "", (), {"acme.io/x": ("1",)})


LEGACY = rule("impersonate", "", "users,groups,serviceaccounts")
EXTRAS = rule("impersonate", AUTH, "uids,userextras/scopes")


@pytest.mark.parametrize(
    ("wanted", "allowed"),
    [
        (User("bob", groups=("g",)), True),
        (User("system:serviceaccount:ns:robot"), True),
        (User("system:node:n1"), True),
        (User("bob", uid="u"), True),
        (User("bob", extra={"scopes": ("a",)}), True),
        (User("bob", extra={"other": ("a",)}), False),
    ],
)
def test_the_legacy_verb_covers_users_groups_and_accounts(wanted: User, allowed: bool) -> None:
    if allowed:
        assert impersonate(rbac(LEGACY, EXTRAS), review(ALICE), wanted).name == wanted.name
    else:
        with pytest.raises(ApiError):
            impersonate(rbac(LEGACY, EXTRAS), review(ALICE), wanted)


ON = rule("impersonate-on:user-info:create", AUTH, "selfsubjectreviews")
INFO = rule("impersonate:user-info", AUTH, "users,groups", names="bob,g")


def test_the_constrained_form_needs_both_rights() -> None:
    bob = User("bob", groups=("g",))
    assert impersonate(rbac(ON, INFO), review(ALICE), bob).groups == ("g", "system:authenticated")
    for rules in ((ON,), (INFO,)):
        with pytest.raises(ApiError):
            impersonate(rbac(*rules), review(ALICE), bob)


def test_the_constrained_form_gives_no_masters() -> None:
    everyone = rule("impersonate:user-info", AUTH, "users,groups")
    with pytest.raises(ApiError) as caught:
        impersonate(rbac(ON, everyone), review(ALICE), User("bob", groups=("system:masters",)))
    assert "impersonating the system:masters group is not allowed" in caught.value.message


def test_a_constrained_node_is_in_the_group_of_nodes() -> None:
    rules = (
        rule("impersonate-on:arbitrary-node:create", AUTH, "selfsubjectreviews"),
        rule("impersonate:arbitrary-node", AUTH, "nodes", names="n1"),
    )
    became = impersonate(rbac(*rules), review(ALICE), User("system:node:n1"))
    assert became.groups == ("system:nodes", "system:authenticated")
    with pytest.raises(ApiError):
        impersonate(rbac(*rules), review(ALICE), User("system:node:n2"))


@pytest.mark.parametrize("index", [4, 5, 6, 7, 8, 9, 10, 61, 68])
def test_refusals_are_worded_as_recorded(index: int) -> None:
    exchange = EXCHANGES[index]
    assert refusals.forbidden(ATTRIBUTES[index]).status() == exchange["response"]


_NS = "replay-auth"
ATTRIBUTES = {
    4: Attributes(ALICE, "delete", resource="configmaps", namespace=_NS, name="x"),
    5: Attributes(ALICE, "deletecollection", resource="configmaps", namespace=_NS),
    6: Attributes(ALICE, "watch", resource="secrets", namespace=_NS),
    7: Attributes(ALICE, "patch", resource="configmaps", namespace=_NS, name="x"),
    8: Attributes(ALICE, "update", group="apps", resource="deployments", subresource="status", namespace=_NS, name="d"),
    9: Attributes(ALICE, "list", group="nope.example", resource="foos", namespace=_NS),
    10: Attributes(ALICE, "post", path="/version", resource_request=False),
    61: Attributes(ANONYMOUS, "create", group=AUTH, resource="selfsubjectreviews"),
    68: Attributes(User("bob"), "list", resource="nodes"),
}


def test_a_refusal_holds_nothing_a_browser_would_run() -> None:
    error = refusals.forbidden(Attributes(User("<b>"), "get", path="/&", resource_request=False), "why")
    assert error.message == 'forbidden: User "&lt;b&gt;" cannot get path "/&amp;": why'
