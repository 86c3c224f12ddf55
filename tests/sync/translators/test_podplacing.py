"""What is enforced on every pod spec, and that a term which matches no node never begins to match one."""

from __future__ import annotations

import copy

import pytest

from sync import metadata as md
from sync.translator import Context
from sync.translators import pods
from sync.translators.podplacing import enforce, on_node
from vapi.control.node_fit import NodeAffinity
from vapi.gvk import Obj

TOLERATION = {"key": "dedicated", "operator": "Equal", "value": "a", "effect": "NoSchedule"}
DEDICATED = Context(cluster="vc", host_namespace="ns", node_selector={"pool": "a"}, tolerations=(TOLERATION,))
ZONE = {"key": "zone", "operator": "In", "values": ["z"]}


def requiring(*terms: Obj) -> Obj:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def fits(spec: Obj, name: str = "n", **labels: str) -> bool:
    return NodeAffinity(spec).fits(name, labels)


def test_a_spec_that_asks_for_nothing_gets_the_selector_and_the_tolerations() -> None:
    assert enforce({"containers": []}, DEDICATED) == {
        "containers": [],
        "nodeSelector": {"pool": "a"},
        "tolerations": [TOLERATION],
    }


def test_nothing_is_enforced_where_nothing_is_configured() -> None:
    spec = {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]}
    assert enforce(spec, Context(cluster="vc", host_namespace="ns")) == spec


def test_the_tenants_own_selector_and_tolerations_stay_beside_it() -> None:
    own = {"key": "gpu", "operator": "Exists"}
    found = enforce({"nodeSelector": {"disk": "ssd"}, "tolerations": [own, TOLERATION]}, DEDICATED)
    assert found["nodeSelector"] == {"disk": "ssd", "pool": "a"}
    assert found["tolerations"] == [own, TOLERATION]


@pytest.mark.parametrize(
    "affinity", [{}, requiring({"matchExpressions": [ZONE]}, {"matchFields": []})], ids=["no affinity", "affinity"]
)
def test_a_pod_that_asks_for_another_value_of_an_enforced_key_fits_nowhere(affinity: Obj) -> None:
    found = enforce({"nodeSelector": {"pool": "b"}, "affinity": affinity}, DEDICATED)
    assert found["nodeSelector"] == {"pool": "a"}
    assert not any(fits(found, pool=pool, zone="z") for pool in ("a", "b"))


def test_the_spec_is_only_read() -> None:
    spec = {"nodeSelector": {"pool": "b"}, "affinity": requiring({"matchExpressions": [ZONE]}), "tolerations": []}
    before = copy.deepcopy(spec)
    enforce(spec, DEDICATED)
    assert spec == before


def test_one_node_is_required_in_each_term() -> None:
    found = {"affinity": on_node(requiring({"matchExpressions": [ZONE]}, {"matchFields": []}), "n")}
    assert fits(found, "n", zone="z")
    assert not fits(found, "n", zone="other")
    assert not fits(found, "m", zone="z")


def test_a_term_that_matches_nothing_still_matches_nothing() -> None:
    assert not fits({"affinity": on_node(requiring({}), "n")}, "n")


def a_pod(**spec: object) -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def test_a_chosen_node_goes_out_with_the_enforced_selector_not_past_it() -> None:
    found = pods.to_host(a_pod(nodeName="n"), DEDICATED)["spec"]
    assert "nodeName" not in found
    assert fits(found, "n", pool="a")
    assert not fits(found, "n", pool="b")


def placed_on(node: str) -> Context:
    return Context(cluster="vc", host_namespace="ns", virtual_nodes=True, chosen_node=lambda _pod: node)


def test_with_virtual_nodes_only_the_choice_goes_out() -> None:
    virtual = a_pod(
        nodeSelector={"mine": "1"},
        schedulerName="mine",
        affinity={**requiring({"matchExpressions": [ZONE]}), "podAffinity": {}},
        topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
        tolerations=[{"operator": "Exists"}],
    )
    found = pods.to_host(virtual, placed_on("n"))
    spec = found["spec"]
    assert fits(spec, "n")
    assert not fits(spec, "m", mine="1", zone="z")
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert not spec.keys() & {"nodeSelector", "schedulerName", "topologySpreadConstraints"}
    assert spec["affinity"].keys() == {"nodeAffinity"}
    assert found["metadata"]["annotations"][md.NODE] == "n"


def test_with_virtual_nodes_a_pod_is_wanted_once_it_is_placed() -> None:
    assert not pods.wanted(a_pod(), placed_on(""))
    assert pods.wanted(a_pod(), placed_on("n"))
    assert pods.wanted(a_pod(), DEDICATED)
