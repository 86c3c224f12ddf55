"""Where a pod may run: affinity, spreading, a fixed node and what is enforced, as the host must be asked for them.

On the host all tenant namespaces are one: a selector gets the label of the
virtual cluster and of the namespaces it means, and a namespaceSelector becomes
labels that every pod carries of its Namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sync import metadata as md
from sync import names
from sync.translator import Context
from vapi import selectors
from vapi.gvk import Obj

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_FOLLOWED = frozenset({"matchLabelKeys", "mismatchLabelKeys"})


def label_selector(selector: Obj | None, context: Context, namespace: str) -> Obj | None:
    """A selector over pods of one tenant namespace; None (matches nothing) stays None."""
    if selector is None:
        return None
    return {**selector, "matchLabels": context.selector_labels(selector.get("matchLabels"), namespace)}


def pod_affinity(affinity: Obj, context: Context, namespace: str) -> Obj:
    """podAffinity or podAntiAffinity with each of its terms translated."""
    translated = dict(affinity)
    if affinity.get(_REQUIRED):
        translated[_REQUIRED] = [_term(t, context, namespace) for t in affinity[_REQUIRED]]
    if affinity.get(_PREFERRED):
        translated[_PREFERRED] = [
            {**weighted, "podAffinityTerm": _term(weighted["podAffinityTerm"], context, namespace)}
            for weighted in affinity[_PREFERRED]
        ]
    return translated


def _term(term: Obj, context: Context, namespace: str) -> Obj:
    """One PodAffinityTerm. Namespaces and a namespaceSelector together mean their union, which no labels can say:
    the namespaces that fit now are listed (a term cannot change later anyway).
    """
    merged = _without_merged_keys(term)
    translated = {k: v for k, v in merged.items() if k not in ("namespaces", "namespaceSelector", "labelSelector")}
    selector: Obj | None = term.get("labelSelector")
    if selector is None:
        return translated
    listed: Sequence[str] = term.get("namespaces") or ()
    by_labels: Obj | None = term.get("namespaceSelector")
    match_labels = {k: v for k, v in (selector.get("matchLabels") or {}).items() if not md.reserved(k)}
    match_labels[md.MANAGED_BY] = context.cluster
    expressions = list(selector.get("matchExpressions") or ())
    if by_labels is None:
        expressions += _in_namespaces(listed or (namespace,))
    elif not listed:
        match_labels |= {names.namespace_label(k): v for k, v in (by_labels.get("matchLabels") or {}).items()}
        expressions += [{**e, "key": names.namespace_label(e["key"])} for e in by_labels.get("matchExpressions") or ()]
    elif not _is_empty(by_labels):
        expressions += _in_namespaces({*listed, *_fitting(by_labels, context.namespaces())})
    translated["labelSelector"] = {"matchLabels": match_labels}
    if expressions:
        translated["labelSelector"]["matchExpressions"] = expressions
    return translated


def _is_empty(selector: Obj) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def _in_namespaces(namespaces: Iterable[str]) -> list[Obj]:
    return [{"key": md.NAMESPACE, "operator": "In", "values": sorted(namespaces)}]


def _fitting(selector: Obj, namespaces: Iterable[tuple[str, Mapping[str, str]]]) -> Iterable[str]:
    matches = selectors.label_selector_from_obj(selector).matches
    return (name for name, labels in namespaces if matches(labels))


def spread(constraints: Sequence[Obj], context: Context, namespace: str) -> list[Obj]:
    """topologySpreadConstraints: they count only pods of the pod's own namespace."""
    return [
        {**_without_merged_keys(c), "labelSelector": label_selector(c["labelSelector"], context, namespace)}
        if c.get("labelSelector") is not None
        else c
        for c in constraints
    ]


def _without_merged_keys(term: Obj) -> Obj:
    """Without the keys of `matchLabelKeys` and `mismatchLabelKeys` that its selector has already.

    Our API server has put them there when the pod was created, as any does; a host that finds a key in both refuses
    the pod ("exists in both matchLabelKeys and labelSelector"). In a template they are still to be followed.
    """
    there = {e["key"] for e in (term.get("labelSelector") or {}).get("matchExpressions") or ()}
    kept = dict(term)
    for field in _FOLLOWED & term.keys():
        kept[field] = [key for key in term[field] or () if key not in there]
        if not kept[field]:
            del kept[field]
    return kept


def on_node(affinity: Obj, node_name: str) -> Obj:
    """The affinity with one node required."""
    return _required(affinity, "matchFields", {"key": "metadata.name", "operator": "In", "values": [node_name]})


def _required(affinity: Obj, kind: str, requirement: Obj) -> Obj:
    """With one more requirement in each of the terms, since any one of them would do.

    A term without parts matches no node, and must not begin to match one.
    """
    node_affinity: dict[str, Any] = dict(affinity.get("nodeAffinity") or {})
    given = node_affinity.get(_REQUIRED)
    terms = [{}] if given is None else given.get("nodeSelectorTerms") or ()
    node_affinity[_REQUIRED] = {
        "nodeSelectorTerms": [
            {**t, kind: [*(t.get(kind) or ()), requirement]} if given is None or _has_parts(t) else t for t in terms
        ]
    }
    return {**affinity, "nodeAffinity": node_affinity}


def _has_parts(term: Obj) -> bool:
    return bool(term.get("matchExpressions") or term.get("matchFields"))


def enforce(spec: Obj, context: Context) -> Obj:
    """A pod's spec, or a template's, with the node selector and the tolerations of the whole virtual cluster.

    Where the tenant's nodeSelector asks for another value of an enforced key, both are required: no node has both,
    and the pod waits, as in a cluster without such nodes, instead of going where it was not to go.
    """
    enforced: dict[str, Any] = dict(spec)
    if context.node_selector:
        asked: Mapping[str, str] = spec.get("nodeSelector") or {}
        enforced["nodeSelector"] = {**asked, **context.node_selector}
        for key, value in asked.items():
            if context.node_selector.get(key, value) != value:
                requirement = {"key": key, "operator": "In", "values": [value]}
                enforced["affinity"] = _required(enforced.get("affinity") or {}, "matchExpressions", requirement)
    if context.tolerations:
        own: Sequence[Obj] = spec.get("tolerations") or ()
        enforced["tolerations"] = [*own, *(t for t in context.tolerations if t not in own)]
    return enforced
