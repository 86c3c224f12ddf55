"""Why nodes do not fit, in Kubernetes' words (the real one agrees: tests/integration/test_scheduler_real.py)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vapi.control.scheduler.makers import HOSTNAME, ZONE, World, near, node, on_nodes, pod, spread
from vapi.gvk import Obj

TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def port(number: int, ip: str = "", protocol: str = "TCP") -> list[Obj]:
    one = {"containerPort": 80, "hostPort": number, "protocol": protocol, **({"hostIP": ip} if ip else {})}
    return [{"name": "c", "image": "i", "ports": [one]}]


ONE_OF_EACH = (
    node("full", room={"pods": "0"}),
    node("small", room={"cpu": "500m"}),
    node("tainted", taints=[TAINT]),
    node("cordoned", unschedulable=True),
)


def test_every_reason_is_counted() -> None:
    assert World(*ONE_OF_EACH).message(pod("p", "1")) == (
        "0/4 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) had untolerated taint(s), "
        "1 node(s) were unschedulable."
    )


def test_all_resources_that_are_short_are_named() -> None:
    both = pod("p", containers=[{"name": "c", "resources": {"requests": {"cpu": "9", "example.com/gpu": "1"}}}])
    expected = "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient example.com/gpu."
    assert World(node("a")).message(both) == expected


def test_without_nodes_there_is_nothing_to_count() -> None:
    assert World().message(pod("p")) == "no nodes available to schedule pods"


TOLERATES = {"tolerations": [{"key": "gpu", "operator": "Exists"}]}
CORDON = {"tolerations": [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]}


@pytest.mark.parametrize(
    ("spec", "fitting"),
    [
        pytest.param({}, ["small"], id="plain"),
        pytest.param(TOLERATES, ["small", "tainted"], id="tolerates the taint"),
        pytest.param(CORDON, ["small", "cordoned"], id="puts up with a cordon"),
        pytest.param({"nodeSelector": {HOSTNAME: "small"}}, ["small"], id="selector"),
        pytest.param({"nodeSelector": {HOSTNAME: "none"}}, [], id="selects none"),
        pytest.param({"affinity": on_nodes("small", "gone")}, ["small"], id="by name"),
    ],
)
def test_node_rules(spec: Obj, fitting: list[str]) -> None:
    assert World(*ONE_OF_EACH).fitting(pod("p", **spec)) == fitting


def test_nodes_that_a_pod_does_not_name_are_not_looked_at() -> None:
    world = World(node("a", unschedulable=True), node("b"), node("c"))
    assert world.message(pod("p", affinity=on_nodes("a"))) == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


@pytest.mark.parametrize(
    ("taken", "wanted", "fits"),
    [
        (port(80), port(80), False),
        (port(80), port(81), True),
        (port(80), port(80, protocol="UDP"), True),
        (port(80, "10.0.0.1"), port(80, "10.0.0.2"), True),
        (port(80, "10.0.0.1"), port(80, "10.0.0.1"), False),
        (port(80, "10.0.0.1"), port(80), False),
        (port(80), port(80, "10.0.0.1"), False),
    ],
)
def test_host_ports(taken: list[Obj], wanted: list[Obj], fits: bool) -> None:
    world = World(node("a"), pod("there", on="a", containers=taken))
    assert bool(world.fitting(pod("p", containers=wanted))) is fits


APP: dict[str, Any] = {"labels": {"app": "x"}}
ZONES = (node("a1", zone="a"), node("a2", zone="a"), node("b1", zone="b"), node("none"))


@pytest.mark.parametrize(
    ("there", "constraint", "fitting"),
    [
        pytest.param([], spread({"app": "x"}), ["a1", "a2", "b1"], id="nobody yet"),
        pytest.param(["a1"], spread({"app": "x"}), ["b1"], id="the other zone"),
        pytest.param(["a1", "b1"], spread({"app": "x"}), ["a1", "a2", "b1"], id="even"),
        pytest.param(["a1"], spread({"app": "x"}, maxSkew=2), ["a1", "a2", "b1"], id="a skew of two"),
        pytest.param(["a1"], spread({"app": "x"}, minDomains=3), ["b1"], id="too few domains count as empty"),
        pytest.param(["a1", "b1"], spread({"app": "x"}, minDomains=3), [], id="too few domains, all taken"),
        pytest.param(["a1"], spread({"app": "x"}, HOSTNAME), ["a2", "b1", "none"], id="by node"),
        pytest.param(["a1"], spread({"app": "y"}), ["a1", "a2", "b1"], id="others do not count"),
    ],
)
def test_topology_spread(there: list[str], constraint: list[Obj], fitting: list[str]) -> None:
    world = World(*ZONES, *(pod(f"there-{name}", on=name, **APP) for name in there))
    assert world.fitting(pod("p", topologySpreadConstraints=constraint, **APP)) == fitting


def test_a_pod_that_ends_does_not_count_for_spread() -> None:
    ending = pod("there", on="a1", **APP)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world = World(*ZONES, ending)
    assert world.fitting(pod("p", topologySpreadConstraints=spread({"app": "x"}), **APP)) == ["a1", "a2", "b1"]


@pytest.mark.parametrize(("policy", "fitting"), [("Ignore", []), ("Honor", ["b1"])])
def test_nodes_with_taints_count_for_spread_as_the_policy_says(policy: str, fitting: list[str]) -> None:
    world = World(node("b1", zone="b"), node("c1", zone="c", taints=[TAINT]), pod("there", on="b1", **APP))
    constraint = spread({"app": "x"}, nodeTaintsPolicy=policy)
    assert world.fitting(pod("p", topologySpreadConstraints=constraint, **APP)) == fitting


def test_match_label_keys_narrow_the_selector_to_the_pods_own_values() -> None:
    world = World(*ZONES, pod("old", on="a1", labels={"app": "x", "version": "1"}))
    constraint = spread({"app": "x"}, matchLabelKeys=["version"])
    new = pod("p", labels={"app": "x", "version": "2"}, topologySpreadConstraints=constraint)
    assert world.fitting(new) == ["a1", "a2", "b1"]


@pytest.mark.parametrize(
    ("affinity", "fitting"),
    [
        pytest.param({"podAffinity": near({"app": "x"})}, ["a1"], id="on its node"),
        pytest.param({"podAffinity": near({"app": "x"}, ZONE)}, ["a1", "a2"], id="in its zone"),
        pytest.param({"podAffinity": near({"app": "y"})}, [], id="nobody is there"),
        pytest.param({"podAffinity": near({"app": "p"}, ZONE)}, ["a1", "a2", "b1"], id="the first of its kind"),
        pytest.param({"podAntiAffinity": near({"app": "x"})}, ["a2", "b1", "none"], id="not on its node"),
        pytest.param({"podAntiAffinity": near({"app": "x"}, ZONE)}, ["b1", "none"], id="not in its zone"),
        pytest.param(
            {"podAntiAffinity": near({"app": "x"}, namespaces=["other"])}, ["a1", "a2", "b1", "none"], id="elsewhere"
        ),
        pytest.param(
            {"podAntiAffinity": near({"app": "x"}, namespaceSelector={"matchLabels": {"team": "red"}})},
            ["a2", "b1", "none"],
            id="in namespaces of that team",
        ),
    ],
)
def test_neighbours(affinity: Obj, fitting: list[str]) -> None:
    world = World(*ZONES, pod("there", on="a1", **APP))
    assert world.fitting(pod("p", labels={"app": "p"}, affinity=affinity)) == fitting


def test_those_that_are_there_may_want_nobody_near() -> None:
    world = World(*ZONES, pod("there", on="a1", affinity={"podAntiAffinity": near({"app": "p"}, ZONE)}))
    wanted = pod("p", labels={"app": "p"}, affinity=on_nodes("a1", "a2"))
    assert world.message(wanted) == (
        "0/4 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules, "
        "2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_more_important_pods_that_wait_for_a_place_keep_it() -> None:
    world = World(node("a", room={"cpu": "1"}))
    waiting = pod("first", "1", priority=10)
    world.put(waiting)
    world.state.nominate(world.state.pods["default", "first"], "a")
    assert world.fitting(pod("less", "1", priority=5)) == []
    assert world.fitting(pod("more", "1", priority=20)) == ["a"]
    assert world.fitting(waiting) == ["a"]
