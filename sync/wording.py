"""Wording: what the host says, in the tenant's words: no name of HOSTNS or of another tenant gets through."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SOMEBODY = "(another object of the host)"
"""In place of a translated name that is not the tenant's."""
_TRANSLATED = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?-x-[a-z0-9.-]*[a-z0-9]")
"""What names.host_name makes, ours and others'."""


def in_tenant_words(text: str, known: Mapping[str, str], *, cluster: str, host_namespace: str, namespace: str) -> str:
    """`known`: host name (or uid) → the tenant's. `namespace`: what HOSTNS stands for here."""
    for host in sorted(known, key=len, reverse=True):
        if host:
            text = text.replace(host, known[host])
    text = _namespace(host_namespace).sub(namespace, text)
    return _TRANSLATED.sub(lambda found: _other(found[0], cluster), text)


@lru_cache(maxsize=8)
def _namespace(host_namespace: str) -> re.Pattern[str]:
    """Where it stands for a namespace: it may be a word like any other."""
    name = re.escape(host_namespace)
    return re.compile(
        rf'(?<="){name}(?=")|(?<=namespace ){name}\b(?![-.])|(?<![\w.-]){name}(?=/)|(?<=_){name}(?=[(_]|$)'
        rf"|(?<=\.){name}(?=\.svc)"
    )


def _other(host_name: str, cluster: str) -> str:
    """Another object of this tenant, if its name can be read; a shortened one or another tenant's cannot."""
    name, _, rest = host_name.partition("-x-")
    _, _, whose = rest.rpartition("-x-")
    return name if whose == cluster and rest.count("-x-") == 1 else SOMEBODY


def details_in_tenant_words(value: Any, say: Any) -> Any:
    """Every string of a Status' details through `say`."""
    if isinstance(value, str):
        return say(value)
    if isinstance(value, list):
        return [details_in_tenant_words(each, say) for each in value]
    if isinstance(value, dict):
        return {key: details_in_tenant_words(each, say) for key, each in value.items()}
    return value
