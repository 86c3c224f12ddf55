"""LimitRanger: the defaults that a namespace's LimitRanges give to containers, and the bounds of pods and claims.

Source: plugin/pkg/admission/limitranger (1.37).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vapi.cacher.entry import Entry
from vapi.gvk import GVR, Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo
from vapi.registry.plugins.refusal import refuse
from vapi.resources import quota_usage
from vapi.resources.quota_usage import Amounts
from vapi.resources.strategies import quantities
from vapi.schema import quantity

LIMIT_RANGES = GVR("", "v1", "limitranges")
ANNOTATION = "kubernetes.io/limit-ranger"
_CONTAINERS = (("containers", "container"), ("initContainers", "init container"))


@dataclass(frozen=True, slots=True)
class Limit:
    """One item of a LimitRange."""

    kind: str
    least: Amounts
    most: Amounts
    ratio: Amounts


@dataclass(frozen=True, slots=True)
class Limits:
    """What a LimitRange says. `requests` and `limits`: the defaults of containers, resource → quantity."""

    items: tuple[Limit, ...]
    requests: Mapping[str, str]
    limits: Mapping[str, str]


def limit_ranger(lookup: Lookup) -> tuple[AdmissionPlugin, AdmissionPlugin]:
    """Pods when they are made (their resources cannot change but by resize) and claims whenever they are written."""
    plugin = _LimitRanger(lookup)
    pods, claims = ("", "pods"), ("", "persistentvolumeclaims")
    created = AdmissionPlugin(
        "LimitRanger", frozenset({Operation.CREATE}), frozenset({pods, claims}), plugin.mutate, plugin.validate
    )
    updated = AdmissionPlugin(
        "LimitRanger",
        frozenset({Operation.UPDATE}),
        frozenset({("", "pods/resize"), claims}),
        plugin.mutate,
        plugin.validate,
    )
    return created, updated


class _LimitRanger:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._facts: EntryMemo[Limits] = EntryMemo(_facts)

    def mutate(self, request: AdmissionRequest) -> None:
        if request.row.gvr.resource != "pods" or request.obj is None or _is_ending(request):
            return
        for entry in self._ranges(request):
            _give_defaults(request.obj, self._facts.of(entry))

    def validate(self, request: AdmissionRequest) -> None:
        if request.obj is None or _is_ending(request):
            return
        for entry in self._ranges(request):
            broken = list(dict.fromkeys(_broken(request.row.gvr.resource, request.obj, self._facts.of(entry))))
            if broken:
                raise refuse(request, broken[0] if len(broken) == 1 else f"[{', '.join(broken)}]")

    def _ranges(self, request: AdmissionRequest) -> Sequence[Entry]:
        return tuple(self._lookup.entries(LIMIT_RANGES, request.namespace))


def _is_ending(request: AdmissionRequest) -> bool:
    return request.old is not None and "deletionTimestamp" in request.old["metadata"]


def _facts(obj: Obj) -> Limits:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    items = []
    for item in (obj.get("spec") or {}).get("limits") or ():
        if item.get("type") == "Container":
            requests |= item.get("defaultRequest") or {}
            limits |= item.get("default") or {}
        least, most, ratio = (_amounts(item.get(key)) for key in ("min", "max", "maxLimitRequestRatio"))
        items.append(Limit(item.get("type", ""), least, most, ratio))
    return Limits(tuple(items), requests, limits)


def _amounts(texts: Mapping[str, str] | None) -> Amounts:
    found = texts or {}
    return {name: (quantity.parse(str(found[name])).nanos, str(found[name])) for name in sorted(found)}


# --- defaults -------------------------------------------------------------------------------------------


def _give_defaults(pod: Obj, limits: Limits) -> None:
    """Into the containers, with an annotation that tells of it."""
    told: list[str] = []
    for field, word in _CONTAINERS:
        for container in pod["spec"].get(field) or ():
            for key, verb, defaults in (("requests", "request", limits.requests), ("limits", "limit", limits.limits)):
                resources = container.get("resources") or {}
                missing = sorted(defaults.keys() - (resources.get(key) or {}).keys())
                if missing:
                    given = {**(resources.get(key) or {}), **{name: defaults[name] for name in missing}}
                    container["resources"] = {**resources, key: given}
                    told.append(f"{', '.join(missing)} {verb} for {word} {container['name']}")
    if told:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, ANNOTATION: f"LimitRanger plugin set: {'; '.join(told)}"}


# --- bounds ---------------------------------------------------------------------------------------------


def _broken(resource: str, obj: Obj, limits: Limits) -> Iterator[str]:
    for item in limits.items:
        if resource == "persistentvolumeclaims":
            if item.kind == "PersistentVolumeClaim":
                asked = quota_usage.amounts_of(obj["spec"], "requests")
                yield from _each(item, asked, {}, item.least, _too_little)
                yield from _each(item, asked, {}, item.most, _asks_too_much)
            continue
        for requests, wanted in _bounded(item.kind, obj["spec"]):
            yield from _each(item, requests, wanted, item.least, _too_little)
            yield from _each(item, requests, wanted, item.most, _too_much)
            yield from _each(item, requests, wanted, item.ratio, _too_far_apart)


def _bounded(kind: str, spec: Obj) -> Iterator[tuple[Amounts, Amounts]]:
    """(requests, limits) of each container, or of the pod."""
    if kind == "Container":
        for field, _ in _CONTAINERS:
            for container in spec.get(field) or ():
                yield quota_usage.amounts_of(container, "requests"), quota_usage.amounts_of(container, "limits")
    elif kind == "Pod":
        alone = {k: v for k, v in spec.items() if k != "overhead"}
        yield quota_usage.total(alone, "requests"), quota_usage.total(alone, "limits")


Amount = tuple[int, str]
Rule = Callable[[str, str, Amount, Amount | None, Amount | None], str]
"""(kind, resource, bound, request, limit) → what is wrong, or ""."""


def _each(item: Limit, requests: Amounts, limits: Amounts, bounds: Amounts, rule: Rule) -> Iterator[str]:
    for name, bound in bounds.items():
        wrong = rule(item.kind, name, bound, requests.get(name), limits.get(name))
        if wrong:
            yield wrong


def _text(amount: Amount) -> str:
    return quantities.spelled(*amount)


def _too_little(kind: str, name: str, bound: Amount, request: Amount | None, limit: Amount | None) -> str:
    text = f"minimum {name} usage per {kind} is {_text(bound)}"
    if request is None:
        return f"{text}.  No request is specified"
    if request[0] < bound[0]:
        return f"{text}, but request is {_text(request)}"
    if limit is not None and limit[0] < bound[0]:
        return f"{text}, but limit is {_text(limit)}"
    return ""


def _too_much(kind: str, name: str, bound: Amount, request: Amount | None, limit: Amount | None) -> str:
    text = f"maximum {name} usage per {kind} is {_text(bound)}"
    if limit is None:
        return f"{text}.  No limit is specified"
    if limit[0] > bound[0]:
        return f"{text}, but limit is {_text(limit)}"
    if request is not None and request[0] > bound[0]:
        return f"{text}, but request is {_text(request)}"
    return ""


def _asks_too_much(kind: str, name: str, bound: Amount, request: Amount | None, _limit: Amount | None) -> str:
    """Of claims, which have no limits."""
    text = f"maximum {name} usage per {kind} is {_text(bound)}"
    if request is None:
        return f"{text}.  No request is specified"
    return f"{text}, but request is {_text(request)}" if request[0] > bound[0] else ""


def _too_far_apart(kind: str, name: str, bound: Amount, request: Amount | None, limit: Amount | None) -> str:
    text = f"{name} max limit to request ratio per {kind} is {_text(bound)}"
    if request is None or request[0] == 0:
        return f"{text}, but no request is specified or request is 0"
    if limit is None or limit[0] == 0:
        return f"{text}, but no limit is specified or limit is 0"
    # the numbers are in 10⁻⁹: limit / request > bound
    if limit[0] * quantity.NANO > bound[0] * request[0]:
        return f"{text}, but provided ratio is {limit[0] / request[0]:f}"
    return ""
