"""Config values: settings that are more than one word: labels, tolerations, patterns, ways; text → value.

Each parse takes the text of a flag or variable in its short form, or JSON, which is what a map or list of the
configuration file becomes. Raises ValueError with the reason.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from vapi import encoding, names
from vapi.gvk import Obj


class Way(enum.StrEnum):
    """Who makes the pods of a kind of workload."""

    AUTO = "auto"  # as the kind and the host want it: `virtual`, but host for DaemonSets of a real host
    HOST = "host"  # the host's controller; the object is synced
    VIRTUAL = "virtual"  # a controller of ours; the pods are synced


class NodesMode(enum.StrEnum):
    """Which Nodes the tenant has."""

    AUTO = "auto"  # used, or with a selector all that match
    USED = "used"  # mirrors of those that run its pods
    ALL = "all"  # mirrors of all, or of all that match the selector
    INVENTED = "invented"  # as used, but saying nothing of the host's
    VIRTUAL = "virtual"  # its own: taints, labels and cordons stay with it, and its pods are placed by them


EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_PLURALS = ("deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs", "replicationcontrollers")
WORKLOADS: Mapping[str, str] = MappingProxyType(
    {spelling: plural for plural in _PLURALS for spelling in (plural, plural[:-1])}
)
"""How a kind may be written (in any case) → its resource."""


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def one_of(kind: type[enum.StrEnum]) -> Callable[[str], Any]:
    def parse(text: str) -> enum.StrEnum:
        try:
            return kind(text)
        except ValueError:
            *most, last = kind
            raise ValueError(f"must be {', '.join(most)} or {last}") from None

    return parse


def labels(text: str) -> Mapping[str, str]:
    """`key=value,key=value`, a map, or `{matchLabels: map}`; {} for nothing."""
    found = _json(text) if text.lstrip().startswith("{") else _pairs(text)
    if set(found) == {"matchLabels"} and isinstance(found["matchLabels"], dict):
        found = found["matchLabels"]
    for key, value in found.items():
        if not isinstance(value, str):
            raise ValueError(f"{key}: must be a text; only labels that are equal can be asked for")
        if problem := names.qualified_name(key) or names.label_value(value):
            raise ValueError(f"{key}={value}: {problem}")
    return MappingProxyType(dict(found))


def _pairs(text: str) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{part}: must be KEY=VALUE")
        pairs[key] = value.removeprefix("=")
    return pairs


def services_in(text: str) -> tuple[tuple[str, str], ...]:
    """(host's, tenant's) `namespace/name`: `a/b=c/d,…`, a map, or a list of `{from: …, to: …}`."""
    return _mapping(text, _place)


def services_out(text: str) -> tuple[tuple[str, str], ...]:
    """(tenant's `namespace/name`, name in the host namespace), written as of `services_in`."""
    return _mapping(text, _service_name)


def _mapping(text: str, target: Callable[[str], str]) -> tuple[tuple[str, str], ...]:
    if text.lstrip().startswith("["):
        pairs = []
        for each in _list(text):
            if not isinstance(each, dict) or set(each) != {"from", "to"}:
                raise ValueError(f"{each}: must have from and to")
            pairs.append((each["from"], each["to"]))
    else:
        pairs = list((_json(text) if text.lstrip().startswith("{") else _pairs(text)).items())
    for source, to in pairs:
        if problem := _place(str(source)) or target(str(to)):
            raise ValueError(f"{source}={to}: {problem}")
    if len({to for _, to in pairs}) < len(pairs):
        raise ValueError("a target can stand for one Service only")
    return tuple(pairs)


def _place(text: str) -> str:
    namespace, slash, name = text.partition("/")
    return (names.dns_label(namespace) or _service_name(name)) if slash else f"{text} must be NAMESPACE/NAME"


def _service_name(text: str) -> str:
    return names.dns1035_label(text)


def patterns(text: str) -> tuple[str, ...]:
    """Shell patterns of label or annotation keys: `a,b` or a list."""
    found = _list(text) if text.lstrip().startswith("[") else text.split(",")
    if not all(isinstance(each, str) for each in found):
        raise ValueError("must be a list of texts")
    return tuple(each.strip() for each in found if each.strip())


def tolerations(text: str) -> tuple[Obj, ...]:
    """`key=value:Effect,key:Effect,:Effect`, as kubectl taint writes them, or a list of such or of Tolerations."""
    found = _list(text) if text.lstrip().startswith("[") else [p for p in map(str.strip, text.split(",")) if p]
    return tuple(_toleration(each) for each in found)


_FIELDS = frozenset({"key", "operator", "value", "effect", "tolerationSeconds"})


def _toleration(given: Any) -> Obj:
    if isinstance(given, str):
        return _short_toleration(given)
    if not isinstance(given, dict) or not given.keys() <= _FIELDS:
        raise ValueError(f"{given}: a toleration has {', '.join(sorted(_FIELDS))}")
    key, operator = given.get("key", ""), given.get("operator", "Equal")
    if operator not in ("Equal", "Exists"):
        raise ValueError(f"{given}: operator must be Equal or Exists")
    if not key and operator != "Exists":
        raise ValueError(f"{given}: operator must be Exists when key is empty")
    return _checked({k: v for k, v in given.items() if v is not None}, str(given))


def _short_toleration(text: str) -> Obj:
    taint, _, effect = text.rpartition(":") if ":" in text else (text, "", "")
    key, equals, value = taint.partition("=")
    found: dict[str, Any] = {"operator": "Equal" if equals else "Exists"}
    if key:
        found["key"] = key
    if equals:
        found["value"] = value
    if effect:
        found["effect"] = effect
    return _checked(found, text)


def _checked(toleration: dict[str, Any], text: str) -> Obj:
    key, effect = toleration.get("key"), toleration.get("effect")
    if key and (problem := names.qualified_name(key)):
        raise ValueError(f"{text}: {problem}")
    if effect and effect not in EFFECTS:
        raise ValueError(f"{text}: effect must be {', '.join(EFFECTS)}")
    if re.search(r"\s", str(toleration.get("value", ""))):
        raise ValueError(f"{text}: value must not contain blanks")
    return toleration


def _json(text: str) -> dict[str, Any]:
    found = _parsed(text)
    if not isinstance(found, dict):
        raise ValueError("must be a map")
    return found


def _list(text: str) -> list[Any]:
    found = _parsed(text)
    if not isinstance(found, list):
        raise ValueError("must be a list")
    return found


def _parsed(text: str) -> Any:
    try:
        return encoding.loads(text)
    except ValueError:
        raise ValueError("is no JSON") from None
