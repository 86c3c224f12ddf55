"""Where a Pod may run: affinity, tolerations, spread, gates. Source: pkg/apis/core/validation (1.37)."""

from __future__ import annotations

from collections.abc import Sequence

from vapi.errors import (
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_MAX_WEIGHT = 100
_NO_OPERATOR = "not a valid selector operator"


# --- affinity -------------------------------------------------------------------------------------


def affinity(causes: Causes, path: str, wanted: Obj) -> None:
    if node := wanted.get("nodeAffinity"):
        _node_affinity(causes, f"{path}.nodeAffinity", node)
    for kind in ("podAffinity", "podAntiAffinity"):
        if pods := wanted.get(kind):
            for index, term in enumerate(pods.get(_REQUIRED) or ()):
                _pod_term(causes, f"{path}.{kind}.{_REQUIRED}[{index}]", term)
            for index, weighted in enumerate(pods.get(_PREFERRED) or ()):
                here = f"{path}.{kind}.{_PREFERRED}[{index}]"
                _weight(causes, here, weighted)
                _pod_term(causes, f"{here}.podAffinityTerm", weighted.get("podAffinityTerm") or {})


def _node_affinity(causes: Causes, path: str, wanted: Obj) -> None:
    if _REQUIRED in wanted:
        node_selector(causes, f"{path}.{_REQUIRED}", wanted[_REQUIRED])
    for index, term in enumerate(wanted.get(_PREFERRED) or ()):
        here = f"{path}.{_PREFERRED}[{index}]"
        _weight(causes, here, term)
        _node_term(causes, f"{here}.preference", term.get("preference") or {}, check_values=False)


def _weight(causes: Causes, path: str, term: Obj) -> None:
    weight = term.get("weight", 0)
    if not 0 < weight <= _MAX_WEIGHT:
        causes.append(field_invalid(f"{path}.weight", weight, "must be in the range 1-100"))


def node_selector(causes: Causes, path: str, selector: Obj) -> None:
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        detail = "must have at least one node selector term"
        causes.append(field_required(f"{path}.nodeSelectorTerms", detail))
    for index, term in enumerate(terms):
        _node_term(causes, f"{path}.nodeSelectorTerms[{index}]", term, check_values=True)


def _node_term(causes: Causes, path: str, term: Obj, *, check_values: bool) -> None:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        _node_requirement(causes, f"{path}.matchExpressions[{index}]", requirement, check_values=check_values)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        _field_requirement(causes, f"{path}.matchFields[{index}]", requirement)


def _node_requirement(causes: Causes, path: str, requirement: Obj, *, check_values: bool) -> None:
    operator, listed = requirement.get("operator", ""), requirement.get("values") or ()
    if operator in ("Gt", "Lt"):
        if len(listed) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            causes.append(field_required(f"{path}.values", detail))
    else:
        checks.operator_and_values(causes, path, operator, listed)
    checks.qualified(causes, f"{path}.key", requirement.get("key", ""))
    if check_values:
        for index, value in enumerate(listed):
            checks.text(causes, f"{path}.values[{index}]", value, checks.label_value_problem(value))


def _field_requirement(causes: Causes, path: str, requirement: Obj) -> None:
    operator, listed = requirement.get("operator", ""), requirement.get("values") or ()
    if operator not in ("In", "NotIn"):
        causes.append(field_invalid(f"{path}.operator", operator, _NO_OPERATOR))
    elif len(listed) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes.append(field_required(f"{path}.values", detail))
    key = requirement.get("key", "")
    if key != "metadata.name":
        causes.append(field_invalid(f"{path}.key", key, "not a valid field selector key"))
        return
    for index, value in enumerate(listed):
        checks.dns_subdomain(causes, f"{path}.values[{index}]", value)


def _pod_term(causes: Causes, path: str, term: Obj) -> None:
    checks.label_selector(causes, f"{path}.labelSelector", term.get("labelSelector"))
    checks.label_selector(causes, f"{path}.namespaceSelector", term.get("namespaceSelector"))
    for name in term.get("namespaces") or ():
        checks.dns_label(causes, f"{path}.namespace", name)
    _match_label_keys(causes, path, term)
    key = term.get("topologyKey", "")
    if not key:
        causes.append(field_required(f"{path}.topologyKey", "can not be empty"))
    checks.qualified(causes, f"{path}.topologyKey", key)


def _match_label_keys(causes: Causes, path: str, term: Obj) -> None:
    """Of affinity terms and of spread constraints."""
    selector = term.get("labelSelector")
    match, mismatch = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    for name, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if keys and selector is None:
            detail = "must not be specified when labelSelector is not set"
            causes.append(field_forbidden(f"{path}.{name}", detail))
        else:
            for index, key in enumerate(keys):
                checks.qualified(causes, f"{path}.{name}[{index}]", key)
    if selector is not None:
        seen = set(selector.get("matchLabels") or ())
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key", "")
            if key in match and key in seen:
                place = len(match) - 1 - match[::-1].index(key)
                detail = "exists in both matchLabelKeys and labelSelector"
                causes.append(field_invalid(f"{path}[{place}]", key, detail))
            seen.add(key)
    for index, key in enumerate(match):
        if key in mismatch:
            detail = "exists in both matchLabelKeys and mismatchLabelKeys"
            causes.append(field_invalid(f"{path}.matchLabelKeys[{index}]", key, detail))


# --- tolerations ----------------------------------------------------------------------------------


def tolerations(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    for index, toleration in enumerate(listed):
        _toleration(causes, f"{path}[{index}]", toleration)


def _toleration(causes: Causes, path: str, toleration: Obj) -> None:
    key, operator = toleration.get("key", ""), toleration.get("operator", "")
    value, effect = toleration.get("value", ""), toleration.get("effect", "")
    if key:
        checks.qualified(causes, f"{path}.key", key)
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        causes.append(field_invalid(f"{path}.operator", operator, detail))
    if "tolerationSeconds" in toleration and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        causes.append(field_invalid(f"{path}.effect", effect, detail))
    if operator in ("Equal", ""):
        checks.text(causes, f"{path}.operator", value, checks.label_value_problem(value))
    elif operator == "Exists":
        if value:
            detail = "value must be empty when `operator` is 'Exists'"
            causes.append(field_invalid(f"{path}.operator", value, detail))
    elif operator in ("Lt", "Gt"):  # an alpha feature that is off
        causes.append(field_not_supported(f"{path}.operator", operator, ("Equal", "Exists", "Lt", "Gt")))
    else:
        causes.append(field_not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect:
        checks.one_of(causes, f"{path}.effect", effect, TAINT_EFFECTS)


# --- spread, gates --------------------------------------------------------------------------------


def spread(causes: Causes, path: str, constraints: Sequence[Obj]) -> None:
    for index, constraint in enumerate(constraints):
        _constraint(causes, f"{path}[{index}]", constraint, constraints[index + 1 :])


def _constraint(causes: Causes, path: str, constraint: Obj, others: Sequence[Obj]) -> None:
    key, action = constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")
    checks.positive(causes, f"{path}.maxSkew", constraint.get("maxSkew", 0))
    if not key:
        causes.append(field_required(f"{path}.topologyKey", "can not be empty"))
    checks.one_of(causes, f"{path}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
    if any(o.get("topologyKey", "") == key and o.get("whenUnsatisfiable", "") == action for o in others):
        causes.append(field_duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
    domains = constraint.get("minDomains")
    if domains is not None:
        checks.positive(causes, f"{path}.minDomains", domains)
        if action != "DoNotSchedule":
            detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
            causes.append(field_invalid(f"{path}.minDomains", domains, detail))
    for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        checks.one_of(causes, f"{path}.{policy}", constraint.get(policy), ("Honor", "Ignore"))
    _match_label_keys(causes, path, {k: v for k, v in constraint.items() if k != "mismatchLabelKeys"})
    checks.label_selector(causes, f"{path}.labelSelector", constraint.get("labelSelector"))


def gates(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    seen: set[str] = set()
    for index, gate in enumerate(listed):
        name = gate.get("name", "")
        checks.qualified(causes, f"{path}[{index}]", name)
        checks.unique(causes, f"{path}[{index}]", name, seen)
