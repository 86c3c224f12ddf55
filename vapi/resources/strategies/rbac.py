"""Rules of rbac.authorization.k8s.io: Roles, ClusterRoles and their bindings."""

from __future__ import annotations

from collections.abc import Mapping

from vapi import names
from vapi.resources.strategy import Strategy

_NAMED = Strategy(name_check=names.path_segment)

STRATEGIES: Mapping[str, Strategy] = {
    "clusterrolebindings": _NAMED,
    "clusterroles": _NAMED,
    "rolebindings": _NAMED,
    "roles": _NAMED,
}
