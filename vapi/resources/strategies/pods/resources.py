"""Requests and limits: of a container, of the pod as a whole, and the sums of the one in the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from vapi.errors import Cause, field_duplicate, field_forbidden, field_invalid, field_not_supported, field_required
from vapi.gvk import Obj
from vapi.resources.strategies import checks, quantities
from vapi.resources.strategies.checks import Causes

_POD_LEVEL = ("cpu", "memory")


def is_pod_level(name: str) -> bool:
    return name in _POD_LEVEL or quantities.is_huge_page(name)


def requirements(
    causes: Causes,
    path: str,
    resources: Obj,
    claims: Collection[str] = (),
    name_check: Callable[[Causes, str, str], None] = quantities.container_name,
) -> None:
    """`claims`: names of the pod's resourceClaims."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, limit in limits.items():
        _one(causes, f"{path}.limits[{name}]", name, limit, name_check)
    for name, request in requests.items():
        _one(causes, f"{path}.requests[{name}]", name, request, name_check)
        _request_and_limit(causes, path, name, request, limits.get(name))
    named = {*limits, *requests}
    if any(map(quantities.is_huge_page, named)) and not named.intersection(_POD_LEVEL):
        causes.append(field_forbidden(path, "HugePages require cpu or memory"))
    if resources.get("claims"):
        _claims(causes, f"{path}.claims", resources["claims"], claims)


def _one(causes: Causes, path: str, name: str, value: str, name_check: Callable[[Causes, str, str], None]) -> None:
    name_check(causes, path, name)
    quantities.amount(causes, path, name, value)
    if quantities.is_huge_page(name) and not quantities.is_multiple_of_page(name, value):
        causes.append(field_invalid(path, value, f"{value} is not positive integer multiple of {name}"))


def _request_and_limit(causes: Causes, path: str, name: str, request: str, limit: str | None) -> None:
    if limit is None:
        if not quantities.may_overcommit(name):
            detail = "Limit must be set for non overcommitable resources"
            causes.append(field_required(f"{path}.limits", detail))
        return
    if request == limit:
        return
    wanted, most = checks.nanos(request), checks.nanos(limit)
    if wanted != most and not quantities.may_overcommit(name):
        causes.append(field_invalid(f"{path}.requests", request, f"must be equal to {name} limit of {limit}"))
    elif wanted > most:
        detail = f"must be less than or equal to {name} limit of {limit}"
        causes.append(field_invalid(f"{path}.requests", request, detail))


def _claims(causes: Causes, path: str, wanted: list[Obj], known: Collection[str]) -> None:
    seen: set[str] = set()
    for index, claim in enumerate(wanted):
        here, name, request = f"{path}[{index}]", claim.get("name", ""), claim.get("request", "")
        if not checks.required(causes, here, name):
            continue
        if name in seen:
            causes.append(field_duplicate(here, name))
        else:
            key = f"{name}/{request}" if request else name
            if request:
                checks.dns_label(causes, f"{here}.request", request)
            if key in seen:
                causes.append(field_duplicate(here, key))
            elif not request and any(other.startswith(f"{name}/") for other in seen):
                causes.append(field_duplicate(here, name))
            seen.add(key)
        if name not in known:
            listed = f": {', '.join(sorted(set(known)))}" if known else " which is empty"
            detail = f'Not found: "{name}": must be one of the names in pod.spec.resourceClaims{listed}'
            causes.append(Cause("FieldValueNotFound", detail, here))


# --- the pod as a whole ---------------------------------------------------------------------------


def of_pod(causes: Causes, path: str, spec: Obj, claims: Collection[str]) -> None:
    """`spec.resources`, and that its containers fit in."""
    resources = spec["resources"]
    if (spec.get("os") or {}).get("name") == "windows":
        causes.append(field_forbidden(path, "may not be set for a windows pod"))
        return
    if resources.get("claims"):
        causes.append(field_forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    requirements(causes, path, resources, claims, _pod_level_name)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, (total, shown) in aggregate(spec, "requests").items():
        if name in requests and total > checks.nanos(requests[name]):
            detail = f"must be greater than or equal to aggregate container requests of {shown}"
            causes.append(field_invalid(f"{path}.requests[{name}]", requests[name], detail))
    for name, (total, shown) in aggregate(spec, "limits").items():
        if quantities.is_huge_page(name) and name in limits and total > checks.nanos(limits[name]):
            detail = f"must be greater than or equal to aggregate container limits of {shown}"
            causes.append(field_invalid(f"{path}.limits[{name}]", limits[name], detail))
    for index, container in enumerate(spec.get("containers") or ()):
        for name, limit in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and checks.nanos(limit) > checks.nanos(limits[name]):
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                causes.append(field_invalid(f"{path}.containers[{index}][{name}].limits", limit, detail))


def _pod_level_name(causes: Causes, path: str, value: str) -> None:
    if quantities.name(causes, path, value) and not is_pod_level(value):
        causes.append(field_not_supported(path, value, ("cpu", "hugepages-", "memory")))


def aggregate(spec: Obj, kind: str) -> Mapping[str, tuple[int, str]]:
    """Name → (sum in nanos, as text) of what containers need at once; `kind` is requests or limits.

    Init containers run one after another, before the others; those that restart go on beside them.
    """
    total: dict[str, int] = {}
    samples: dict[str, str] = {}
    for container in spec.get("containers") or ():
        _add(total, _amounts(container, kind, samples))
    sidecars: dict[str, int] = {}
    most: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(container, kind, samples)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(sidecars, own)
            own = dict(sidecars)
        else:
            own = {name: value + sidecars.get(name, 0) for name, value in own.items()}
        for name, value in own.items():
            most[name] = max(most.get(name, value), value)
    for name, value in most.items():
        total[name] = max(total.get(name, value), value)
    return {name: (value, quantities.spelled(value, samples[name])) for name, value in total.items()}


def _amounts(container: Obj, kind: str, samples: dict[str, str]) -> dict[str, int]:
    found = (container.get("resources") or {}).get(kind) or {}
    for name, value in found.items():
        samples.setdefault(name, value)
    return {name: checks.nanos(value) for name, value in found.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def complete(spec: Obj) -> None:
    """Fill in `spec.resources`, if it says anything, from what the containers say. Source: DefaultPodLevelResources."""
    resources = spec["resources"]
    requests, limits = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    if not requests and not limits:
        return
    all_limits = aggregate(spec, "limits")
    for name, (_, shown) in all_limits.items():
        if quantities.is_huge_page(name) and name not in requests:
            limits.setdefault(name, shown)
    for name, (_, shown) in aggregate(spec, "requests").items():
        if name in _POD_LEVEL:
            requests.setdefault(name, shown)
    for name, limit in limits.items():
        if is_pod_level(name):
            requests.setdefault(name, limit)
    for name in [n for n in requests if is_pod_level(n) and n not in limits and _limited_everywhere(spec, n)]:
        total, shown = all_limits[name]
        limits[name] = requests[name] if checks.nanos(requests[name]) > total else shown
    spec["resources"] = {**resources}
    if requests:
        spec["resources"]["requests"] = requests
    if limits:
        spec["resources"]["limits"] = limits


def _limited_everywhere(spec: Obj, name: str) -> bool:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return bool(containers) and all(
        name in ((container.get("resources") or {}).get("limits") or {}) for container in containers
    )
