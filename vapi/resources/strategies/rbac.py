"""Rules of rbac.authorization.k8s.io: Roles, ClusterRoles and their bindings.

Source: pkg/apis/rbac/validation (1.37).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vapi import names
from vapi.errors import Cause, field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy

GROUP = "rbac.authorization.k8s.io"
_VERBS = r"rules\[\d+\]\.verbs: Required"
_SUBJECT_GROUP = {"ServiceAccount": "", "User": GROUP, "Group": GROUP}


def validate_role(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _rules(causes, obj, namespaced=True)
    return checks.generated_last(causes, _VERBS)


def validate_cluster_role(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _rules(causes, obj, namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        path, listed = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors") or ()
        checks.required(causes, path, listed, "at least one clusterRoleSelector required if aggregationRule is non-nil")
        for index, selector in enumerate(listed):
            known = len(causes)
            checks.label_selector(causes, f"{path}[{index}]", selector)
            if len(causes) > known:
                causes.append(field_invalid(f"{path}[{index}]", None, "invalid label selector."))
    return checks.generated_last(causes, _VERBS)


def _rules(causes: Causes, obj: Obj, *, namespaced: bool) -> None:
    for index, rule in enumerate(obj.get("rules") or ()):
        _rule(causes, f"rules[{index}]", rule, namespaced=namespaced)


def _rule(causes: Causes, path: str, rule: Obj, *, namespaced: bool) -> None:
    checks.required(causes, f"{path}.verbs", rule.get("verbs"))
    urls = rule.get("nonResourceURLs")
    if not urls:
        checks.required(
            causes, f"{path}.apiGroups", rule.get("apiGroups"), "resource rules must supply at least one api group"
        )
        checks.required(
            causes, f"{path}.resources", rule.get("resources"), "resource rules must supply at least one resource"
        )
        return
    here = f"{path}.nonResourceURLs"
    if namespaced:
        causes.append(field_invalid(here, urls, "namespaced rules cannot apply to non-resource URLs"))
    if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
        detail = "rules cannot apply to both regular resources and non-resource URLs"
        causes.append(field_invalid(here, urls, detail))


def validate_binding(obj: Obj) -> Sequence[Cause]:
    return _binding(obj, ("Role", "ClusterRole"), namespaced=True)


def validate_cluster_binding(obj: Obj) -> Sequence[Cause]:
    return _binding(obj, ("ClusterRole",), namespaced=False)


def _binding(obj: Obj, kinds: Sequence[str], *, namespaced: bool) -> Sequence[Cause]:
    causes: Causes = []
    ref = obj.get("roleRef") or {}
    checks.one_of(causes, "roleRef.apiGroup", ref.get("apiGroup", ""), (GROUP,))
    checks.one_of(causes, "roleRef.kind", ref.get("kind", ""), kinds)
    if checks.required(causes, "roleRef.name", ref.get("name")):
        checks.text(causes, "roleRef.name", ref["name"], names.path_segment(ref["name"]))
    for index, subject in enumerate(obj.get("subjects") or ()):
        _subject(causes, f"subjects[{index}]", subject, namespaced=namespaced)
    return checks.generated_last(causes, r"subjects\[\d+\]\.name: Required", r"roleRef\.name: Required")


def _subject(causes: Causes, path: str, subject: Obj, *, namespaced: bool) -> None:
    kind, name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    checks.required(causes, f"{path}.name", name)
    account = kind == "ServiceAccount"
    if account and name:
        checks.dns_subdomain(causes, f"{path}.name", name)
    wanted = _SUBJECT_GROUP.get(kind)
    if wanted is None:
        causes.append(field_not_supported(f"{path}.kind", kind, tuple(_SUBJECT_GROUP)))
    elif group != wanted:
        causes.append(field_not_supported(f"{path}.apiGroup", group, (wanted,)))
    if account and not namespaced and not subject.get("namespace"):
        causes.append(field_required(f"{path}.namespace"))


def validate_binding_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.immutable(causes, "roleRef", new.get("roleRef"), old.get("roleRef"), "rbac.RoleRef")
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "clusterrolebindings": Strategy(
        name_check=names.path_segment, validate=validate_cluster_binding, validate_update=validate_binding_update
    ),
    "clusterroles": Strategy(name_check=names.path_segment, validate=validate_cluster_role),
    "rolebindings": Strategy(
        name_check=names.path_segment, validate=validate_binding, validate_update=validate_binding_update
    ),
    "roles": Strategy(name_check=names.path_segment, validate=validate_role),
}
