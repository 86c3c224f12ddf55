"""The anchor: the ConfigMap `vapi-NAME` in HOSTNS that says whose the host objects are, and owns them.

It holds the id of the tenant's store. With another id there (a lost volume, a
second install of the same name) nothing may be synced: the first row of the
plan would delete every pod.
"""

from __future__ import annotations

import logging

from sync import metadata as md
from sync import names
from sync.cluster import Cluster, ClusterError, PatchType
from sync.translator import CONFIGMAPS, NAMESPACES
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

STORE_ID = "store-id"
SERVICEACCOUNTS = GVR("", "v1", "serviceaccounts")


class AnchorMismatch(Exception):
    """The host objects belong to another store, or the anchor was deleted; the message says what to do."""


async def ensure_anchor(host: Cluster, *, cluster: str, host_namespace: str, store_id: str) -> str:
    """The anchor's uid, having made it if there is none. Raises AnchorMismatch, ClusterError."""
    name = names.anchor_name(cluster)
    try:
        anchor = await host.get(CONFIGMAPS, host_namespace, name)
    except ClusterError as error:
        if error.code != 404:
            raise
        anchor = await _create(host, name, cluster, host_namespace, store_id)
    held = (anchor.get("data") or {}).get(STORE_ID, "")
    if held != store_id:
        raise AnchorMismatch(
            f"ConfigMap {host_namespace}/{name} belongs to another store of a virtual cluster {cluster!r} "
            f"(its store-id is {held!r}, ours is {store_id!r}): sync does not start. "
            f"If that one is gone for good, delete the ConfigMap; the host then deletes what it owns."
        )
    uid: str = anchor["metadata"]["uid"]
    labels = {md.MANAGED_BY: cluster}
    if not labels.items() <= (anchor["metadata"].get("labels") or {}).items():
        patch = {"metadata": {"uid": uid, "labels": labels}}
        await host.patch(CONFIGMAPS, host_namespace, name, patch, content_type=PatchType.MERGE)
    return uid


async def _create(host: Cluster, name: str, cluster: str, host_namespace: str, store_id: str) -> Obj:
    anchor: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": host_namespace,
            "labels": {md.MANAGED_BY: cluster},  # so that the syncer's informer knows when it goes
            "annotations": {"vapi.dev/anchor": "owns all objects of this virtual cluster: deleting it deletes them"},
        },
        "data": {STORE_ID: store_id, "name": cluster},
    }
    try:
        return await host.create(CONFIGMAPS, anchor)
    except ClusterError as error:
        if error.code == 409:
            return await host.get(CONFIGMAPS, host_namespace, name)
        if error.code != 404:
            raise
    await _create_if_missing(
        host, NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": host_namespace}}
    )
    log.info("host namespace created", extra={"namespace": host_namespace})
    return await host.create(CONFIGMAPS, anchor)


async def ensure_service_account(
    host: Cluster, *, cluster: str, host_namespace: str, name: str, anchor_uid: str
) -> None:
    """The account of host pods, without rights and without a mounted token. `default` is the host's and is there."""
    if name == "default":
        return
    account: Obj = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": name,
            "namespace": host_namespace,
            "ownerReferences": [
                md.owner_reference(anchor=names.anchor_name(cluster), anchor_uid=anchor_uid, controller=False)
            ],
        },
        "automountServiceAccountToken": False,
    }
    try:
        await host.get(SERVICEACCOUNTS, host_namespace, name)
    except ClusterError as error:
        if error.code == 403:
            log.warning("cannot see the account of host pods, taken to be there", extra={"error": error.message})
            return
        await _create_if_missing(host, SERVICEACCOUNTS, account)


async def _create_if_missing(host: Cluster, gvr: GVR, obj: Obj) -> None:
    metadata = obj["metadata"]
    try:
        await host.get(gvr, metadata.get("namespace", ""), metadata["name"])
    except ClusterError as error:
        if error.code != 404:
            raise
        try:
            await host.create(gvr, obj)
        except ClusterError as refused:
            if refused.code != 409:
                raise


def mismatch_in(group: BaseExceptionGroup[BaseException]) -> AnchorMismatch | None:
    """The first one in a group of groups."""
    found: BaseException | None = group.subgroup(AnchorMismatch)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, AnchorMismatch) else None
