"""Rules of apps: Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions."""

from __future__ import annotations

from collections.abc import Mapping

from vapi import names
from vapi.gvk import Obj
from vapi.resources.strategy import Strategy, WriteContext

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""Annotation that stands for a field of extensions/v1beta1."""


def prepare_daemon_set(obj: Obj, _context: WriteContext) -> None:
    annotations = obj["metadata"].setdefault("annotations", {})
    if not _template_generation(annotations):
        annotations[TEMPLATE_GENERATION] = "1"


def prepare_daemon_set_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The server alone counts the template's changes."""
    if context.subresource:
        return
    before = _template_generation(old["metadata"].get("annotations") or {})
    changed = new["spec"].get("template") != old["spec"].get("template")
    new["metadata"].setdefault("annotations", {})[TEMPLATE_GENERATION] = str(before + changed)


def _template_generation(annotations: Obj) -> int:
    text = annotations.get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


STRATEGIES: Mapping[str, Strategy] = {
    "daemonsets": Strategy(prepare_create=prepare_daemon_set, prepare_update=prepare_daemon_set_update),
    "statefulsets": Strategy(name_check=names.dns_label),
}
