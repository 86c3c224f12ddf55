"""Strategies: the special rules of kinds, by group and plural; a kind without an entry follows the general rules.

A module here exports pure hooks for one group; `STRATEGIES` names them. The
defaults of the schema room are put in by `builtin_catalog`, so that an entry
says `default` only where it wants something else instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from vapi.gvk import GVK
from vapi.resources.strategy import Strategy

STRATEGIES: Mapping[tuple[str, str], Strategy] = {}

_GENERAL = Strategy()


def strategy_for(gvk: GVK, plural: str) -> Strategy:
    """The strategy of the kind `gvk`, served as `plural`."""
    return STRATEGIES.get((gvk.group, plural), _GENERAL)
