"""Rules of coordination.k8s.io: Leases and their candidates. Source: pkg/apis/coordination/validation (1.37)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vapi.errors import Cause, field_forbidden, field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy, WriteContext

_OLDEST = "OldestEmulationVersion"
_NUMBER = r"(?:0|[1-9][0-9]*)"
_semantic = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
).fullmatch


def prepare_lease(obj: Obj, _context: WriteContext) -> None:
    """Who leads is not coordinated by the server (its feature is off)."""
    spec = obj.get("spec") or {}
    for key in ("strategy", "preferredHolder"):
        spec.pop(key, None)


def prepare_lease_update(new: Obj, old: Obj, _context: WriteContext) -> None:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    for key in ("strategy", "preferredHolder"):
        if before.get(key) is None:
            spec.pop(key, None)


def validate_lease(obj: Obj) -> Sequence[Cause]:
    spec = obj.get("spec")
    if not spec:
        return ()
    causes: Causes = []
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        causes.append(field_invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    checks.not_negative(causes, "spec.leaseTransitions", transitions)
    if spec.get("strategy") is not None:
        _strategy(causes, spec["strategy"])
    if spec.get("preferredHolder") and not spec.get("strategy"):
        causes.append(field_forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))
    return causes


def _strategy(causes: Causes, strategy: str) -> None:
    path = "spec.strategy.strategy"  # upstream says it twice
    if "/" in strategy:
        checks.qualified(causes, path, strategy)
    elif strategy != _OLDEST:
        causes.append(field_not_supported(path, strategy, (_OLDEST,)))


def validate_candidate(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    checks.required(causes, "spec.leaseName", spec.get("leaseName"))
    emulated, built = spec.get("emulationVersion", ""), spec.get("binaryVersion", "")
    if emulated and not _semantic(emulated):
        causes.append(field_invalid("spec.emulationVersion", emulated, "must be a valid semantic version"))
    if checks.required(causes, "spec.binaryVersion", built) and not _semantic(built):
        causes.append(field_invalid("spec.binaryVersion", built, "must be a valid semantic version"))
    if emulated and built and _order(built) < _order(emulated):
        detail = "must be greater than or equal to `emulationVersion`"
        causes.append(field_invalid("spec.binaryVersion", built, detail))
    strategy = spec.get("strategy", "")
    if checks.required(causes, "spec.strategy", strategy):
        if strategy == _OLDEST and _order(emulated) == _order(""):
            detail = "must be specified when `strategy` is 'OldestEmulationVersion'"
            causes.append(field_required("spec.emulationVersion", detail))
        _strategy(causes, strategy)
    return causes


def _order(version: str) -> tuple[int, int, int, bool]:
    """Releases after what precedes them; what is no version counts as 0.0.0."""
    found = _semantic(version)
    if found is None:
        return (0, 0, 0, True)
    return (int(found[1]), int(found[2]), int(found[3]), found[4] is None)


def validate_candidate_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    checks.immutable(causes, "spec.leaseName", after.get("leaseName", ""), before.get("leaseName", ""))
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "leasecandidates": Strategy(
        name_check=values.config_key, validate=validate_candidate, validate_update=validate_candidate_update
    ),
    "leases": Strategy(prepare_create=prepare_lease, prepare_update=prepare_lease_update, validate=validate_lease),
}
