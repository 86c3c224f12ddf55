"""Classes of the host that a selector limits: the tenant has those that match, and can use no others.

All of them on a cluster `limited-classes`: every kind of class from the host, with the label LIMIT.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from kubernetes.client.exceptions import ApiException

from conformance.checks.setting import (
    MERGE_PATCH,
    NETWORKING,
    Failed,
    Obj,
    Setting,
    expect,
    get,
    gone,
    pod,
    refused,
    send,
    stays,
    until,
)
from conformance.checks.volumes import CLAIMS, claim

VARIANT = "limited-classes"
LIMIT = "conformance.example.com/limit"


@dataclass(frozen=True, slots=True)
class Class:
    collection: str
    rest: Obj


KINDS: Mapping[str, Class] = MappingProxyType(
    {
        "IngressClass": Class(f"{NETWORKING}/ingressclasses", {"spec": {"controller": "example.com/nobody"}}),
        "PriorityClass": Class("/apis/scheduling.k8s.io/v1/priorityclasses", {"value": 7, "description": "old"}),
        "RuntimeClass": Class("/apis/node.k8s.io/v1/runtimeclasses", {"handler": "runc"}),
        "StorageClass": Class("/apis/storage.k8s.io/v1/storageclasses", {"provisioner": "example.com/nobody"}),
    }
)


@dataclass(frozen=True, slots=True)
class Limited:
    """The tenant, and the names of a class that it has, and of one that it has not."""

    tenant: Setting
    row: Class
    kept: str
    hidden: str

    def path(self, name: str) -> str:
        return f"{self.row.collection}/{name}"


def _limited(kind: str, s: Setting) -> Limited:
    other, row = s.beside(VARIANT), KINDS[kind]
    for value in ("one", "two"):
        s.create_below(
            row.collection, {"metadata": {"name": f"{s.namespace}-{value}", "labels": {LIMIT: value}}, **row.rest}
        )
    made = Limited(other, row, f"{s.namespace}-one", f"{s.namespace}-two")
    until(lambda: get(other.api, made.path(made.kept)), lambda x: True, f"the {kind} that matches")
    return made


def only_those_that_match_are_seen(kind: str, s: Setting) -> None:
    made = _limited(kind, s)
    stays(lambda: get(made.tenant.api, made.path(made.hidden)), lambda x: x is None, f"that no other {kind} is there")


def ingresses_of_others_stay(s: Setting) -> None:
    made = _limited("IngressClass", s)
    here, host = made.tenant, made.tenant.host
    for name, class_ in (("good", made.kept), ("bad", made.hidden)):
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        spec = {"ingressClassName": class_, "defaultBackend": backend}
        here.create("ingresses", {"metadata": {"name": name}, "spec": spec}, prefix=NETWORKING)
    look = functools.partial(host.find, "ingresses", namespace=here.namespace, prefix=NETWORKING)
    until(lambda: look(name="good"), lambda x: True, "the Ingress of the class that matches, on the host")
    _is_told(here, "bad", f'ingress class "{made.hidden}"')
    stays(lambda: look(name="bad"), lambda x: x is None, "that the other Ingress is not on the host")


def claims_of_others_stay(s: Setting) -> None:
    made = _limited("StorageClass", s)
    here, host = made.tenant, made.tenant.host
    for name, class_ in (("good", made.kept), ("bad", made.hidden)):
        here.create(CLAIMS, claim(name, storageClassName=class_))
    until(lambda: host.find(CLAIMS, "good", here.namespace), lambda x: True, "the claim of the class that matches")
    _is_told(here, "bad", f'storage class "{made.hidden}"')
    stays(lambda: host.find(CLAIMS, "bad", here.namespace), lambda x: x is None, "that the other is not on the host")


def _is_told(here: Setting, name: str, text: str) -> None:
    """The checklist's words, after which scripts look."""
    told = until(lambda: here.events(of=name, reason="SyncWarning"), bool, f"the event SyncWarning of {name}")
    if not any(text in e["message"] and "does not match the selector" in e["message"] for e in told):
        raise Failed(f"SyncWarning does not speak of {text}: {told[0]['message']}")


