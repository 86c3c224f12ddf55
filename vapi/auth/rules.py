"""PolicyRules as sets: what one allows, whether some cover others, how they are printed. Pure.

Source: kubernetes pkg/apis/rbac/v1 (evaluation_helpers.go), component-helpers
auth/rbac/validation, pkg/registry/rbac/validation (policy_compact.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vapi.gvk import Obj


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One compiled rule. Empty `names` means all names; `prefixes` are the URLs that ended in `*`, without it."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: frozenset[str]
    prefixes: tuple[str, ...]

    def matches_resource(self, verb: str, group: str, resource: str, subresource: str) -> bool:
        """All but the name."""
        return (
            (verb in self.verbs or "*" in self.verbs)
            and (group in self.groups or "*" in self.groups)
            and self.has_resource(resource, subresource)
        )

    def has_resource(self, resource: str, subresource: str) -> bool:
        if "*" in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources

    def matches_path(self, verb: str, path: str) -> bool:
        if verb not in self.verbs and "*" not in self.verbs:
            return False
        return path in self.urls or path.startswith(self.prefixes)


def compile_rules(rules: Sequence[Obj] | None) -> tuple[Rule, ...]:
    """Of a role's `rules`; null is none."""
    return tuple(map(compile_rule, rules or ()))


def compile_rule(rule: Obj) -> Rule:
    urls = rule.get("nonResourceURLs") or ()
    return Rule(
        verbs=frozenset(rule.get("verbs") or ()),
        groups=frozenset(rule.get("apiGroups") or ()),
        resources=frozenset(rule.get("resources") or ()),
        names=frozenset(rule.get("resourceNames") or ()),
        urls=frozenset(urls),
        prefixes=tuple(url.rstrip("*") for url in urls if url.endswith("*")),
    )


def uncovered(owned: Sequence[Rule], wanted: Iterable[Obj]) -> list[Obj]:
    """The parts of `wanted`, one verb, resource, name each, that no owned rule covers."""
    return [part for rule in wanted for part in break_down(rule) if not any(_covers(own, part) for own in owned)]


def break_down(rule: Obj) -> list[Obj]:
    """An equivalent list of rules with at most one verb, resource and name each."""
    verbs = rule.get("verbs") or ()
    names = rule.get("resourceNames") or ()
    parts: list[Obj] = []
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                part = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                parts.extend([{**part, "resourceNames": [name]} for name in names] if names else [part])
    for url in rule.get("nonResourceURLs") or ():
        parts.extend({"verbs": [verb], "nonResourceURLs": [url]} for verb in verbs)
    return parts


def _covers(own: Rule, part: Obj) -> bool:
    """Whether a rule covers an atomic one."""
    verb = part["verbs"][0]
    if verb not in own.verbs and "*" not in own.verbs:
        return False
    if "nonResourceURLs" in part:
        url: str = part["nonResourceURLs"][0]
        return url in own.urls or url.startswith(own.prefixes)
    group = part["apiGroups"][0]
    if group not in own.groups and "*" not in own.groups:
        return False
    resource, _, subresource = part["resources"][0].partition("/")
    if not own.has_resource(resource, subresource):
        return False
    if not own.names:
        return True
    return bool(part.get("resourceNames")) and part["resourceNames"][0] in own.names


def compact(parts: Iterable[Obj]) -> list[Obj]:
    """Atomic resource rules that differ by verb only, joined; the rest as it is."""
    joined: dict[tuple[str, str, str | None], Obj] = {}
    others: list[Obj] = []
    for part in parts:
        if "nonResourceURLs" in part:
            others.append(part)
            continue
        names = part.get("resourceNames")
        key = (part["apiGroups"][0], part["resources"][0], names[0] if names else None)
        known = joined.get(key)
        if known is None:
            joined[key] = {**part, "verbs": list(part["verbs"])}
        else:
            known["verbs"].extend(part["verbs"])
    return [*others, *joined.values()]


_PRINTED = (
    ("apiGroups", "APIGroups"),
    ("resources", "Resources"),
    ("nonResourceURLs", "NonResourceURLs"),
    ("resourceNames", "ResourceNames"),
    ("verbs", "Verbs"),
)


def describe(rule: Obj) -> str:
    """As an escalation error prints it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`."""
    parts = [f"{title}:{quoted(rule[key])}" for key, title in _PRINTED if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def quoted(values: Iterable[str]) -> str:
    """Strings as Go prints a []string with %q: `["a" "b"]`."""
    return "[" + " ".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "]"
