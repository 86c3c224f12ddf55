"""Ingresses, policies, budgets and classes between two real planes: what is sent, put back, withheld and told."""

from __future__ import annotations

from typing import Any

from sync import metadata as md
from sync import names
from sync.state import SYNC_ERROR, SYNC_WARNING
from sync.translator import ENDPOINTSLICES, PRIORITYCLASSES
from sync.translators.ingresses import INGRESSES
from sync.translators.networkpolicies import NETWORKPOLICIES
from sync.translators.poddisruptionbudgets import BUDGETS
from tests.planes import NAMESPACES, PODS, SECRETS, SERVICES, pod
from tests.sync.rig import HOST_NAMESPACE, Rig, rig
from vapi.gvk import GVR, Obj

MERGE = "application/merge-patch+json"
MARKER = "host-ns-x-vc"


def policy(name: str = "p", **spec: Any) -> Obj:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"podSelector": {}, **spec}}


def ingress(name: str = "web", secret: str = "", **spec: Any) -> Obj:
    if secret:
        spec["tls"] = [{"secretName": secret}]
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"defaultBackend": backend, **spec}}


async def edit_twin(r: Rig, gvr: GVR, name: str, body: bytes) -> None:
    await r.admin.patch(gvr, HOST_NAMESPACE, r.host_name(name), body, content_type=MERGE)
    await r.settle()


async def test_what_somebody_adds_to_a_policy_of_the_host_is_taken_out_again() -> None:
    async with rig() as r:
        await r.virtual.create(NETWORKPOLICIES, policy(ingress=[{"from": [{"podSelector": {}}]}]))
        await r.settle()
        before = r.the_twin(NETWORKPOLICIES, "p")["spec"]
        more = b'{"spec":{"egress":[{}],"policyTypes":["Egress"],"podSelector":{"matchLabels":{"more":"x"}}}}'
        await edit_twin(r, NETWORKPOLICIES, "p", more)
        assert r.the_twin(NETWORKPOLICIES, "p")["spec"] == before
        await r.kill()
        await r.admin.patch(NETWORKPOLICIES, HOST_NAMESPACE, r.host_name("p"), more, content_type=MERGE)
        await r.start()
        assert r.the_twin(NETWORKPOLICIES, "p")["spec"] == before


async def test_a_policy_follows_the_tenants_edits_and_end() -> None:
    async with rig() as r:
        await r.virtual.create(NETWORKPOLICIES, policy(ingress=[{}], policyTypes=["Ingress"]))
        await r.settle()
        await r.virtual.patch(NETWORKPOLICIES, "default", "p", b'{"spec":{"ingress":null}}', content_type=MERGE)
        await r.settle()
        assert not r.the_twin(NETWORKPOLICIES, "p")["spec"].get("ingress")
        await r.admin.delete(NETWORKPOLICIES, HOST_NAMESPACE, r.host_name("p"))
        await r.settle()
        assert r.twin(NETWORKPOLICIES, "p") is not None
        await r.virtual.delete(NETWORKPOLICIES, "default", "p")
        await r.settle()
        assert r.twin(NETWORKPOLICIES, "p") is None


async def test_a_policy_that_cannot_be_said_on_the_host_tells_why() -> None:
    async with rig() as r:
        await r.virtual.create(NETWORKPOLICIES, policy(podSelector={"matchLabels": {"vapi.dev/namespace": "team"}}))
        await r.settle()
        assert r.twin(NETWORKPOLICIES, "p") is None
        ((name, reason, message),) = r.events
        assert (name, reason) == ("p", SYNC_ERROR)
        assert message.startswith("not synced: spec.podSelector: the label vapi.dev/namespace is reserved")


