"""What a pod's claims say about its place: the node affinity of bound volumes, and claims for one pod only.

A claim that is missing or not bound yet holds nothing up here: the kubelet, or the
host's scheduler, waits for it.
Source: plugins/volumebinding, plugins/volumerestrictions.
"""

from __future__ import annotations

from dataclasses import dataclass

from vapi.control import kinds
from vapi.control.informer import Informers
from vapi.control.node_fit import NodeAffinity, affinity_of
from vapi.control.scheduler.assessment import Extra
from vapi.control.scheduler.filters import News, Refusal
from vapi.control.scheduler.node import NodeInfo, PodInfo
from vapi.control.scheduler.state import ClusterState
from vapi.gvk import Obj
from vapi.registry.client import Client

WRONG_PLACE = Refusal(("node(s) didn't match PersistentVolume's node affinity",), News.NODE | News.VOLUME)
IN_USE = Refusal(
    (
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by "
        "another pod",
    ),
    News.POD_GONE | News.VOLUME,
)
ONE_POD = "ReadWriteOncePod"


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    volume: str
    one_pod: bool


def claim_facts(claim: Obj) -> ClaimFacts:
    spec = claim["spec"]
    return ClaimFacts(spec.get("volumeName", ""), ONE_POD in (spec.get("accessModes") or ()))


def volume_affinity(volume: Obj) -> NodeAffinity | None:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if required is None:
        return None
    node_affinity = {"requiredDuringSchedulingIgnoredDuringExecution": required}
    return affinity_of({"affinity": {"nodeAffinity": node_affinity}})


class Volumes:
    def __init__(self, client: Client, informers: Informers, state: ClusterState) -> None:
        self._client = client
        self._state = state
        self._claims = informers.facts(kinds.CLAIMS, claim_facts)
        self._volumes = informers.facts(kinds.VOLUMES, volume_affinity)

    def extra(self, pod: PodInfo) -> Extra | None:
        """None: its claims do not care."""
        affinities: list[NodeAffinity] = []
        for name in pod.claims:
            entry = self._client.cached(kinds.CLAIMS, pod.namespace, name)
            if entry is None:
                continue
            claim = self._claims.of(entry)
            if claim.one_pod and self._state.claims.get((pod.namespace, name)):
                return lambda _node: IN_USE
            volume = self._client.cached(kinds.VOLUMES, "", claim.volume) if claim.volume else None
            affinity = self._volumes.of(volume) if volume is not None else None
            if affinity is not None:
                affinities.append(affinity)
        if not affinities:
            return None

        def fits(node: NodeInfo) -> Refusal | None:
            return None if all(each.fits(node.name, node.labels) for each in affinities) else WRONG_PLACE

        return fits
