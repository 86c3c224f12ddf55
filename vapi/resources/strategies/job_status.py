"""What a status of a Job may say. Source: pkg/apis/batch/validation (1.37).

Kubernetes checks most of it only where the part in question changes; so does this.
"""

from __future__ import annotations

from collections.abc import Sequence

from vapi.errors import Cause, field_duplicate, field_invalid, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump
from vapi.resources.strategies.checks import Causes

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_TERMINAL = ("Failed", "Complete", "FailureTarget")


def validate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    status, stored = new.get("status") or {}, old.get("status") or {}
    for name in _COUNTS:
        checks.not_negative(causes, f"status.{name}", status.get(name))
    _uncounted(causes, status.get("uncountedTerminatedPods") or {})
    conditions, before = _true(status), _true(stored)
    _conditions(causes, status, stored, conditions, before)
    if conditions & {"Complete", "Failed"} and not before & {"Complete", "Failed"}:
        _finished(causes, status)
    _success_criteria(causes, conditions, before)
    ready = status.get("ready")
    if ready is not None and ready > status.get("active", 0) and ready != stored.get("ready"):
        causes.append(field_invalid("status.ready", ready, "cannot set more ready pods than active"))
    for kind in _TERMINAL:
        if kind in before and kind not in conditions:
            _say(causes, f"cannot disable the terminal {kind}=True condition")
    for name in ("failed", "succeeded"):
        if status.get(name, 0) < stored.get(name, 0):
            causes.append(field_invalid(f"status.{name}", status.get(name, 0), f"cannot decrease the {name} counter"))
    return causes


def _true(status: Obj) -> set[str]:
    return {c.get("type", "") for c in status.get("conditions") or () if c.get("status") == "True"}


def _say(causes: Causes, detail: str) -> None:
    causes.append(Cause("FieldValueInvalid", f"Invalid value: {detail}", "status.conditions"))


def _uncounted(causes: Causes, pods: Obj) -> None:
    seen: set[str] = set()
    for kind in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(kind) or ()):
            path = f"status.uncountedTerminatedPods.{kind}[{index}]"
            if not uid:
                causes.append(field_invalid(path, uid, "must not be empty"))
            elif uid in seen:
                causes.append(field_duplicate(path, uid))
            seen.add(uid)


def _conditions(causes: Causes, status: Obj, stored: Obj, now: set[str], before: set[str]) -> None:
    if {"Complete", "Failed"} <= now and not {"Complete", "Failed"} <= before:
        _say(causes, "cannot set Complete=True and Failed=true conditions")
    if {"Complete", "FailureTarget"} <= now and not {"Complete", "FailureTarget"} <= before:
        _say(causes, "cannot set Complete=True and FailureTarget=true conditions")
    completed = status.get("completionTime")
    if completed != stored.get("completionTime") and completed is not None and "Complete" not in now:
        detail = "cannot set completionTime when there is no Complete=True condition"
        causes.append(field_invalid("status.completionTime", completed, detail))
    if "Complete" in now and "Complete" not in before and completed is None:
        causes.append(field_required("status.completionTime", "completionTime is required for Complete jobs"))
    if "Failed" in now and "Failed" not in before and "FailureTarget" not in now:
        _say(causes, "cannot set Failed=True condition without the FailureTarget=true condition")
    if "Complete" in now and "Complete" not in before and "SuccessCriteriaMet" not in now:
        _say(causes, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition")


def _success_criteria(causes: Causes, now: set[str], before: set[str]) -> None:
    for other in ("Failed", "FailureTarget"):
        if {"SuccessCriteriaMet", other} <= now:
            _say(causes, f"cannot set SuccessCriteriaMet=True and {other}=true conditions")
    if "SuccessCriteriaMet" in before and "SuccessCriteriaMet" not in now:
        _say(causes, "cannot disable the SuccessCriteriaMet=True condition")


def _finished(causes: Causes, status: Obj) -> None:
    if status.get("active", 0) > 0:
        causes.append(field_invalid("status.active", status["active"], "active>0 is invalid for finished job"))
    if "startTime" not in status:
        causes.append(field_required("status.startTime", "startTime is required for finished job"))
    pods = status.get("uncountedTerminatedPods") or {}
    if pods.get("succeeded") or pods.get("failed"):
        detail = "must be empty for finished job"
        path = "status.uncountedTerminatedPods"
        causes.append(godump.invalid(path, "batch.UncountedTerminatedPods", pods, detail))
    if status.get("terminating", 0) > 0:
        detail = "terminating>0 is invalid for finished job"
        causes.append(field_invalid("status.terminating", status["terminating"], detail))


# --- lists of indexes -----------------------------------------------------------------------------


def count_indexes(text: str, completions: int) -> tuple[int, str]:
    """How many indexes `1,3-5` names, and "" or why it is no list of indexes below `completions`."""
    last, total = -1, 0
    for interval in text.split(",") if text else ():
        first, end, problem = _interval(interval, completions)
        if problem:
            return 0, problem
        if last >= first:
            return 0, f"non-increasing order, previous: {last}, current: {first}"
        total, last = total + end - first + 1, end
    return total, ""


def _interval(text: str, completions: int) -> tuple[int, int, str]:
    parts = text.split("-")
    if len(parts) > 2:
        why = "violates the requirement that an index interval can have at most two parts separated by '-'"
        return 0, 0, f'the fragment "{text}" {why}'
    numbers = []
    for part in parts:
        if not part.isascii() or not part.isdigit():
            return 0, 0, f'cannot convert string to integer for index: "{part}"'
        if int(part) >= completions:
            return 0, 0, f'too large index: "{part}"'
        numbers.append(int(part))
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        return 0, 0, f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}"
    return numbers[0], numbers[-1], ""
