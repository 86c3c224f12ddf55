"""What the host says is told in the tenant's words."""

from __future__ import annotations

import pytest

from sync.wording import SOMEBODY, in_tenant_words

SAID = {
    "its own name": ('services "web-x-default-x-vc" is invalid', 'services "web" is invalid'),
    "qualified": ("assigned host-ns/web-x-default-x-vc to node-1", "assigned default/web to node-1"),
    "the namespace alone": ('in the namespace "host-ns"', 'in the namespace "default"'),
    "bare namespace": ("pods in namespace host-ns are", "pods in namespace default are"),
    "an id of the kubelet": ("web-x-default-x-vc_host-ns(u-1)", "web_default(v-1)"),
    "a name of DNS": ("web-x-default-x-vc.host-ns.svc", "web.default.svc"),
    "a neighbour": ("used by pod db-x-prod-x-vc", "used by pod db"),
    "a neighbour of a shortened name": ("used by pod abc-x-def-0123456789", f"used by pod {SOMEBODY}"),
    "another tenant": ("preempted by web-x-default-x-other", f"preempted by {SOMEBODY}"),
    "a word that is the namespace's": ("the host-ns is full of host-nss", "the host-ns is full of host-nss"),
    "another namespace": ("x-host-ns/a", "x-host-ns/a"),
}


@pytest.mark.parametrize(("text", "told"), SAID.values(), ids=SAID.keys())
def test_it_is_told_in_the_tenants_words(text: str, told: str) -> None:
    known = {"web-x-default-x-vc": "web", "u-1": "v-1"}
    assert in_tenant_words(text, known, cluster="vc", host_namespace="host-ns", namespace="default") == told
