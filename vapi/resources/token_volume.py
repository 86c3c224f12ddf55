"""TokenVolume: where a pod finds the token of its ServiceAccount, our CA and its namespace.

Source: kubernetes plugin/pkg/admission/serviceaccount.
"""

from __future__ import annotations

from vapi.gvk import Obj

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
EXTENDED_FROM_S = 3607
"""A pod's projected token asks for just this; it is then valid for a year and warns after it.
Source: WarnOnlyBoundTokenExpirationSeconds, ExpirationExtensionSeconds."""


def volume_name(spec: Obj) -> str:
    """Of the volume that a PodSpec has already, or ""."""
    return next((v["name"] for v in spec.get("volumes") or () if v.get("name", "").startswith(VOLUME_PREFIX)), "")


def mount_token(spec: Obj, new_name: str) -> None:
    """Edits `spec`: each container without a mount of its own at that path gets one, of a volume `new_name`."""
    name = volume_name(spec)
    given = bool(name)
    name = name or new_name
    needed = False
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            mounts = container.get("volumeMounts")
            # a mount of the container's own at that path takes precedence
            if mounts and any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount] if mounts else [mount]
            needed = True
    if needed and not given:
        spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "projected": token_volume_source()}]


def token_volume_source() -> Obj:
    """The projected volume: token, CA and namespace, in this order (contract §4.3)."""
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXTENDED_FROM_S, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
        "defaultMode": 420,
    }
