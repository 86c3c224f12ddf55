"""The registry on a memory store: the rules of reads and writes that hold for every kind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from storage.memory import MemoryStore
from tests.planes import (
    CONFIGMAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICES,
    FakeClock,
    configmap,
    plane,
    pod,
)
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.plane import ControlPlane
from vapi.registry.caller import (
    DeleteOptions,
    ListOptions,
    PatchRequest,
    Preconditions,
    WatchOptions,
    system_caller,
)
from vapi.registry.reads import CONTINUE_EXPIRED, DECODE_SLICE
from vapi.registry.registry import DELETE_WORKERS
from vapi.resources.resource import Propagation


async def _error(awaitable: Awaitable[object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await awaitable
    return caught.value


async def _names(running: ControlPlane, options: ListOptions, namespace: str = "default") -> list[str]:
    listing = await running.registry.list(running.registry.row(CONFIGMAPS), namespace, options)
    return [entry.name for entry in listing.entries]


async def test_a_created_object_is_in_the_view_when_create_returns() -> None:
    async with plane() as running:
        created = await running.client("t").create(CONFIGMAPS, configmap("a", x="1"))
        entry = running.registry.cached(CONFIGMAPS, "default", "a")
        assert entry is not None
        assert entry.obj() == created
        assert created["metadata"]["resourceVersion"] == str(entry.revision)


async def test_the_server_sets_uid_time_and_generation_and_drops_what_clients_may_not_set() -> None:
    async with plane(clock=FakeClock()) as running:
        body = pod("p")
        body["metadata"] |= {"uid": "mine", "selfLink": "x", "deletionTimestamp": "2020-01-01T00:00:00Z"}
        metadata = (await running.client("t").create(PODS, body))["metadata"]
        assert metadata["uid"] != "mine"
        assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
        assert metadata["generation"] == 1
        assert not {"selfLink", "deletionTimestamp"} & metadata.keys()


async def test_create_refuses_a_second_object_of_the_name() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(CONFIGMAPS, configmap("a"))
        error = await _error(client.create(CONFIGMAPS, configmap("a")))
        assert (error.code, error.message) == (409, 'configmaps "a" already exists')


async def test_create_in_a_missing_namespace_is_not_found() -> None:
    async with plane() as running:
        error = await _error(running.client("t").create(CONFIGMAPS, configmap("a", "nowhere")))
        assert (error.code, error.message) == (404, 'namespaces "nowhere" not found')


async def test_create_in_a_terminating_namespace_is_forbidden() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(NAMESPACES, {"metadata": {"name": "going", "finalizers": ["ex.io/f"]}, "spec": {}})
        assert not await client.delete(NAMESPACES, "", "going")
        error = await _error(client.create(CONFIGMAPS, configmap("a", "going")))
        assert error.code == 403
        assert error.details is not None
        assert error.details["causes"][0]["reason"] == "NamespaceTerminating"


async def test_generated_names_have_the_prefix_and_five_characters() -> None:
    async with plane() as running:
        body: Obj = {"metadata": {"generateName": "web-", "namespace": "default"}}
        name = (await running.client("t").create(CONFIGMAPS, body))["metadata"]["name"]
        assert name.startswith("web-")
        assert len(name) == len("web-") + 5


async def test_an_update_that_changes_nothing_keeps_the_version() -> None:
    async with plane() as running:
        client = running.client("t")
        created = await client.create(CONFIGMAPS, configmap("a", x="1"))
        again = await client.update(CONFIGMAPS, configmap("a", x="1"))
        assert again["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_a_stale_version_conflicts_and_a_missing_one_overwrites() -> None:
    async with plane() as running:
        client = running.client("t")
        first = await client.create(CONFIGMAPS, configmap("a", x="1"))
        await client.update(CONFIGMAPS, configmap("a", x="2"))
        stale = configmap("a", x="3")
        stale["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"]
        error = await _error(client.update(CONFIGMAPS, stale))
        assert (error.code, error.reason) == (409, "Conflict")
        assert (await client.update(CONFIGMAPS, configmap("a", x="4")))["data"] == {"x": "4"}


async def test_concurrent_changes_are_all_applied() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(CONFIGMAPS, configmap("a"))
        row = running.registry.row(CONFIGMAPS)

        def add(key: str) -> Awaitable[object]:
            def change(obj: Obj) -> Obj:
                obj.setdefault("data", {})[key] = "1"
                return obj

            return running.registry.change(system_caller("t"), row, "default", "a", change)

        await asyncio.gather(*[add(f"k{i}") for i in range(4)])
        assert len((await client.get(CONFIGMAPS, "default", "a"))["data"]) == 4


async def test_put_of_a_missing_service_creates_it_and_of_a_missing_configmap_does_not() -> None:
    async with plane() as running:
        client = running.client("t")
        service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}}
        await client.update(SERVICES, service)
        assert running.registry.cached(SERVICES, "default", "s") is not None
        assert (await _error(client.update(CONFIGMAPS, configmap("a")))).code == 404


async def test_status_writes_keep_the_spec_and_main_writes_keep_the_status() -> None:
    async with plane() as running:
        client = running.client("t")
        created = await client.create(PODS, pod("p"))
        created["status"] = {"phase": "Running"}
        created["spec"] = {"containers": [{"name": "other", "image": "x"}]}
        after = await client.update(PODS, created, subresource="status")
        assert after["status"]["phase"] == "Running"
        assert after["spec"]["containers"][0]["name"] == "c"
        main = {**after, "status": {"phase": "Failed"}}
        main["metadata"] = {**after["metadata"], "labels": {"a": "b"}}
        assert (await client.update(PODS, main))["status"]["phase"] == "Running"


async def test_generation_rises_with_the_spec_alone() -> None:
    async with plane() as running:
        client = running.client("t")
        body: Obj = {
            "metadata": {"name": "d", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]},
            },
        }
        created = await client.create(DEPLOYMENTS, body)
        created["metadata"]["labels"] = {"x": "y"}
        labelled = await client.update(DEPLOYMENTS, created)
        assert labelled["metadata"]["generation"] == 1
        labelled["spec"]["replicas"] = 5
        assert (await client.update(DEPLOYMENTS, labelled))["metadata"]["generation"] == 2


async def test_binding_a_pod_does_not_count_as_a_new_generation() -> None:
    async with plane() as running:
        client = running.client("t")
        created = await client.create(PODS, pod("p"))
        bound = await client.bind("default", "p", "node", uid=created["metadata"]["uid"])
        assert (bound["spec"]["nodeName"], bound["metadata"]["generation"]) == ("node", 1)


async def test_a_finalizer_holds_an_object_until_it_is_taken_off() -> None:
    async with plane() as running:
        client = running.client("t")
        body = configmap("a")
        body["metadata"]["finalizers"] = ["ex.io/f"]
        await client.create(CONFIGMAPS, body)
        assert not await client.delete(CONFIGMAPS, "default", "a")
        deleting = await client.get(CONFIGMAPS, "default", "a")
        assert deleting["metadata"]["deletionGracePeriodSeconds"] == 0
        added = {**deleting, "metadata": {**deleting["metadata"], "finalizers": ["ex.io/f", "ex.io/g"]}}
        assert "no new finalizers can be added" in (await _error(client.update(CONFIGMAPS, added))).message
        del deleting["metadata"]["finalizers"]
        await client.update(CONFIGMAPS, deleting)
        assert running.registry.cached(CONFIGMAPS, "default", "a") is None


async def test_a_bound_pod_is_deleted_with_grace_and_an_unbound_one_at_once() -> None:
    async with plane(clock=FakeClock()) as running:
        client = running.client("t")
        await client.create(PODS, pod("unbound"))
        assert await client.delete(PODS, "default", "unbound")
        body = pod("bound")
        body["spec"]["nodeName"] = "n"
        await client.create(PODS, body)
        assert not await client.delete(PODS, "default", "bound", grace_period_s=10)
        metadata = (await client.get(PODS, "default", "bound"))["metadata"]
        assert metadata["deletionTimestamp"] == "2026-01-01T00:00:10Z"
        assert not await client.delete(PODS, "default", "bound", grace_period_s=60)
        assert (await client.get(PODS, "default", "bound"))["metadata"] == metadata
        assert await client.delete(PODS, "default", "bound", grace_period_s=0)


@pytest.mark.parametrize(
    ("propagation", "finalizer"),
    [(Propagation.FOREGROUND, "foregroundDeletion"), (Propagation.ORPHAN, "orphan")],
)
async def test_foreground_and_orphan_leave_a_finalizer_for_the_collector(
    propagation: Propagation, finalizer: str
) -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(CONFIGMAPS, configmap("a"))
        assert not await client.delete(CONFIGMAPS, "default", "a", propagation=propagation)
        assert (await client.get(CONFIGMAPS, "default", "a"))["metadata"]["finalizers"] == [finalizer]


async def test_preconditions_of_a_delete_name_the_kind() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(CONFIGMAPS, configmap("a"))
        error = await _error(client.delete(CONFIGMAPS, "default", "a", uid="wrong"))
        assert error.message.startswith('Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition')
        assert running.registry.cached(CONFIGMAPS, "default", "a") is not None


async def test_dry_run_stores_nothing() -> None:
    async with plane() as running:
        caller = system_caller("t")
        caller.dry_run = True
        row = running.registry.row(CONFIGMAPS)
        before = running.registry.revision
        written = await running.registry.create(caller, row, "default", configmap("a"))
        assert written.entry.revision == 0
        assert written.entry.uid
        assert (running.registry.revision, running.registry.cached(CONFIGMAPS, "default", "a")) == (before, None)
        await running.client("t").create(CONFIGMAPS, configmap("a", x="1"))
        await running.registry.update(caller, row, "default", "a", configmap("a", x="2"))
        options = DeleteOptions(preconditions=Preconditions())
        await running.registry.delete(caller, row, "default", "a", options)
        assert (await running.client("t").get(CONFIGMAPS, "default", "a"))["data"] == {"x": "1"}


async def test_deletecollection_deletes_what_the_selector_matches() -> None:
    async with plane() as running:
        client = running.client("t")
        for index in range(30):
            body = configmap(f"c{index:02}")
            body["metadata"]["labels"] = {"odd": str(index % 2)}
            await client.create(CONFIGMAPS, body)
        row = running.registry.row(CONFIGMAPS)
        deleted = await running.registry.delete_collection(
            system_caller("t"), row, "default", ListOptions(label_selector="odd=1"), DeleteOptions()
        )
        assert len(deleted.entries) == 15
        assert all(name.endswith(tuple("02468")) for name in await _names(running, ListOptions()))


async def test_deletecollection_answers_what_was_listed_and_the_first_refusal() -> None:
    async with plane() as running:
        client = running.client("t")
        row = running.registry.row(CONFIGMAPS)
        for index in range(40):
            body = configmap(f"c{index:02}")
            body["metadata"]["finalizers"] = ["ex.io/f"]
            await client.create(CONFIGMAPS, body)
        before = await running.registry.list(row, "default", ListOptions())
        deleted = await running.registry.delete_collection(
            system_caller("t"), row, "default", ListOptions(), DeleteOptions()
        )
        assert list(deleted.entries) == list(before.entries)
        assert all(entry.deleting for entry in running.registry.entries(CONFIGMAPS, "default"))
        wrong = DeleteOptions(preconditions=Preconditions(uid="wrong"))
        error = await _error(
            running.registry.delete_collection(system_caller("t"), row, "default", ListOptions(), wrong)
        )
        assert (error.code, error.reason) == (409, "Conflict")


async def test_what_an_update_or_delete_removed_is_shown_as_it_was_last() -> None:
    async with plane(clock=FakeClock()) as running:
        client, caller = running.client("t"), system_caller("t")
        body = configmap("a")
        body["metadata"]["finalizers"] = ["ex.io/f"]
        await client.create(CONFIGMAPS, body)
        await client.delete(CONFIGMAPS, "default", "a")
        deleting = await client.get(CONFIGMAPS, "default", "a")
        version = deleting["metadata"]["resourceVersion"]
        del deleting["metadata"]["finalizers"]
        removed = await running.registry.update(caller, running.registry.row(CONFIGMAPS), "default", "a", deleting)
        assert (removed.removed, removed.entry.obj()["metadata"]["resourceVersion"]) == (True, version)
        assert removed.entry.finalizers == ()
        await client.create(PODS, pod("p"))
        gone = await running.registry.delete(caller, running.registry.row(PODS), "default", "p", DeleteOptions())
        metadata = gone.entry.obj()["metadata"]
        assert (metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (
            "2026-01-01T00:00:00Z",
            0,
            2,
        )


async def test_dropped_owner_references_are_named_in_a_warning() -> None:
    async with plane() as running:
        caller = system_caller("t")
        body = configmap("a")
        owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"}
        body["metadata"]["ownerReferences"] = [owner, {**owner, "uid": "2"}, owner]
        written = await running.registry.create(caller, running.registry.row(CONFIGMAPS), "default", body)
        assert written.entry.owners == ("1", "2")
        (warning,) = caller.warnings
        assert warning.endswith("please fix your requests; duplicate UID(s) observed: 1")


async def test_a_resize_owns_what_it_sent_even_if_that_is_dropped() -> None:
    async with plane() as running:
        client, caller = running.client("t"), system_caller("resizer")
        await client.create(PODS, pod("p"))
        sent = b'{"spec":{"containers":[{"name":"c","image":"other"}]}}'
        patch = PatchRequest("application/strategic-merge-patch+json", sent)
        row = running.registry.row(PODS)
        written = await running.registry.patch(caller, row, "default", "p", patch, subresource="resize")
        obj = written.entry.obj()
        assert obj["spec"]["containers"][0]["image"] == "i"
        owned = next(e["fieldsV1"] for e in obj["metadata"]["managedFields"] if e["manager"] == "resizer")
        assert owned == {"f:spec": {"f:containers": {'k:{"name":"c"}': {"f:image": {}}}}}


# --- lists --------------------------------------------------------------------------------------------


async def test_pages_show_one_revision_whatever_happens_between_them() -> None:
    async with plane() as running:
        client = running.client("t")
        for index in range(5):
            await client.create(CONFIGMAPS, configmap(f"c{index}"))
        row = running.registry.row(CONFIGMAPS)
        first = await running.registry.list(row, "default", ListOptions(limit=2))
        assert ([e.name for e in first.entries], first.remaining) == (["c0", "c1"], 3)
        await client.delete(CONFIGMAPS, "default", "c3")
        await client.create(CONFIGMAPS, configmap("c9"))
        second = await running.registry.list(row, "default", ListOptions(limit=9, continue_token=first.continue_token))
        assert [e.name for e in second.entries] == ["c2", "c3", "c4"]
        assert (second.revision, second.continue_token, second.remaining) == (first.revision, "", None)


async def test_an_old_revision_is_read_from_the_log_in_slices_and_namespaces() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(NAMESPACES, {"metadata": {"name": "default-2"}})
        for index in range(1_200):
            await client.create(CONFIGMAPS, configmap(f"c{index:04}", "default-2" if index % 3 == 0 else "default"))
        then = str(running.registry.revision)
        for index in range(0, 1_200, 100):
            await client.delete(CONFIGMAPS, "default-2" if index % 3 == 0 else "default", f"c{index:04}")
        row = running.registry.row(CONFIGMAPS)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(others())
        exact = ListOptions(resource_version=then, resource_version_match="Exact")
        listing = await running.registry.list(row, "", exact)
        counting.cancel()
        assert turns >= 1_200 // DECODE_SLICE
        assert len(listing.entries) == 1_200
        keys = [entry.key for entry in listing.entries]
        assert keys == sorted(keys)
        assert len((await running.registry.list(row, "default", exact)).entries) == 800
        assert await _names(running, ListOptions(resource_version=then, limit=2), "default-2") == ["c0000", "c0003"]


async def test_a_page_comes_from_the_snapshot_of_its_first_one() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(NAMESPACES, {"metadata": {"name": "default-2"}})
        for name in ("a", "b", "c"):
            await client.create(CONFIGMAPS, configmap(name))
            await client.create(CONFIGMAPS, configmap(name, "default-2"))
        row = running.registry.row(CONFIGMAPS)
        first = await running.registry.list(row, "default", ListOptions(limit=1))
        await client.delete(CONFIGMAPS, "default", "b")
        await running.store.compact(running.registry.revision)
        rest = await running.registry.list(row, "default", ListOptions(continue_token=first.continue_token))
        assert [(entry.namespace, entry.name) for entry in rest.entries] == [("default", "b"), ("default", "c")]


async def test_a_dry_run_of_a_deletecollection_lets_others_run() -> None:
    async with plane() as running:
        client = running.client("t")
        for index in range(200):
            await client.create(CONFIGMAPS, configmap(f"c{index:03}"))
        caller = system_caller("t")
        caller.dry_run = True
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(others())
        row = running.registry.row(CONFIGMAPS)
        await running.registry.delete_collection(caller, row, "default", ListOptions(), DeleteOptions())
        counting.cancel()
        assert turns >= 200 // DELETE_WORKERS
        assert len(await _names(running, ListOptions())) == 200


async def test_a_page_of_a_compacted_revision_expires_with_a_token_that_goes_on() -> None:
    store = MemoryStore()
    async with plane(store) as running:
        client = running.client("t")
        for index in range(4):
            await client.create(CONFIGMAPS, configmap(f"c{index}"))
        row = running.registry.row(CONFIGMAPS)
        first = await running.registry.list(row, "default", ListOptions(limit=2))
        await client.delete(CONFIGMAPS, "default", "c2")
        running.feed.cacher(row.stored).snapshots.clear()  # type: ignore[arg-type]
        await store.compact(await store.current_revision())
        options = ListOptions(limit=2, continue_token=first.continue_token)
        error = await _error(running.registry.list(row, "default", options))
        assert (error.code, error.reason, error.message) == (410, "Expired", CONTINUE_EXPIRED)
        rest = ListOptions(limit=2, continue_token=error.metadata["continue"])
        assert await _names(running, rest) == ["c3"]
    await store.close()


async def test_a_page_of_a_compacted_revision_expires_even_if_nothing_changed_since() -> None:
    async with plane() as running:
        for index in range(3):
            await running.client("t").create(CONFIGMAPS, configmap(f"c{index}"))
        row = running.registry.row(CONFIGMAPS)
        first = await running.registry.list(row, "default", ListOptions(limit=2))
        options = ListOptions(limit=2, continue_token=first.continue_token)
        running.feed.compact(first.revision)
        assert await _names(running, options) == ["c2"]
        running.feed.compact(first.revision + 1)
        error = await _error(running.registry.list(row, "default", options))
        assert (error.code, error.message) == (410, CONTINUE_EXPIRED)


async def test_exact_lists_see_the_past_and_future_versions_time_out() -> None:
    async with plane() as running:
        client = running.client("t")
        created = await client.create(CONFIGMAPS, configmap("a"))
        version = created["metadata"]["resourceVersion"]
        await client.create(CONFIGMAPS, configmap("b"))
        exact = ListOptions(resource_version=version, resource_version_match="Exact")
        assert await _names(running, exact) == ["a"]
        assert await _names(running, ListOptions(resource_version=version)) == ["a", "b"]
        error = await _error(_names(running, ListOptions(resource_version="99999")))
        assert error.message.startswith("Timeout: Too large resource version: 99999, current: ")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (ListOptions(resource_version_match="Exact"), 422),
        (ListOptions(resource_version="0", resource_version_match="Exact"), 422),
        (ListOptions(resource_version="abc"), 400),
        (ListOptions(continue_token="zzz"), 400),
        (ListOptions(continue_token="zzz", resource_version="5"), 400),
        (ListOptions(label_selector="a==="), 400),
        (ListOptions(field_selector="data.a=1"), 400),
    ],
)
async def test_bad_list_options_are_refused(options: ListOptions, code: int) -> None:
    async with plane() as running:
        assert (await _error(_names(running, options))).code == code


# --- watches -------------------------------------------------------------------------------------------


async def _watch(running: ControlPlane, **options: object) -> list[tuple[str, str, int]]:
    """Everything a watch of the namespace has to say right now."""
    row = running.registry.row(CONFIGMAPS)
    watcher = await running.registry.watch(row, "default", "", WatchOptions(**options))  # type: ignore[arg-type]
    seen: list[tuple[str, str, int]] = []
    try:
        while True:
            async with asyncio.timeout(0.05):
                events = await watcher.next()
            seen.extend((e.type.value, e.entry.name if e.entry else "", e.revision) for e in events)
            if not events:
                return seen
    except TimeoutError:
        return seen
    finally:
        watcher.close()


async def test_a_watch_from_a_version_sees_every_later_event_once_and_in_order() -> None:
    async with plane() as running:
        client = running.client("t")
        since = running.registry.revision
        await client.create(CONFIGMAPS, configmap("a"))
        await client.update(CONFIGMAPS, configmap("a", x="1"))
        await client.delete(CONFIGMAPS, "default", "a")
        expected = [("ADDED", "a", since + 1), ("MODIFIED", "a", since + 2), ("DELETED", "a", since + 3)]
        assert await _watch(running, resource_version=str(since)) == expected


async def test_a_watch_whose_ring_is_too_short_reads_the_log() -> None:
    async with plane() as running:
        client = running.client("t")
        since = running.registry.revision
        for index in range(20):
            await client.create(CONFIGMAPS, configmap(f"c{index:02}"))
        row = running.registry.row(CONFIGMAPS)
        cacher = running.feed.cacher(row.stored)  # type: ignore[arg-type]
        cacher.history.complete_after = running.registry.revision - 3
        del cacher.history._changes[:-3], cacher.history._revisions[:-3]
        cacher.history._base += 17
        seen = await _watch(running, resource_version=str(since))
        assert [name for _, name, _ in seen] == [f"c{index:02}" for index in range(20)]


async def test_a_watch_from_a_compacted_version_gets_one_error_event() -> None:
    store = MemoryStore()
    async with plane(store) as running:
        client = running.client("t")
        since = running.registry.revision
        await client.create(CONFIGMAPS, configmap("a"))
        await client.update(CONFIGMAPS, configmap("a", x="1"))
        await store.compact(running.registry.revision)
        row = running.registry.row(CONFIGMAPS)
        running.feed.cacher(row.stored).history.complete_after = running.registry.revision  # type: ignore[arg-type]
        watcher = await running.registry.watch(row, "default", "", WatchOptions(resource_version=str(since)))
        (event,) = await watcher.next()
        assert event.error is not None
        assert (event.error.code, event.error.reason) == (410, "Expired")
        assert event.error.message.startswith(f"too old resource version: {since} (")
        assert await watcher.next() == ()
    await store.close()


async def test_selector_transitions_are_added_modified_and_deleted_with_the_old_state() -> None:
    async with plane() as running:
        client = running.client("t")
        since = running.registry.revision
        for labels in ({"a": "no"}, {"a": "yes"}, {"a": "yes", "b": "c"}, {"a": "no"}):
            body = configmap("x")
            body["metadata"]["labels"] = labels
            await (client.create if running.registry.revision == since else client.update)(CONFIGMAPS, body)
        seen = await _watch(running, resource_version=str(since), label_selector="a=yes")
        assert [(kind, revision - since) for kind, _, revision in seen] == [
            ("ADDED", 2),
            ("MODIFIED", 3),
            ("DELETED", 4),
        ]


async def test_initial_events_end_with_a_marked_bookmark() -> None:
    async with plane() as running:
        client = running.client("t")
        await client.create(CONFIGMAPS, configmap("a"))
        row = running.registry.row(CONFIGMAPS)
        options = WatchOptions(send_initial_events=True, resource_version_match="NotOlderThan", allow_bookmarks=True)
        watcher = await running.registry.watch(row, "default", "", options)
        added, bookmark = await watcher.next()
        assert (added.type, bookmark.type, bookmark.initial_end) == ("ADDED", "BOOKMARK", True)
        assert bookmark.revision == running.registry.revision
        watcher.close()


async def test_a_watch_ends_at_its_timeout() -> None:
    async with plane() as running:
        row = running.registry.row(CONFIGMAPS)
        options = WatchOptions(resource_version=str(running.registry.revision), timeout_s=0.02)
        watcher = await running.registry.watch(row, "default", "", options)
        assert await watcher.next() == ()


async def test_bookmarks_come_when_due_and_carry_the_shared_revision() -> None:
    clock = FakeClock()
    async with plane(clock=clock) as running:
        row = running.registry.row(CONFIGMAPS)
        options = WatchOptions(resource_version=str(running.registry.revision), allow_bookmarks=True, timeout_s=1_800)
        watcher = await running.registry.watch(row, "default", "", options)
        await running.client("t").create(PODS, pod("other-kind"))
        clock.advance(61)
        (bookmark,) = await watcher.next()
        assert (bookmark.type, bookmark.revision) == ("BOOKMARK", running.registry.revision)
        watcher.close()
