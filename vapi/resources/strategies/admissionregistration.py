"""Rules of admissionregistration.k8s.io. Source: pkg/apis/admissionregistration/validation (1.37).

CEL expressions are taken as they are: whether they compile is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vapi import names
from vapi.errors import (
    Cause,
    field_duplicate,
    field_forbidden,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_many,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, conditions, godump, webhooks
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

_FAILURE, _MATCH, _SCOPES = ("Fail", "Ignore"), ("Equivalent", "Exact"), ("*", "Cluster", "Namespaced")
_SIDE_EFFECTS, _REINVOCATION = ("None", "NoneOnDryRun"), ("IfNeeded", "Never")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_MUTATING_OPERATIONS = ("*", "CONNECT", "CREATE", "UPDATE")
_ACTIONS, _REASONS = ("Audit", "Deny", "Warn"), ("Forbidden", "Invalid", "RequestEntityTooLarge")
_MAX_TIMEOUT_S, _MAX_CONDITIONS, _MAX_ANNOTATIONS, _MAX_VALUE_BYTES = 30, 64, 20, 5 * 1024
_LEAST_SEGMENTS = 3
_identifier = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*").fullmatch
_WORDS = (
    "true false null in as break const continue else for function if import let loop package namespace return "
    "var void while"
)
_RESERVED = frozenset(_WORDS.split())
_ONE_OR_OTHER = "validations or auditAnnotations must contain at least one item"


# --- webhooks -------------------------------------------------------------------------------------


def validate_webhooks(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    seen: set[str] = set()
    for index, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", hook.get("name", "")
        _webhook(causes, path, hook)
        versions = hook.get("admissionReviewVersions") or ()
        webhooks.review_versions(causes, f"{path}.admissionReviewVersions", versions, webhooks.ADMISSION_NEEDS)
        if name:
            checks.unique(causes, f"{path}.name", name, seen)
    return causes


def _webhook(causes: Causes, path: str, hook: Obj) -> None:
    _qualified(causes, f"{path}.name", hook.get("name", ""))
    for index, rule in enumerate(hook.get("rules") or ()):
        _rule(causes, f"{path}.rules[{index}]", rule)
    checks.one_of(causes, f"{path}.failurePolicy", hook.get("failurePolicy"), _FAILURE)
    checks.one_of(causes, f"{path}.matchPolicy", hook.get("matchPolicy"), _MATCH)
    effects = hook.get("sideEffects")
    if effects is None:
        detail = f"must specify one of {', '.join(_SIDE_EFFECTS)}"
        causes.append(field_required(f"{path}.sideEffects", detail))
    checks.one_of(causes, f"{path}.sideEffects", effects, _SIDE_EFFECTS)
    timeout = hook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= _MAX_TIMEOUT_S:
        detail = "the timeout value must be between 1 and 30 seconds"
        causes.append(field_invalid(f"{path}.timeoutSeconds", timeout, detail))
    for selector in ("namespaceSelector", "objectSelector"):
        checks.label_selector(causes, f"{path}.{selector}", hook.get(selector))
    checks.one_of(causes, f"{path}.reinvocationPolicy", hook.get("reinvocationPolicy"), _REINVOCATION)
    webhooks.client(causes, f"{path}.clientConfig", hook.get("clientConfig") or {})
    _match_conditions(causes, f"{path}.matchConditions", hook.get("matchConditions") or ())


def _qualified(causes: Causes, path: str, name: str) -> None:
    if not checks.required(causes, path, name):
        return
    if problem := checks.dns_subdomain_problem(name):
        causes.append(field_invalid(path, name, problem))
    elif name.count(".") < _LEAST_SEGMENTS - 1:
        detail = "should be a domain with at least three segments separated by dots"
        causes.append(field_invalid(path, name, detail))


def _match_conditions(causes: Causes, path: str, listed: Sequence[Obj]) -> None:
    if len(listed) > _MAX_CONDITIONS:
        causes.append(field_too_many(path, len(listed), _MAX_CONDITIONS))
    seen: set[str] = set()
    for index, condition in enumerate(listed):
        here, name = f"{path}[{index}]", condition.get("name", "")
        checks.required(causes, f"{here}.expression", condition.get("expression", "").strip())
        if checks.required(causes, f"{here}.name", name):
            checks.qualified(causes, f"{here}.name", name)
            checks.unique(causes, f"{here}.name", name, seen)


def _rule(causes: Causes, path: str, rule: Obj) -> None:
    _set(causes, f"{path}.operations", rule.get("operations") or (), "operations")
    for index, operation in enumerate(rule.get("operations") or ()):
        checks.one_of(causes, f"{path}.operations[{index}]", operation, _OPERATIONS)
    _set(causes, f"{path}.apiGroups", rule.get("apiGroups") or (), "API groups")
    versions = rule.get("apiVersions") or ()
    _set(causes, f"{path}.apiVersions", versions, "API versions")
    for index, version in enumerate(versions):
        checks.required(causes, f"{path}.apiVersions[{index}]", version)
    _resources(causes, f"{path}.resources", rule.get("resources") or ())
    checks.one_of(causes, f"{path}.scope", rule.get("scope"), _SCOPES)


def _set(causes: Causes, path: str, listed: Sequence[str], what: str) -> None:
    checks.required(causes, path, listed)
    if len(listed) > 1 and "*" in listed:
        causes.append(field_invalid(path, listed, f"if '*' is present, must not specify other {what}"))


def _resources(causes: Causes, path: str, listed: Sequence[str]) -> None:
    checks.required(causes, path, listed)
    whole: set[str] = set()  # resources with all their subresources
    everywhere: set[str] = set()  # subresources of all resources
    plain = False  # upstream remembers the last one without a subresource
    for index, wanted in enumerate(listed):
        here = f"{path}[{index}]"
        if not checks.required(causes, here, wanted):
            continue
        resource, slash, sub = wanted.partition("/")
        if not slash:
            plain = wanted != "*"
            continue
        if resource in whole:
            detail = f"if '{resource}/*' is present, must not specify {wanted}"
            causes.append(field_invalid(here, wanted, detail))
        if sub in everywhere:
            causes.append(field_invalid(here, wanted, f"if '*/{sub}' is present, must not specify {wanted}"))
        if sub == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(sub)
    if len(listed) > 1 and "*/*" in listed:
        causes.append(field_invalid(path, listed, "if '*/*' is present, must not specify other resources"))
    if "*" in listed and plain:
        detail = "if '*' is present, must not specify other resources without subresources"
        causes.append(field_invalid(path, listed, detail))


# --- policies -------------------------------------------------------------------------------------


def validate_policy(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _policy(causes, spec)
    for index, variable in enumerate(spec.get("variables") or ()):
        _variable(causes, f"spec.variables[{index}]", variable)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        causes.append(field_required("spec.validations", _ONE_OR_OTHER))
        causes.append(field_required("spec.auditAnnotations", _ONE_OR_OTHER))
    for index, validation in enumerate(validations):
        _validation(causes, f"spec.validations[{index}]", validation)
    _audit_annotations(causes, "spec.auditAnnotations", annotations, obj["metadata"].get("name", ""))
    return causes


def _policy(causes: Causes, spec: Obj, *, operations: Sequence[str] = ()) -> None:
    """`operations`: those that a policy that changes objects may name."""
    checks.required_one_of(causes, "spec.failurePolicy", spec.get("failurePolicy"), _FAILURE)
    if spec.get("paramKind") is not None:
        _param_kind(causes, "spec.paramKind", spec["paramKind"])
    wanted, path = spec.get("matchConstraints"), "spec.matchConstraints"
    if wanted is None:
        causes.append(field_required(path))
    else:
        _match_resources(causes, path, wanted)
        checks.required(causes, f"{path}.resourceRules", wanted.get("resourceRules"))
        if operations:
            _only(causes, f"{path}.resourceRules.operations", wanted, operations)
    _match_conditions(causes, "spec.matchConditions", spec.get("matchConditions") or ())


def _only(causes: Causes, path: str, wanted: Obj, operations: Sequence[str]) -> None:
    for rule in wanted.get("resourceRules") or ():
        for operation in rule.get("operations") or ():
            checks.one_of(causes, path, operation, operations)


def _param_kind(causes: Causes, path: str, wanted: Obj) -> None:
    text, kind = wanted.get("apiVersion", ""), wanted.get("kind", "")
    if checks.required(causes, f"{path}.apiVersion", text):
        group, _, version = text.rpartition("/")
        if text.count("/") > 1:
            causes.append(field_invalid(f"{path}.apiVersion", text, f"unexpected GroupVersion string: {text}"))
        else:
            if group:
                checks.dns_subdomain(causes, f"{path}.apiVersion", group)
            if version:
                checks.text(causes, f"{path}.apiVersion", version, names.dns1035_label(version))
            else:
                causes.append(field_invalid(f"{path}.apiVersion", text, "version must be specified"))
    if checks.required(causes, f"{path}.kind", kind) and (problem := names.dns1035_label(kind.lower())):
        detail = f"may have mixed case, but should otherwise match: {problem}"
        causes.append(field_invalid(f"{path}.kind", kind, detail))


def _match_resources(causes: Causes, path: str, wanted: Obj) -> None:
    checks.required_one_of(causes, f"{path}.matchPolicy", wanted.get("matchPolicy"), _MATCH)
    for selector in ("namespaceSelector", "objectSelector"):
        if wanted.get(selector) is None:
            causes.append(field_required(f"{path}.{selector}"))
        else:
            checks.label_selector(causes, f"{path}.{selector}", wanted[selector])
    for kind in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(wanted.get(kind) or ()):
            here, seen = f"{path}.{kind}[{index}]", set[str]()
            for place, name in enumerate(rule.get("resourceNames") or ()):
                checks.text(causes, f"{here}.resourceNames[{place}]", name, names.path_segment(name))
                checks.unique(causes, f"{here}.resourceNames[{place}]", name, seen)
            _rule(causes, here, rule)


def _variable(causes: Causes, path: str, variable: Obj) -> None:
    name = variable.get("name", "")
    if not name.strip():
        causes.append(field_required(f"{path}.name", "name is not specified"))
    elif not _identifier(name) or name in _RESERVED:
        causes.append(field_invalid(f"{path}.name", name, "must be a valid CEL identifier"))
    if not variable.get("expression", "").strip():
        causes.append(field_required(f"{path}.expression", "expression is not specified"))


def _validation(causes: Causes, path: str, validation: Obj) -> None:
    if not validation.get("expression", "").strip():
        causes.append(field_required(f"{path}.expression", "expression is not specified"))
    for key in ("messageExpression", "message"):
        text = validation.get(key, "")
        if text and not text.strip():
            causes.append(field_invalid(f"{path}.{key}", text, "must be non-empty if specified"))
        elif key == "message" and ("\n" in text.strip() or "\r" in text.strip()):
            causes.append(field_invalid(f"{path}.{key}", text, "must not contain line breaks"))
    checks.one_of(causes, f"{path}.reason", validation.get("reason"), _REASONS)


def _audit_annotations(causes: Causes, path: str, annotations: Sequence[Obj], policy: str) -> None:
    if len(annotations) > _MAX_ANNOTATIONS:
        detail = f"must not have more than {_MAX_ANNOTATIONS} auditAnnotations"
        causes.append(godump.invalid(path, "[]admissionregistration.AuditAnnotation", annotations, detail))
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        here, key = f"{path}[{index}]", annotation.get("key", "")
        if policy:
            checks.qualified(causes, f"{here}.key", f"{policy}/{key}")
        else:
            causes.append(field_invalid(f"{here}.key", key, "requires metadata.name be non-empty"))
        value = annotation.get("valueExpression", "").strip()
        if not value:
            causes.append(field_required(f"{here}.valueExpression", "valueExpression is not specified"))
        elif len(value.encode()) > _MAX_VALUE_BYTES:
            detail = f"must not exceed {_MAX_VALUE_BYTES} bytes in length"
            causes.append(field_required(f"{here}.valueExpression", detail))
        checks.unique(causes, f"{here}.key", key, seen)


def _policy_status(new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status = new.get("status") or {}
    for index, warning in enumerate((status.get("typeChecking") or {}).get("expressionWarnings") or ()):
        path = f"status.typeChecking.expressionWarnings[{index}]"
        checks.required(causes, f"{path}.warning", warning.get("warning"))
        checks.required(causes, f"{path}.fieldRef", warning.get("fieldRef", "").strip())
    conditions.validate(causes, "status.conditions", status.get("conditions") or ())
    return causes


def validate_mutating_policy(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _policy(causes, spec, operations=_MUTATING_OPERATIONS)
    for index, variable in enumerate(spec.get("variables") or ()):
        _variable(causes, f"spec.variables[{index}]", variable)
    mutations = spec.get("mutations") or ()
    checks.required(causes, "spec.mutations", mutations, "mutations must contain at least one item")
    for index, mutation in enumerate(mutations):
        _mutation(causes, f"spec.mutations[{index}]", mutation)
    checks.required_one_of(causes, "spec.reinvocationPolicy", spec.get("reinvocationPolicy"), _REINVOCATION)
    return causes


_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


def _mutation(causes: Causes, path: str, mutation: Obj) -> None:
    kind = mutation.get("patchType", "")
    if not checks.required(causes, f"{path}.patchType", kind):
        return
    if kind not in _PATCHES:
        causes.append(field_not_supported(f"{path}.patchType", kind, tuple(_PATCHES)))
        return
    wanted = _PATCHES[kind]
    (other,) = set(_PATCHES.values()) - {wanted}
    if mutation.get(wanted) is None:
        causes.append(field_required(f"{path}.{wanted}", f"must be specified when patchType is {kind}"))
    else:
        checks.required(causes, f"{path}.{wanted}.expression", mutation[wanted].get("expression", "").strip())
    if mutation.get(other) is not None:
        detail = f"must not be specified when patchType is {kind}"
        causes.append(field_invalid(f"{path}.{other}", f"{{{other}}}", detail))


# --- bindings -------------------------------------------------------------------------------------


def validate_binding(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _binding(causes, spec)
    _validation_actions(causes, "spec.validationActions", spec.get("validationActions") or ())
    return checks.generated_last(causes, r"spec\.policyName: Required", r"spec\.validationActions: Required")


def _binding(causes: Causes, spec: Obj) -> None:
    name = spec.get("policyName", "")
    if checks.required(causes, "spec.policyName", name):
        checks.dns_subdomain(causes, "spec.policyName", name)
    if spec.get("paramRef") is not None:
        _param_ref(causes, "spec.paramRef", spec["paramRef"])
    if spec.get("matchResources") is not None:
        _match_resources(causes, "spec.matchResources", spec["matchResources"])


def _param_ref(causes: Causes, path: str, ref: Obj) -> None:
    name, selector = ref.get("name", ""), ref.get("selector")
    if name:
        checks.text(causes, f"{path}.name", name, names.path_segment(name))
    if name and selector is not None:
        causes.append(field_forbidden(f"{path}.name", "name and selector are mutually exclusive"))
    if selector is not None:
        checks.label_selector(causes, f"{path}.selector", selector)
    if name and selector is not None:
        causes.append(field_forbidden(f"{path}.selector", "name and selector are mutually exclusive"))
    if not name and selector is None:
        causes.append(field_required(path, "one of name or selector must be specified"))
    action = ref.get("parameterNotFoundAction")
    checks.required_one_of(causes, f"{path}.parameterNotFoundAction", action, ("Deny", "Allow"))


def _validation_actions(causes: Causes, path: str, actions: Sequence[str]) -> None:
    seen: set[str] = set()
    for index, action in enumerate(actions):
        checks.one_of(causes, f"{path}[{index}]", action, _ACTIONS)
        if action in seen:
            causes.append(field_duplicate(f"{path}[{index}]", action))
        seen.add(action)
    if seen >= {"Deny", "Warn"}:
        detail = (
            "must not contain both Deny and Warn (repeating the same validation failure information "
            "in the API response and headers serves no purpose)"
        )
        causes.append(field_invalid(path, actions, detail))
    checks.required(causes, path, actions)


def validate_mutating_binding(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _binding(causes, spec)
    wanted = spec.get("matchResources") or {}
    _only(causes, "spec.matchResources.resourceRules.operations", wanted, _MUTATING_OPERATIONS)
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "mutatingadmissionpolicies": Strategy(validate=validate_mutating_policy),
    "mutatingadmissionpolicybindings": Strategy(validate=validate_mutating_binding),
    "mutatingwebhookconfigurations": Strategy(validate=validate_webhooks),
    "validatingadmissionpolicies": Strategy(validate=validate_policy, validate_subresource=on_status(_policy_status)),
    "validatingadmissionpolicybindings": Strategy(validate=validate_binding),
    "validatingwebhookconfigurations": Strategy(validate=validate_webhooks),
}
