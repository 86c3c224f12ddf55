"""The host's status in the tenant's terms."""

from __future__ import annotations

from sync import metadata as md
from sync.plan import HOST_POD_GONE
from sync.translators import workload
from sync.translators.podstatus import lost_status, status
from sync.wording import SOMEBODY
from vapi.gvk import Obj


def virtual(**status: object) -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "v1", "generation": 2},
        "spec": {
            "containers": [{"name": "c"}],
            "readinessGates": [{"conditionType": "gate.io/x"}],
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort", **status},
    }


def host(*, generation: int = 4, sent: str = "2", **status: object) -> Obj:
    return {
        "metadata": {
            "name": "web-x-default-x-vc",
            "namespace": "host-ns",
            "uid": "h1",
            "generation": generation,
            "annotations": {md.GENERATION: sent},
        },
        "status": {"phase": "Running", "qosClass": "Burstable", **status},
    }


def test_the_tenant_keeps_its_qos_class() -> None:
    assert status(virtual(), host()) == {"phase": "Running", "qosClass": "BestEffort"}


def test_only_the_tenants_containers_are_shown() -> None:
    shown = status(virtual(), host(containerStatuses=[{"name": "c", "ready": True}, {"name": "mesh"}]))
    assert shown["containerStatuses"] == [{"name": "c", "ready": True}]


def test_the_disruption_of_an_eviction_in_the_tenant_stays_until_the_host_has_one() -> None:
    mine = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    theirs = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
    ready = {"type": "Ready", "status": "False"}
    assert status(virtual(conditions=[mine]), host(conditions=[ready]))["conditions"] == [ready, mine]
    assert status(virtual(conditions=[mine]), host(conditions=[theirs]))["conditions"] == [theirs]


def test_conditions_of_readiness_gates_are_the_tenants() -> None:
    mine = {"type": "gate.io/x", "status": "True"}
    shown = status(
        virtual(conditions=[mine, {"type": "Ready", "status": "False"}]),
        host(conditions=[{"type": "Ready", "status": "True"}, {"type": "gate.io/x", "status": "False"}]),
    )
    assert shown["conditions"] == [{"type": "Ready", "status": "True"}, mine]


def test_what_the_kubelet_saw_is_told_in_tenant_generations() -> None:
    seen = status(virtual(), host(observedGeneration=4, conditions=[{"type": "Ready", "observedGeneration": 4}]))
    assert seen["observedGeneration"] == 2
    assert seen["conditions"] == [{"type": "Ready", "observedGeneration": 2}]
    behind = status(virtual(observedGeneration=1), host(observedGeneration=3))
    assert behind["observedGeneration"] == 1
    assert "observedGeneration" not in status(virtual(), host())


def test_messages_name_the_tenants_pod() -> None:
    shown = status(virtual(), host(message="back-off pod=web-x-default-x-vc_host-ns(h1)"))
    assert shown["message"] == "back-off pod=web_default(v1)"


def test_no_message_tells_of_what_else_the_host_namespace_holds() -> None:
    waiting = {"message": "couldn't find key k in ConfigMap host-ns/settings-x-default-x-other"}
    ended = {"message": 'written by the container: "host-ns"'}
    text = 'claim "data-x-default-x-other" of namespace host-ns'
    shown = status(
        virtual(),
        host(
            conditions=[{"type": "PodScheduled", "message": text}],
            containerStatuses=[{"name": "c", "state": {"waiting": waiting}, "lastState": {"terminated": ended}}],
        ),
    )
    assert shown["conditions"][0]["message"] == f'claim "{SOMEBODY}" of namespace default'
    (container,) = shown["containerStatuses"]
    assert container["state"]["waiting"]["message"] == f"couldn't find key k in ConfigMap default/{SOMEBODY}"
    assert container["lastState"]["terminated"] == ended


def test_a_lost_pod_failed_as_after_an_eviction() -> None:
    last = lost_status(virtual(conditions=[{"type": "Ready", "status": "True"}]), reason=HOST_POD_GONE, now="t")
    assert last["phase"] == "Failed"
    assert last["reason"] == HOST_POD_GONE
    assert [(c["type"], c["status"]) for c in last["conditions"]] == [("Ready", "True"), ("DisruptionTarget", "True")]


def test_what_the_pod_names_is_told_under_the_tenants_names() -> None:
    naming = virtual()
    naming["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}]
    there = host(
        containerStatuses=[
            {"name": "c", "state": {"waiting": {"message": 'configmap "settings-x-default-x-vc" not found'}}}
        ]
    )
    there["metadata"]["labels"] = {md.MANAGED_BY: "vc"}
    (shown,) = status(naming, there)["containerStatuses"]
    assert shown["state"]["waiting"]["message"] == 'configmap "settings" not found'


def test_a_workloads_condition_calls_a_pod_by_the_tenants_namespace() -> None:
    host = {
        "metadata": {
            "name": "once-x-default-x-vc",
            "namespace": "host-ns",
            "uid": "host-uid",
            "labels": {md.MANAGED_BY: "vc"},
        },
        "status": {"conditions": [{"type": "Failed", "message": "pod host-ns/once-x-default-x-vc-abcde failed"}]},
    }
    job = {"metadata": {"name": "once", "namespace": "default", "uid": "here-uid"}, "spec": {}}
    (condition,) = workload.status(job, host)["conditions"]
    assert condition["message"] == "pod default/once-abcde failed"
