"""The table of translators: adding a kind adds its row here."""

from __future__ import annotations

from collections.abc import Mapping
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
