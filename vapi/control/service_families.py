"""IP families of a Service: what is filled in, and what a cluster with these families refuses. Pure.

Source: pkg/registry/core/service/storage/alloc.go initIPFamilyFields.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from vapi import errors
from vapi.errors import Cause
from vapi.gvk import GVK, Obj

SERVICE = GVK("", "v1", "Service")
EXTERNAL_NAME = "ExternalName"
NONE = "None"
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_POLICY = "spec.ipFamilyPolicy"


def family_of(address: str) -> str:
    """Raises ValueError."""
    return f"IPv{ipaddress.ip_address(address).version}"


def fill_families(service: Obj, old: Obj | None, configured: Sequence[str]) -> None:
    """Set ipFamilyPolicy and ipFamilies of a Service that is no ExternalName. Raises ApiError 422.

    `configured`: the cluster's families, the default one first.
    """
    spec = service["spec"]
    before = (old or {}).get("spec") or {}
    if old is not None and _is_unchanged_preference(spec, before):
        return
    selectorless = _is_headless(spec) and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or (REQUIRE if selectorless else SINGLE)
    causes = _reduced(spec, before) if old is not None else []
    causes += _too_many_for_single(spec)
    causes += _infer(spec, configured)
    _refuse(service, causes)
    families = spec.setdefault("ipFamilies", [])
    if selectorless:
        if not families:
            families.append(configured[0])
        if len(families) == 1 and spec["ipFamilyPolicy"] != SINGLE:
            families.append(_OTHER[families[0]])
        return
    _refuse(service, _not_configured(spec, configured))
    if not families:
        families.append(configured[0])
    if len(families) == 1 and spec["ipFamilyPolicy"] != SINGLE and len(configured) == 2:
        families.append(_OTHER[families[0]])


def _is_headless(spec: Obj) -> bool:
    first: str = (spec.get("clusterIPs") or [spec.get("clusterIP", "")])[0]
    return first == NONE


def _is_unchanged_preference(spec: Obj, before: Obj) -> bool:
    """PreferDualStack follows no change of the cluster by itself."""
    return (
        spec.get("type") == before.get("type") != EXTERNAL_NAME
        and spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == PREFER
        and all((spec.get(key) or []) == (before.get(key) or []) for key in ("clusterIPs", "ipFamilies"))
    )


def _reduced(spec: Obj, before: Obj) -> list[Cause]:
    """Going to one family: said by the policy alone, or refused."""
    names = (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family"))
    if spec["ipFamilyPolicy"] == SINGLE:
        for key, _ in names:
            if len(spec.get(key) or ()) > 1 and spec[key] == before.get(key):
                spec[key] = spec[key][:1]
        return []
    return [
        errors.field_invalid(_POLICY, spec["ipFamilyPolicy"], f"must be 'SingleStack' to release the secondary {what}")
        for key, what in names
        if spec.get(key) and len(spec[key]) < len(before.get(key) or ())
    ]


def _too_many_for_single(spec: Obj) -> list[Cause]:
    if spec["ipFamilyPolicy"] != SINGLE:
        return []
    why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    names = (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
    return [
        errors.field_invalid(_POLICY, SINGLE, why.format(what)) for key, what in names if len(spec.get(key) or ()) == 2
    ]


def _infer(spec: Obj, configured: Sequence[str]) -> list[Cause]:
    """Families from requested addresses."""
    causes = []
    families = spec.setdefault("ipFamilies", [])
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address == NONE:
            break
        if index < len(families):
            continue
        family = family_of(address)
        if family in configured:
            families.append(family)
        else:
            path = f"spec.clusterIPs[{index}]"
            why = f"{family} is not configured on this cluster"
            causes.append(errors.field_invalid(path, spec["clusterIPs"], why))
    return causes


def _not_configured(spec: Obj, configured: Sequence[str]) -> list[Cause]:
    causes = []
    if spec["ipFamilyPolicy"] == REQUIRE and len(configured) < 2:
        why = "this cluster is not configured for dual-stack services"
        causes.append(errors.field_invalid(_POLICY, REQUIRE, why))
    causes += [
        errors.field_invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(spec["ipFamilies"])
        if family not in configured
    ]
    return causes


def _refuse(service: Obj, causes: Sequence[Cause]) -> None:
    if causes:
        raise errors.invalid(SERVICE, service["metadata"]["name"], causes)
