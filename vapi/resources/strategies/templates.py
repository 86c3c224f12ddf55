"""What all kinds with a pod template share: the selector, that it fits the template, restart policy, percentages."""

from __future__ import annotations

from typing import Any

from vapi import selectors
from vapi.errors import ApiError, Cause, field_forbidden, field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods import rules

MISMATCH = "`selector` does not match template `labels`"
_ALWAYS = ("Always",)


def template_labels(template: Obj) -> Obj:
    """In the order in which Go prints a map."""
    return dict(sorted(((template.get("metadata") or {}).get("labels") or {}).items()))


def matches(selector: Obj | None, labels: Obj) -> bool | None:
    """None: it is no selector. An absent one matches nothing."""
    try:
        return selectors.label_selector_from_obj(selector).matches(labels)
    except ApiError:
        return None


def selector(causes: Causes, path: str, wanted: Obj | None, kind: str) -> None:
    """Required, well-formed and not empty."""
    if wanted is None:
        causes.append(field_required(path))
        return
    checks.label_selector(causes, path, wanted)
    if checks.is_empty_selector(wanted):
        causes.append(invalid_selector(path, wanted, f"empty selector is invalid for {kind}"))


def invalid_selector(path: str, wanted: Obj | None, detail: str) -> Cause:
    return godump.invalid(path, "metav1.LabelSelector", wanted, detail)


def selected(causes: Causes, path: str, wanted: Obj | None, template: Obj, *, when_empty: bool = False) -> bool:
    """The template has the labels that its owner looks for. False: the selector cannot be read.

    `when_empty`: an empty selector is asked too (it matches everything).
    """
    labels = template_labels(template)
    fits = matches(wanted, labels)
    if fits is None:
        return False
    if not fits and (wanted is None or when_empty or not checks.is_empty_selector(wanted)):
        causes.append(field_invalid(f"{path}.metadata.labels", labels or None, MISMATCH))
    return True


def long_running(causes: Causes, path: str, template: Obj, kind: str) -> None:
    """Pods of `kind` run until they are told otherwise."""
    pod = template.get("spec") or {}
    policy = pod.get("restartPolicy", "")
    if policy != "Always":
        causes.append(field_not_supported(f"{path}.spec.restartPolicy", policy, _ALWAYS))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        causes.append(field_forbidden(f"{path}.spec.activeDeadlineSeconds", detail))


def validate(causes: Causes, path: str, template: Obj) -> None:
    rules.template(causes, path, template)


# --- integers or percentages ----------------------------------------------------------------------


def int_or_percent(causes: Causes, path: str, value: Any) -> None:
    if isinstance(value, str):
        checks.text(causes, path, value, values.percent(value))
    else:
        checks.not_negative(causes, path, value)


def at_most_all(causes: Causes, path: str, value: Any) -> None:
    if isinstance(value, str) and not values.percent(value) and int(value[:-1]) > 100:
        causes.append(field_invalid(path, value, "must not be greater than 100%"))


def amount(value: Any) -> int:
    """The number, of a percentage the number before the sign; 0 for what is neither."""
    if not isinstance(value, str):
        return value or 0
    digits = value.removesuffix("%")
    return int(digits) if digits.isascii() and digits.isdigit() else 0


# --- status ---------------------------------------------------------------------------------------


def counts(causes: Causes, status: Obj, names: tuple[str, ...]) -> None:
    for name in names:
        checks.not_negative(causes, f"status.{name}", status.get(name))


def not_more_than(causes: Causes, status: Obj, names: tuple[str, ...], limit: str, shown: str) -> None:
    most = status.get(limit, 0)
    for name in names:
        value = status.get(name, 0)
        if value > most:
            causes.append(field_invalid(f"status.{name}", value, f"cannot be greater than {shown}"))


def not_decremented(causes: Causes, status: Obj, stored: Obj, name: str) -> None:
    before = stored.get(name)
    if before is not None and status.get(name, -1) < before:
        causes.append(field_invalid(f"status.{name}", status.get(name, 0), "cannot be decremented"))
