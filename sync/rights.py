"""Rights that the host does not give us: told in the log once each, and to the tenant without our user's name.

What is missing switches off what it was for and nothing else; whoever runs us reads one line about it, however often
it is tried again. Source of the words: apiserver endpoints/handlers/responsewriters, `forbiddenMessage`.
"""

from __future__ import annotations

import logging
import re

log = logging.getLogger(__name__)

_REFUSAL = re.compile(
    r'User "[^"]*" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "[^"]*"'
    r'(?: in the namespace "[^"]*"| at the cluster scope)?.*',
    re.DOTALL,
)


def missing(message: str) -> tuple[str, str]:
    """(verb, resource, with its subresource) of what the host refused to us; ("", "") if it was no question of that."""
    found = _REFUSAL.search(message)
    return (found["verb"], found["resource"]) if found else ("", "")


def for_tenant(message: str) -> str:
    """The host's refusal of our user is no fault of the tenant's."""
    return _REFUSAL.sub(r"the virtual cluster has no right to \g<verb> \g<resource> on its host", message)


class Told:
    """Which rights have been told of: at most as many as there are verbs and resources."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def tell(self, message: str) -> None:
        right = missing(message)
        if right[0] and right not in self._told:
            self._told.add(right)
            log.warning("the host refuses a right", extra={"verb": right[0], "resource": right[1], "error": message})
