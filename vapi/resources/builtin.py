"""All built-in rows, in the order of discovery.

The order of groups is a priority: clients take the first group for an ambiguous
short name. Within a group the preferred version stands first, within a version
the plurals are sorted. Source: golden discovery_aggregated_v2.
"""

from __future__ import annotations

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


def builtin_catalog() -> Catalog:
    """A new catalogue of the built-in kinds; run-time rows are appended in a later one."""
    return Catalog(ROWS)
