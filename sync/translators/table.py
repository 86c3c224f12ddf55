"""The table of translators: adding a kind adds its row here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from sync.translator import Translator
from sync.translators import (
    configmaps,
    endpoints,
    endpointslices,
    ingresses,
    networkpolicies,
    persistentvolumeclaims,
    poddisruptionbudgets,
    pods,
    priorityclasses,
    secrets,
    services,
)
from vapi.gvk import GVR

TRANSLATORS: tuple[Translator, ...] = (
    configmaps.TRANSLATOR,
    secrets.TRANSLATOR,
    services.TRANSLATOR,
    endpoints.TRANSLATOR,
    endpointslices.TRANSLATOR,
    persistentvolumeclaims.TRANSLATOR,
    pods.TRANSLATOR,
    ingresses.TRANSLATOR,
    networkpolicies.TRANSLATOR,
    poddisruptionbudgets.TRANSLATOR,
    priorityclasses.TRANSLATOR,
)


BY_RESOURCE: Mapping[GVR, Translator] = MappingProxyType({t.resource: t for t in TRANSLATORS})


def sent_rows(not_sent: Collection[str], naming: Mapping[str, GVR]) -> tuple[Translator, ...]:
    """The rows but for some resources. `naming`: annotations of Ingresses that hold a name, besides the known ones."""
    known = {**ingresses.NAMING, **naming}
    rows = (ingresses.translator(known) if row is ingresses.TRANSLATOR else row for row in TRANSLATORS)
    return tuple(row for row in rows if row.resource.resource not in not_sent)
