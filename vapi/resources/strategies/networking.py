"""Rules of networking.k8s.io."""

from __future__ import annotations

from collections.abc import Mapping

from vapi.resources.strategies import values
from vapi.resources.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {"ipaddresses": Strategy(name_check=values.ip_name)}
