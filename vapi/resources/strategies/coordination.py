"""Rules of coordination.k8s.io: Leases and their candidates."""

from __future__ import annotations

from collections.abc import Mapping

from vapi.resources.strategies import values
from vapi.resources.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {"leasecandidates": Strategy(name_check=values.config_key)}
