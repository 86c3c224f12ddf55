"""Rules of apiregistration.k8s.io: APIServices."""

from __future__ import annotations

from collections.abc import Mapping

from vapi import names
from vapi.resources.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {"apiservices": Strategy(name_check=names.path_segment)}
