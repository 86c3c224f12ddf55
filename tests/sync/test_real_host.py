"""The engine against a real kube-apiserver: what an in-process host cannot prove."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage.memory import MemoryStore
from sync import metadata as md
from sync import names
from sync.cluster import ClusterError, ClusterEvent, ClusterEventType, PatchType
from sync.host import PAGE, HostCluster, HostConfigError, open_host
from sync.syncer import Syncer
from sync.translator import Context
from sync.virtual import VirtualCluster
from tests.planes import CONFIGMAPS, NAMESPACES, PODS, SECRETS, SERVICES, configmap, plane, pod
from tests.sync.real_host import RealHost, available
from vapi.gvk import GVR, Obj
from vapi.plane import ControlPlane

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not available(), reason="no binaries of a real host"),
]

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def real_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    host = RealHost(tmp_path_factory.mktemp("host"))
    host.up()
    try:
        yield host
    finally:
        host.down()


async def until(condition: Callable[[], Awaitable[object] | object]) -> None:
    """A real host has its own time: look again and again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.02)


@dataclass
class Real:
    tenant: ControlPlane
    host: HostCluster
    namespace: str
    events: list[tuple[str, str, str]] = field(default_factory=list)
    syncer: Syncer | None = None
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.syncer = Syncer(
            virtual=VirtualCluster(self.tenant.client("vapi-syncer")),
            host=self.host,
            context=Context(cluster="vc", host_namespace=self.namespace, service_account="vc-workload"),
            store_id="store-1",
            events=lambda _component, obj, _type, reason, text: self.events.append(
                (obj["metadata"]["name"], reason, text)
            ),
            rate=0,
        )
        self._task = asyncio.create_task(self.syncer.run())
        async with asyncio.timeout(PATIENCE_S):
            await self.syncer.synced.wait()

    async def kill(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def host_name(self, name: str) -> str:
        return names.host_name(name, "default", "vc")

    async def there(self, gvr: GVR, name: str) -> Obj:
        return await self.host.get(gvr, self.namespace, self.host_name(name))

    async def twin(self, gvr: GVR, name: str, **want: object) -> Obj:
        """The host object, once each of `want` (a top-level field) is as given."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    found = await self.there(gvr, name)
                    if all(found.get(key) == value for key, value in want.items()):
                        return found
                except ClusterError as error:
                    if error.code != 404:
                        raise
                await asyncio.sleep(0.02)

    def here(self, gvr: GVR, name: str) -> Obj | None:
        entry = self.tenant.registry.cached(gvr, "default", name)
        return entry.obj() if entry else None

    def the(self, gvr: GVR, name: str) -> Obj:
        found = self.here(gvr, name)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def real(host: RealHost) -> AsyncIterator[Real]:
    cluster = await open_host(kubeconfig=host.kubeconfig)
    try:
        async with plane(MemoryStore()) as tenant:
            made = Real(tenant, cluster, f"t-{uuid.uuid4().hex[:8]}")
            try:
                await made.start()
                yield made
            finally:
                await made.kill()
    finally:
        await cluster.close()


def naming(name: str) -> Obj:
    obj = pod(name, app=name)
    obj["spec"]["volumes"] = [
        {"name": "a", "configMap": {"name": "a"}},
        {"name": "b", "secret": {"secretName": "b"}},
    ]
    obj["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1000m"}}
    return obj


async def create(r: Real) -> None:
    client = r.tenant.client("t")
    await client.create(CONFIGMAPS, configmap("a", x="1", y="2"))
    await client.create(SECRETS, {"metadata": {"name": "b", "namespace": "default"}, "data": {"x": "YQ=="}})
    await client.create(PODS, naming("web"))
    await r.twin(PODS, "web")


async def revision(r: Real, gvr: GVR, name: str) -> str:
    """With the name, so that a failure says what was written."""
    return f"{gvr.resource} {(await r.there(gvr, name))['metadata']['resourceVersion']}"


async def no_pods(r: Real) -> bool:
    return not await r.host.list(PODS, r.namespace)


async def has_ephemeral(r: Real, name: str) -> bool:
    there = await r.there(PODS, "web")
    return name in [c["name"] for c in there["spec"].get("ephemeralContainers") or ()]


async def has_image(r: Real, image: str) -> bool:
    return bool((await r.there(PODS, "web"))["spec"]["containers"][0]["image"] == image)


async def test_a_pod_and_what_it_names_are_created_and_its_status_comes_back(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        assert (await r.there(CONFIGMAPS, "a"))["data"] == {"x": "1", "y": "2"}
        assert (await r.there(SECRETS, "b"))["data"] == {"x": "YQ=="}
        await until(lambda: (r.the(PODS, "web").get("status") or {}).get("conditions"))
        assert md.HOST_UID in r.the(PODS, "web")["metadata"]["annotations"]
        assert r.events == []


async def test_a_removed_key_goes_away_although_a_post_made_it(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        changed = r.the(CONFIGMAPS, "a")
        changed["data"] = {"x": "3"}
        await r.tenant.client("t").update(CONFIGMAPS, changed)
        await r.twin(CONFIGMAPS, "a", data={"x": "3"})
        assert r.events == []


async def test_an_edit_on_the_host_is_put_back_also_after_a_restart(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        edit = {"data": {"x": "edited"}}
        for down in (False, True):
            if down:
                await r.kill()
            await r.host.patch(CONFIGMAPS, r.namespace, r.host_name("a"), edit, content_type=PatchType.MERGE)
            if down:
                await r.start()
            await r.twin(CONFIGMAPS, "a", data={"x": "1", "y": "2"})
        assert r.events == []


async def test_image_labels_and_ephemeral_containers_of_a_running_pod_go_out(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        client = r.tenant.client("t")
        changed = r.the(PODS, "web")
        changed["spec"]["containers"][0]["image"] = "i:2"
        changed["metadata"]["labels"] = {"new": "1"}
        await client.update(PODS, changed)
        await until(lambda: has_image(r, "i:2"))
        there = await r.there(PODS, "web")
        assert ("app" in there["metadata"]["labels"], there["metadata"]["labels"]["new"]) == (False, "1")
        assert there["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
        changed = r.the(PODS, "web")
        changed["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "d"}]
        await client.update(PODS, changed, subresource="ephemeralcontainers")
        await until(lambda: has_ephemeral(r, "debug"))
        assert r.events == []


async def test_a_service_goes_out_and_a_restart_writes_nothing(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        service = {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]},
        }
        await r.tenant.client("t").create(SERVICES, service)
        await r.twin(SERVICES, "web")
        assert r.syncer is not None
        await until(lambda: r.the(PODS, "web")["status"].get("conditions"))  # the host's scheduler has had its say
        await until(lambda: r.syncer is not None and r.syncer.queue.idle)
        gvrs = ((PODS, "web"), (SERVICES, "web"), (CONFIGMAPS, "a"), (SECRETS, "b"))
        before = [await revision(r, *o) for o in gvrs]
        await r.kill()
        await r.start()
        await until(lambda: r.syncer is not None and r.syncer.queue.idle)
        assert [await revision(r, *o) for o in gvrs] == before
        assert r.events == []


async def test_deletions_go_both_ways(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        await until(lambda: md.HOST_UID in (r.the(PODS, "web")["metadata"].get("annotations") or {}))
        await r.host.delete(PODS, r.namespace, r.host_name("web"), grace_period_s=0)
        await until(lambda: r.here(PODS, "web") is None)
        await r.tenant.client("t").create(PODS, naming("web"))
        await r.twin(PODS, "web")
        await r.tenant.client("t").delete(PODS, "default", "web")
        await until(lambda: no_pods(r))


async def test_deleting_the_anchor_removes_the_virtual_cluster_from_the_host(real_host: RealHost) -> None:
    async with real(real_host) as r:
        await create(r)
        await r.kill()
        await r.host.delete(CONFIGMAPS, r.namespace, names.anchor_name("vc"), propagation="Background")
        await until(lambda: no_pods(r))


async def test_sync_resumes_when_a_host_that_was_gone_is_back(
    real_host: RealHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.host.REQUEST_TIMEOUT_S", 0.5)
    monkeypatch.setattr("sync.host.WATCH_SILENCE_S", 1.0)
    async with real(real_host) as r:
        await create(r)
        real_host.freeze()
        try:
            await r.tenant.client("t").create(PODS, naming("later"))
            await asyncio.sleep(2)
        finally:
            real_host.thaw()
        await r.twin(PODS, "later")
        assert r.events == []


async def test_a_watch_that_lost_its_place_tells_what_differs(
    real_host: RealHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await open_host(kubeconfig=real_host.kubeconfig)
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    try:
        await host.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for name in ("stays", "goes"):
            await host.create(CONFIGMAPS, labelled(name, namespace))
        stream = host._stream
        streams: list[str] = []

        async def lossy(
            gvr: GVR, where: str, selector: str, revision: str, only: bool
        ) -> AsyncIterator[tuple[str, Obj]]:
            streams.append(revision)
            if len(streams) == 1:
                raise ClusterError(410, "Expired", "too old resource version")
            async for event in stream(gvr, where, selector, revision, only):
                yield event

        monkeypatch.setattr(host, "_stream", lossy)
        events = host.watch(CONFIGMAPS, namespace, label_selector="mine=1", metadata_only=True)
        assert await told(events) == {("ADDED", "stays"), ("ADDED", "goes")}
        await host.delete(CONFIGMAPS, namespace, "goes")
        await host.create(CONFIGMAPS, labelled("comes", namespace))
        assert await told(events) == {("DELETED", "goes"), ("ADDED", "comes")}
        await events.aclose()  # type: ignore[attr-defined]
    finally:
        await host.close()


async def test_a_long_list_comes_whole_in_pages(real_host: RealHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host = await open_host(kubeconfig=real_host.kubeconfig)
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr("sync.host.PAGE_BYTES", 8_000)
    names = {f"c{number:03}" for number in range(130)}
    try:
        await host.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        await asyncio.gather(*(host.create(CONFIGMAPS, labelled(name, namespace)) for name in names))
        pages = [items async for items, _ in host._pages(CONFIGMAPS, namespace, "mine=1", partial=False)]
        assert len(pages) > 2
        assert len(pages[0]) == PAGE != len(pages[1])
        found = [item["metadata"]["name"] for page in pages for item in page]
        assert sorted(found) == sorted(names)
    finally:
        await host.close()


def labelled(name: str, namespace: str) -> Obj:
    metadata = {"name": name, "namespace": namespace, "labels": {"mine": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


async def told(events: AsyncIterator[ClusterEvent]) -> set[tuple[str, str]]:
    """Up to the next SYNCED."""
    found = set()
    async with asyncio.timeout(PATIENCE_S):
        async for event in events:
            if event.type is ClusterEventType.SYNCED:
                break
            assert event.obj is not None
            found.add((event.type.value, event.obj["metadata"]["name"]))
    return found


async def test_an_unusable_kubeconfig_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "kubeconfig"
    broken.write_text("no: context\n")
    with pytest.raises(HostConfigError, match=r"^kubeconfig .*$"):
        await open_host(kubeconfig=broken)
    with pytest.raises(HostConfigError):
        await open_host(kubeconfig=tmp_path / "missing")
