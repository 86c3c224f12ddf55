"""RBAC: who may do what, why, and that an answer never outlives its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vapi.auth.rbac_objects import account, binding, cluster_binding, cluster_role, group, role, rule, user
from tests.vapi.auth.shelf import Shelf, row_of
from vapi.auth import bootstrap
from vapi.auth.rbac import CLUSTER_ROLE_BINDINGS, ROLES, Rbac
from vapi.auth.rules import compact, compile_rule, describe, uncovered
from vapi.authorizer import Attributes, Decision, User
from vapi.gvk import GVR, Obj

ALICE = User("alice", groups=("devs", "system:authenticated"))
ROBOT = User("system:serviceaccount:ns:robot", groups=("system:serviceaccounts",))
ADMIN = User("root", groups=("system:masters",))


def rbac(*objects: Obj) -> Rbac:
    made = Rbac()
    made.attach(Shelf(*objects))
    return made


def ask(
    rules: Rbac, who: User, verb: str, resource: str, *, group: str = "", namespace: str = "ns", name: str = ""
) -> Decision:
    resource, _, subresource = resource.partition("/")
    return rules.authorize(
        Attributes(who, verb, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name)
    )


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        (rule("get", "", "pods"), ("get", "pods", ""), True),
        (rule("get", "", "pods"), ("list", "pods", ""), False),
        (rule("*", "", "pods"), ("list", "pods", ""), True),
        (rule("get", "apps", "pods"), ("get", "pods", ""), False),
        (rule("get", "*", "pods"), ("get", "pods", "apps"), True),
        (rule("get", "", "*"), ("get", "pods/log", ""), True),
        (rule("get", "", "pods"), ("get", "pods/log", ""), False),
        (rule("get", "", "pods/log"), ("get", "pods/log", ""), True),
        (rule("get", "", "pods/log"), ("get", "pods", ""), False),
        (rule("get", "apps", "*/scale"), ("get", "deployments/scale", "apps"), True),
        (rule("get", "apps", "*/scale"), ("get", "deployments/status", "apps"), False),
        (rule("get", "apps", "*/scale"), ("get", "deployments", "apps"), False),
    ],
)
def test_a_rule_allows_what_it_names(granted: Obj, asked: tuple[str, str, str], allowed: bool) -> None:
    rules = rbac(role("r", granted), binding("b", "r", user("alice")))
    verb, resource, api_group = asked
    assert ask(rules, ALICE, verb, resource, group=api_group).allowed is allowed


@pytest.mark.parametrize(
    ("granted", "path", "allowed"),
    [
        ("/metrics", "/metrics", True),
        ("/metrics", "/metrics/x", False),
        ("/apis/*", "/apis/apps", True),
        ("/apis/*", "/apis", False),
        ("*", "/anything", True),
        ("/health*", "/healthz", True),
    ],
)
def test_a_path_may_end_in_a_star(granted: str, path: str, allowed: bool) -> None:
    rules = rbac(cluster_role("r", rule("get", urls=granted)), cluster_binding("b", "r", user("alice")))
    attributes = Attributes(ALICE, "get", path=path, resource_request=False)
    assert rules.authorize(attributes).allowed is allowed
    assert rules.authorize(attributes).allowed is allowed


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (user("alice"), 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "alice"'),
        (group("devs"), 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to Group "devs"'),
    ],
)
def test_a_cluster_binding_says_through_whom_it_allows(subject: Obj, reason: str) -> None:
    rules = rbac(cluster_role("r", rule("get", "", "pods")), cluster_binding("b", "r", user("x"), subject))
    assert ask(rules, ALICE, "get", "pods") == Decision(True, reason)
    assert ask(rules, ALICE, "get", "pods", namespace="") == Decision(True, reason)


def test_a_role_binding_gives_a_cluster_role_in_its_namespace_only() -> None:
    rules = rbac(cluster_role("r", rule("get", "", "pods")), binding("b", "r", account("robot"), kind="ClusterRole"))
    reason = 'RBAC: allowed by RoleBinding "b/ns" of ClusterRole "r" to ServiceAccount "robot/ns"'
    assert ask(rules, ROBOT, "get", "pods") == Decision(True, reason)
    assert not ask(rules, ROBOT, "get", "pods", namespace="other").allowed
    assert not ask(rules, ROBOT, "get", "pods", namespace="").allowed


def test_a_service_account_without_namespace_in_a_cluster_binding_is_nobody() -> None:
    rules = rbac(cluster_role("r", rule("get", "", "pods")), cluster_binding("b", "r", account("robot")))
    assert not ask(rules, ROBOT, "get", "pods").allowed


def test_names_narrow_a_rule() -> None:
    rules = rbac(role("r", rule("get", "", "pods", names="a,b")), binding("b", "r", user("alice")))
    assert ask(rules, ALICE, "get", "pods", name="a").allowed
    assert ask(rules, ALICE, "get", "pods", name="b").allowed
    assert not ask(rules, ALICE, "get", "pods", name="c").allowed
    assert not ask(rules, ALICE, "get", "pods").allowed


def test_each_name_is_allowed_for_its_own_reason() -> None:
    rules = rbac(
        role("named", rule("get", "", "pods", names="a")),
        role("wide", rule("get", "", "pods")),
        binding("one", "named", user("alice")),
        binding("two", "wide", user("alice")),
    )
    assert '"one/ns"' in ask(rules, ALICE, "get", "pods", name="a").reason
    assert '"two/ns"' in ask(rules, ALICE, "get", "pods", name="z").reason


def test_masters_may_do_everything() -> None:
    assert ask(rbac(), ADMIN, "delete", "nodes").allowed
    assert rbac().authorize(Attributes(ADMIN, "get", path="/x", resource_request=False)).allowed


def test_a_refusal_names_the_roles_that_are_missing() -> None:
    rules = rbac(binding("b", "gone", user("alice")), cluster_binding("c", "lost", user("alice")))
    assert ask(rules, ALICE, "get", "pods").reason == (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "lost" not found, '
        'role.rbac.authorization.k8s.io "gone" not found]'
    )
    assert ask(rules, ROBOT, "get", "pods") == Decision(False, "")


def test_answers_follow_the_objects() -> None:
    shelf = Shelf()
    rules = Rbac()
    stop = rules.attach(shelf)
    assert not ask(rules, ALICE, "get", "pods").allowed
    shelf.put(role("r", rule("get", "", "pods")))
    shelf.put(binding("b", "r", user("alice")))
    assert ask(rules, ALICE, "get", "pods").allowed
    shelf.put(role("r", rule("get", "", "secrets")))
    assert not ask(rules, ALICE, "get", "pods").allowed
    assert ask(rules, ALICE, "get", "secrets").allowed
    shelf.put(binding("b", "r", user("bob")))
    assert not ask(rules, ALICE, "get", "secrets").allowed
    shelf.put(cluster_role("c", rule("get", "", "pods")))
    shelf.put(cluster_binding("d", "c", group("devs")))
    assert ask(rules, ALICE, "get", "pods").allowed
    shelf.drop(CLUSTER_ROLE_BINDINGS, "", "d")
    assert not ask(rules, ALICE, "get", "pods").allowed
    shelf.drop(ROLES, "ns", "r")
    assert "not found" in ask(rules, User("bob"), "get", "secrets").reason
    stop()
    shelf.put(role("r", rule("get", "", "secrets")))
    assert "not found" in ask(rules, User("bob"), "get", "secrets").reason


def test_a_binding_that_cannot_be_read_grants_nothing() -> None:
    shelf = Shelf(role("r", rule("get", "", "pods")), binding("b", "r", user("alice")))
    rules = Rbac()
    rules.attach(shelf)
    assert ask(rules, ALICE, "get", "pods").allowed
    broken = binding("b", "r", user("alice"))
    del broken["roleRef"]
    with pytest.raises(KeyError):
        shelf.put(broken)
    assert not ask(rules, ALICE, "get", "pods").allowed


def test_the_bootstrap_objects_give_what_kubernetes_gives() -> None:
    rules = rbac(*(o for o in bootstrap.objects() if o["apiVersion"].startswith("rbac")))
    anonymous = User("system:anonymous", groups=("system:unauthenticated",))
    controller = User("system:serviceaccount:kube-system:deployment-controller", groups=("system:authenticated",))
    assert rules.decide_path(anonymous, "get", "/livez").allowed
    assert not rules.decide_path(anonymous, "get", "/apis").allowed
    assert rules.decide_path(ALICE, "get", "/apis/apps").allowed
    assert ask(rules, ALICE, "create", "selfsubjectreviews", group="authentication.k8s.io", namespace="").allowed
    assert not ask(rules, ALICE, "get", "pods").allowed
    assert ask(rules, controller, "update", "deployments/status", group="apps").allowed
    assert ask(rules, User("system:kube-scheduler"), "create", "pods/binding").allowed


# --- what follows the objects is what reads them anew ---------------------------------------------

_OBJECTS: list[Obj] = [
    cluster_role("a", rule("get", "", "pods")),
    cluster_role("a", rule("list", "", "pods", names="x")),
    role("a", rule("*", "", "*")),
    role("b", rule("get", "", "pods", names="x"), in_namespace="other"),
    cluster_binding("one", "a", user("alice")),
    cluster_binding("one", "a", group("devs"), user("bob")),
    binding("one", "a", user("alice"), group("devs")),
    binding("two", "a", user("alice"), kind="ClusterRole"),
    binding("one", "b", group("devs"), in_namespace="other"),
]
_QUESTIONS = [
    (who, verb, namespace, name)
    for who in (ALICE, User("bob"), ROBOT)
    for verb in ("get", "list")
    for namespace in ("", "ns", "other")
    for name in ("", "x")
]


def gvr_of(obj: Obj) -> GVR:
    return row_of(obj).gvr


@given(st.lists(st.tuples(st.sampled_from(_OBJECTS), st.booleans()), max_size=12))
def test_following_events_gives_the_same_answers_as_a_fresh_start(steps: list[tuple[Obj, bool]]) -> None:
    shelf, following = Shelf(), Rbac()
    following.attach(shelf)
    for obj, remove in steps:
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        if not remove:
            shelf.put(obj)
        elif shelf.cached(gvr_of(obj), namespace, name) is not None:
            shelf.drop(gvr_of(obj), namespace, name)
        fresh = Rbac()
        fresh.attach(shelf)
        for who, verb, where, which in _QUESTIONS:
            asked = {"namespace": where, "name": which}
            assert ask(following, who, verb, "pods", **asked) == ask(fresh, who, verb, "pods", **asked)


def test_reading_anew_forgets_what_is_gone() -> None:
    rules = rbac(role("r", rule("get", "", "pods")), binding("b", "r", user("alice")))
    assert ask(rules, ALICE, "get", "pods").allowed
    rules.reload(Shelf())
    assert not ask(rules, ALICE, "get", "pods").allowed


# --- rules as sets ----------------------------------------------------------------------------------

_words = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2, unique=True).map(",".join)
_resources = st.lists(st.sampled_from(["pods", "pods/log", "*/log", "*"]), min_size=1, max_size=2, unique=True).map(
    ",".join
)
_rules = st.builds(rule, _words, _words, _resources, st.sampled_from(["", "x", "x,y"]))


@given(st.lists(_rules, max_size=3), _rules)
def test_what_is_covered_allows_nothing_more(owned: list[Obj], wanted: Obj) -> None:
    """Whoever holds rules that cover another is allowed all that the other allows."""
    held = [compile_rule(r) for r in owned]
    if uncovered(held, [wanted]):
        return
    compiled = compile_rule(wanted)
    for verb, resource, subresource in [("a", "pods", ""), ("b", "pods", "log"), ("c", "nodes", "log")]:
        for api_group in ("a", "c"):
            if compiled.matches_resource(verb, api_group, resource, subresource):
                assert any(r.matches_resource(verb, api_group, resource, subresource) for r in held)


@pytest.mark.parametrize(
    ("own", "wanted", "covered"),
    [
        (rule("get", "", "pods"), rule("get", "", "pods", names="x"), True),
        (rule("get", "", "pods", names="x"), rule("get", "", "pods"), False),
        (rule("get", "", "pods", names="x,y"), rule("get", "", "pods", names="x"), True),
        (rule("get", "", "pods", names="x"), rule("get", "", "pods", names="y"), False),
        (rule("get", "", "*/log"), rule("get", "", "pods/log"), True),
        (rule("get", "", "pods"), rule("get", "", "pods/log"), False),
        (rule("*", "*", "*"), rule("get,list", "apps,", "x,y/z"), True),
        (rule("get", "", "*"), rule("*", "", "pods"), False),
        (rule("get", urls="/a/*"), rule("get", urls="/a/b"), True),
        (rule("get", urls="/a/b"), rule("get", urls="/a/*"), False),
        (rule("get", urls="*"), rule("get", "", "pods"), False),
        (rule("*", "*", "*"), rule("get", urls="/a"), False),
    ],
)
def test_a_rule_covers_what_it_allows_and_no_more(own: Obj, wanted: Obj, covered: bool) -> None:
    assert (uncovered([compile_rule(own)], [wanted]) == []) is covered


@given(_rules)
def test_a_rule_covers_itself(one: Obj) -> None:
    assert uncovered([compile_rule(one)], [one]) == []


@given(st.lists(_rules, max_size=3))
def test_compacting_loses_nothing(rules: list[Obj]) -> None:
    parts = uncovered([], rules)
    joined = compact(parts)
    assert uncovered([compile_rule(r) for r in joined], parts) == []
    assert len(joined) <= len(parts)


def test_a_rule_is_printed_as_go_prints_it() -> None:
    assert describe(rule("get,list", "", "pods", names="x")) == (
        '{APIGroups:[""], Resources:["pods"], ResourceNames:["x"], Verbs:["get" "list"]}'
    )
    assert describe(rule("get", urls="/x")) == '{NonResourceURLs:["/x"], Verbs:["get"]}'
