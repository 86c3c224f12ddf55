"""Resource names and amounts: which names a place takes, and that an amount is whole and not negative.

Source: pkg/apis/core/helper, pkg/apis/core/validation (1.37).
"""

from __future__ import annotations

from functools import lru_cache

from vapi.errors import field_invalid
from vapi.resources.strategies import checks
from vapi.resources.strategies.checks import Causes
from vapi.schema import quantity

HUGE_PAGES = "hugepages-"
_REQUESTS_HUGE_PAGES = "requests.hugepages-"
_COUNTED = frozenset(
    {
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
_COMPUTE = frozenset({"cpu", "memory", "ephemeral-storage"})
_QUOTA = (
    _COUNTED
    | _COMPUTE
    | {f"{kind}.{name}" for kind in ("requests", "limits") for name in _COMPUTE}
    | {"requests.storage"}
)
_STANDARD = _QUOTA | {"storage"}
_NOT_INTEGER = "must be an integer"


def is_huge_page(name: str) -> bool:
    return name.startswith(HUGE_PAGES)


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not checks.qualified_problem(f"requests.{name}")


def may_overcommit(name: str) -> bool:
    return is_native(name) and not is_huge_page(name)


def is_quota_resource(name: str) -> bool:
    return name in _QUOTA or name.startswith((HUGE_PAGES, _REQUESTS_HUGE_PAGES))


def is_standard(name: str) -> bool:
    return name in _STANDARD or name.startswith((HUGE_PAGES, _REQUESTS_HUGE_PAGES))


def is_whole(name: str) -> bool:
    """Whether only integers are amounts of it."""
    return name in _COUNTED or is_extended(name)


def name(causes: Causes, path: str, value: str) -> bool:
    """Whether it is a standard name or a qualified one."""
    if problem := checks.qualified_problem(value):
        causes.append(field_invalid(path, value, problem))
        return False
    if "/" not in value and not is_standard(value):
        causes.append(field_invalid(path, value, "must be a standard resource type or fully qualified"))
        return False
    return True


def container_name(causes: Causes, path: str, value: str) -> None:
    if value in _COMPUTE:
        return
    name(causes, path, value)
    if "/" not in value:
        if not is_huge_page(value):
            causes.append(field_invalid(path, value, "must be a standard resource for containers"))
    elif not is_native(value) and not is_extended(value):
        causes.append(field_invalid(path, value, "doesn't follow extended resource name standard"))


def quota_name(causes: Causes, path: str, value: str) -> None:
    name(causes, path, value)
    if "/" not in value and not is_quota_resource(value):
        causes.append(field_invalid(path, value, "must be a standard resource for quota"))


def not_negative(causes: Causes, path: str, amount: str) -> None:
    if checks.nanos(amount) < 0:
        causes.append(field_invalid(path, amount, checks.NEGATIVE))


def positive(causes: Causes, path: str, amount: str) -> bool:
    if checks.nanos(amount) > 0:
        return True
    causes.append(field_invalid(path, amount, checks.NOT_POSITIVE))
    return False


def amount(causes: Causes, path: str, resource: str, value: str) -> None:
    """Not negative, and whole where the resource is counted."""
    found = checks.nanos(value)
    if found < 0:
        causes.append(field_invalid(path, value, checks.NEGATIVE))
    if found % quantity.NANO and is_whole(resource):
        causes.append(field_invalid(path, value, _NOT_INTEGER))


@lru_cache(maxsize=64)
def is_multiple_of_page(resource: str, value: str) -> bool:
    """Of a huge page resource."""
    try:
        page = quantity.parse(resource.removeprefix(HUGE_PAGES)).nanos
    except quantity.QuantityError:
        return False
    return page > 0 and page % quantity.NANO == 0 and checks.nanos(value) % page == 0


def spelled(total_nanos: int, like: str) -> str:
    """A sum as Kubernetes prints it: in the family of suffixes of `like`."""
    if total_nanos % quantity.NANO == 0 and like.endswith("i"):
        return (
            quantity.canonical(f"{total_nanos // quantity.NANO // 1024}Ki")
            if (total_nanos // quantity.NANO % 1024 == 0)
            else str(total_nanos // quantity.NANO)
        )
    return quantity.canonical(f"{total_nanos}n")
