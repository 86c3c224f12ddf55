"""What is known of the host: the watch and our own answers, whichever comes first."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sync import metadata as md
from sync.cluster import ClusterEvent, ClusterEventType
from sync.informer import HostInformer
from sync.names import host_name
from sync.ownership import Twin
from sync.translator import Translator
from sync.translators import configmaps, pods
from sync.virtual import InProcessCluster
from tests.planes import CONFIGMAPS, configmap, plane
from vapi.gvk import GVR, Obj

NAME = host_name("a", "ns", "vc")


class Rig:
    """An informer whose events are given by hand; the cluster behind it is not asked."""

    def __init__(self, row: Translator = configmaps.TRANSLATOR) -> None:
        self.told: list[tuple[str, str, bool, bool]] = []
        self.informer = HostInformer(
            row, Script(), virtual_cluster="vc", host_namespace="h", on_twin=self._on_twin, on_synced=lambda: None
        )

    def _on_twin(self, row: Translator, namespace: str, name: str, before: Twin | None, after: Twin | None) -> None:
        self.told.append((namespace, name, before is not None, after is not None))

    async def tell(self, event_type: ClusterEventType, obj: Obj | None = None, revision: int = 0) -> None:
        script = self.informer._cluster
        assert isinstance(script, Script)
        script.events = [ClusterEvent(event_type, obj, revision)]
        await self.informer.run()


class Script(InProcessCluster):
    """Watches what it is told to."""

    def __init__(self) -> None:
        self.events: list[ClusterEvent] = []

    async def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        assert label_selector == "vapi.dev/managed-by=vc"
        for event in self.events:
            yield event


def twin(revision: int, *, uid: str = "h1", deleting: bool = False, kind: str = "ConfigMap") -> Obj:
    metadata: Obj = {
        "name": NAME,
        "namespace": "h",
        "uid": uid,
        "resourceVersion": str(revision),
        "labels": {md.MANAGED_BY: "vc"},
        "annotations": {md.OBJECT_KIND: kind, md.OBJECT_NAME: "a", md.OBJECT_NAMESPACE: "ns", md.OBJECT_UID: "v1"},
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata}


ADDED, MODIFIED, DELETED = ClusterEventType.ADDED, ClusterEventType.MODIFIED, ClusterEventType.DELETED


async def test_a_change_of_a_twin_concerns_its_virtual_object() -> None:
    r = Rig()
    await r.tell(ADDED, twin(1))
    await r.tell(MODIFIED, twin(2))
    await r.tell(DELETED, twin(3))
    assert r.told == [("ns", "a", False, True), ("ns", "a", True, True), ("ns", "a", True, False)]
    assert r.informer.get(NAME) is None


async def test_our_own_write_is_known_from_its_answer_and_not_told_again() -> None:
    r = Rig()
    r.informer.answered(twin(5))
    await r.tell(ADDED, twin(5))
    assert r.told == []
    found = r.informer.get(NAME)
    assert found is not None
    assert found.revision == 5


async def test_an_older_event_does_not_undo_an_answer() -> None:
    r = Rig()
    await r.tell(ADDED, twin(3))
    r.informer.answered(twin(5))
    await r.tell(MODIFIED, twin(4))
    found = r.informer.get(NAME)
    assert found is not None
    assert found.revision == 5


async def test_a_twin_that_went_before_its_answer_came_stays_gone() -> None:
    r = Rig()
    await r.tell(ADDED, twin(5))
    await r.tell(DELETED, twin(6))
    r.informer.answered(twin(5))
    assert r.informer.get(NAME) is None


async def test_a_list_newer_than_an_answer_wins() -> None:
    r = Rig()
    await r.tell(ClusterEventType.SYNCED, revision=9)
    r.informer.answered(twin(5))
    assert r.informer.get(NAME) is None


async def test_only_the_end_of_the_very_twin_with_its_deletion_timestamp_is_a_proof() -> None:
    r = Rig(pods.TRANSLATOR)
    await r.tell(ADDED, twin(1, kind="Pod"))
    await r.tell(DELETED, twin(2, kind="Pod"))
    assert not r.informer.proven_gone(NAME, "h1")
    await r.tell(ADDED, twin(3, kind="Pod"))
    await r.tell(DELETED, twin(4, deleting=True, kind="Pod"))
    assert r.informer.proven_gone(NAME, "h1")
    assert not r.informer.proven_gone(NAME, "h2")
    assert not r.informer.proven_gone(NAME, "")


async def test_what_carries_our_label_without_being_a_twin_concerns_nobody() -> None:
    r = Rig()
    await r.tell(ADDED, twin(1, kind="EndpointSlice.discovery.k8s.io"))
    stray = twin(2)
    stray["metadata"]["name"] = "elsewhere"
    await r.tell(ADDED, stray)
    assert r.told == []


async def test_a_relist_may_tell_an_end_by_name_and_uid_alone() -> None:
    r = Rig()
    await r.tell(ADDED, twin(1))
    remains = {"kind": "PartialObjectMetadata", "metadata": {"name": NAME, "namespace": "h", "uid": "h1"}}
    await r.tell(DELETED, remains)
    assert r.told[-1] == ("ns", "a", True, False)


async def test_an_in_process_watch_lists_follows_and_tells_label_changes_as_ends() -> None:
    async with plane() as running:
        client = running.client("t")
        mine = configmap("a")
        mine["metadata"]["labels"] = {"mine": "1"}
        await client.create(CONFIGMAPS, mine)
        await client.create(CONFIGMAPS, configmap("b"))
        events = InProcessCluster(client).watch(CONFIGMAPS, "default", label_selector="mine=1")
        seen = [await anext(events), await anext(events)]
        assert [(e.type, e.obj and e.obj["metadata"]["name"]) for e in seen] == [
            (ADDED, "a"),
            (ClusterEventType.SYNCED, None),
        ]
        changed = await client.get(CONFIGMAPS, "default", "a")
        changed["metadata"]["labels"] = {}
        await client.update(CONFIGMAPS, changed)
        gone = await anext(events)
        assert (gone.type, gone.obj and gone.obj["metadata"]["name"]) == (DELETED, "a")
        await events.aclose()  # type: ignore[attr-defined]
