"""RBAC objects in one line each."""

from __future__ import annotations

from vapi.gvk import Obj

API = "rbac.authorization.k8s.io/v1"
GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "", urls: str = "") -> Obj:
    """Each argument is a list with commas; groups are left out where there are URLs."""
    made: Obj = {"verbs": verbs.split(",")}
    if urls:
        made["nonResourceURLs"] = urls.split(",")
    else:
        made["apiGroups"] = groups.split(",")
        made["resources"] = resources.split(",")
    if names:
        made["resourceNames"] = names.split(",")
    return made


def cluster_role(name: str, *rules: Obj, **fields: object) -> Obj:
    return {"apiVersion": API, "kind": "ClusterRole", "metadata": {"name": name}, "rules": list(rules), **fields}


def role(name: str, *rules: Obj, in_namespace: str = "ns") -> Obj:
    metadata = {"name": name, "namespace": in_namespace}
    return {"apiVersion": API, "kind": "Role", "metadata": metadata, "rules": list(rules)}


def user(name: str) -> Obj:
    return {"kind": "User", "apiGroup": GROUP, "name": name}


def group(name: str) -> Obj:
    return {"kind": "Group", "apiGroup": GROUP, "name": name}


def account(name: str, namespace: str = "") -> Obj:
    subject = {"kind": "ServiceAccount", "name": name}
    return {**subject, "namespace": namespace} if namespace else subject


def cluster_binding(name: str, to: str, *subjects: Obj) -> Obj:
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": to}
    metadata = {"name": name}
    subject_list = list(subjects)
    return {
        "apiVersion": API,
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": reference,
        "subjects": subject_list,
    }


def binding(name: str, to: str, *subjects: Obj, kind: str = "Role", in_namespace: str = "ns") -> Obj:
    return {
        "apiVersion": API,
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": in_namespace},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": to},
        "subjects": list(subjects),
    }
