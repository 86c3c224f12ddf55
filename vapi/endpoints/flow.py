"""Flow: which FlowSchema a request belongs to, told in two headers as kube-apiserver tells it.

Nothing is queued or refused by it: one process serves requests as they come, and the body budget bounds them. The
headers are what clients and tests read. Source: apiserver util/flowcontrol (rule.go, apf_filter.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vapi.auth.bounded import BoundedDict
from vapi.authorizer import User
from vapi.endpoints.request import RequestInfo
from vapi.endpoints.routing import authorized_verb
from vapi.gvk import GVR, Obj
from vapi.registry.registry import Registry

SCHEMAS = GVR("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
LEVELS = GVR("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")
REMEMBERED = 4_096
"""Answers kept: (user, groups) × what is asked for."""
DEFAULT_PRECEDENCE = 1_000
LONG_RUNNING = frozenset({"attach", "exec", "log", "portforward", "proxy"})
"""Subresources that are not classified. Source: genericfilters.BasicLongRunningRequestCheck."""

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as rules see it; `resource` with its subresource, or `path` where it is for no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class _Schema:
    rules: Sequence[Mapping[str, Any]]
    headers: Headers


class FlowSchemas:
    """Follows both kinds from `attach` on. Runs on the loop, never awaits."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._schemas: list[_Schema] | None = None
        self._answers: BoundedDict[tuple[str, tuple[str, ...], Asked], Headers] = BoundedDict(REMEMBERED)

    def attach(self, registry: Registry) -> Callable[[], None]:
        self._registry = registry
        detach = [registry.on_change(gvr, lambda _: self._forget()) for gvr in (SCHEMAS, LEVELS)]

        def stop() -> None:
            for off in detach:
                off()

        return stop

    def headers(self, user: User, info: RequestInfo) -> Headers:
        """() for what is not classified."""
        if info.subresource in LONG_RUNNING and info.resource_request:
            return ()
        if info.resource_request:
            resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
            asked = Asked(authorized_verb(info), info.group, resource, info.namespace)
        else:
            asked = Asked(info.verb, path=info.path)
        key = (user.name, tuple(user.groups), asked)
        found = self._answers.get(key)
        return found if found is not None else self._answers.remember(key, self._classified(user, asked))

    def _forget(self) -> None:
        self._schemas = None
        self._answers.clear()

    def _classified(self, user: User, asked: Asked) -> Headers:
        if self._schemas is None:
            self._schemas = list(self._read())
        for schema in self._schemas:
            if any(_matches(rule, user, asked) for rule in schema.rules):
                return schema.headers
        return ()

    def _read(self) -> Iterable[_Schema]:
        """In the order in which they are asked; those whose level is missing are passed over."""
        if self._registry is None:
            return
        levels = {entry.name: entry.uid for entry in self._registry.entries(LEVELS)}
        for obj in sorted((entry.obj() for entry in self._registry.entries(SCHEMAS)), key=_order):
            level = levels.get(obj["spec"]["priorityLevelConfiguration"]["name"])
            if level is not None:
                told = (
                    ("X-Kubernetes-Pf-Flowschema-Uid", obj["metadata"]["uid"]),
                    ("X-Kubernetes-Pf-Prioritylevel-Uid", level),
                )
                yield _Schema(obj["spec"].get("rules") or (), told)


def _order(schema: Obj) -> tuple[int, str]:
    return schema["spec"].get("matchingPrecedence", DEFAULT_PRECEDENCE), schema["metadata"]["name"]


def _matches(rule: Mapping[str, Any], user: User, asked: Asked) -> bool:
    if not any(_is_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if asked.path:
        return any(_is_path(each, asked) for each in rule.get("nonResourceRules") or ())
    return any(_is_resource(each, asked) for each in rule.get("resourceRules") or ())


def _is_subject(subject: Mapping[str, Any], user: User) -> bool:
    match subject["kind"]:
        case "User":
            return subject["user"]["name"] in ("*", user.name)
        case "Group":
            name = subject["group"]["name"]
            return name == "*" or name in user.groups
        case "ServiceAccount":
            account = subject["serviceAccount"]
            prefix = f"system:serviceaccount:{account['namespace']}:"
            return user.name.startswith(prefix) if account["name"] == "*" else user.name == prefix + account["name"]
    return False


def _is_resource(rule: Mapping[str, Any], asked: Asked) -> bool:
    if not (
        _has(rule.get("verbs"), asked.verb)
        and _has(rule.get("apiGroups"), asked.group)
        and _has(rule.get("resources"), asked.resource)
    ):
        return False
    if not asked.namespace:
        return bool(rule.get("clusterScope"))
    return _has(rule.get("namespaces"), asked.namespace)


def _is_path(rule: Mapping[str, Any], asked: Asked) -> bool:
    if not _has(rule.get("verbs"), asked.verb):
        return False
    return any(
        url in ("*", asked.path) or (url.endswith("*") and asked.path.startswith(url.rstrip("*")))
        for url in rule.get("nonResourceURLs") or ()
    )


def _has(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and ("*" in values or value in values)
