"""Group rbac.authorization.k8s.io, v1."""

from __future__ import annotations

from vapi.resources.resource import Resource
from vapi.resources.rows import kind

V1 = ("rbac.authorization.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(V1, "clusterrolebindings", "ClusterRoleBinding", namespaced=False, update_creates=True),
    kind(V1, "clusterroles", "ClusterRole", namespaced=False, update_creates=True),
    kind(V1, "rolebindings", "RoleBinding", update_creates=True),
    kind(V1, "roles", "Role", update_creates=True),
)
