"""node leases: the heartbeat of Nodes whose status somebody here keeps, for a kube-controller-manager of others.

Its node-lifecycle-controller takes a Node that neither renews its Lease in kube-node-lease nor writes its status for
40 s for dead, marks its pods not ready and evicts them. A mirrored or invented Node is as current as we are, so its
Lease is renewed for as long as we run; whether the node itself is well, its conditions say. Ours has no such
controller, so this runs only beside one that has.
Source: kubelet's nodelease controller (40 s, renewed every quarter of it).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from vapi.clock import parse_rfc3339, rfc3339_micro
from vapi.control.controller import Controller, Sources, names, own_name
from vapi.control.informer import Name
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj

NODES = GVR("", "v1", "nodes")
LEASES = GVR("coordination.k8s.io", "v1", "leases")
NAMESPACE = "kube-node-lease"
LIFE_S = 40
RENEW_S = LIFE_S / 4


class NodeLeases(Controller[Name]):
    """Keys are Nodes."""

    name = "node-leases"

    def sources(self) -> Sources[Name]:
        return {NODES: own_name}

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(NODES))

    async def reconcile(self, key: Name) -> None:
        node = self.client.cached(NODES, *key)
        if node is None:
            return  # its Lease goes with its owner
        now = self.clock.now()
        wanted = lease(node.name, node.uid, now)
        entry = self.client.cached(LEASES, NAMESPACE, node.name)
        if entry is None:
            await self.client.create(LEASES, wanted)
            raise Retry(RENEW_S)
        found = entry.obj()
        if (due_s := _due_s(found, now)) > 0 and node.uid in entry.owners:
            raise Retry(due_s)
        found["metadata"]["ownerReferences"] = wanted["metadata"]["ownerReferences"]
        await self.client.update(LEASES, {**found, "spec": wanted["spec"]})
        raise Retry(RENEW_S)


def lease(node: str, uid: str, now: dt.datetime) -> Obj:
    """As the node's kubelet writes it."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
    return {
        "metadata": {"name": node, "namespace": NAMESPACE, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": LIFE_S,
            "renewTime": rfc3339_micro(now),
        },
    }


def _due_s(found: Obj, now: dt.datetime) -> float:
    """Seconds until it is to be renewed; 0 or less: now."""
    text = (found.get("spec") or {}).get("renewTime")
    return RENEW_S - (now - parse_rfc3339(text)).total_seconds() if text else 0.0
