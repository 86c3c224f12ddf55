"""Rows: which kinds of workload go to the host, and which controllers of ours then have nothing to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from sync.translator import Translator
from sync.translators import (
    cronjobs,
    daemonsets,
    deployments,
    jobs,
    replicasets,
    replicationcontrollers,
    statefulsets,
)

ROWS: Mapping[str, Translator] = MappingProxyType(
    {
        row.resource.resource: row
        for row in (
            deployments.TRANSLATOR,
            replicasets.TRANSLATOR,
            replicationcontrollers.TRANSLATOR,
            statefulsets.TRANSLATOR,
            daemonsets.TRANSLATOR,
            jobs.TRANSLATOR,
            cronjobs.TRANSLATOR,
        )
    }
)

_CONTROLLERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "deployments": ("deployment-controller",),
        "replicasets": ("replicaset-controller",),
        "replicationcontrollers": ("replicationcontroller-controller",),
        "statefulsets": ("statefulset-controller",),
        "daemonsets": ("daemonset-controller",),
        "jobs": ("job-controller", "job-orphan-pods"),
        "cronjobs": ("cronjob-controller",),
    }
)
"""Resource → the controllers that work on it, by the names of kube-controller-manager."""

MADE_BY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "deployments": ("pods", "replicasets"),
        "replicasets": ("pods",),
        "replicationcontrollers": ("pods",),
        "statefulsets": ("pods", "controllerrevisions", "persistentvolumeclaims"),
        "daemonsets": ("pods", "controllerrevisions"),
        "jobs": ("pods",),
        "cronjobs": ("pods", "jobs"),
    }
)
"""What the host's controllers make of each kind of workload."""


def rows(kinds: Iterable[str]) -> tuple[Translator, ...]:
    """Of these resources, in the order of the table."""
    wanted = set(kinds)
    return tuple(row for kind, row in ROWS.items() if kind in wanted)


def idle_controllers(kinds: Iterable[str]) -> Collection[str]:
    """Those that are left out of ours when the host's do their work."""
    return frozenset(name for kind in kinds for name in _CONTROLLERS[kind])
