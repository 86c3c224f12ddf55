"""What a Job's pod failure policy and success policy say. Pure.

Source: pkg/controller/job/{pod_failure_policy,success_policy}.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vapi.control import job_indexes
from vapi.control.job_indexes import Indexes
from vapi.gvk import Obj

FAIL_JOB, FAIL_INDEX, IGNORE, COUNT = "FailJob", "FailIndex", "Ignore", "Count"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a pod ended: (container, exit code) of those that ended, and its conditions as (type, status)."""

    namespace: str
    pod: str
    exits: tuple[tuple[str, int], ...] = ()
    init_exits: tuple[tuple[str, int], ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """`action`: "" where no rule matched. `message`: why the whole Job fails."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        """Towards the backoff limit."""
        return self.action != IGNORE


def judge(policy: Obj | None, ending: Ending) -> Judgement:
    """The first rule that matches."""
    for index, rule in enumerate((policy or {}).get("rules") or ()):
        action = rule["action"]
        if rule.get("onExitCodes"):
            found = _matching_exit(rule["onExitCodes"], ending.exits) or _matching_exit(
                rule["onExitCodes"], ending.init_exits
            )
            if found is None:
                continue
            name, code = found
            where = f"Container {name} for pod {ending.namespace}/{ending.pod} failed with exit code {code}"
        else:
            kind = _matching_condition(rule.get("onPodConditions") or (), ending.conditions)
            if kind is None:
                continue
            where = f"Pod {ending.namespace}/{ending.pod} has condition {kind}"
        return Judgement(action, f"{where} matching {action} rule at index {index}" if action == FAIL_JOB else "")
    return Judgement()


def _matching_exit(wanted: Obj, exits: Iterable[tuple[str, int]]) -> tuple[str, int] | None:
    for name, code in exits:
        if code == 0 or wanted.get("containerName", name) != name:
            continue
        if (code in (wanted.get("values") or ())) == (wanted["operator"] == "In"):
            return name, code
    return None


def _matching_condition(patterns: Iterable[Obj], conditions: Iterable[tuple[str, str]]) -> str | None:
    wanted = {(each["type"], each.get("status", "True")) for each in patterns}
    return next((kind for kind, status in conditions if (kind, status) in wanted), None)


def success(policy: Obj | None, completions: int, succeeded: Indexes) -> str:
    """Which rule is met, in words; "": none."""
    if not succeeded.intervals:
        return ""
    for index, rule in enumerate((policy or {}).get("rules") or ()):
        count = rule.get("succeededCount")
        if rule.get("succeededIndexes") is None:
            met = count is not None and len(succeeded) >= count
        else:
            required = job_indexes.parse(rule["succeededIndexes"], completions)
            common = required.common(succeeded)
            met = bool(required.intervals) and (common == len(required) or (count is not None and common >= count))
        if met:
            return f"Matched rules at index {index}"
    return ""
