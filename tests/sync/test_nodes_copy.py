"""What the tenant sees of a host's node, by mode, and who owns what of a virtual one."""

from __future__ import annotations

import pytest

from sync.nodes_copy import BASE, CORDON, INVENTED_CAPACITY, VIRTUAL, NodeRules, copy_of, rules
from vapi.config_values import NodesMode
from vapi.gvk import Obj
from vapi.resources.strategies.mirrors import MIRROR

ALL = NodeRules(NodesMode.ALL)
OWN = NodeRules(NodesMode.VIRTUAL)
DEDICATED = {"key": "dedicated", "value": "a", "effect": "NoSchedule"}
MAINTENANCE = {"key": "maintenance", "effect": "NoExecute"}


def host(*taints: Obj, cordoned: bool = False, ready: str = "True", **labels: str) -> Obj:
    spec: Obj = {"podCIDR": "10.0.0.0/24", "providerID": "cloud://1"}
    if taints:
        spec["taints"] = list(taints)
    if cordoned:
        spec["unschedulable"] = True
    return {
        "metadata": {"name": "n", "labels": {"kubernetes.io/arch": "arm64", **labels}, "annotations": {"a": "b"}},
        "spec": spec,
        "status": {
            "capacity": {"cpu": "4"},
            "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
            "images": [{"names": ["i"]}],
            "conditions": [
                {"type": "Ready", "status": ready, "reason": "Cni", "message": "cni of 192.0.2.1 is not there"}
            ],
        },
    }


def taints(node: Obj) -> list[tuple[str, str]]:
    return [(t["key"], t.get("value", "")) for t in node["spec"].get("taints") or ()]


# --- modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "selector", "every_node", "expected"),
    [
        (NodesMode.AUTO, {}, False, NodesMode.USED),
        (NodesMode.AUTO, {"a": "b"}, False, NodesMode.ALL),
        (NodesMode.AUTO, {}, True, NodesMode.ALL),
        (NodesMode.USED, {"a": "b"}, True, NodesMode.USED),
        (NodesMode.VIRTUAL, {}, False, NodesMode.VIRTUAL),
    ],
)
def test_auto_is_all_where_a_selector_or_the_host_says_which(
    mode: NodesMode, selector: dict[str, str], every_node: bool, expected: NodesMode
) -> None:
    assert rules(mode, selector=selector, tolerations=(), every_node=every_node).mode is expected


# --- mirrors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toleration", "shown"),
    [
        ({"key": "dedicated", "operator": "Equal", "value": "a"}, []),
        ({"operator": "Exists"}, []),
        ({"key": "dedicated", "operator": "Equal", "value": "b"}, [("dedicated", "a")]),
        ({"key": "dedicated", "operator": "Exists", "tolerationSeconds": 30}, [("dedicated", "a")]),
    ],
    ids=["this taint", "every taint", "another value", "not for good"],
)
def test_a_taint_that_is_tolerated_for_every_pod_is_not_shown(toleration: Obj, shown: list[tuple[str, str]]) -> None:
    for mode in (NodesMode.ALL, NodesMode.VIRTUAL):
        assert taints(copy_of(host(DEDICATED), None, NodeRules(mode, {}, (toleration,)))) == shown


def test_a_node_that_is_not_ready_or_cordoned_is_shown_so() -> None:
    made = copy_of(host(cordoned=True, ready="Unknown"), None, ALL)
    assert made["spec"]["unschedulable"] is True
    assert made["status"]["conditions"][0]["status"] == "Unknown"


def test_a_mirror_that_was_a_virtual_node_loses_what_was_the_tenants() -> None:
    before = copy_of(host(), None, OWN)
    before["metadata"]["labels"]["mine"] = "1"
    before["spec"]["taints"] = [DEDICATED]
    made = copy_of(host(), before, ALL)
    assert made["metadata"]["labels"] == {"kubernetes.io/arch": "arm64", MIRROR: "true"}
    assert BASE not in made["metadata"].get("annotations", {})
    assert taints(made) == []


# --- inventions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", ["True", "False", "Unknown"])
def test_an_invented_node_tells_nothing_of_the_host_but_name_readiness_and_architecture(ready: str) -> None:
    made = copy_of(host(DEDICATED, zone="z", ready=ready), None, NodeRules(NodesMode.INVENTED))
    assert made["metadata"] == {
        "name": "n",
        "labels": {"kubernetes.io/hostname": "n", "kubernetes.io/arch": "arm64", MIRROR: "true"},
    }
    assert made["spec"] == {}
    assert made["status"]["capacity"] == made["status"]["allocatable"] == INVENTED_CAPACITY
    assert made["status"]["conditions"][0]["status"] == ready
    assert "192.0.2.1" not in str(made)


# --- virtual nodes --------------------------------------------------------------------------------------


def test_a_virtual_node_begins_as_a_copy_and_says_what_came_from_the_host() -> None:
    made = copy_of(host(DEDICATED, zone="z"), None, OWN)
    assert made["metadata"]["labels"] == {"kubernetes.io/arch": "arm64", "zone": "z", VIRTUAL: "true"}
    assert taints(made) == [("dedicated", "a")]
    assert made["status"]["capacity"] == {"cpu": "4"}
    assert "a" not in made["metadata"]["annotations"]
    assert copy_of(host(DEDICATED, zone="z"), made, OWN) == made


