"""Rules of the core group: what is small, and the table of the group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vapi import names
from vapi.errors import Cause, field_forbidden, field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.objectmeta import STANDARD_FINALIZERS
from vapi.resources.strategies import (
    apps,
    checks,
    claims,
    config,
    endpoints,
    events,
    mirrors,
    nodes,
    quotas,
    services,
    templates,
    volumes,
)
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import prepare, rules, warnings
from vapi.resources.strategy import Strategy, WriteContext

KUBERNETES = "kubernetes"
"""The finalizer in a Namespace's spec, which the namespace controller takes off."""
_POD_SECURITY = "pod-security.kubernetes.io/"
_SECURITY_LEVELS = ("privileged", "baseline", "restricted")


# --- Namespaces -----------------------------------------------------------------------------------


def prepare_namespace(obj: Obj, _context: WriteContext) -> None:
    finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
    if KUBERNETES not in finalizers:
        finalizers.append(KUBERNETES)
    obj["status"] = {"phase": "Active"}


def prepare_namespace_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The finalizers of the spec have an endpoint of their own."""
    if context.subresource:
        return
    finalizers = (old.get("spec") or {}).get("finalizers")
    spec = new.setdefault("spec", {})
    if finalizers:
        spec["finalizers"] = finalizers
    else:
        spec.pop("finalizers", None)


def validate_namespace(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    for finalizer in (obj.get("spec") or {}).get("finalizers") or ():
        _finalizer(causes, "spec.finalizers", finalizer)
    for key, value in sorted((obj["metadata"].get("labels") or {}).items()):
        kind = key.removeprefix(_POD_SECURITY)
        if key.startswith(_POD_SECURITY) and kind in ("enforce", "audit", "warn") and value not in _SECURITY_LEVELS:
            detail = f"must be one of {', '.join(_SECURITY_LEVELS)}"
            causes.append(field_invalid(f"metadata.labels[{key}]", value, detail))
    return causes


def _finalizer(causes: Causes, path: str, name: str) -> None:
    checks.qualified(causes, path, name)
    if "/" not in name and name not in STANDARD_FINALIZERS:
        detail = "name is neither a standard finalizer name nor is it fully qualified"
        causes.append(field_invalid(path, name, detail))


def validate_namespace_subresource(subresource: str, new: Obj, _old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    if subresource == "finalize":
        for index, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ()):
            _finalizer(causes, f"spec.finalizers[{index}]", finalizer)
    elif subresource == "status":
        phase, deleting = (new.get("status") or {}).get("phase", ""), "deletionTimestamp" in new["metadata"]
        if deleting and phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            causes.append(field_invalid("status.Phase", phase, detail))
        elif not deleting and phase != "Active":
            causes.append(field_invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty"))
    return causes


# --- ReplicationControllers -----------------------------------------------------------------------


def validate_controller(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    _controller(causes, obj)
    return checks.generated_last(causes, r"spec\.replicas: ", r"spec\.minReadySeconds: ")


def _controller(causes: Causes, obj: Obj) -> None:
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector") or {}, spec.get("template")
    checks.not_negative(causes, "spec.minReadySeconds", spec.get("minReadySeconds"))
    checks.required(causes, "spec.selector", selector)
    checks.not_negative(causes, "spec.replicas", spec.get("replicas"))
    if template is None:
        causes.append(field_required("spec.template"))
        return
    labels = templates.template_labels(template)
    if any(labels.get(key) != value for key, value in selector.items()):
        causes.append(field_invalid("spec.template.metadata.labels", labels or None, templates.MISMATCH))
    templates.validate(causes, "spec.template", template)
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        policy = pod.get("restartPolicy", "")
        causes.append(field_not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicationController is not Supported"
        causes.append(field_forbidden("spec.template.spec.activeDeadlineSeconds", detail))


STRATEGIES: Mapping[str, Strategy] = {
    "configmaps": Strategy(validate=config.validate_config_map, validate_update=config.validate_config_map_update),
    "endpoints": Strategy(validate=endpoints.validate),
    "events": Strategy(validate=events.validate),
    "limitranges": Strategy(validate=quotas.validate_limit_range),
    "namespaces": Strategy(
        name_check=names.dns_label,
        prepare_create=prepare_namespace,
        prepare_update=prepare_namespace_update,
        validate=validate_namespace,
        validate_subresource=validate_namespace_subresource,
    ),
    "nodes": Strategy(
        status_on_create=True,
        prepare_create=nodes.prepare_create,
        validate=nodes.validate,
        validate_update=nodes.validate_update,
        validate_subresource=nodes.validate_subresource,
        warnings=mirrors.of_node,
    ),
    "persistentvolumeclaims": Strategy(
        prepare_create=claims.prepare_create,
        prepare_update=claims.prepare_update,
        validate=claims.validate,
        validate_update=claims.validate_update,
    ),
    "persistentvolumes": Strategy(
        prepare_create=volumes.prepare_create,
        prepare_update=volumes.prepare_update,
        validate=volumes.validate,
        validate_update=volumes.validate_update,
    ),
    "pods": Strategy(
        prepare_create=prepare.prepare_create,
        prepare_update=prepare.prepare_update,
        validate=rules.validate,
        validate_update=rules.validate_update,
        validate_subresource=rules.validate_subresource,
        warnings=warnings.of_pod,
    ),
    "podtemplates": Strategy(validate=rules.validate_template, warnings=warnings.of_template_object),
    "replicationcontrollers": Strategy(
        validate=validate_controller,
        validate_subresource=apps.on_status(apps.replicas_status),
        warnings=warnings.of_named_template,
    ),
    "resourcequotas": Strategy(
        validate=quotas.validate_quota,
        validate_update=quotas.validate_quota_update,
        validate_subresource=quotas.validate_quota_status,
    ),
    "secrets": Strategy(
        prepare_update=config.prepare_secret_update,
        validate=config.validate_secret,
        validate_update=config.validate_secret_update,
    ),
    "services": Strategy(
        name_check=names.dns_label,
        prepare_create=services.prepare_create,
        prepare_update=services.prepare_update,
        validate=services.validate,
        validate_update=services.validate_update,
        validate_subresource=services.validate_subresource,
        warnings=services.warnings,
    ),
}