async def test_an_ingress_takes_its_secret_along_and_brings_addresses_back() -> None:
    async with rig() as r:
        await r.virtual.create(SECRETS, {"metadata": {"name": "tls", "namespace": "default"}, "data": {}})
        await r.virtual.create(INGRESSES, ingress(secret="tls"))
        await r.settle()
        assert r.twin(SECRETS, "tls") is not None
        there = r.the_twin(INGRESSES, "web")
        assert there["spec"]["tls"] == [{"secretName": r.host_name("tls")}]
        there["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        await r.admin.update(INGRESSES, there, subresource="status")
        await r.settle()
        assert r.the(INGRESSES, "web")["status"] == {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        there = r.the_twin(INGRESSES, "web")
        await r.admin.update(INGRESSES, {**there, "status": {"loadBalancer": {}}}, subresource="status")
        await r.settle()
        assert r.the(INGRESSES, "web")["status"] == {"loadBalancer": {}}
        here = r.the(INGRESSES, "web")
        here["status"] = {"loadBalancer": {"ingress": [{"hostname": "of-the-tenant.example.com"}]}}
        await r.virtual.update(INGRESSES, here, subresource="status")
        await r.settle()
        assert r.the(INGRESSES, "web")["status"] == here["status"]


async def test_the_class_that_the_host_chose_stays_and_other_additions_go() -> None:
    async with rig() as r:
        await r.virtual.create(INGRESSES, ingress())
        await r.settle()
        rule = b'{"spec":{"ingressClassName":"of-the-host","rules":[{"host":"more.example.com"}]}}'
        await edit_twin(r, INGRESSES, "web", rule)
        spec = r.the_twin(INGRESSES, "web")["spec"]
        assert spec["ingressClassName"] == "of-the-host"
        assert not spec.get("rules")
        assert "ingressClassName" not in r.the(INGRESSES, "web")["spec"]


async def test_an_ingress_whose_class_is_withheld_loses_its_twin_and_is_told() -> None:
    async with rig() as r:
        await r.virtual.create(SECRETS, {"metadata": {"name": "tls", "namespace": "default"}, "data": {}})
        await r.virtual.create(INGRESSES, ingress(secret="tls", ingressClassName="one"))
        await r.settle()
        assert r.twin(INGRESSES, "web") is not None
        assert r.syncer is not None
        r.syncer.use(withheld_class=lambda _gvr, name: f'the class "{name}" is not yours')
        await r.virtual.patch(INGRESSES, "default", "web", b'{"spec":{"ingressClassName":"two"}}', content_type=MERGE)
        await r.settle()
        assert r.twin(INGRESSES, "web") is None
        told = ("web", SYNC_WARNING, 'did not sync ingress "web" to host because the class "two" is not yours')
        assert r.events == [told]
        await r.advance(61)
        assert r.twin(SECRETS, "tls") is None
        r.syncer.use(withheld_class=lambda _gvr, name: "")
        r.syncer.reconsider()
        await r.settle()
        assert r.the_twin(INGRESSES, "web")["spec"]["ingressClassName"] == "two"
        assert r.twin(SECRETS, "tls") is not None


async def test_a_budget_goes_out_as_the_number_that_the_tenant_counted() -> None:
    async with rig() as r:
        made = {"metadata": {"name": "b", "namespace": "default"}, "spec": {"maxUnavailable": 1, "selector": {}}}
        await r.virtual.create(BUDGETS, made)
        await r.settle()
        budget = r.the(BUDGETS, "b")
        budget["status"] = {
            "observedGeneration": 1, "currentHealthy": 3, "desiredHealthy": 2,
            "disruptionsAllowed": 1, "expectedPods": 3,
        }  # fmt: skip
        await r.virtual.update(BUDGETS, budget, subresource="status")
        await r.settle()
        assert r.the_twin(BUDGETS, "b")["spec"] == {
            "minAvailable": 2,
            "selector": {"matchLabels": {md.MANAGED_BY: "vc", md.NAMESPACE: "default"}},
        }
        await edit_twin(r, BUDGETS, "b", b'{"spec":{"minAvailable":null,"maxUnavailable":3}}')
        assert r.the_twin(BUDGETS, "b")["spec"]["minAvailable"] == 2
        assert "maxUnavailable" not in r.the_twin(BUDGETS, "b")["spec"]


def priority_class(name: str, value: int) -> Obj:
    return {"metadata": {"name": name}, "value": value}


def class_on_host(r: Rig, name: str) -> Obj | None:
    entry = r.host.registry.cached(PRIORITYCLASSES, "", names.host_cluster_name(name, HOST_NAMESPACE, "vc"))
    return entry.obj() if entry else None


async def test_a_priority_class_goes_out_under_its_own_marker_and_pods_name_it() -> None:
    async with rig() as r:
        await r.virtual.create(PRIORITYCLASSES, priority_class("high", 1000))
        spec_of = pod("web")
        spec_of["spec"]["priorityClassName"] = "high"
        await r.virtual.create(PODS, spec_of)
        await r.settle()
        there = class_on_host(r, "high")
        assert there is not None
        assert there["metadata"]["labels"] == {md.MANAGED_BY: MARKER}
        assert "ownerReferences" not in there["metadata"]
        assert r.the_twin(PODS, "web")["spec"]["priorityClassName"] == there["metadata"]["name"]
        await r.admin.delete(PRIORITYCLASSES, "", there["metadata"]["name"])
        await r.settle()
        assert class_on_host(r, "high") is not None
        await r.virtual.delete(PRIORITYCLASSES, "", "high")
        await r.settle()
        assert class_on_host(r, "high") is None


async def test_a_class_of_another_value_replaces_its_twin() -> None:
    async with rig() as r:
        await r.virtual.create(PRIORITYCLASSES, priority_class("high", 1000))
        await r.settle()
        await r.kill()
        await r.virtual.delete(PRIORITYCLASSES, "", "high")
        await r.virtual.create(PRIORITYCLASSES, priority_class("high", 2000))
        await r.start()
        found = class_on_host(r, "high")
        assert found is not None and found["value"] == 2000


async def test_a_class_whose_label_was_taken_off_gets_it_back() -> None:
    async with rig() as r:
        await r.virtual.create(PRIORITYCLASSES, priority_class("high", 1000))
        await r.settle()
        name = names.host_cluster_name("high", HOST_NAMESPACE, "vc")
        body = b'{"metadata":{"labels":{"vapi.dev/managed-by":null}}}'
        await r.admin.patch(PRIORITYCLASSES, "", name, body, content_type=MERGE)
        await r.advance(2)
        found = class_on_host(r, "high")
        assert found is not None and found["metadata"]["labels"] == {md.MANAGED_BY: MARKER}


async def test_a_foreign_class_on_the_name_is_left_alone() -> None:
    async with rig() as r:
        name = names.host_cluster_name("high", HOST_NAMESPACE, "vc")
        await r.admin.create(PRIORITYCLASSES, priority_class(name, 7))
        await r.virtual.create(PRIORITYCLASSES, priority_class("high", 1000))
        await r.settle()
        found = class_on_host(r, "high")
        assert found is not None and found["value"] == 7
        assert [reason for _, reason, _ in r.events] == [SYNC_WARNING]


async def test_two_clusters_of_one_name_in_two_namespaces_do_not_mix() -> None:
    async with rig() as r:
        other = names.host_cluster_name("high", "elsewhere", "vc")
        labels = {md.MANAGED_BY: names.cluster_marker("elsewhere", "vc")}
        annotations = {md.OBJECT_NAME: "high", md.OBJECT_KIND: "PriorityClass.scheduling.k8s.io", md.OBJECT_UID: "x"}
        theirs = {"metadata": {"name": other, "labels": labels, "annotations": annotations}, "value": 5}
        await r.admin.create(PRIORITYCLASSES, theirs)
        await r.settle()
        assert r.host.registry.cached(PRIORITYCLASSES, "", other) is not None


async def test_a_policy_follows_the_address_of_dns_that_is_no_pod() -> None:
    async with rig() as r:
        spaces = {"metadata": {"name": "kube-system", "labels": {"kubernetes.io/metadata.name": "kube-system"}}}
        await r.virtual.create(NAMESPACES, spaces)
        service = {"metadata": {"name": "kube-dns", "namespace": "kube-system"}, "spec": {"ports": [{"port": 53}]}}
        await r.virtual.create(SERVICES, service)
        to_dns = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
        await r.virtual.create(NETWORKPOLICIES, policy(policyTypes=["Egress"], egress=[{"to": [to_dns]}]))
        await r.settle()
        assert len(r.the_twin(NETWORKPOLICIES, "p")["spec"]["egress"]) == 1
        labels = {"kubernetes.io/service-name": "kube-dns"}
        ports = [{"name": "dns", "port": 1053, "protocol": "UDP"}, {"name": "tcp", "port": 1053, "protocol": "TCP"}]
        await r.virtual.create(
            ENDPOINTSLICES,
            {
                "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["192.0.2.7"]}],
                "ports": ports,
            },
        )
        await r.settle()
        assert r.the_twin(NETWORKPOLICIES, "p")["spec"]["egress"][1] == {
            "to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}],
            "ports": [{"protocol": "TCP", "port": 1053}, {"protocol": "UDP", "port": 1053}],
        }
