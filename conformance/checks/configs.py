"""ConfigMaps and Secrets: what a pod refers to is on the host, nothing else, and as the tenant wants it."""

from __future__ import annotations

import base64
import functools

from conformance.checks.setting import Failed, Obj, Setting, expect, get, gone, pod, until


def its_edits_reach_the_host_copy(s: Setting) -> None:
    host = s.host
    s.create("configmaps", {"metadata": {"name": "config"}, "data": {"key": "old"}})
    s.create("secrets", {"metadata": {"name": "secret"}, "stringData": {"key": "old"}})
    volumes = [{"name": "m", "configMap": {"name": "config"}}, {"name": "s", "secret": {"secretName": "secret"}}]
    s.running(pod("reader", volumes=volumes))
    s.patch("configmaps", "config", {"data": {"key": "new"}})
    s.patch("secrets", "secret", {"stringData": {"key": "new"}})
    encoded = base64.b64encode(b"new").decode()
    for plural, name, wanted in (("configmaps", "config", "new"), ("secrets", "secret", encoded)):
        look = functools.partial(host.find, plural, name, s.namespace)
        until(look, functools.partial(_holds, wanted), f"the edit in the host's {plural}")


def _holds(wanted: str, obj: Obj) -> bool:
    return bool(obj["data"]["key"] == wanted)


def what_nobody_refers_to_stays_here(s: Setting) -> None:
    host = s.host
    s.create("configmaps", {"metadata": {"name": "unused"}, "data": {"key": "value"}})
    s.running(pod("web"))  # by then it would have come
    expect(host.find("configmaps", "unused", s.namespace), None, "a host copy of a ConfigMap that no pod refers to")


def every_namespace_trusts_the_server(s: Setting) -> None:
    found = until(lambda: s.get("configmaps", "kube-root-ca.crt"), lambda x: True, "ConfigMap kube-root-ca.crt")
    if "BEGIN CERTIFICATE" not in found["data"]["ca.crt"]:
        raise Failed("ca.crt holds no certificate")


def it_goes_with_its_namespace(s: Setting) -> None:
    other = f"{s.namespace}-b"
    s.send("POST", "/api/v1/namespaces", {"metadata": {"name": other}})
    s.made.append(f"/api/v1/namespaces/{other}")
    s.create("secrets", {"metadata": {"name": "same"}, "stringData": {"key": "b"}}, namespace=other)
    s.create("secrets", {"metadata": {"name": "same"}, "stringData": {"key": "a"}})
    s.send("DELETE", f"/api/v1/namespaces/{other}", {})
    gone(lambda: _namespace(s, other), f"namespace {other}")
    kept = s.get("secrets", "same") or {}
    expect(kept.get("data", {}).get("key"), base64.b64encode(b"a").decode(), "the Secret of the same name elsewhere")


def _namespace(s: Setting, name: str) -> Obj | None:
    return get(s.api, f"/api/v1/namespaces/{name}")
