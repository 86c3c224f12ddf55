"""Ingresses, NetworkPolicies, disruption budgets and PriorityClasses of tenants on a real host."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sync import names
from tests.host_cluster import HostCluster
from tests.integration.tenants import Tenant, deployment, secret, tenant
from tests.vapi_process import KubectlError, kubectl_binary, manifests, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

MARK = "vapi.dev/managed-by"


@pytest.fixture(scope="module")
def a(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    directory = tmp_path_factory.mktemp("policies")
    switch = ("--sync-to-host-priority-classes-enabled", "true")
    with tenant(node_host, directory, name="pol-a", advertise=node_host.our_address(), arguments=switch) as one:
        yield one
        marker = names.cluster_marker(one.namespace, one.name)
        one.vapi.stop()
        node_host.kubectl("delete", "priorityclasses", "-l", f"{MARK}={marker}")


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {}, **spec},
    }


def ingress(name: str, **spec: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": {"nginx.ingress.kubernetes.io/auth-secret": "users"}},
        "spec": {"defaultBackend": backend, **spec},
    }


def budget(name: str, app: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
    }


def mine(a: Tenant, namespace: str = "default") -> dict[str, str]:
    return {MARK: a.name, "vapi.dev/namespace": namespace}


def patch_twin(a: Tenant, kind: str, name: str, patch: Any) -> None:
    a.host_kubectl("patch", kind, a.host_name(name), "--type=merge", "-p", json.dumps(patch))


def test_a_policy_is_on_the_host_with_its_types_and_is_put_back(a: Tenant) -> None:
    """NET-1."""
    space = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    a.vapi.apply(policy("np", policyTypes=["Ingress", "Egress"], ingress=[], egress=[{"to": [space], "ports": dns}]))
    twin = until(lambda: a.twin("networkpolicy", "np"))
    assert twin["spec"]["policyTypes"] == a.get("networkpolicy", "np")["spec"]["policyTypes"]
    assert twin["spec"]["podSelector"] == {"matchLabels": mine(a)}
    (rule,) = twin["spec"]["egress"]
    label = names.namespace_label("kubernetes.io/metadata.name")
    assert rule["to"] == [{"podSelector": {"matchLabels": {MARK: a.name, label: "kube-system"}}}]
    assert {(p["protocol"], p["port"]) for p in rule["ports"]} == {
        ("UDP", 53), ("TCP", 53), ("UDP", 1053), ("TCP", 1053),
    }  # fmt: skip
    patch_twin(a, "networkpolicy", "np", {"spec": {"egress": [{}], "podSelector": {"matchLabels": {"app": "x"}}}})
    until(lambda: a.twin("networkpolicy", "np")["spec"] == twin["spec"])
    a.host_kubectl("delete", "networkpolicy", a.host_name("np"))
    until(lambda: (a.twin("networkpolicy", "np") or {}).get("spec") == twin["spec"])
    a.kubectl("delete", "networkpolicy", "np")
    until(lambda: a.twin("networkpolicy", "np") is None)


def test_the_pods_that_a_policy_selects_on_the_host_are_the_tenants(a: Tenant) -> None:
    a.vapi.apply(deployment("picked", 1))
    a.kubectl("rollout", "status", "deployment/picked", "--timeout=90s")
    a.vapi.apply(policy("pick", podSelector={"matchLabels": {"app": "picked"}}))
    selector = until(lambda: a.twin("networkpolicy", "pick"))["spec"]["podSelector"]["matchLabels"]
    text = ",".join(f"{k}={v}" for k, v in selector.items())
    found = a.host.json("get", "pods", "--all-namespaces", "-l", text)["items"]
    ours = a.listed("pods", "-l", "app=picked")
    assert [p["metadata"]["name"] for p in found] == [a.host_name(p["metadata"]["name"]) for p in ours]
    label = names.namespace_label("kubernetes.io/metadata.name")
    assert found[0]["metadata"]["labels"][label] == "default"
    a.kubectl("delete", "networkpolicy/pick", "deployment/picked")


def test_a_policy_that_cannot_be_said_on_the_host_has_an_event(a: Tenant) -> None:
    a.vapi.apply(policy("forged", podSelector={"matchLabels": {"vapi.dev/namespace": "kube-system"}}))
    until(lambda: "is reserved" in told(a, "forged"))
    assert a.twin("networkpolicy", "forged") is None
    a.kubectl("delete", "networkpolicy", "forged")


def told(a: Tenant, name: str) -> str:
    found = a.listed("events", "--field-selector", f"involvedObject.name={name}")
    return "\n".join(f"{e['reason']}: {e['message']}" for e in found)


def test_an_ingress_goes_out_with_its_secrets_and_its_address_comes_back(a: Tenant) -> None:
    a.vapi.apply(secret("users", auth="x"), secret("tls", a="b"), ingress("shop", tls=[{"secretName": "tls"}]))
    twin = until(lambda: a.twin("ingress", "shop"))
    assert twin["spec"]["defaultBackend"]["service"]["name"] == a.host_name("web")
    assert twin["spec"]["tls"] == [{"secretName": a.host_name("tls")}]
    assert twin["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-secret"] == a.host_name("users")
    assert a.twin("secret", "tls") and a.twin("secret", "users")
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}
    a.host_kubectl(
        "patch", "ingress", a.host_name("shop"), "--subresource=status", "--type=merge", "-p", json.dumps(address)
    )
    until(lambda: "192.0.2.9" in a.kubectl("get", "ingress", "shop"))
    patch_twin(a, "ingress", "shop", {"spec": {"defaultBackend": None, "rules": [{"host": "evil.example.com"}]}})
    until(lambda: a.twin("ingress", "shop")["spec"] == twin["spec"])
    a.kubectl("patch", "ingress", "shop", "-p", '{"spec":{"rules":[{"host":"shop.example.com"}]}}')
    until(lambda: a.twin("ingress", "shop")["spec"].get("rules") == [{"host": "shop.example.com"}])
    a.kubectl("delete", "ingress", "shop")
    until(lambda: a.twin("ingress", "shop") is None)


def evict_on_host(a: Tenant, name: str) -> str:
    """What `kubectl drain` sends. What the host says, "" if it agrees."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": a.namespace}}
    where = f"/api/v1/namespaces/{a.namespace}/pods/{name}/eviction"
    try:
        a.host.kubectl("create", "--raw", where, "-f", "-", stdin=json.dumps(body))
    except KubectlError as error:
        return error.stderr
    return ""


