"""No write is silently without effect: each kind is acted upon, or says in a Warning that it is only stored."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.planes import PODS, plane, schemas
from tests.vapi.auth.shelf import Shelf
from vapi.authorizer import User
from vapi.gvk import Obj
from vapi.registry import notices
from vapi.registry.caller import Caller, system_caller
from vapi.registry.notices import ACTED_UPON, DATA, FIELDS, ONLY_STORED, SITUATIONAL, HostKind, Situation
from vapi.resources.builtin import builtin_catalog

KINDS = {(row.gvr.group, row.gvr.resource): row for row in builtin_catalog(schemas()).rows}
SITUATIONS = [
    Situation(host, not_sent, mirrored)
    for host in HostKind
    for not_sent in (frozenset[str](), frozenset(plural for _, plural in KINDS))
    for mirrored in (frozenset[str](), frozenset(plural for _, plural in KINDS))
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: ".".join(filter(None, reversed(k))))
def test_a_kind_is_acted_upon_or_its_writers_are_told(kind: notices.Kind) -> None:
    assert (kind in ACTED_UPON) + (kind in ONLY_STORED) + (kind in DATA) == 1


@pytest.mark.parametrize(("kind", "module"), ACTED_UPON.items(), ids=lambda v: "/".join(v) if type(v) is tuple else v)
def test_who_acts_upon_a_kind_names_it(kind: notices.Kind, module: str) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).read_text().lower()
    assert kind[1] in text or KINDS[kind].kind.lower() in text or kind[1][:-1] in text


def test_the_tables_know_no_other_kinds() -> None:
    assert {*ACTED_UPON, *ONLY_STORED, *SITUATIONAL, *FIELDS, *DATA} <= KINDS.keys()


@pytest.mark.parametrize("now", SITUATIONS, ids=lambda s: f"{s.host}-{len(s.not_sent)}-{len(s.mirrored)}")
def test_a_notice_is_one_line_that_fits_a_header(now: Situation) -> None:
    for text in (*ONLY_STORED.values(), *(say(now) for say in SITUATIONAL.values())):
        assert "\n" not in text and '"' not in text and len(text) < 140 and text.isascii()


def told(kind: notices.Kind, obj: Obj, now: Situation, old: Obj | None = None, *others: Obj) -> list[str]:
    shelf = Shelf(*others)
    return list(notices.notices(now, shelf)(KINDS[kind], {"metadata": {}, **obj}, old))


REAL = Situation(HostKind.REAL, frozenset({"priorityclasses"}), frozenset({"ingressclasses", "runtimeclasses"}))
OFF = dataclasses.replace(REAL, not_sent=frozenset({"ingresses", "networkpolicies", "poddisruptionbudgets"}))
POLICY = ("policy", "poddisruptionbudgets")
NETWORK = ("networking.k8s.io", "networkpolicies")
INGRESS = ("networking.k8s.io", "ingresses")
PRIORITY = ("scheduling.k8s.io", "priorityclasses")
DEPLOYMENTS = ("apps", "deployments")


@pytest.mark.parametrize(
    ("kind", "now", "text"),
    [
        (INGRESS, REAL, ""),
        (NETWORK, REAL, ""),
        (POLICY, REAL, ""),
        (INGRESS, OFF, "Ingresses stay here (sync.toHost.ingresses.enabled is false): no controller of the host"),
        (NETWORK, OFF, "NetworkPolicies stay here (sync.toHost.networkPolicies.enabled is false): the host does not"),
        (POLICY, OFF, "PodDisruptionBudgets stay here (sync.toHost.podDisruptionBudgets.enabled is false): evictions"),
        (POLICY, Situation(), ""),
        (NETWORK, Situation(HostKind.SIMULATED), "NetworkPolicies are stored but pods here have no network"),
        (PRIORITY, REAL, "PriorityClasses stay here: they only order pods within this virtual cluster"),
        (PRIORITY, dataclasses.replace(REAL, not_sent=frozenset()), ""),
        (PRIORITY, Situation(), ""),
        (("", "limitranges"), REAL, ""),
        (("", "resourcequotas"), REAL, ""),
    ],
)
def test_what_is_told_hangs_on_the_host_and_the_settings(kind: notices.Kind, now: Situation, text: str) -> None:
    found = told(kind, {}, now)
    assert not found if not text else found[0].startswith(text)


def pod(**spec: Any) -> Obj:
    return {"spec": spec}


def labelled(key: str) -> Obj:
    return {"metadata": {"labels": {key: "x"}}}


BUNDLE = [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "x", "path": "p"}}]}}]


@pytest.mark.parametrize(
    ("kind", "obj", "now", "text"),
    [
        (("", "pods"), pod(priorityClassName="high"), REAL, "spec.priorityClassName only orders pods within"),
        (("", "pods"), pod(priorityClassName="high"), Situation(), ""),
        (DEPLOYMENTS, pod(template=pod(priorityClassName="high")), REAL, "spec.priorityClassName only orders"),
        (("batch", "cronjobs"), pod(jobTemplate=pod(template=pod(priorityClassName="x"))), REAL, "spec.priority"),
        (("", "pods"), pod(resourceClaims=[{"name": "gpu"}]), Situation(), "spec.resourceClaims: no device is"),
        (("", "pods"), pod(workloadRef={"name": "w"}), REAL, "spec.workloadRef is stored but not brought to the host"),
        (("", "pods"), pod(volumes=BUNDLE), REAL, "a clusterTrustBundle in a volume is one of the host's"),
        (("", "pods"), pod(setHostnameAsFQDN=True, subdomain="x"), REAL, "spec.setHostnameAsFQDN: the pod has"),
        (("", "pods"), pod(containers=[]), REAL, ""),
        (("", "namespaces"), labelled("pod-security.kubernetes.io/enforce"), REAL, "labels of pod-security"),
        (("", "namespaces"), labelled("a"), REAL, ""),
        (("", "secrets"), {"type": "kubernetes.io/service-account-token"}, REAL, "a Secret of type"),
        (("", "secrets"), {"type": "Opaque"}, REAL, ""),
        (("", "nodes"), {}, REAL, "no kubelet is behind a Node"),
        (("", "nodes"), {}, Situation(), ""),
    ],
)  # fmt: skip
def test_a_field_without_effect_is_told_once(kind: notices.Kind, obj: Obj, now: Situation, text: str) -> None:
    found = told(kind, obj, now)
    assert not found if not text else found[0].startswith(text)
    assert told(kind, obj, now, {"metadata": {}, **obj}) == []


@pytest.mark.parametrize("selector", [{}, {"app": "web"}])
def test_a_slice_of_a_service_with_a_selector_does_not_count_on_the_host(selector: dict[str, str]) -> None:
    service: Obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"selector": selector},
    }
    obj = {"metadata": {"namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}}}
    assert bool(told(("discovery.k8s.io", "endpointslices"), obj, REAL, None, service)) == bool(selector)


async def test_a_write_is_told_when_it_is_stored_and_not_by_a_dry_run_or_to_ourselves() -> None:
    async with plane() as running:
        running.registry.use_notices(notices.notices(REAL, running.registry))
        row = running.catalog.of(PODS)
        people = (
            (Caller(User("alice"), dry_run=True), 0),
            (system_caller("controller"), 0),
            (Caller(User("alice")), 1),
        )
        for n, (caller, count) in enumerate(people):
            body = {
                "metadata": {"name": f"p{n}", "namespace": "default"},
                "spec": {"priorityClassName": "x", "containers": [{"name": "c", "image": "i"}]},
            }
            await running.registry.create(caller, row, "default", body)
            assert len(caller.warnings) == count
