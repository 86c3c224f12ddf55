"""Rules of batch: Jobs and CronJobs. Source: pkg/apis/batch/validation, pkg/registry/batch (1.37).

Of `spec.scheduling` (an alpha feature) nothing is checked.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vapi.errors import (
    Cause,
    field_duplicate,
    field_invalid,
    field_not_supported,
    field_required,
    field_too_long,
    field_too_many,
)
from vapi.gvk import Obj
from vapi.resources.strategies import checks, cron, godump, job_status, templates
from vapi.resources.strategies.apps import on_status
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import warnings
from vapi.resources.strategy import Strategy, WriteContext

JOB_NAME = "batch.kubernetes.io/job-name"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
LEGACY_JOB_NAME = "job-name"
LEGACY_CONTROLLER_UID = "controller-uid"

_MAX_INDEXED = 100_000
_HIGH_COMPLETIONS, _HIGH_PARALLELISM = 100_000, 10_000
_MAX_RULES, _MAX_VALUES, _MAX_PATTERNS = 20, 255, 20
_MAX_MANAGER, _MAX_CRON_NAME = 63, 52
_MAX_INDEXES_TEXT = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_STATUSES = ("False", "True", "Unknown")
_NOT_NEGATIVE = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_http_path = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+").fullmatch
_HTTP_PATH = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"


def prepare_job(obj: Obj, _context: WriteContext) -> None:
    """Unless the client selects by hand: labels that only this Job's pods have, and the selector for them."""
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    name, uid = obj["metadata"].get("name", ""), obj["metadata"]["uid"]
    labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for key, value in (
        (LEGACY_JOB_NAME, name),
        (JOB_NAME, name),
        (LEGACY_CONTROLLER_UID, uid),
        (CONTROLLER_UID, uid),
    ):
        labels.setdefault(key, value)
    # labels that defaulting took from the template are the same map, and so have the four as well
    obj["metadata"].setdefault("labels", labels)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