def test_a_budget_holds_on_the_host_too(a: Tenant) -> None:
    a.vapi.apply(deployment("web", 3), budget("web", "web", maxUnavailable="34%"))
    a.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    until(lambda: a.get("pdb", "web")["status"].get("disruptionsAllowed") == 2)
    until(lambda: a.twin("pdb", "web")["spec"]["minAvailable"] == 1)
    a.kubectl("patch", "pdb", "web", "-p", '{"spec":{"maxUnavailable":0}}')
    until(lambda: a.twin("pdb", "web")["spec"]["minAvailable"] == 3)
    until(lambda: a.twin("pdb", "web")["status"].get("currentHealthy") == 3)
    victim = a.listed("pods", "-l", "app=web")[0]["metadata"]["name"]
    refused = until(lambda: evict_on_host(a, a.host_name(victim)))
    assert "Cannot evict pod as it would violate the pod's disruption budget" in refused
    assert "429" in refused or "TooManyRequests" in refused
    a.kubectl("patch", "pdb", "web", "-p", '{"spec":{"maxUnavailable":1}}')
    until(lambda: a.twin("pdb", "web")["status"].get("disruptionsAllowed") == 1)
    assert evict_on_host(a, a.host_name(victim)) == ""
    until(lambda: a.find("pod", victim) is None)
    a.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    assert len(a.listed("pods", "-l", "app=web")) == 3
    a.kubectl("delete", "pdb/web", "deployment/web")


def test_a_budget_of_one_namespace_does_not_count_the_pods_of_another(a: Tenant) -> None:
    a.kubectl("create", "namespace", "other")
    a.vapi.apply(deployment("twin", 1))
    a.vapi.apply({**deployment("twin", 1), "metadata": {"name": "twin", "namespace": "other"}})
    a.vapi.apply(budget("twin", "twin", minAvailable=1))
    a.kubectl("rollout", "status", "deployment/twin", "--timeout=90s")
    a.kubectl("-n", "other", "rollout", "status", "deployment/twin", "--timeout=90s")
    until(lambda: a.twin("pdb", "twin")["status"].get("expectedPods") == 1)
    a.kubectl("delete", "pdb/twin", "deployment/twin")
    a.kubectl("delete", "namespace", "other")


