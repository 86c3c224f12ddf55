"""Strategies: the special rules of kinds, by group and plural; a kind without an entry follows the general rules.

A module here exports pure hooks for one group and a `STRATEGIES` of its own, by
plural. The defaults of the schema room are put in by `builtin_catalog`, so that
an entry says `default` only where it wants something else instead. Source of the
rules and their words: Kubernetes 1.37.1, pkg/registry/*/strategy.go and pkg/apis/*/validation.
"""

from __future__ import annotations

from collections.abc import Mapping

from vapi.gvk import GVK
from vapi.resources.strategies import (
    admissionregistration,
    apiextensions,
    apiregistration,
    apps,
    autoscaling,
    batch,
    certificates,
    coordination,
    core,
    endpoints,
    events,
    flowcontrol,
    networking,
    node,
    policy,
    rbac,
    scheduling,
    storage,
    storagemigration,
)
from vapi.resources.strategy import Strategy

_BY_GROUP: Mapping[str, Mapping[str, Strategy]] = {
    "": core.STRATEGIES,
    "admissionregistration.k8s.io": admissionregistration.STRATEGIES,
    "apiextensions.k8s.io": apiextensions.STRATEGIES,
    "apiregistration.k8s.io": apiregistration.STRATEGIES,
    "apps": apps.STRATEGIES,
    "autoscaling": autoscaling.STRATEGIES,
    "batch": batch.STRATEGIES,
    "certificates.k8s.io": certificates.STRATEGIES,
    "coordination.k8s.io": coordination.STRATEGIES,
    "discovery.k8s.io": endpoints.DISCOVERY,
    "events.k8s.io": {
        "events": Strategy(validate=events.validate_strict, validate_update=events.validate_strict_update)
    },
    "flowcontrol.apiserver.k8s.io": flowcontrol.STRATEGIES,
    "networking.k8s.io": networking.STRATEGIES,
    "node.k8s.io": node.STRATEGIES,
    "policy": policy.STRATEGIES,
    "rbac.authorization.k8s.io": rbac.STRATEGIES,
    "scheduling.k8s.io": scheduling.STRATEGIES,
    "storage.k8s.io": storage.STRATEGIES,
    "storagemigration.k8s.io": storagemigration.STRATEGIES,
}

STRATEGIES: Mapping[tuple[str, str], Strategy] = {
    (group, plural): strategy for group, rows in _BY_GROUP.items() for plural, strategy in rows.items()
}

_GENERAL = Strategy()


def strategy_for(gvk: GVK, plural: str) -> Strategy:
    """The strategy of the kind `gvk`, served as `plural`."""
    return STRATEGIES.get((gvk.group, plural), _GENERAL)
