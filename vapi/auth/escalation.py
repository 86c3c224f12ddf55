"""Escalation: nobody grants by a role or a binding what they do not hold themselves, as an admission plugin.

Runs with the validating hooks, on the object as all mutation left it.
Source: kubernetes pkg/registry/rbac (policybased storage, escalation_check.go).
"""

from __future__ import annotations

from vapi import errors
from vapi.auth.rbac import GROUP, MASTERS, Rbac
from vapi.auth.rules import Rule, compact, describe, quoted, uncovered
from vapi.authorizer import User
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Operation

_EVERYTHING: tuple[Obj, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)
_ROLES = frozenset({"roles", "clusterroles"})
_GARBAGE_COLLECTED = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation", "selfLink")
"""Metadata that the garbage collector writes; a write of nothing else grants nothing."""


def escalation_plugin(rbac: Rbac) -> AdmissionPlugin:
    check = _Escalation(rbac)
    return AdmissionPlugin(
        name="RBACEscalation",
        operations=frozenset({Operation.CREATE, Operation.UPDATE}),
        resources=frozenset(
            (GROUP, plural) for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        ),
        validate=check.validate,
    )


class _Escalation:
    def __init__(self, rbac: Rbac) -> None:
        self._rbac = rbac

    def validate(self, request: AdmissionRequest) -> None:
        user = request.caller.user
        if MASTERS in user.groups or request.obj is None:
            return
        if request.old is not None and _same_but_garbage_collected(request.obj, request.old):
            return
        if request.row.gvr.resource in _ROLES:
            self._validate_role(request, request.obj, user)
        else:
            self._validate_binding(request, request.obj, user)

    def _validate_role(self, request: AdmissionRequest, obj: Obj, user: User) -> None:
        plural = request.row.gvr.resource
        if self._rbac.decide(user, "escalate", GROUP, plural, "", request.namespace, request.name).allowed:
            return
        self._confirm(request, user, obj.get("rules") or ())
        # an aggregating role can gather anything, and its removal can tighten what others hold
        aggregating = _aggregates(obj) or _aggregates(request.old or {})
        if aggregating and uncovered(self._held(user, request.namespace), _EVERYTHING):
            raise _forbidden(request, "must have cluster-admin privileges to use the aggregationRule")

    def _validate_binding(self, request: AdmissionRequest, obj: Obj, user: User) -> None:
        reference = obj["roleRef"]
        kind, name = reference["kind"], reference["name"]
        plural = f"{kind.lower()}s"
        group = reference.get("apiGroup") or GROUP
        if plural in _ROLES and self._rbac.decide(user, "bind", group, plural, "", request.namespace, name).allowed:
            return
        role = self._rbac.role(kind, request.namespace, name)
        if role is None:
            # upstream passes the lister's error on, worded for the resource of the request
            raise errors.not_found(request.row.gvr, name)
        self._confirm(request, user, role.rules)

    def _confirm(self, request: AdmissionRequest, user: User, rules: tuple[Obj, ...] | list[Obj]) -> None:
        """Raises ApiError 403 with what the user lacks."""
        held: list[Rule] = []
        unresolved: list[str] = []
        for grant in self._rbac.grants(user, request.namespace):
            if grant.rule is None:
                unresolved.append(grant.missing)
            else:
                held.append(grant.rule)
        missing = uncovered(held, rules)
        if not missing:
            return
        lacking = "\n".join(sorted({describe(rule) for rule in compact(missing)}))
        why = (
            f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions '
            f"not currently held:\n{lacking}"
        )
        if unresolved:
            why += f"; resolution errors: [{', '.join(unresolved)}]"
        raise _forbidden(request, why)

    def _held(self, user: User, namespace: str) -> list[Rule]:
        return [grant.rule for grant in self._rbac.grants(user, namespace) if grant.rule is not None]


def _aggregates(role: Obj) -> bool:
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def _forbidden(request: AdmissionRequest, why: str) -> ApiError:
    name = request.name or (request.obj or {}).get("metadata", {}).get("name", "")
    return errors.forbidden(request.row.gvr, name, why)


def _same_but_garbage_collected(new: Obj, old: Obj) -> bool:
    return _without(new) == _without(old)


def _without(obj: Obj) -> Obj:
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _GARBAGE_COLLECTED}
    return {**obj, "metadata": metadata}
