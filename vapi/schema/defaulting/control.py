"""Defaults of what steers the API: webhooks, policies, CRDs, APIServices, RBAC, flow control, autoscalers, DRA."""

from __future__ import annotations

import base64
from typing import Any

from vapi.gvk import Obj
from vapi.schema.defaulting.values import child, fill, round_resources

RBAC_GROUP = "rbac.authorization.k8s.io"
WEBHOOK_PORT = 443
CPU_UTILIZATION = 80


# --- core ----------------------------------------------------------------------------------------


def namespace(obj: Obj) -> None:
    metadata = child(obj, "metadata")
    if metadata.get("name"):
        child(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]
    child(obj, "status").setdefault("phase", "Active")


def node(obj: Obj) -> None:
    spec, status = child(obj, "spec"), child(obj, "status")
    cidr, cidrs = spec.get("podCIDR"), spec.get("podCIDRs")
    if cidr and (not cidrs or cidrs[0] != cidr):
        spec["podCIDRs"] = [cidr]
    elif cidrs and not cidr:
        spec["podCIDR"] = cidrs[0]
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))
    round_resources(status.get("capacity"))
    round_resources(status.get("allocatable"))


def secret(obj: Obj) -> None:
    """`stringData` is a way to write: it ends up in `data`."""
    obj.setdefault("type", "Opaque")
    texts = obj.pop("stringData", None)
    if texts:
        data = child(obj, "data")
        for name, text in texts.items():
            data[name] = base64.b64encode(text.encode("utf-8", "replace")).decode()


def limit_range(obj: Obj) -> None:
    for item in child(obj, "spec").get("limits") or ():
        if item.get("type") == "Container":
            default = item.get("default", {})
            request = item.get("defaultRequest", {})
            for source, target in ((item.get("max", {}), default), (default, request), (item.get("min", {}), request)):
                for name, value in source.items():
                    target.setdefault(name, value)
            for name, target in (("default", default), ("defaultRequest", request)):
                if target:
                    item[name] = target
        for name in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            round_resources(item.get(name))


def resource_quota(obj: Obj) -> None:
    round_resources(child(obj, "spec").get("hard"))
    status = child(obj, "status")
    round_resources(status.get("hard"))
    round_resources(status.get("used"))


# --- admission -----------------------------------------------------------------------------------

_WEBHOOK = {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10}


def _webhook(webhook: Obj) -> None:
    fill(webhook, _WEBHOOK)
    _selectors(webhook)
    _rules(webhook.get("rules"))
    _service(webhook.get("clientConfig", {}).get("service"))


def _selectors(obj: Obj) -> None:
    child(obj, "namespaceSelector")
    child(obj, "objectSelector")


def _rules(rules: Any) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def _service(service: Obj | None) -> None:
    if service is not None:
        service.setdefault("port", WEBHOOK_PORT)


def validating_webhooks(obj: Obj) -> None:
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)


def mutating_webhooks(obj: Obj) -> None:
    for webhook in obj.get("webhooks") or ():
        _webhook(webhook)
        webhook.setdefault("reinvocationPolicy", "Never")


def admission_policy(obj: Obj) -> None:
    """Validating and mutating."""
    spec = child(obj, "spec")
    spec.setdefault("failurePolicy", "Fail")
    _match_resources(spec.get("matchConstraints"))


def admission_binding(obj: Obj) -> None:
    _match_resources(child(obj, "spec").get("matchResources"))


def _match_resources(match: Obj | None) -> None:
    if match is not None:
        match.setdefault("matchPolicy", "Equivalent")
        _selectors(match)
        _rules(match.get("resourceRules"))
        _rules(match.get("excludeResourceRules"))


def custom_resource_definition(obj: Obj) -> None:
    spec = child(obj, "spec")
    names = child(spec, "names")
    kind = names.get("kind", "")
    if kind:
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    conversion = child(spec, "conversion")
    if not conversion:
        conversion["strategy"] = "None"
    _service(conversion.get("webhook", {}).get("clientConfig", {}).get("service"))
    status = child(obj, "status")
    if not status.get("storedVersions"):
        stored = [version.get("name", "") for version in spec.get("versions") or () if version.get("storage")]
        if stored:
            status["storedVersions"] = stored[:1]


def api_service(obj: Obj) -> None:
    _service(child(obj, "spec").get("service"))


# --- RBAC, priority, flow control ----------------------------------------------------------------


def role_binding(obj: Obj) -> None:
    """Of cluster role bindings too."""
    reference = child(obj, "roleRef")
    if not reference.get("apiGroup"):
        reference["apiGroup"] = RBAC_GROUP
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", RBAC_GROUP)


def priority_class(obj: Obj) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def flow_schema(obj: Obj) -> None:
    spec = child(obj, "spec")
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def priority_level(obj: Obj) -> None:
    spec = child(obj, "spec")
    if "exempt" in spec:
        fill(spec["exempt"], {"nominalConcurrencyShares": 0, "lendablePercent": 0})
    if "limited" in spec:
        limited = spec["limited"]
        fill(limited, {"nominalConcurrencyShares": 30, "lendablePercent": 0})
        queuing = child(limited, "limitResponse").get("queuing")
        if queuing is not None:
            for name, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                if not queuing.get(name):
                    queuing[name] = value


# --- autoscaling ---------------------------------------------------------------------------------


def autoscaler_v1(obj: Obj) -> None:
    spec = child(obj, "spec")
    spec.setdefault("minReplicas", 1)
    annotations = child(obj, "metadata").get("annotations", {})
    if "autoscaling.alpha.kubernetes.io/metrics" not in annotations:
        spec.setdefault("targetCPUUtilizationPercentage", CPU_UTILIZATION)


def autoscaler_v2(obj: Obj) -> None:
    spec = child(obj, "spec")
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": CPU_UTILIZATION}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if "behavior" in spec:
        up, down = child(spec["behavior"], "scaleUp"), child(spec["behavior"], "scaleDown")
        percent = {"type": "Percent", "value": 100, "periodSeconds": 15}
        fill(up, {"stabilizationWindowSeconds": 0, "selectPolicy": "Max"})
        up.setdefault("policies", [{"type": "Pods", "value": 4, "periodSeconds": 15}, dict(percent)])
        down.setdefault("selectPolicy", "Max")
        down.setdefault("policies", [percent])


# --- dynamic resource allocation -----------------------------------------------------------------


def resource_claim(obj: Obj) -> None:
    _claim_spec(child(obj, "spec"))
    devices = child(obj, "status").get("allocation", {}).get("devices", {})
    for result in devices.get("results") or ():
        _tolerations(result)


def resource_claim_template(obj: Obj) -> None:
    _claim_spec(child(child(obj, "spec"), "spec"))


def _claim_spec(spec: Obj) -> None:
    for request in child(spec, "devices").get("requests") or ():
        for device in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if device is not None:
                if device.setdefault("allocationMode", "ExactCount") == "ExactCount":
                    device.setdefault("count", 1)
                _tolerations(device)


def _tolerations(obj: Obj) -> None:
    for toleration in obj.get("tolerations") or ():
        toleration.setdefault("operator", "Equal")


def pod_certificate_request(obj: Obj) -> None:
    child(obj, "spec").setdefault("maxExpirationSeconds", 86400)


def token_request(obj: Obj) -> None:
    child(obj, "spec").setdefault("expirationSeconds", 3600)
