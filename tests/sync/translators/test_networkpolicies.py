"""A policy means on the host what it meant in the tenant, for each pod, peer and port; outsiders are never meant."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.translator import Context, Untranslatable
from sync.translators import networkpolicies, pods
from vapi import selectors
from vapi.gvk import Obj

NAMESPACES = ("default", "team", "kube-system")
KEYS, VALUES = ("app", "k8s-app"), ("a", "b", "kube-dns")
PORTS = [(protocol, port) for protocol in ("TCP", "UDP", "SCTP") for port in (52, 53, 54, 80, 1053)]

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(KEYS),
        st.sampled_from(("In", "NotIn")),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(KEYS),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)
label_selectors = st.fixed_dictionaries(
    {}, optional={"matchLabels": labels, "matchExpressions": st.lists(expressions, max_size=2)}
)
peers = st.fixed_dictionaries(
    {}, optional={"podSelector": label_selectors, "namespaceSelector": label_selectors}
).filter(bool)
ports = st.one_of(
    st.fixed_dictionaries({"protocol": st.sampled_from(("TCP", "UDP", "SCTP"))}),
    st.fixed_dictionaries({"protocol": st.sampled_from(("TCP", "UDP")), "port": st.sampled_from((52, 53, 80, 1053))}),
    st.just({"protocol": "UDP", "port": 50, "endPort": 60}),
    st.just({"protocol": "TCP", "port": 1, "endPort": 2000}),
    st.just({"protocol": "TCP", "port": "dns"}),
)


def rules(peer: str) -> Any:
    return st.lists(
        st.fixed_dictionaries({}, optional={peer: st.lists(peers, max_size=2), "ports": st.lists(ports, max_size=2)}),
        max_size=2,
    )


specs = st.fixed_dictionaries(
    {"podSelector": label_selectors, "policyTypes": st.just(["Ingress", "Egress"])},
    optional={"ingress": rules("from"), "egress": rules("to")},
)
namespace_labels = st.fixed_dictionaries(dict.fromkeys(NAMESPACES, labels))
tenant_pods = st.lists(st.tuples(st.sampled_from(NAMESPACES), labels), min_size=1, max_size=5)


def matches(selector: Obj, of: dict[str, str]) -> bool:
    return selectors.label_selector_from_obj(selector).matches(of)


def port_fits(wanted: list[Obj], protocol: str, port: int) -> bool:
    if not wanted:
        return True
    return any(
        p.get("protocol", "TCP") == protocol
        and (
            "port" not in p or (isinstance(p["port"], int) and p["port"] <= port <= p.get("endPort", p["port"]))
        )
        for p in wanted
    )  # fmt: skip


def allowed(spec: Obj, direction: str, fits: Any, protocol: str, port: int) -> bool:
    """Whether a policy that applies lets this through. `fits(peer)`: whether the other pod is meant."""
    key = {"ingress": "from", "egress": "to"}[direction]
    return any(
        (not rule.get(key) or any(fits(peer) for peer in rule[key]))
        and port_fits(rule.get("ports") or [], protocol, port)
        for rule in spec.get(direction) or ()
    )


def in_tenant(own: str, namespace: str, pod: dict[str, str], spaces: dict[str, dict[str, str]]) -> Any:
    def fits(peer: Obj) -> bool:
        inside = namespace == own
        if "namespaceSelector" in peer:
            inside = matches(peer["namespaceSelector"], spaces[namespace])
        return inside and matches(peer.get("podSelector", {}), pod)

    return fits


def on_host(pod: dict[str, str]) -> Any:
    def fits(peer: Obj) -> bool:
        assert peer.keys() == {"podSelector"}
        return matches(peer["podSelector"], pod)

    return fits


@settings(max_examples=150, deadline=None)
@given(specs, st.sampled_from(NAMESPACES), namespace_labels, tenant_pods)
def test_a_policy_means_the_same_on_the_host(
    spec: Obj, own: str, spaces: dict[str, dict[str, str]], population: list[tuple[str, dict[str, str]]]
) -> None:
    context = Context(cluster="vc", host_namespace="h", namespace_labels=lambda n: spaces[n])
    virtual = {"metadata": {"name": "p", "namespace": own, "uid": "u"}, "spec": spec}
    host = networkpolicies.to_host(virtual, context)["spec"]
    twins = [host_labels(f"p{n}", where, of, context) for n, (where, of) in enumerate(population)]
    outsiders = [
        *(
            host_labels(f"o{n}", where, of, dataclasses.replace(context, cluster="other"))
            for n, (where, of) in enumerate(population)
        ),
        *(of for _, of in population),
    ]
    for (where, of), twin in zip(population, twins, strict=True):
        assert matches(host["podSelector"], twin) == (where == own and matches(spec["podSelector"], of))
        for direction in ("ingress", "egress"):
            for protocol, port in PORTS:
                wanted = allowed(spec, direction, in_tenant(own, where, of, spaces), protocol, port)
                if port == 1053 and protocol != "SCTP":
                    wanted = wanted or allowed(spec, direction, in_tenant(own, where, of, spaces), protocol, 53)
                assert allowed(host, direction, on_host(twin), protocol, port) == wanted
    for outsider in outsiders:
        assert not matches(host["podSelector"], outsider)
        assert not any(
            matches(peer["podSelector"], outsider)
            for direction, key in (("ingress", "from"), ("egress", "to"))
            for rule in host.get(direction) or ()
            for peer in rule.get(key) or ()
        )


def host_labels(name: str, namespace: str, of: dict[str, str], context: Context) -> dict[str, str]:
    virtual = {
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": of},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    found: dict[str, str] = pods.to_host(virtual, context)["metadata"]["labels"]
    return found


def policy(**spec: Any) -> Obj:
    return {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {"podSelector": {}, **spec}}


@pytest.mark.parametrize(
    "spec",
    [
        {"podSelector": {"matchLabels": {"vapi.dev/managed-by": "other"}}},
        {"podSelector": {"matchExpressions": [{"key": "vapi.dev/namespace", "operator": "NotIn", "values": ["x"]}]}},
        {"ingress": [{"from": [{"podSelector": {"matchLabels": {"ns.vapi.dev/cf1227b7b2": "kube-system"}}}]}]},
        {
            "egress": [
                {
                    "to": [
                        {
                            "namespaceSelector": {},
                            "podSelector": {"matchExpressions": [{"key": "vapi.dev/x", "operator": "Exists"}]},
                        }
                    ]
                }
            ]
        },
    ],
)
def test_a_selector_over_our_own_labels_is_refused_and_says_where(spec: Obj) -> None:
    with pytest.raises(Untranslatable, match=r"^spec\..*elector: the label .*vapi\.dev/.* is reserved"):
        networkpolicies.to_host(policy(**spec), Context(cluster="vc", host_namespace="h"))


def test_types_that_were_not_written_are_those_that_kubernetes_would_take() -> None:
    context = Context(cluster="vc", host_namespace="h")
    assert networkpolicies.to_host(policy(), context)["spec"]["policyTypes"] == ["Ingress"]
    assert networkpolicies.to_host(policy(egress=[{}]), context)["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_dns_that_is_no_pod_is_allowed_by_its_address_to_whom_dns_pods_are_allowed() -> None:
    context = Context(
        cluster="vc",
        host_namespace="h",
        namespace_labels=lambda name: {"kubernetes.io/metadata.name": name},
        dns_endpoints=lambda: [("10.0.0.7", 1053)],
    )
    to_dns = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    elsewhere = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "team"}}}
    ports = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 443}]
    host = networkpolicies.to_host(
        policy(egress=[{"to": [elsewhere], "ports": ports}, {"to": [to_dns], "ports": ports}]), context
    )
    assert len(host["spec"]["egress"]) == 3
    assert host["spec"]["egress"][2] == {
        "to": [{"ipBlock": {"cidr": "10.0.0.7/32"}}],
        "ports": [{"protocol": "UDP", "port": 1053}],
    }
