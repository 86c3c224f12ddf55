"""All built-in rows, in the order of discovery.

The order of groups is a priority: clients take the first group for an ambiguous
short name. Within a group the preferred version stands first, within a version
the plurals are sorted. Source: golden discovery_aggregated_v2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from vapi.gvk import GVK, Obj
from vapi.resources import (
    admissionregistration,
    apiextensions,
    apiregistration,
    apps,
    authentication,
    authorization,
    autoscaling,
    batch,
    certificates,
    coordination,
    core,
    discovery,
    dra,
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
from vapi.resources.resource import Catalog, Resource
from vapi.resources.strategy import Strategy
from vapi.schema.defaults import apply_defaults, default_and_complete
from vapi.schema.schemas import Schemas

ROWS: tuple[Resource, ...] = (
    *core.ROWS,
    *apiregistration.ROWS,
    *apps.ROWS,
    *events.ROWS,
    *authentication.ROWS,
    *authorization.ROWS,
    *autoscaling.ROWS,
    *batch.ROWS,
    *certificates.ROWS,
    *networking.ROWS,
    *policy.ROWS,
    *rbac.ROWS,
    *storage.ROWS,
    *admissionregistration.ROWS,
    *apiextensions.ROWS,
    *scheduling.ROWS,
    *coordination.ROWS,
    *node.ROWS,
    *discovery.ROWS,
    *dra.ROWS,
    *flowcontrol.ROWS,
    *storagemigration.ROWS,
)


def builtin_catalog(schemas: Schemas | None = None) -> Catalog:
    """A new catalogue of the built-in kinds; run-time rows are appended in a later one.

    With `schemas` a strategy's `default` also writes what Kubernetes always
    writes (`status: {}`, `creationTimestamp: null`); without, the defaults alone.
    """
    fill = apply_defaults if schemas is None else partial(default_and_complete, schemas=schemas)
    return Catalog(tuple(_defaulting(row, fill) for row in ROWS))


def _defaulting(row: Resource, fill: Callable[[GVK, Obj], None]) -> Resource:
    """`row` with the defaults of its own version, unless its strategy has hooks of its own for them."""
    if row.strategy.default is not Strategy().default:
        return row
    return replace(row, strategy=replace(row.strategy, default=partial(fill, row.gvk)))