def validate_job(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    is_new = "resourceVersion" not in obj["metadata"]
    if is_new and not spec.get("manualSelector") and spec.get("selector") is not None:
        _generated(causes, obj)
    _job_spec(causes, "spec", spec)
    selector = spec.get("selector")
    if selector is None:
        causes.append(field_required("spec.selector"))
    else:
        checks.label_selector(causes, "spec.selector", selector)
    templates.selected(causes, "spec.template", selector, spec.get("template") or {}, when_empty=True)
    if spec.get("completionMode") == "Indexed" and spec.get("completions", 0) > 0:
        name = obj["metadata"].get("name", "")
        hostname = f"{name}-{spec['completions'] - 1}"
        if checks.dns_label_problem(hostname):
            detail = f"will not able to create pod with invalid DNS label: {hostname}"
            causes.append(field_invalid("metadata.name", name, detail))
    return causes


def _generated(causes: Causes, obj: Obj) -> None:
    """The labels and the selector are the server's own."""
    metadata, spec = obj["metadata"], obj["spec"]
    labels = templates.template_labels(spec.get("template") or {})
    name, uid = metadata.get("name", ""), metadata.get("uid", "")
    wanted = {LEGACY_CONTROLLER_UID: uid, LEGACY_JOB_NAME: name, CONTROLLER_UID: uid, JOB_NAME: name}
    for key, value in wanted.items():
        path = "spec.template.metadata.labels"
        if key not in labels:
            causes.append(field_required(f"{path}[{key}]", f"must be '{value}'"))
        elif labels[key] != value:
            causes.append(field_invalid(f"{path}[{key}]", labels, f"must be '{value}'"))
    if templates.matches(spec["selector"], wanted) is False:
        causes.append(templates.invalid_selector("spec.selector", spec["selector"], "`selector` not auto-generated"))


def _job_spec(causes: Causes, path: str, spec: Obj) -> None:
    """Of Jobs and of the templates of CronJobs."""
    for name in _NOT_NEGATIVE:
        checks.not_negative(causes, f"{path}.{name}", spec.get(name))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        causes.append(field_required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.get("managedBy") is not None:
        domain_path(causes, f"{path}.managedBy", spec["managedBy"])
        if len(spec["managedBy"]) > _MAX_MANAGER:
            causes.append(field_too_long(f"{path}.managedBy", _MAX_MANAGER))
    mode = spec.get("completionMode")
    checks.one_of(causes, f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        _indexed(causes, path, spec)
    elif mode in (None, "NonIndexed"):
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                causes.append(field_invalid(f"{path}.{name}", spec[name], "requires indexed completion mode"))
    if spec.get("podFailurePolicy") is not None:
        _failure_policy(causes, f"{path}.podFailurePolicy", spec)
    if spec.get("successPolicy") is not None:
        _success_policy(causes, f"{path}.successPolicy", spec)
    replacement = spec.get("podReplacementPolicy")
    allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    checks.one_of(causes, f"{path}.podReplacementPolicy", replacement, allowed)
    template = spec.get("template") or {}
    templates.validate(causes, f"{path}.template", template)
    _restart_policy(causes, f"{path}.template.spec.restartPolicy", template, spec)


def _restart_policy(causes: Causes, path: str, template: Obj, spec: Obj) -> None:
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    if policy in ("Always", ""):
        causes.append(field_required(path, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        causes.append(field_not_supported(path, policy, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        causes.append(field_invalid(path, policy, detail))


def domain_path(causes: Causes, path: str, value: str) -> None:
    """`acme.io/foo`: of managers and of ingress controllers."""
    if not checks.required(causes, path, value):
        return
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        causes.append(field_invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    checks.dns_subdomain(causes, path, domain)
    if not _http_path(rest):
        causes.append(field_invalid(path, rest, _HTTP_PATH))


def _indexed(causes: Causes, path: str, spec: Obj) -> None:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed, per_index = spec.get("maxFailedIndexes"), spec.get("backoffLimitPerIndex")
    if completions is None:
        causes.append(field_required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MAX_INDEXED:
        detail = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
        causes.append(field_invalid(f"{path}.parallelism", parallelism, detail))
    if completions is not None and failed is not None and failed > completions:
        causes.append(field_invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions"))
    if failed is not None and failed > _MAX_INDEXED:
        detail = f"must be less than or equal to {_MAX_INDEXED}"
        causes.append(field_invalid(f"{path}.maxFailedIndexes", failed, detail))
    if completions is None or completions <= _HIGH_COMPLETIONS or per_index is None:
        return
    if failed is None:
        detail = f"must be specified when completions is above {_HIGH_COMPLETIONS}"
        causes.append(field_required(f"{path}.maxFailedIndexes", detail))
    for name, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > _HIGH_PARALLELISM:
            detail = (
                f"must be less than or equal to {_HIGH_PARALLELISM} when completions are above {_HIGH_COMPLETIONS} "
                "and used with backoff limit per index"
            )
            causes.append(field_invalid(f"{path}.{name}", value, detail))


# --- policies -------------------------------------------------------------------------------------


def _quoted(names: Sequence[str]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"


def _failure_policy(causes: Causes, path: str, spec: Obj) -> None:
    rules = spec["podFailurePolicy"].get("rules") or ()
    if len(rules) > _MAX_RULES:
        causes.append(field_too_many(f"{path}.rules", len(rules), _MAX_RULES))
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {c.get("name") for kind in ("containers", "initContainers") for c in pod.get(kind) or ()}
    for index, rule in enumerate(rules):
        _failure_rule(causes, f"{path}.rules[{index}]", rule, spec, names)


def _failure_rule(causes: Causes, path: str, rule: Obj, spec: Obj, names: set[Any]) -> None:
    action, codes, patterns = rule.get("action", ""), rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if not action:
        causes.append(field_required(f"{path}.action", f"valid values: {_quoted(_ACTIONS)}"))
    elif action == "FailIndex":
        if spec.get("backoffLimitPerIndex") is None:
            causes.append(field_invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set"))
    else:
        checks.one_of(causes, f"{path}.action", action, _ACTIONS)
    if codes is not None:
        _exit_codes(causes, f"{path}.onExitCodes", codes, names)
    if len(patterns) > _MAX_PATTERNS:
        causes.append(field_too_many(f"{path}.onPodConditions", len(patterns), _MAX_PATTERNS))
    for index, pattern in enumerate(patterns):
        here, status = f"{path}.onPodConditions[{index}]", pattern.get("status", "")
        checks.qualified(causes, f"{here}.type", pattern.get("type", ""))
        if not status:
            causes.append(field_required(f"{here}.status", f"valid values: {_quoted(_STATUSES)}"))
        else:
            checks.one_of(causes, f"{here}.status", status, _STATUSES)
    if codes is not None and patterns:
        detail = "specifying both OnExitCodes and OnPodConditions is not supported"
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {detail}", path))
    elif codes is None and not patterns:
        detail = "specifying one of OnExitCodes and OnPodConditions is required"
        causes.append(Cause("FieldValueInvalid", f"Invalid value: {detail}", path))


def _exit_codes(causes: Causes, path: str, codes: Obj, names: set[Any]) -> None:
    operator, listed = codes.get("operator", ""), codes.get("values") or []
    if not operator:
        causes.append(field_required(f"{path}.operator", f"valid values: {_quoted(('In', 'NotIn'))}"))
    else:
        checks.one_of(causes, f"{path}.operator", operator, ("In", "NotIn"))
    container = codes.get("containerName")
    if container is not None and container not in names:
        detail = "must be one of the container or initContainer names in the pod template"
        causes.append(field_invalid(f"{path}.containerName", container, detail))
    if not listed:
        causes.append(field_invalid(f"{path}.values", listed, "at least one value is required"))
    elif len(listed) > _MAX_VALUES:
        causes.append(field_too_many(f"{path}.values", len(listed), _MAX_VALUES))
    seen: set[int] = set()
    for index, code in enumerate(listed):
        if operator == "In" and code == 0:
            causes.append(field_invalid(f"{path}.values[{index}]", code, "must not be 0 for the In operator"))
        if code in seen:
            causes.append(field_duplicate(f"{path}.values[{index}]", code))
        seen.add(code)
    if listed != sorted(listed):
        causes.append(field_invalid(f"{path}.values", listed, "must be ordered"))


def _success_policy(causes: Causes, path: str, spec: Obj) -> None:
    if spec.get("completionMode") != "Indexed":
        detail = "requires indexed completion mode"
        causes.append(godump.invalid(path, "batch.SuccessPolicy", spec["successPolicy"], detail))
        return
    rules = spec["successPolicy"].get("rules") or ()
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        causes.append(field_required(f"{path}.rules", detail))
    if len(rules) > _MAX_RULES:
        causes.append(field_too_many(f"{path}.rules", len(rules), _MAX_RULES))
    for index, rule in enumerate(rules):
        _success_rule(causes, f"{path}.rules[{index}]", rule, spec.get("completions") or 0)


def _success_rule(causes: Causes, path: str, rule: Obj, completions: int) -> None:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        causes.append(field_required(path, detail))
    total = 0
    if indexes is not None:
        if len(indexes) > _MAX_INDEXES_TEXT:
            causes.append(field_too_long(f"{path}.succeededIndexes", _MAX_INDEXES_TEXT))
        total, problem = job_status.count_indexes(indexes, completions)
        if problem:
            detail = f"error parsing succeededIndexes: {problem}"
            causes.append(field_invalid(f"{path}.succeededIndexes", indexes, detail))
    if count is None:
        return
    here = f"{path}.succeededCount"
    checks.not_negative(causes, here, count)
    if count > completions:
        detail = f"must be less than or equal to {completions} (the number of specified completions)"
        causes.append(field_invalid(here, count, detail))
    if indexes is not None and count > total:
        detail = (
            f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        )
        causes.append(field_invalid(here, count, detail))


# --- updates --------------------------------------------------------------------------------------

_IMMUTABLE = (
    ("completionMode", ""),
    ("podFailurePolicy", "batch.PodFailurePolicy"),
    ("backoffLimitPerIndex", ""),
    ("managedBy", ""),
    ("successPolicy", "batch.SuccessPolicy"),
)


def validate_job_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    wanted, stored = new["spec"], old["spec"]
    completions = wanted.get("completions")
    if wanted.get("completionMode") != "Indexed":
        checks.immutable(causes, "spec.completions", completions, stored.get("completions"))
    elif completions not in (None, stored.get("completions"), wanted.get("parallelism")):
        detail = "can only be modified in tandem with spec.parallelism"
        causes.append(field_invalid("spec.completions", completions, detail))
    selector = wanted.get("selector")
    checks.immutable(causes, "spec.selector", selector, stored.get("selector"), "metav1.LabelSelector")
    _template_update(causes, wanted, stored, old.get("status") or {})
    for name, type_ in _IMMUTABLE:
        checks.immutable(causes, f"spec.{name}", wanted.get(name), stored.get(name), type_)
    return causes


def _template_update(causes: Causes, new: Obj, old: Obj, status: Obj) -> None:
    """Of a suspended Job without pods, resources and where its pods may run are open."""
    suspended = bool(old.get("suspend"))
    never_ran = "startTime" not in status
    stopped = any(c.get("type") == "Suspended" and c.get("status") == "True" for c in status.get("conditions") or ())
    is_open = suspended and (never_ran or stopped) and not status.get("active")
    wanted, stored = new.get("template") or {}, copy.deepcopy(old.get("template") or {})
    if is_open:
        _let_place(wanted, stored)
    if not suspended or not is_open:
        checks.immutable(causes, "spec.template", wanted, stored, "core.PodTemplateSpec")
        return
    pod, before = wanted.get("spec") or {}, stored.get("spec") or {}
    for kind in ("containers", "initContainers"):
        listed, known = pod.get(kind) or (), before.get(kind) or ()
        if len(listed) == len(known):
            for container, other in zip(listed, known, strict=True):
                if container.get("name") == other.get("name"):
                    _copy(other, container, "resources")
    checks.immutable(causes, "spec.template.spec", pod, before, "core.PodSpec")


def _let_place(wanted: Obj, stored: Obj) -> None:
    pod, before = wanted.get("spec") or {}, stored.setdefault("spec", {})
    node = (pod.get("affinity") or {}).get("nodeAffinity")
    if "affinity" in pod or "affinity" in before:
        affinity = {k: v for k, v in (before.get("affinity") or {}).items() if k != "nodeAffinity"}
        if node is not None:
            affinity["nodeAffinity"] = node
        if affinity or "affinity" in pod:
            before["affinity"] = affinity
        else:
            before.pop("affinity", None)
    for key in ("nodeSelector", "tolerations", "schedulingGates"):
        _copy(before, pod, key)
    metadata, known = wanted.get("metadata") or {}, stored.setdefault("metadata", {})
    for key in ("annotations", "labels"):
        _copy(known, metadata, key)


def _copy(target: Obj, source: Obj, key: str) -> None:
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


# --- CronJobs -------------------------------------------------------------------------------------


def validate_cron_job(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec, metadata = obj.get("spec") or {}, obj["metadata"]
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if checks.required(causes, "spec.schedule", schedule):
        checks.text(causes, "spec.schedule", schedule, cron.schedule(schedule))
        if "TZ" in schedule:
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            causes.append(field_invalid("spec.schedule", schedule, detail))
    checks.not_negative(causes, "spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if zone is not None:
        causes.extend(field_invalid("spec.timeZone", zone, problem) for problem in cron.time_zone(zone))
    policy = spec.get("concurrencyPolicy")
    checks.required_one_of(causes, "spec.concurrencyPolicy", policy, ("Allow", "Forbid", "Replace"))
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    _job_spec(causes, "spec.jobTemplate.spec", job)
    if job.get("selector") is not None:
        detail = "`selector` will be auto-generated"
        causes.append(templates.invalid_selector("spec.jobTemplate.spec.selector", job["selector"], detail))
    if job.get("manualSelector"):
        causes.append(field_not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false")))
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        checks.not_negative(causes, f"spec.{name}", spec.get(name))
    name = metadata.get("name", "")
    if "resourceVersion" not in metadata and len(name) > _MAX_CRON_NAME:
        causes.append(field_invalid("metadata.name", name, f"must be no more than {_MAX_CRON_NAME} characters"))
    return causes


def _cron_warnings(obj: Obj, old: Obj | None) -> Sequence[str]:
    found = list(warnings.hostname(obj, old))
    if old is None or obj.get("spec") != old.get("spec"):
        job = ((obj.get("spec") or {}).get("jobTemplate") or {}).get("spec") or {}
        template = job.get("template") or {}
        path = "spec.jobTemplate.spec.template."
        found.extend(warnings.of_spec(path, template.get("metadata") or {}, template.get("spec") or {}))
    return found


STRATEGIES: Mapping[str, Strategy] = {
    "cronjobs": Strategy(validate=validate_cron_job, warnings=_cron_warnings),
    "jobs": Strategy(
        prepare_create=prepare_job,
        validate=validate_job,
        validate_update=validate_job_update,
        validate_subresource=on_status(job_status.validate_update),
        warnings=warnings.of_named_template,
    ),
}
