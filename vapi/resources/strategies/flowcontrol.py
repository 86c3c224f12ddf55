"""Rules of flowcontrol.apiserver.k8s.io. Source: pkg/apis/flowcontrol/validation (1.37).

The objects that every cluster has, `exempt` and `catch-all`, cannot be changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from vapi.errors import (
    Cause,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

_EXEMPT, _CATCH_ALL = "exempt", "catch-all"
_MAX_PRECEDENCE, _MAX_QUEUES, _MAX_HASH_BITS, _ALL_PERCENT = 10_000, 10_000_000, 60, 100
_METHODS, _KINDS = ("ByNamespace", "ByUser"), ("Group", "ServiceAccount", "User")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_IN_NAMESPACES = "each member of this list must be '*' or a DNS-1123 label; "
_PRESERVE_ZERO = "flowcontrol.k8s.io/preserve-zero-concurrency-shares"

_EVERYTHING = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _groups(*names: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


_FIXED_SCHEMAS: Mapping[str, Obj] = {
    _EXEMPT: {
        "priorityLevelConfiguration": {"name": _EXEMPT},
        "matchingPrecedence": 1,
        "rules": [{"subjects": _groups("system:masters"), **_EVERYTHING}],
    },
    _CATCH_ALL: {
        "priorityLevelConfiguration": {"name": _CATCH_ALL},
        "matchingPrecedence": 10_000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": _groups("system:unauthenticated", "system:authenticated"), **_EVERYTHING}],
    },
}
_FIXED_LEVELS: Mapping[str, Obj] = {
    _EXEMPT: {"type": "Exempt"},  # and any `exempt`
    _CATCH_ALL: {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    },
}


# --- FlowSchemas ----------------------------------------------------------------------------------


def validate_schema(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
    _precedence(causes, "spec.matchingPrecedence", spec.get("matchingPrecedence", 0), name)
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        shown = godump.text(godump.dump("flowcontrol.FlowDistinguisherMethod", method))
        detail = f'Unsupported value: {shown}: supported values: "ByNamespace", "ByUser"'
        causes.append(Cause("FieldValueNotSupported", detail, "spec.distinguisherMethod.type"))
    level, path = (spec.get("priorityLevelConfiguration") or {}).get("name", ""), "spec.priorityLevelConfiguration.name"
    if checks.required(causes, path, level, "must reference a priority level"):
        checks.dns_subdomain(causes, path, level)
    for index, rule in enumerate(spec.get("rules") or ()):
        _rules(causes, f"spec.rules[{index}]", rule)
    if name in _FIXED_SCHEMAS and spec != _FIXED_SCHEMAS[name]:
        detail = f"spec of '{name}' must equal the fixed value"
        causes.append(godump.invalid("spec", "flowcontrol.FlowSchemaSpec", spec, detail))
    return causes


def _precedence(causes: Causes, path: str, value: int, name: str) -> None:
    if value <= 0:
        causes.append(field_invalid(path, value, "must be a positive value"))
    if value > _MAX_PRECEDENCE:
        causes.append(field_invalid(path, value, f"must not be greater than {_MAX_PRECEDENCE}"))
    if value == 1 and name != _EXEMPT:
        causes.append(field_invalid(path, value, "only the schema named 'exempt' may have matchingPrecedence 1"))


def _rules(causes: Causes, path: str, rule: Obj) -> None:
    subjects = rule.get("subjects") or ()
    checks.required(causes, f"{path}.subjects", subjects, "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        _subject(causes, f"{path}.subjects[{index}]", subject)
    on_resources, on_urls = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not on_resources and not on_urls:
        detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
        causes.append(field_required(path, detail))
    for index, each in enumerate(on_resources):
        _resource_rule(causes, f"{path}.resourceRules[{index}]", each)
    for index, each in enumerate(on_urls):
        _url_rule(causes, f"{path}.nonResourceRules[{index}]", each)


def _subject(causes: Causes, path: str, subject: Obj) -> None:
    kind = subject.get("kind", "")
    if kind not in _KINDS:
        causes.append(field_not_supported(f"{path}.kind", kind, _KINDS))
        return
    wanted = _key(kind)
    found = subject.get(wanted)
    if found is None:
        causes.append(field_required(f"{path}.{wanted}", f"{wanted} is required when subject kind is '{kind}'"))
    elif not found.get("name"):
        causes.append(field_required(f"{path}.{wanted}.name"))
    elif wanted == "serviceAccount" and found["name"] != "*":
        checks.dns_subdomain(causes, f"{path}.{wanted}.name", found["name"])
    if found is not None and wanted == "serviceAccount":
        namespace, here = found.get("namespace", ""), f"{path}.{wanted}.namespace"
        if checks.required(causes, here, namespace, "must specify namespace for service account"):
            checks.dns_label(causes, here, namespace)
    for other in ("ServiceAccount", "User", "Group"):
        if other != kind and subject.get(_key(other)) is not None:
            detail = f"{_key(other)} is forbidden when subject kind is not '{other}'"
            causes.append(field_forbidden(f"{path}.{_key(other)}", detail))


def _key(kind: str) -> str:
    return kind[0].lower() + kind[1:]


def _verbs(causes: Causes, path: str, verbs: Sequence[str]) -> None:
    if not checks.required(causes, path, verbs, "verbs must contain at least one value"):
        return
    if "*" in verbs:
        _alone(causes, path, verbs, "verbs")
    elif not set(verbs) <= set(_VERBS):
        causes.append(field_not_supported(path, verbs, _VERBS))


def _alone(causes: Causes, path: str, listed: Sequence[str], what: str) -> None:
    if len(listed) > 1 and "*" in listed:
        causes.append(field_invalid(path, listed, f"if '*' is present, must not specify other {what}"))


def _resource_rule(causes: Causes, path: str, rule: Obj) -> None:
    _verbs(causes, f"{path}.verbs", rule.get("verbs") or ())
    for key, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        listed = rule.get(key) or ()
        checks.required(causes, f"{path}.{key}", listed, f"resource rules must supply at least one {one}")
        _alone(causes, f"{path}.{key}", listed, many)
    namespaces, here = rule.get("namespaces") or (), f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        causes.append(field_required(here, detail))
    elif "*" in namespaces:
        _alone(causes, here, namespaces, "namespaces")
    else:
        for index, name in enumerate(namespaces):
            if problem := checks.dns_label_problem(name):
                causes.append(field_invalid(f"{here}[{index}]", name, f"{_IN_NAMESPACES}{problem}"))


def _url_rule(causes: Causes, path: str, rule: Obj) -> None:
    _verbs(causes, f"{path}.verbs", rule.get("verbs") or ())
    urls, here = rule.get("nonResourceURLs") or (), f"{path}.nonResourceURLs"
    checks.required(causes, here, urls, "nonResourceURLs must contain at least one value")
    if "*" in urls:
        _alone(causes, here, urls, "non-resource URLs")
        return
    for index, url in enumerate(urls):
        checks.text(causes, f"{here}[{index}]", url, _url_problem(url))


def _url_problem(url: str) -> str:
    if url == "/":
        return ""
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not url.endswith("/*")) else ""


# --- PriorityLevelConfigurations ------------------------------------------------------------------


def validate_level(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
    if _PRESERVE_ZERO in (obj["metadata"].get("annotations") or {}):
        causes.append(field_forbidden("metadata.annotations", f"annotation '{_PRESERVE_ZERO}' is forbidden"))
    kind = spec.get("type", "")
    if (name == _EXEMPT) != (kind == "Exempt"):
        causes.append(field_invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    checks.required_one_of(causes, "spec.type", kind, ("Exempt", "Limited"))
    exempt, limited = spec.get("exempt"), spec.get("limited")
    if kind == "Exempt":
        if limited is not None:
            causes.append(_unwanted("spec.limited"))
            checks.required(causes, "spec.limited.limitResponse.type", (limited.get("limitResponse") or {}).get("type"))
        _shares(causes, "spec.exempt", exempt or {})
    elif kind == "Limited":
        if exempt is not None:
            causes.append(_unwanted("spec.exempt"))
        if limited is None:
            causes.append(field_required("spec.limited"))
        else:
            _limited(causes, "spec.limited", limited)
    _fixed_level(causes, spec, name)
    return checks.generated_last(causes, r"spec\.[.\w]+: (Forbidden$|Required)")


def _unwanted(path: str) -> Cause:
    """Of another type; a generated rule, which gives no reason."""
    return Cause("FieldValueForbidden", "Forbidden", path)


def _fixed_level(causes: Causes, spec: Obj, name: str) -> None:
    if name not in _FIXED_LEVELS:
        return
    found, exception = spec, ""
    if name == _EXEMPT:
        found = {key: value for key, value in spec.items() if key != "exempt"}
        exception = " except the 'spec.exempt' field"
    if found != _FIXED_LEVELS[name]:
        detail = f"spec of '{name}'{exception} must equal the fixed value"
        causes.append(godump.invalid("spec", "flowcontrol.PriorityLevelConfigurationSpec", spec, detail))


def _shares(causes: Causes, path: str, level: Obj) -> None:
    shares = level.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        causes.append(field_invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    checks.in_range(causes, f"{path}.lendablePercent", level.get("lendablePercent"), 0, _ALL_PERCENT)


def _limited(causes: Causes, path: str, level: Obj) -> None:
    shares = level.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        causes.append(field_invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer"))
    _response(causes, f"{path}.limitResponse", level.get("limitResponse") or {})
    checks.in_range(causes, f"{path}.lendablePercent", level.get("lendablePercent"), 0, _ALL_PERCENT)
    borrowing = level.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        detail = "if specified, must be a non-negative integer"
        causes.append(field_invalid(f"{path}.borrowingLimitPercent", borrowing, detail))


def _response(causes: Causes, path: str, response: Obj) -> None:
    kind, queuing = response.get("type", ""), response.get("queuing")
    checks.required_one_of(causes, f"{path}.type", kind, ("Queue", "Reject"))
    if kind == "Reject" and queuing is not None:
        causes.append(_unwanted(f"{path}.queuing"))
    if kind == "Queue":
        if queuing is None:
            causes.append(field_required(f"{path}.queuing"))
        else:
            _queuing(causes, f"{path}.queuing", queuing)


def _queuing(causes: Causes, path: str, queuing: Obj) -> None:
    queues, hand = queuing.get("queues", 0), queuing.get("handSize", 0)
    if queuing.get("queueLengthLimit", 0) <= 0:
        causes.append(field_invalid(f"{path}.queueLengthLimit", queuing.get("queueLengthLimit", 0), "must be positive"))
    if queues <= 0:
        causes.append(field_invalid(f"{path}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        causes.append(field_invalid(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        causes.append(field_invalid(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        causes.append(field_invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif _entropy_bits(queues, hand) > _MAX_HASH_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} "
            f"should not be greater than {_MAX_HASH_BITS}"
        )
        causes.append(field_invalid(f"{path}.handSize", hand, detail))


def _entropy_bits(queues: int, hand: int) -> int:
    """Of dealing a hand from so many queues."""
    if hand > _MAX_HASH_BITS:
        return hand  # each card but the last takes one bit at least
    return math.ceil(sum(math.log2(queues - dealt) for dealt in range(hand)))


def _status(new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    seen: set[str] = set()
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{index}].type", condition.get("type", "")
        if kind in seen:
            causes.append(field_duplicate(path, kind))
        seen.add(kind)
        checks.required(causes, path, kind)
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "flowschemas": Strategy(validate=validate_schema, validate_subresource=on_status(_status)),
    "prioritylevelconfigurations": Strategy(validate=validate_level, validate_subresource=on_status(_status)),
}
