"""NetworkPolicies, disruption budgets and Ingresses: on the host they mean the tenant's pods and no others."""

from __future__ import annotations

from conformance.checks.setting import (
    IMAGE,
    LONG_S,
    NETWORKING,
    Failed,
    Obj,
    Setting,
    expect,
    gone,
    pod,
    refused,
    until,
)

POLICY = "/apis/policy/v1"


def network_policy_reaches_the_host(s: Setting) -> None:
    """With selectors that fit the host pod of a pod they are about, and none of another namespace."""
    host = s.host
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": s.namespace}}}
    spec = {
        "podSelector": {"matchLabels": {"app": "web"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [peer]}],
    }
    s.create("networkpolicies", {"metadata": {"name": "policy"}, "spec": spec}, prefix=NETWORKING)
    found = until(
        lambda: host.find("networkpolicies", "policy", s.namespace, prefix=NETWORKING),
        lambda x: True,
        "the host policy",
    )
    expect(found["spec"]["policyTypes"], ["Ingress", "Egress"], "policyTypes on the host")
    s.running(pod("web", labels={"app": "web"}))
    _fits_only(s, found["spec"]["podSelector"], "web", "podSelector")
    sources = found["spec"]["ingress"][0]["from"]
    if any("namespaceSelector" in x for x in sources):
        raise Failed(f"a peer on the host selects namespaces of the host: {sources}")
    _fits_only(s, sources[0]["podSelector"], "web", "podSelector of the peer")
    s.delete("networkpolicies", "policy", prefix=NETWORKING)
    gone(lambda: host.find("networkpolicies", "policy", s.namespace, prefix=NETWORKING), "the host policy")


def _fits_only(s: Setting, selector: Obj, name: str, what: str) -> None:
    """It selects the host pod of ours of that name, and none of kube-system with the same labels."""
    twin = until(lambda: s.host.find("pods", name, s.namespace), lambda p: True, "the host pod")
    mine: dict[str, str] = twin["metadata"]["labels"]
    if not _selects(selector, mine):
        raise Failed(f"{what} {selector} does not select the host pod with labels {mine}")
    for key in [k for k, v in mine.items() if v == s.namespace]:
        mine = mine | {key: "kube-system"}
    for key in [k for k in mine if k.startswith("ns.")]:
        mine = mine | {key: "kube-system"}
    if _selects(selector, mine):
        raise Failed(f"{what} {selector} selects pods of another namespace of the tenant")


def _selects(selector: Obj, labels: dict[str, str]) -> bool:
    """Of matchLabels and the four operators."""
    matches = [labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        value, values = labels.get(one["key"]), one.get("values") or ()
        operator = one["operator"]
        matches.append(
            {"In": value in values, "NotIn": value not in values, "Exists": value is not None}.get(
                operator, value is None
            )
        )
    return all(matches)


def budget_holds_evictions_back(s: Setting) -> None:
    """In the tenant at once, and on the host, where an admin drains; its status is there."""
    s.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--replicas=2", "--", "sleep", "3600")
    s.kubectl("rollout", "status", "deployment/web", "--timeout=100s")
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}
    s.create("poddisruptionbudgets", {"metadata": {"name": "budget"}, "spec": spec}, prefix=POLICY)
    until(
        lambda: s.get("poddisruptionbudgets", "budget", prefix=POLICY),
        lambda b: b["status"].get("currentHealthy") == 2,
        "the budget to count two healthy pods",
    )
    name = s.kubectl("get", "pods", "--selector=app=web", "--output=name").split()[0].removeprefix("pod/")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{s.namespace}/pods/{name}/eviction"
    refused(lambda: s.send("POST", path, eviction), status=429, text="disruption budget")
    if s.below is None:
        return
    until(
        lambda: s.host.find("poddisruptionbudgets", "budget", s.namespace, prefix=POLICY),
        lambda b: b["status"].get("disruptionsAllowed") == 0 and b["status"].get("currentHealthy") == 2,
        "the host's budget to count the same pods",
        LONG_S,
    )


def ingress_reaches_the_host(s: Setting) -> None:
    host = s.host
    s.create("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    s.create("secrets", {"metadata": {"name": "tls"}, "type": "Opaque", "stringData": {"tls.crt": "x", "tls.key": "x"}})
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {"rules": [rule], "tls": [{"hosts": ["a.example"], "secretName": "tls"}]}
    s.create("ingresses", {"metadata": {"name": "front"}, "spec": spec}, prefix=NETWORKING)
    found = until(
        lambda: host.find("ingresses", "front", s.namespace, prefix=NETWORKING), lambda x: True, "the host Ingress"
    )
    path = found["spec"]["rules"][0]["http"]["paths"][0]
    expect(path["backend"]["service"]["name"], host.name("web", s.namespace), "the backend on the host")
    secret = found["spec"]["tls"][0]["secretName"]
    expect(secret, host.name("tls", s.namespace), "the Secret on the host")
    until(lambda: host.find("secrets", "tls", s.namespace), lambda x: True, "the Secret that the Ingress names")
