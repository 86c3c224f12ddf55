"""Rules of apps: Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions.

Source: pkg/apis/apps/validation, pkg/registry/apps/*/strategy.go (1.37).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vapi import names
from vapi.errors import Cause, field_forbidden, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, claims, godump, templates
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import warnings
from vapi.resources.strategy import Strategy, WriteContext

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""Annotation that stands for a field of extensions/v1beta1."""
_RETENTION = ("Retain", "Delete")


# --- Deployments ----------------------------------------------------------------------------------


def validate_deployment(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    template, selector = spec.get("template") or {}, spec.get("selector")
    checks.not_negative(causes, "spec.replicas", spec.get("replicas"))
    templates.selector(causes, "spec.selector", selector, "deployment")
    _replica_template(causes, selector, template)
    _deployment_strategy(causes, "spec.strategy", spec.get("strategy") or {})
    ready = spec.get("minReadySeconds", 0)
    checks.not_negative(causes, "spec.minReadySeconds", ready)
    checks.not_negative(causes, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        checks.not_negative(causes, "spec.progressDeadlineSeconds", deadline)
        if deadline <= ready:
            detail = "must be greater than minReadySeconds"
            causes.append(field_invalid("spec.progressDeadlineSeconds", deadline, detail))
    return causes


def _replica_template(causes: Causes, selector: Obj | None, template: Obj) -> None:
    if not templates.selected(causes, "spec.template", selector, template):
        causes.append(templates.invalid_selector("spec.selector", selector, "invalid label selector"))
        return
    templates.validate(causes, "spec.template", template)
    templates.long_running(causes, "spec.template", template, "ReplicaSet")


def _deployment_strategy(causes: Causes, path: str, strategy: Obj) -> None:
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type", ""):
        case "Recreate":
            if rolling is not None:
                detail = "may not be specified when strategy `type` is 'Recreate'"
                causes.append(field_forbidden(f"{path}.rollingUpdate", detail))
        case "RollingUpdate":
            if rolling is None:
                detail = "this should be defaulted and never be nil"
                causes.append(field_required(f"{path}.rollingUpdate", detail))
            else:
                _rolling(causes, f"{path}.rollingUpdate", rolling)
        case _:
            shown = godump.text(godump.dump("apps.DeploymentStrategy", strategy))
            detail = f'Unsupported value: {shown}: supported values: "Recreate", "RollingUpdate"'
            causes.append(Cause("FieldValueNotSupported", detail, path))


def _rolling(causes: Causes, path: str, rolling: Obj) -> None:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    templates.int_or_percent(causes, f"{path}.maxUnavailable", unavailable)
    templates.int_or_percent(causes, f"{path}.maxSurge", surge)
    if not templates.amount(unavailable) and not templates.amount(surge):
        detail = "may not be 0 when `maxSurge` is 0"
        causes.append(field_invalid(f"{path}.maxUnavailable", unavailable, detail))
    templates.at_most_all(causes, f"{path}.maxUnavailable", unavailable)


def validate_selector_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    wanted, stored = new["spec"].get("selector"), old["spec"].get("selector")
    checks.immutable(causes, "spec.selector", wanted, stored, "metav1.LabelSelector")
    return causes


_DEPLOYMENT_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
)


def _deployment_status(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status = new.get("status") or {}
    templates.counts(causes, status, _DEPLOYMENT_COUNTS)
    part = ("updatedReplicas", "readyReplicas", "availableReplicas")
    templates.not_more_than(causes, status, part, "replicas", "status.replicas")
    templates.not_more_than(causes, status, ("availableReplicas",), "readyReplicas", "readyReplicas")
    templates.not_decremented(causes, status, old.get("status") or {}, "collisionCount")
    return causes


# --- ReplicaSets ----------------------------------------------------------------------------------


def validate_replica_set(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    checks.not_negative(causes, "spec.replicas", spec.get("replicas"))
    checks.not_negative(causes, "spec.minReadySeconds", spec.get("minReadySeconds"))
    selector = spec.get("selector")
    templates.selector(causes, "spec.selector", selector, "deployment")
    _replica_template(causes, selector, spec.get("template") or {})
    return causes


_REPLICA_COUNTS = (
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
    "terminatingReplicas",
)


def replicas_status(new: Obj, _old: Obj) -> Sequence[Cause]:
    """Of ReplicaSets and ReplicationControllers."""
    causes: Causes = []
    status = new.get("status") or {}
    templates.counts(causes, status, _REPLICA_COUNTS)
    part = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    templates.not_more_than(causes, status, part, "replicas", "status.replicas")
    templates.not_more_than(causes, status, ("availableReplicas",), "readyReplicas", "readyReplicas")
    return causes


# --- StatefulSets ---------------------------------------------------------------------------------


def validate_stateful_set(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    policy = spec.get("podManagementPolicy", "")
    if checks.required(causes, "spec.podManagementPolicy", policy) and policy not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        causes.append(field_invalid("spec.podManagementPolicy", policy, detail))
    _stateful_strategy(causes, "spec.updateStrategy", spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    if retention is not None:
        for when in ("whenDeleted", "whenScaled"):
            path = f"spec.persistentVolumeClaimRetentionPolicy.{when}"
            checks.one_of(causes, path, retention.get(when, ""), _RETENTION)
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        claims.spec(causes, f"spec.volumeClaimTemplates[{index}].spec", claim.get("spec") or {})
    checks.not_negative(causes, "spec.replicas", spec.get("replicas"))
    checks.not_negative(causes, "spec.minReadySeconds", spec.get("minReadySeconds"))
    checks.not_negative(causes, "spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
    if spec.get("serviceName"):
        checks.dns_label(causes, "spec.serviceName", spec["serviceName"])
    selector, template = spec.get("selector"), spec.get("template") or {}
    templates.selector(causes, "spec.selector", selector, "statefulset")
    if templates.selected(causes, "spec.template", selector, template):
        templates.validate(causes, "spec.template", _with_claims(template, spec.get("volumeClaimTemplates") or ()))
    else:
        causes.append(templates.invalid_selector("spec.selector", selector, ""))
    templates.long_running(causes, "spec.template", template, "StatefulSet")
    return causes


def _with_claims(template: Obj, claim_templates: Sequence[Obj]) -> Obj:
    """The template as its pods will be: with a volume for each claim, named by the controller."""
    pod = {k: v for k, v in (template.get("spec") or {}).items() if k not in ("hostname", "subdomain")}
    made = {}
    for claim in claim_templates:
        name = (claim.get("metadata") or {}).get("name", "")
        made[name] = {"name": name, "persistentVolumeClaim": {"claimName": name}}
    if made:
        own = [volume for volume in pod.get("volumes") or () if volume.get("name") not in made]
        pod["volumes"] = [*made.values(), *own]
    return {**template, "spec": pod}


def _stateful_strategy(causes: Causes, path: str, strategy: Obj) -> None:
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type", ""):
        case "":
            causes.append(field_required(path))
        case "OnDelete":
            if rolling is not None:
                detail = "only allowed for updateStrategy 'RollingUpdate'"
                shown = f"{path}.rollingUpdate"
                causes.append(godump.invalid(shown, "apps.RollingUpdateStatefulSetStrategy", rolling, detail))
        case "RollingUpdate":
            if rolling is not None:
                checks.not_negative(causes, f"{path}.rollingUpdate.partition", rolling.get("partition"))
                if rolling.get("maxUnavailable") is not None:
                    _not_none(causes, f"{path}.rollingUpdate.maxUnavailable", rolling["maxUnavailable"])
        case _:
            detail = "must be 'RollingUpdate' or 'OnDelete'"
            causes.append(godump.invalid(path, "apps.StatefulSetUpdateStrategy", strategy, detail))


def _not_none(causes: Causes, path: str, value: Any) -> None:
    templates.int_or_percent(causes, path, value)
    if not templates.amount(value):
        causes.append(field_invalid(path, value, "cannot be 0"))
    templates.at_most_all(causes, path, value)


def validate_stateful_set_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    wanted, stored = new["spec"], old["spec"]
    selector = wanted.get("selector")
    checks.immutable(causes, "spec.selector", selector, stored.get("selector"), "metav1.LabelSelector")
    before, after = stored.get("volumeClaimTemplates"), wanted.get("volumeClaimTemplates")
    checks.immutable(causes, "spec.volumeClaimTemplates", after, before, "[]core.PersistentVolumeClaim")
    checks.immutable(causes, "spec.serviceName", wanted.get("serviceName", ""), stored.get("serviceName", ""))
    key = "podManagementPolicy"
    checks.immutable(causes, f"spec.{key}", wanted.get(key), stored.get(key))
    return causes


_STATEFUL_COUNTS = (
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "observedGeneration",
    "collisionCount",
)


def _stateful_status(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status = new.get("status") or {}
    templates.counts(causes, status, _STATEFUL_COUNTS)
    part = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    templates.not_more_than(causes, status, part, "replicas", "status.replicas")
    templates.not_more_than(causes, status, ("availableReplicas",), "readyReplicas", "status.readyReplicas")
    templates.not_decremented(causes, status, old.get("status") or {}, "collisionCount")
    return causes


# --- DaemonSets -----------------------------------------------------------------------------------


def prepare_daemon_set(obj: Obj, _context: WriteContext) -> None:
    annotations = obj["metadata"].setdefault("annotations", {})
    if not _template_generation(annotations):
        annotations[TEMPLATE_GENERATION] = "1"


def prepare_daemon_set_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The server alone counts the template's changes."""
    if context.subresource:
        return
    before = _template_generation(old["metadata"].get("annotations") or {})
    changed = new["spec"].get("template") != old["spec"].get("template")
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(before + changed)


def _template_generation(annotations: Obj) -> int:
    text = annotations.get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def validate_daemon_set(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    checks.label_selector(causes, "spec.selector", selector)
    templates.selected(causes, "spec.template", selector, template, when_empty=True)
    if selector is not None and checks.is_empty_selector(selector):
        causes.append(templates.invalid_selector("spec.selector", selector, "empty selector is invalid for daemonset"))
    templates.validate(causes, "spec.template", template)
    templates.long_running(causes, "spec.template", template, "DaemonSet")
    checks.not_negative(causes, "spec.minReadySeconds", spec.get("minReadySeconds"))
    _daemon_strategy(causes, "spec.updateStrategy", spec.get("updateStrategy") or {})
    checks.not_negative(causes, "spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
    return causes


def _daemon_strategy(causes: Causes, path: str, strategy: Obj) -> None:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return
    if kind != "RollingUpdate":
        shown = godump.text(godump.dump("apps.DaemonSetUpdateStrategy", strategy))
        detail = f'Unsupported value: {shown}: supported values: "RollingUpdate", "OnDelete"'
        causes.append(Cause("FieldValueNotSupported", detail, path))
        return
    here = f"{path}.rollingUpdate"
    if rolling is None:
        causes.append(field_required(here))
        return
    limits = {name: rolling.get(name, 0) for name in ("maxUnavailable", "maxSurge")}
    for check in (templates.int_or_percent, templates.at_most_all):
        for name, value in limits.items():
            check(causes, f"{here}.{name}", value)
    unavailable, surge = (templates.amount(value) for value in limits.values())
    if unavailable and surge:
        detail = "may not be set when maxUnavailable is non-zero"
        causes.append(field_invalid(f"{here}.maxSurge", limits["maxSurge"], detail))
    elif not unavailable and not surge:
        causes.append(field_required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


_DAEMON_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)


def _daemon_status(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status = new.get("status") or {}
    templates.counts(causes, status, _DAEMON_COUNTS)
    templates.not_decremented(causes, status, old.get("status") or {}, "collisionCount")
    return causes


# --- ControllerRevisions --------------------------------------------------------------------------


def validate_revision(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    checks.not_negative(causes, "revision", obj.get("revision"))
    data = obj.get("data")
    if data is None:
        causes.append(field_required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        causes.append(field_required("data", "data must be a valid JSON object"))
    return causes


def validate_revision_update(new: Obj, old: Obj) -> Sequence[Cause]:
    if new.get("data") != old.get("data"):
        return [field_invalid("data", new.get("data"), checks.IMMUTABLE)]
    return ()


def on_status(rule: Any) -> Any:
    """A `validate_subresource` that knows /status alone."""

    def validate_subresource(subresource: str, new: Obj, old: Obj) -> Sequence[Cause]:
        found: Sequence[Cause] = rule(new, old) if subresource == "status" else ()
        return found

    return validate_subresource


STRATEGIES: Mapping[str, Strategy] = {
    "controllerrevisions": Strategy(validate=validate_revision, validate_update=validate_revision_update),
    "daemonsets": Strategy(
        prepare_create=prepare_daemon_set,
        prepare_update=prepare_daemon_set_update,
        validate=validate_daemon_set,
        validate_update=validate_selector_update,
        validate_subresource=on_status(_daemon_status),
        warnings=warnings.of_template,
    ),
    "deployments": Strategy(
        validate=validate_deployment,
        validate_update=validate_selector_update,
        validate_subresource=on_status(_deployment_status),
        warnings=warnings.of_named_template,
    ),
    "replicasets": Strategy(
        validate=validate_replica_set,
        validate_update=validate_selector_update,
        validate_subresource=on_status(replicas_status),
        warnings=warnings.of_named_template,
    ),
    "statefulsets": Strategy(
        name_check=names.dns_label,
        validate=validate_stateful_set,
        validate_update=validate_stateful_set_update,
        validate_subresource=on_status(_stateful_status),
        warnings=warnings.of_template,
    ),
}