def test_a_priority_class_of_the_tenant_is_one_of_the_host_and_its_pods_have_it(a: Tenant) -> None:
    a.kubectl("create", "priorityclass", "urgent", "--value=1000000000", "--description=first")
    host_name = names.host_cluster_name("urgent", a.namespace, a.name)
    found = until(lambda: or_none(lambda: a.host.json("get", "priorityclass", host_name)))
    assert found["value"] == 1_000_000_000 and not found.get("globalDefault")
    assert found["metadata"]["labels"] == {MARK: names.cluster_marker(a.namespace, a.name)}
    a.kubectl("run", "quick", "--image=registry.k8s.io/e2e-test-images/agnhost:2.66.1", "--overrides",
              '{"spec":{"priorityClassName":"urgent","terminationGracePeriodSeconds":0}}', "--", "pause")  # fmt: skip
    twin = until(lambda: a.twin("pod", "quick"))
    assert twin["spec"]["priorityClassName"] == host_name and twin["spec"]["priority"] == 1_000_000_000
    until(lambda: a.get("pod", "quick")["status"].get("phase") == "Running", timeout_s=60)
    a.kubectl("delete", "pod", "quick")
    a.kubectl("delete", "priorityclass", "urgent")
    until(lambda: or_none(lambda: a.host.json("get", "priorityclass", host_name)) is None)


def or_none(get: Any) -> Any:
    with contextlib.suppress(KubectlError, subprocess.CalledProcessError):
        return get()
    return None


def urgent() -> dict[str, Any]:
    return {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "urgent"}, "value": 5}


def warnings(a: Tenant, *objects: dict[str, Any]) -> list[str]:
    """What kubectl shows of Warning headers while it applies them."""
    command = [kubectl_binary(), "--kubeconfig", str(a.vapi.kubeconfig), "apply", "-f", "-"]
    done = subprocess.run(command, input=manifests(objects), capture_output=True, text=True, timeout=60, check=True)
    return [line.removeprefix("Warning: ") for line in done.stderr.splitlines()]


def test_what_reaches_the_host_is_not_warned_of(a: Tenant) -> None:
    assert warnings(a, ingress("quiet"), policy("quiet"), budget("quiet", "x", minAvailable=1), urgent()) == []
    a.kubectl("delete", "ingress/quiet", "networkpolicy/quiet", "pdb/quiet", "priorityclass/urgent")


def test_what_is_switched_off_stays_in_the_tenant_and_is_told(node_host: HostCluster, tmp_path: Path) -> None:
    off = [f"--sync-to-host-{kind}-enabled" for kind in ("ingresses", "network-policies", "pod-disruption-budgets")]
    arguments = tuple(part for flag in off for part in (flag, "false"))
    with tenant(node_host, tmp_path, name="pol-b", arguments=arguments) as b:
        told = warnings(
            b, ingress("i"), policy("np"), budget("pdb", "x", minAvailable=1), deployment("there", 1), urgent()
        )
        assert told == [
            "Ingresses stay here (sync.toHost.ingresses.enabled is false): no controller of the host serves them",
            "NetworkPolicies stay here (sync.toHost.networkPolicies.enabled is false): the host does not enforce them",
            "PodDisruptionBudgets stay here (sync.toHost.podDisruptionBudgets.enabled is false): "
            "evictions by the host ignore them",
            "PriorityClasses stay here: they only order pods within this virtual cluster",
        ]
        until(lambda: b.twins("pods"))
        assert not b.twins("ingress") and not b.twins("networkpolicy") and not b.twins("pdb")


def ingress_class(name: str, value: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "labels": {"value": value}},
        "spec": {"controller": "example.com/nobody"},
    }


def test_an_ingress_of_an_excluded_class_is_told_so_and_never_on_the_host(
    node_host: HostCluster, tmp_path: Path
) -> None:
    """CLS-1 to CLS-3."""
    one, two = (f"pol-{number}-{secrets.token_hex(3)}" for number in ("one", "two"))
    node_host.kubectl("apply", "-f", "-", stdin=manifests((ingress_class(one, "one"), ingress_class(two, "two"))))
    selector = ("--sync-from-host-ingress-classes-selector", "value=one")
    try:
        with tenant(node_host, tmp_path, name="pol-c", arguments=selector) as c:
            until(lambda: c.find("ingressclass", one))
            assert c.find("ingressclass", two) is None
            c.vapi.apply(ingress("good", ingressClassName=one), ingress("bad", ingressClassName=two))
            until(lambda: c.twin("ingress", "good"))
            expected = (
                f'SyncWarning: did not sync ingress "bad" to host because the ingress class "{two}" in the host '
                "does not match the selector under 'sync.fromHost.ingressClasses.selector'."
            )
            until(lambda: expected.rstrip(".") in told(c, "bad"))
            assert c.twin("ingress", "bad") is None
            c.kubectl("patch", "ingress", "good", "-p", json.dumps({"spec": {"ingressClassName": two}}))
            until(lambda: c.twin("ingress", "good") is None)
            node_host.kubectl("label", "ingressclass", two, "value=one", "--overwrite")
            until(lambda: c.twin("ingress", "good") and c.twin("ingress", "bad"))
    finally:
        node_host.kubectl("delete", "ingressclass", one, two)
