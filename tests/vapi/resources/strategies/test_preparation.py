"""What is put into objects before they are looked at, and what an endpoint may not change."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from vapi.authorizer import User
from vapi.gvk import Obj
from vapi.resources.strategies import STRATEGIES
from vapi.resources.strategy import WriteContext

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def created(group: str, plural: str, obj: Obj, user: User | None = None) -> Obj:
    STRATEGIES[group, plural].prepare_create(obj, WriteContext("", NOW, user))
    return obj


def updated(group: str, plural: str, new: Obj, old: Obj, subresource: str = "") -> Obj:
    STRATEGIES[group, plural].prepare_update(new, old, WriteContext(subresource, NOW))
    return new


def test_a_namespace_is_active_and_kept_by_its_controller() -> None:
    made = created("", "namespaces", {"metadata": {"name": "a"}})
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}


def test_only_finalize_takes_finalizers_off_a_namespace() -> None:
    old: Obj = {"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}}
    assert updated("", "namespaces", {"metadata": {"name": "a"}}, old)["spec"] == old["spec"]
    emptied = {"metadata": {"name": "a"}, "spec": {"finalizers": []}}
    assert updated("", "namespaces", emptied, old, "finalize")["spec"] == {"finalizers": []}


def test_a_pod_is_pending_with_its_quality_of_service() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}
    made = created("", "pods", {"metadata": {"name": "a"}, "spec": {"containers": [container]}})
    assert made["status"]["phase"] == "Pending"
    assert made["status"]["qosClass"] == "Burstable"


def test_a_job_selects_the_pods_of_its_uid() -> None:
    metadata = {"name": "a", "uid": "1-2-3"}
    job = created("batch", "jobs", {"metadata": metadata, "spec": {"template": {"spec": {}}}})
    labels = {
        "batch.kubernetes.io/controller-uid": "1-2-3",
        "batch.kubernetes.io/job-name": "a",
        "controller-uid": "1-2-3",
        "job-name": "a",
    }
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "1-2-3"}}
    assert job["spec"]["template"]["metadata"]["labels"] == labels


def test_who_asks_for_a_certificate_is_not_taken_from_the_body() -> None:
    sent = {"spec": {"username": "root", "groups": ["system:masters"], "request": "x"}, "status": {"certificate": "y"}}
    made = created("certificates.k8s.io", "certificatesigningrequests", sent, User("eve", groups=("a",)))
    assert made == {"spec": {"username": "eve", "groups": ["a"], "request": "x"}, "status": {}}


def _version(name: str, *, storage: bool) -> Obj:
    return {"name": name, "storage": storage}


def test_a_definition_remembers_every_version_that_objects_were_stored_in() -> None:
    group, plural = "apiextensions.k8s.io", "customresourcedefinitions"
    old = created(group, plural, {"spec": {"versions": [_version("v1", storage=True)]}})
    assert old["status"]["storedVersions"] == ["v1"]
    both = {
        "spec": {"versions": [_version("v1", storage=False), _version("v2", storage=True)]},
        "status": old["status"],
    }
    assert updated(group, plural, both, old)["status"]["storedVersions"] == ["v1", "v2"]
    assert old["status"]["storedVersions"] == ["v1"]


def _service(**spec: Any) -> Obj:
    return {"metadata": {"name": "s"}, "spec": {"type": "ClusterIP", "ports": [{"port": 80}], **spec}}


def test_a_service_keeps_the_numbers_that_an_update_leaves_out() -> None:
    old = _service(
        type="NodePort", clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], ports=[{"port": 80, "nodePort": 30000}]
    )
    new = updated("", "services", _service(type="NodePort"), old)
    assert new["spec"]["clusterIP"] == "10.0.0.1"
    assert new["spec"]["clusterIPs"] == ["10.0.0.1"]
    assert new["spec"]["ports"] == [{"port": 80, "nodePort": 30000}]


def test_a_load_balancer_without_node_ports_gives_back_those_that_an_update_leaves_out() -> None:
    one = {"port": 80, "protocol": "TCP", "nodePort": 30_080}
    old = _service(type="LoadBalancer", allocateLoadBalancerNodePorts=False, ports=[one])
    new = _service(type="LoadBalancer", allocateLoadBalancerNodePorts=False, ports=[{"port": 80, "protocol": "TCP"}])
    assert updated("", "services", new, old)["spec"]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_an_external_name_has_no_internal_traffic_policy_left() -> None:
    old = _service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], internalTrafficPolicy="Cluster")
    named = _service(type="ExternalName", externalName="a.b", internalTrafficPolicy="Cluster")
    assert "internalTrafficPolicy" not in updated("", "services", named, old)["spec"]


def test_a_service_gives_back_what_its_new_type_does_not_have() -> None:
    old = _service(
        type="NodePort", clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], ports=[{"port": 80, "nodePort": 30000}]
    )
    ports = [{"port": 80, "nodePort": 30000}]
    inside = updated("", "services", _service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], ports=ports), old)
    assert inside["spec"]["ports"] == [{"port": 80}]
    named = _service(type="ExternalName", externalName="a.b", clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"])
    outside = updated("", "services", named, old)
    assert "clusterIP" not in outside["spec"]


@pytest.mark.parametrize(("known", "wanted"), [("node-a", "node-a"), ("node-b", None)])
def test_old_topology_goes_with_the_first_change_but_a_known_node_stays(known: str, wanted: str | None) -> None:
    def endpoint(name: str, address: str) -> Obj:
        return {"addresses": [address], "deprecatedTopology": {"kubernetes.io/hostname": name}}

    old = {"endpoints": [endpoint(known, "10.0.0.1")]}
    same = updated("discovery.k8s.io", "endpointslices", {"endpoints": [endpoint(known, "10.0.0.1")]}, old)
    assert same == old
    new = updated("discovery.k8s.io", "endpointslices", {"endpoints": [endpoint("node-a", "10.0.0.2")]}, old)
    assert "deprecatedTopology" not in new["endpoints"][0]
    assert new["endpoints"][0].get("nodeName") == wanted


def test_the_time_of_a_volumes_phase_is_when_it_changed() -> None:
    old = {"status": {"phase": "Pending", "lastPhaseTransitionTime": "2020-01-01T00:00:00Z"}}
    bound = updated("", "persistentvolumes", {"status": {"phase": "Bound"}}, old, "status")
    assert bound["status"]["lastPhaseTransitionTime"] == "2026-01-01T00:00:00Z"
    still = updated("", "persistentvolumes", {"status": {"phase": "Pending"}}, old, "status")
    assert still["status"]["lastPhaseTransitionTime"] == "2020-01-01T00:00:00Z"


def test_leases_are_not_coordinated() -> None:
    lease = created("coordination.k8s.io", "leases", {"spec": {"strategy": "OldestEmulationVersion"}})
    assert lease["spec"] == {}
