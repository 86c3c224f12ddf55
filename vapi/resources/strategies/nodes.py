"""Rules of Nodes: taints, and what stays as it was once it is set.

Source: pkg/apis/core/validation ValidateNode, ValidateNodeUpdate; pkg/registry/core/node.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from vapi.errors import Cause, field_forbidden, field_invalid
from vapi.gvk import Obj
from vapi.resources.strategies import checks, godump, quantities, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategies.pods.scheduling import TAINT_EFFECTS
from vapi.resources.strategy import WriteContext

_CIDR_PAIR = 2


def prepare_create(obj: Obj, _context: WriteContext) -> None:
    """A kubelet registers with its status, which is kept (`status_on_create`); the dynamic configuration is gone."""
    (obj.get("spec") or {}).pop("configSource", None)
    (obj.get("status") or {}).pop("config", None)


def validate(obj: Obj) -> list[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    _taints(causes, spec)
    _resources(causes, obj)
    _features(causes, obj)
    _cidrs(causes, spec.get("podCIDRs") or ())
    return causes


def _taints(causes: Causes, spec: Obj) -> None:
    # upstream looks for them below metadata
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        path = f"metadata.taints[{index}]"
        key, effect, value = taint.get("key", ""), taint.get("effect", ""), taint.get("value", "")
        checks.qualified(causes, f"{path}.key", key)
        checks.text(causes, f"{path}.value", value, checks.label_value_problem(value))
        checks.required_one_of(causes, f"{path}.effect", effect, TAINT_EFFECTS)
        if (key, effect) in seen:
            causes.append(godump.duplicate(path, "core.Taint", taint, "taints must be unique by key and effect pair"))
        seen.add((key, effect))


def _resources(causes: Causes, obj: Obj) -> None:
    status = obj.get("status") or {}
    for field in ("capacity", "allocatable"):
        for name, amount in (status.get(field) or {}).items():
            quantities.amount(causes, f"status.{field}.{name}", name, amount)


def _features(causes: Causes, obj: Obj) -> None:
    listed = (obj.get("status") or {}).get("declaredFeatures") or ()
    for index, (before, here) in enumerate(itertools.pairwise(listed), 1):
        path = f"status.declaredFeatures[{index}]"
        if before == here:
            checks.unique(causes, path, here, {here})
        elif before > here:
            causes.append(field_invalid(path, here, "list must be sorted alphabetically"))


def _cidrs(causes: Causes, cidrs: Sequence[str]) -> None:
    for index, cidr in enumerate(cidrs):
        checks.cidr(causes, f"spec.podCIDRs[{index}]", cidr)
    if len(cidrs) < _CIDR_PAIR:
        return
    families = {network.version for each in cidrs if (network := values.parse_cidr(each))}
    if len(cidrs) > _CIDR_PAIR or len(families) < _CIDR_PAIR:
        causes.append(field_invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"))


def validate_update(new: Obj, old: Obj) -> list[Cause]:
    causes: Causes = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    _resources(causes, new)
    _features(causes, new)
    _addresses(causes, (new.get("status") or {}).get("addresses") or ())
    if before.get("podCIDRs") and after.get("podCIDRs") != before["podCIDRs"]:
        detail = 'node updates may not change podCIDR except from "" to valid'
        causes.append(field_forbidden("spec.podCIDRs", detail))
    if before.get("providerID") and after.get("providerID") != before["providerID"]:
        done = "modified" if after.get("providerID") else "cleared"
        causes.append(field_invalid("spec.providerID", None, f"field cannot be {done} once set"))
    _taints(causes, after)
    if after.get("externalID") != before.get("externalID"):
        causes.append(field_forbidden("spec.externalID", "may not be updated"))
    return causes


def _addresses(causes: Causes, addresses: Sequence[Obj]) -> None:
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(addresses):
        pair = (address.get("type", ""), address.get("address", ""))
        if pair in seen:
            causes.append(godump.duplicate(f"status.addresses[{index}]", "core.NodeAddress", address))
        seen.add(pair)


def validate_subresource(_subresource: str, new: Obj, old: Obj) -> list[Cause]:
    return validate_update(new, old)