def pods_with_other_priorities_are_refused(s: Setting) -> None:
    made = _limited("PriorityClass", s)
    here, host = made.tenant, made.tenant.host
    text = f"no PriorityClass with name {made.hidden} was found"
    refused(lambda: here.create("pods", pod("bad", priorityClassName=made.hidden)), status=403, text=text)
    here.create("pods", pod("good", priorityClassName=made.kept))
    twin = until(lambda: host.find("pods", "good", here.namespace), lambda p: True, "the host pod")
    expect((twin["spec"].get("priorityClassName"), twin["spec"].get("priority")), (made.kept, 7), "its priority")


def priority_class_follows_the_host(s: Setting) -> None:
    made = _limited("PriorityClass", s)
    here, path = made.tenant, made.path(made.kept)
    send(here.host.api, "PATCH", path, {"description": "new"}, content_type=MERGE_PATCH)
    until(lambda: get(here.api, path), lambda c: c.get("description") == "new", "the new description in the tenant")
    send(here.host.api, "PATCH", path, {"metadata": {"labels": {LIMIT: None}}}, content_type=MERGE_PATCH)
    gone(lambda: get(here.api, path), "the class that does not match any more")


def pods_with_other_runtimes_are_refused(s: Setting) -> None:
    made = _limited("RuntimeClass", s)
    here, host = made.tenant, made.tenant.host
    text = f'pod rejected: RuntimeClass "{made.hidden}" not found'
    refused(lambda: here.create("pods", pod("bad", runtimeClassName=made.hidden)), status=403, text=text)
    here.create("pods", pod("good", runtimeClassName=made.kept))
    twin = until(lambda: host.find("pods", "good", here.namespace), lambda p: True, "the host pod")
    expect(twin["spec"].get("runtimeClassName"), made.kept, "the runtime class of the host pod")


def what_the_tenant_does_to_a_mirror_is_undone(kind: str, s: Setting) -> None:
    made = _limited(kind, s)
    here, path = made.tenant, made.path(made.kept)

    def try_(method: str, body: Any) -> None:
        try:
            send(here.api, method, path, body, content_type=MERGE_PATCH if method == "PATCH" else "application/json")
        except ApiException as error:
            if error.status not in (403, 405, 422):  # a refusal is as good
                raise

    try_("PATCH", {"metadata": {"labels": {LIMIT: "theirs"}}})
    until(lambda: get(here.api, path), lambda c: c["metadata"]["labels"][LIMIT] == "one", f"the {kind}'s label back")
    try_("DELETE", {})
    until(
        lambda: get(here.api, path),
        lambda c: c["metadata"]["labels"].get(LIMIT) == "one" and "deletionTimestamp" not in c["metadata"],
        f"the {kind} to be back",
    )


def tenants_priorities_reach_the_host(s: Setting) -> None:
    """With `priority-classes-to-host`: under a name of its own, never a default, and a pod has it."""
    other, collection = s.beside("priority-classes-to-host"), KINDS["PriorityClass"].collection
    name = f"{s.namespace}-mine"
    send(other.api, "POST", collection, {"metadata": {"name": name}, "value": 200_000_000, "globalDefault": False})
    other.made.append(f"{collection}/{name}")
    other.create("pods", pod("web", priorityClassName=name))
    twin = until(lambda: other.host.find("pods", "web", other.namespace), lambda p: True, "the host pod")
    there = twin["spec"].get("priorityClassName", "")
    if not there or there == name:
        raise Failed(f"the host pod has priority class {there!r}")
    found = get(other.host.api, f"{collection}/{there}") or {}
    expect(found.get("globalDefault", False), False, "globalDefault on the host")
    expect(twin["spec"].get("priority"), found.get("value"), "the priority of the host pod")