def test_labels_and_annotations_of_the_tenant_stay_and_the_others_follow_the_host() -> None:
    made = copy_of(host(zone="z", rack="1", old="x"), None, OWN)
    labels = made["metadata"]["labels"]
    labels |= {"zone": "mine", "own": "1"}
    del labels["rack"]
    made["metadata"]["annotations"]["note"] = "mine"
    again = copy_of(host(zone="z2", rack="2", new="y"), made, OWN)
    assert again["metadata"]["labels"] == {
        "kubernetes.io/arch": "arm64",
        "zone": "mine",
        "own": "1",
        "new": "y",
        VIRTUAL: "true",
    }
    assert again["metadata"]["annotations"]["note"] == "mine"


def test_a_label_set_back_to_what_the_host_had_follows_the_host_again() -> None:
    made = copy_of(host(zone="z"), None, OWN)
    made["metadata"]["labels"]["zone"] = "mine"
    made = copy_of(host(zone="z"), made, OWN)
    made["metadata"]["labels"]["zone"] = "z"
    assert copy_of(host(zone="z2"), made, OWN)["metadata"]["labels"]["zone"] == "z2"


def test_taints_of_the_tenant_stay_beside_those_of_the_host() -> None:
    made = copy_of(host(DEDICATED), None, OWN)
    made["spec"]["taints"].append(MAINTENANCE)
    assert taints(copy_of(host(DEDICATED), made, OWN)) == [("dedicated", "a"), ("maintenance", "")]
    assert taints(copy_of(host(), made, OWN)) == [("maintenance", "")]


def test_a_taint_of_the_host_cannot_be_taken_off_for_the_host_heeds_it() -> None:
    made = copy_of(host(DEDICATED), None, OWN)
    made["spec"].pop("taints")
    again = copy_of(host(DEDICATED), made, OWN)
    assert taints(again) == [("dedicated", "a")]
    assert taints(copy_of(host(), again, OWN)) == []


def test_taints_that_say_what_conditions_say_are_always_the_hosts() -> None:
    away = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}
    made = copy_of(host(away), None, OWN)
    assert taints(made) == [(away["key"], "")]
    made["spec"]["taints"] = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    assert taints(copy_of(host(away), made, OWN)) == [(away["key"], "")]
    assert taints(copy_of(host(), made, OWN)) == []


def test_a_taint_that_both_set_stays_when_the_hosts_goes() -> None:
    made = copy_of(host(), None, OWN)
    made["spec"]["taints"] = [{**DEDICATED, "value": "mine"}]
    both = copy_of(host(DEDICATED), made, OWN)
    assert taints(both) == [("dedicated", "a")]
    assert [key for key, _ in taints(copy_of(host(), both, OWN))] == ["dedicated"]


def test_a_cordon_of_the_tenant_outlives_one_of_the_host() -> None:
    made = copy_of(host(), None, OWN)
    made["spec"]["unschedulable"] = True
    both = copy_of(host(cordoned=True), copy_of(host(), made, OWN), OWN)
    again = copy_of(host(), both, OWN)
    assert again["spec"]["unschedulable"] is True
    assert taints(again) == [(CORDON, "")]
    del again["spec"]["unschedulable"]
    done = copy_of(host(), again, OWN)
    assert "unschedulable" not in done["spec"]
    assert taints(done) == []


def test_a_cordon_of_the_host_comes_and_goes_with_its_taint() -> None:
    theirs = {"key": CORDON, "effect": "NoSchedule", "timeAdded": "2026-01-01T00:00:00Z"}
    made = copy_of(host(theirs, cordoned=True), None, OWN)
    assert made["spec"]["unschedulable"] is True
    assert taints(made) == [(CORDON, "")]
    made["spec"].pop("unschedulable")
    made = copy_of(host(theirs, cordoned=True), made, OWN)
    assert made["spec"]["unschedulable"] is True
    assert taints(copy_of(host(), made, OWN)) == []


def test_a_mirror_becomes_a_virtual_node_without_keeping_old_labels_as_the_tenants() -> None:
    mirror = copy_of(host(DEDICATED, zone="z"), None, ALL)
    made = copy_of(host(rack="1"), copy_of(host(DEDICATED, zone="z"), mirror, OWN), OWN)
    assert made["metadata"]["labels"] == {"kubernetes.io/arch": "arm64", "rack": "1", VIRTUAL: "true"}
    assert taints(made) == []


def test_a_base_that_somebody_broke_makes_all_of_it_the_tenants() -> None:
    made = copy_of(host(zone="z"), None, OWN)
    made["metadata"]["annotations"][BASE] = "[]"
    assert copy_of(host(zone="z2"), made, OWN)["metadata"]["labels"]["zone"] == "z"


def test_conditions_and_capacity_are_always_the_hosts() -> None:
    made = copy_of(host(), None, OWN)
    made["status"]["capacity"] = {"cpu": "400"}
    made["status"]["conditions"] = []
    again = copy_of(host(ready="False"), made, OWN)
    assert again["status"]["capacity"] == {"cpu": "4"}
    assert again["status"]["conditions"][0]["status"] == "False"
