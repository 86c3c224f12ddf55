"""What an Ingress names: what goes out with it, what is refused, and which class keeps it here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from sync.translator import CONFIGMAPS, SECRETS, SERVICES, Context, Ref, Untranslatable, Withheld
from sync.translators import ingresses
from vapi.gvk import Obj

CONTEXT = Context(cluster="vc", host_namespace="h")
SHOP = Path(__file__).parent.parent / "pairs/ingresses/shop.virtual.yaml"


def ingress(annotations: dict[str, str] | None = None, **spec: Any) -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "annotations": annotations or {}},
        "spec": spec,
    }


def test_all_secrets_that_it_names_go_out_with_it() -> None:
    assert set(ingresses.references(yaml.safe_load(SHOP.read_text()))) == {
        Ref(SECRETS, "default", "shop-tls"),
        Ref(SECRETS, "default", "users"),
        Ref(SECRETS, "team", "ca"),
        Ref(SECRETS, "default", "upstream"),
        Ref(SECRETS, "default", "oidc"),
    }


def test_the_operator_declares_further_annotations_that_hold_names() -> None:
    row = ingresses.translator(
        {
            **ingresses.NAMING,
            "example.com/password": SECRETS,
            "example.com/rules": CONFIGMAPS,
            "example.com/to": SERVICES,
        }
    )
    virtual = ingress(
        {"example.com/password": "team/pw", "example.com/rules": "waf", "example.com/to": "kubernetes", "other": "pw"}
    )
    assert set(row.references(virtual)) == {Ref(SECRETS, "team", "pw"), Ref(CONFIGMAPS, "default", "waf")}
    annotations = row.to_host(virtual, CONTEXT)["metadata"]["annotations"]
    assert annotations["example.com/password"] == "h/pw-x-team-x-vc"
    assert annotations["example.com/rules"] == "waf-x-default-x-vc"
    assert annotations["example.com/to"] == "vc"
    assert annotations["other"] == "pw"


@pytest.mark.parametrize("value", ["", "a/b/c", "/x", "x/"])
def test_a_value_that_is_no_name_is_refused(value: str) -> None:
    with pytest.raises(Untranslatable, match="neither a name nor namespace/name"):
        ingresses.to_host(ingress({"nginx.ingress.kubernetes.io/auth-secret": value}), CONTEXT)


def test_a_key_that_would_be_too_long_is_refused() -> None:
    with pytest.raises(Untranslatable, match="longer than 63"):
        ingresses.to_host(ingress({"alb.ingress.kubernetes.io/conditions." + "s" * 50: "[]"}), CONTEXT)


def test_what_is_no_json_is_left_to_the_controller() -> None:
    host = ingresses.to_host(ingress({"alb.ingress.kubernetes.io/actions.x": "{"}), CONTEXT)
    assert host["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.x-x-default-x-vc"] == "{"


REASON = (
    "the ingress class \"two\" in the host does not match the selector under 'sync.fromHost.ingressClasses.selector'"
)


@pytest.mark.parametrize(
    "virtual", [ingress(ingressClassName="two"), ingress({"kubernetes.io/ingress.class": "two"})], ids=["field", "old"]
)
def test_a_class_that_the_tenant_may_not_see_keeps_the_ingress_here(virtual: Obj) -> None:
    context = dataclasses.replace(CONTEXT, withheld_class=lambda _gvr, name: REASON if name == "two" else "")
    with pytest.raises(Withheld) as told:
        ingresses.to_host(virtual, context)
    assert str(told.value) == f'did not sync ingress "web" to host because {REASON}'
    assert ingresses.to_host(ingress(ingressClassName="one"), context)["spec"] == {"ingressClassName": "one"}
    assert ingresses.to_host(ingress(), context)["spec"] == {}


def test_the_addresses_of_the_load_balancer_come_back_and_go_with_it() -> None:
    there = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
    ours: Obj = {"metadata": {"managedFields": [{"manager": "vapi-syncer", "subresource": "status"}]}}
    theirs: Obj = {"metadata": {"managedFields": [{"manager": "traefik", "subresource": "status"}]}}
    assert ingresses.status(ours, there) == ingresses.status(theirs, there) == there["status"]
    assert ingresses.status(ours, {"status": {"loadBalancer": {}}}) == {"loadBalancer": {}}
    assert ingresses.status(theirs, {"status": {}}) is None
