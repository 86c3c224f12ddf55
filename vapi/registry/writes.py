"""The write path: create, update, patch and delete of any row, from a private dict to an acknowledged commit.

Order: default → managedFields → mutating admission → graft → generation →
validation → validating admission → numbers (Services) → compare-and-swap. No
lock or transaction spans an await; a lost swap starts again from the re-read
object, at most `ATTEMPTS` times, unless the client gave a resourceVersion.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from storage import errors as storage
from storage.store import Store
from vapi import encoding, errors, names, objectmeta
from vapi.cacher.entry import Entry, make_entry
from vapi.cacher.feed import Feed
from vapi.clock import Clock
from vapi.errors import Cause
from vapi.gvk import GVK, GVR, Obj
from vapi.registry import deletion, graft, managed_fields, storage_errors
from vapi.registry.admission import Admission, AdmissionRequest, Operation
from vapi.registry.allocator import Allocator, Release
from vapi.registry.caller import Caller, DeleteOptions, PatchRequest
from vapi.registry.list_options import parse_version
from vapi.registry.notices import Notices, nothing
from vapi.registry.ownership import NAMESPACE_DIFFERS, FieldOwnership, nameless
from vapi.registry.reads import Reads, stored_kind
from vapi.resources.resource import Resource
from vapi.resources.strategies import mirrors
from vapi.resources.strategy import WriteContext

ATTEMPTS = 5  # upstream retries a patch 5 times, and GuaranteedUpdate until it succeeds
NAME_ATTEMPTS = 8  # upstream maxNameGenerationCreateAttempts
SEEN_S = 1.0
"""How long an acknowledged write is held back for the watch cache; what is committed is never answered as an error."""
APPLY = "application/apply-patch+yaml"
NAMESPACES = GVR("", "v1", "namespaces")


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left behind, in the stored version.

    `entry` is the object as now stored (or, on dry run, as it would be, with
    revision 0: no resourceVersion is shown). `created`: it did not exist before.
    `removed`: the write deleted it (a DELETE at once, or an update that emptied
    the finalizers of a deleting object).
    """

    entry: Entry
    created: bool = False
    removed: bool = False


Change = Callable[[Obj], Obj]
"""From the stored object, in the row's version and private, to what the client wants it to be."""


class Writes:
    """Raises only ApiError (and CancelledError: a commit that was submitted is not taken back)."""

    def __init__(
        self,
        *,
        store: Store,
        feed: Feed,
        reads: Reads,
        namespaces: Resource,
        fields: FieldOwnership,
        clock: Clock,
    ) -> None:
        self._store = store
        self._feed = feed
        self._reads = reads
        self._namespaces = namespaces
        self.admission = Admission(())
        self._fields = fields
        self.allocators: Mapping[tuple[str, str], Allocator] = {}
        self.notices: Notices = nothing
        self._clock = clock

    # --- create ---------------------------------------------------------------------------------------

    async def create(self, caller: Caller, row: Resource, namespace: str, obj: Obj) -> Written:
        """`obj` is decoded, in the row's version, and becomes the registry's own."""
        metadata = _metadata(obj)
        if metadata.get("resourceVersion"):
            raise errors.bare_error(500, "resourceVersion should not be set on objects to be created")
        _set_namespace(row, metadata, namespace)
        if metadata.get("name") or not metadata.get("generateName"):
            return await self._create_named(caller, row, namespace, obj, tracked=False)
        prefix = metadata["generateName"]
        for attempt in range(NAME_ATTEMPTS):
            candidate = copy.deepcopy(obj) if attempt < NAME_ATTEMPTS - 1 else obj
            candidate["metadata"]["name"] = objectmeta.generated_name(prefix, random.randrange)
            try:
                return await self._create_named(caller, row, namespace, candidate, tracked=False)
            except errors.ApiError as error:
                if error.reason != "AlreadyExists" or attempt == NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _create_named(self, caller: Caller, row: Resource, namespace: str, obj: Obj, *, tracked: bool) -> Written:
        now = self._clock.now()
        obj["apiVersion"], obj["kind"] = row.gvk.api_version, row.kind
        metadata = obj["metadata"]
        if "status" in row.subresources and not row.strategy.status_on_create:
            obj.pop("status", None)
        row.strategy.default(obj)
        kept = {k: metadata[k] for k in ("uid", "creationTimestamp") if caller.copies and metadata.get(k)}
        objectmeta.prepare_create(metadata, uid=str(uuid.uuid4()), now=now, has_generation=row.has_generation)
        metadata.update(kept)
        if not tracked:
            self._fields.track(row, None, obj, manager=caller.field_manager, subresource="", now=now)
        request = AdmissionRequest(caller, row, Operation.CREATE, namespace, metadata.get("name", ""), "", obj, None)
        if not caller.copies:
            await self.admission.mutate(request)
        obj = request.obj or obj
        context = WriteContext("", now, caller.user, caller.dry_run)
        row.strategy.prepare_create(obj, context)
        self._validate_new(caller, row, obj)
        if not caller.copies:
            await self.admission.validate(request)
        self._notice(caller, row, obj, None)
        release = await self._allocate(caller, row, obj, None)
        try:
            written = await self._commit_create(caller, row, namespace, obj)
        except BaseException:
            if release is not None:
                await release()
            raise
        if release is not None:
            await release(committed=True)
        return written

    def _validate_new(self, caller: Caller, row: Resource, obj: Obj) -> None:
        metadata = obj["metadata"]
        if dropped := objectmeta.dedupe_owners(metadata):
            caller.warn(objectmeta.owners_deduped(dropped))
        causes = [
            *objectmeta.validate(metadata, name_check=row.strategy.name_check or names.dns_subdomain),
            *row.strategy.validate(obj),
        ]
        _refuse(row, metadata.get("name", ""), causes)
        _warn(caller, row.strategy.warnings(obj, None))

    def _notice(self, caller: Caller, row: Resource, obj: Obj, old: Obj | None) -> None:
        """What is only stored; who stores nothing, or is one of us, is not told."""
        if not caller.in_process and not caller.dry_run:
            _warn(caller, self.notices(row, obj, old))

    async def _commit_create(self, caller: Caller, row: Resource, namespace: str, obj: Obj) -> Written:
        kind = stored_kind(row)
        name = obj["metadata"]["name"]
        key = kind.key(namespace, name)
        stored = row.to_stored(obj) if row.to_stored else obj
        value = encoding.encode_stored(stored, kind.value_prefix)
        for _ in range(ATTEMPTS):
            guard = self._namespace_guard(row, namespace, name) if row.namespaced else None
            if caller.dry_run:
                there = self._feed.cachers[kind.prefix].view.get(key)
                if there is not None:
                    raise errors.already_exists(row.gvr, name, deleting=there.deleting)
                return Written(make_entry(kind, key, value, 0, stored), created=True)
            self._feed.expect(value, stored)
            try:
                revision = await self._store.create(key, value, guard=guard)
            except storage.GuardFailed:
                continue  # the namespace was written meanwhile: look at it again
            except ValueError as error:
                # RBAC takes any path segment for a name; the store does not
                raise errors.invalid(row.gvk, name, [errors.field_invalid("metadata.name", name, str(error))]) from None
            except storage.KeyExists:
                there = self._feed.cachers[kind.prefix].view.get(key)
                raise errors.already_exists(row.gvr, name, deleting=there is not None and there.deleting) from None
            except storage.StorageError as error:
                raise storage_errors.translate(error, row.gvr, name) from None
            finally:
                self._feed.expected_done(value)
            return Written(await self._seen(row, key, value, revision), created=True)
        raise errors.conflict(row.gvr, name, "the namespace is being changed too often, try again")

    def _namespace_guard(self, row: Resource, namespace: str, name: str) -> tuple[str, int]:
        entry = self._reads.cached(self._namespaces, "", namespace)
        if entry is None:
            raise errors.not_found(NAMESPACES, namespace)
        if entry.deleting:
            raise errors.forbidden(
                row.gvr,
                name,
                f"unable to create new content in namespace {namespace} because it is being terminated",
                [Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")],
            )
        return entry.key, entry.revision

    async def _seen(self, row: Resource, key: str, value: bytes, revision: int) -> Entry:
        """The committed entry, once the view holds it: with SQLite it does already, with etcd the feed may lag."""
        await self._feed.wait_until(revision, SEEN_S)
        entry = self._feed.cachers[stored_kind(row).prefix].view.get(key)
        if entry is not None and entry.revision == revision:
            return entry
        return make_entry(stored_kind(row), key, value, revision)

    # --- update ---------------------------------------------------------------------------------------

    async def update(
        self, caller: Caller, row: Resource, namespace: str, name: str, obj: Obj, *, subresource: str = ""
    ) -> Written:
        """PUT of the object itself, on the main endpoint or one of `graft.OBJECT_SUBRESOURCES`."""
        metadata = _metadata(obj)
        _check_name(metadata, name)
        _set_namespace(row, metadata, namespace)
        obj["apiVersion"], obj["kind"] = row.gvk.api_version, row.kind
        if self._reads.cached(row, namespace, name) is None:
            if not row.update_creates or subresource:
                raise errors.not_found(row.gvr, name)
            self._check_uid(row, namespace, name, metadata)
            metadata.pop("resourceVersion", None)
            return await self._create_named(caller, row, namespace, obj, tracked=False)
        if row.update_needs_version and not metadata.get("resourceVersion"):
            cause = errors.field_invalid("metadata.resourceVersion", 0, "must be specified for an update")
            # upstream names the plural where the kind belongs
            raise errors.invalid(GVK(row.gvr.group, row.gvr.version, row.gvr.resource), name, [cause])
        self._check_uid(row, namespace, name, metadata)
        pristine = not metadata.get("resourceVersion")
        return await self._update(
            caller,
            row,
            namespace,
            name,
            # only a swap without a version can be lost and tried again: then the body must survive the first try
            lambda _old: copy.deepcopy(obj) if pristine else obj,
            subresource=subresource,
            pure=True,
        )

    def _check_uid(self, row: Resource, namespace: str, name: str, metadata: Obj) -> None:
        """A uid in a PUT is a precondition, worded as the storage layer of kube-apiserver does."""
        entry = self._reads.cached(row, namespace, name)
        uid = metadata.get("uid")
        stored = entry.uid if entry is not None else ""
        if not uid or uid == stored:
            return
        key = "/".join(part for part in ("/registry", row.gvr.resource, namespace, name) if part)
        raise errors.conflict(
            row.gvr,
            name,
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}",
        )

    async def patch(
        self, caller: Caller, row: Resource, namespace: str, name: str, patch: PatchRequest, *, subresource: str = ""
    ) -> Written:
        """Any of the four patch types; apply may create."""
        now = self._clock.now()
        if patch.content_type != APPLY:
            return await self._update(
                caller,
                row,
                namespace,
                name,
                lambda old: self._fields.patch(row, old, patch, caller),
                subresource=subresource,
                pure=True,
            )
        for _ in range(ATTEMPTS):
            if self._reads.cached(row, namespace, name) is not None:
                break
            if subresource:
                raise errors.not_found(row.gvr, name)
            obj = self._fields.apply(
                row, None, patch, caller=caller, subresource="", name=name, namespace=namespace, now=now
            )
            try:
                _set_namespace(row, _metadata(obj), namespace)
                return await self._create_named(caller, row, namespace, obj, tracked=True)
            except errors.ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        return await self._update(
            caller,
            row,
            namespace,
            name,
            lambda old: self._fields.apply(
                row, old, patch, caller=caller, subresource=subresource, name=name, namespace=namespace, now=now
            ),
            subresource=subresource,
            tracked=True,
        )

    async def change(
        self,
        caller: Caller,
        row: Resource,
        namespace: str,
        name: str,
        change: Change,
        *,
        subresource: str = "",
        tracked: bool = False,
    ) -> Written:
        """A write that is computed from the stored object (scale, binding): `change` edits the private dict it gets.

        `tracked`: its managedFields are computed too.
        """
        return await self._update(caller, row, namespace, name, change, subresource=subresource, tracked=tracked)

    async def _update(
        self,
        caller: Caller,
        row: Resource,
        namespace: str,
        name: str,
        change: Change,
        *,
        subresource: str,
        tracked: bool = False,
        pure: bool = False,
    ) -> Written:
        """`pure`: `change` does not edit what it gets, so that need not be decoded a second time."""
        shared = pure and row.from_stored is None
        for attempt in range(ATTEMPTS + 1):
            entry = self._reads.cached(row, namespace, name)
            if entry is None:
                raise errors.not_found(row.gvr, name)
            old = self._decode(row, entry)
            new = _apart(change(old), old) if shared else change(self._decode(row, entry))
            _check_identity(row, name, new, old)
            try:
                return await self._swap(
                    caller, row, namespace, entry, old, new, subresource=subresource, tracked=tracked, shared=shared
                )
            except _SharedPartEdited:
                shared = False
            except storage.RevisionConflict as lost:
                if lost.current == 0:
                    raise errors.not_found(row.gvr, name) from None
                if attempt >= ATTEMPTS - 1:
                    raise errors.conflict(row.gvr, name) from None
                await self._feed.wait_until(lost.current)
            except storage.StorageError as error:
                raise storage_errors.translate(error, row.gvr, name) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _decode(self, row: Resource, entry: Entry) -> Obj:
        obj = entry.obj()
        return row.from_stored(obj) if row.from_stored else obj

    async def _swap(
        self,
        caller: Caller,
        row: Resource,
        namespace: str,
        entry: Entry,
        old: Obj,
        new: Obj,
        *,
        subresource: str,
        tracked: bool,
        shared: bool,
    ) -> Written:
        """One attempt. Raises StorageError besides ApiError, and _SharedPartEdited if `new` and `old` share parts."""
        now = self._clock.now()
        name = entry.name
        new["apiVersion"], new["kind"] = row.gvk.api_version, row.kind
        row.strategy.default(new)
        if not tracked:
            if subresource not in graft.TRACKED_AS_SENT:
                # what this endpoint does not write must not look changed to the tracker
                new = graft.graft(row, new, old, subresource)
            self._fields.track(row, old, new, manager=caller.field_manager, subresource=subresource, now=now)
        request = AdmissionRequest(caller, row, Operation.UPDATE, namespace, name, subresource, new, old)
        await self.admission.mutate(request)
        new = graft.graft(row, request.obj or new, old, subresource)
        row.strategy.prepare_update(new, old, WriteContext(subresource, now, caller.user, caller.dry_run))
        if not caller.in_process:
            mirrors.keep_mark(new, old)
        kind = stored_kind(row)
        if shared and encoding.encode_stored(old, kind.value_prefix) != entry.value:
            raise _SharedPartEdited
        metadata = new["metadata"]
        if row.has_generation and graft.needs_generation(row, new, old, subresource):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        self._validate_changed(caller, row, new, old, subresource)
        request.obj = new
        await self.admission.validate(request)
        if not subresource:
            self._notice(caller, row, new, old)
        new = managed_fields.keep_times(old, new)
        stored = row.to_stored(new) if row.to_stored else new
        value = encoding.encode_stored(stored, kind.value_prefix)
        if value == entry.value:
            return Written(entry)
        if subresource or (row.gvr.group, row.gvr.resource) not in self.allocators:
            return await self._commit_update(caller, row, entry, new, stored=stored, value=value)
        release = await self._allocate(caller, row, new, old)
        try:
            written = await self._commit_update(caller, row, entry, new)
        except BaseException:
            if release is not None:
                await release()
            raise
        if release is not None:
            await release(committed=True)
        return written

    def _validate_changed(self, caller: Caller, row: Resource, new: Obj, old: Obj, subresource: str) -> None:
        metadata = new["metadata"]
        if dropped := objectmeta.dedupe_owners(metadata):
            caller.warn(objectmeta.owners_deduped(dropped))
        causes = [
            *objectmeta.validate_update(metadata, old["metadata"]),
            *objectmeta.validate(metadata, name_check=row.strategy.name_check or names.dns_subdomain),
            # another endpoint cannot reach what the first two guard: graft has put the stored parts back
            *(
                row.strategy.validate_subresource(subresource, new, old)
                if subresource
                else (*row.strategy.validate(new), *row.strategy.validate_update(new, old))
            ),
        ]
        _refuse(row, metadata["name"], causes)
        if not subresource:
            _warn(caller, row.strategy.warnings(new, old))

    async def _commit_update(
        self,
        caller: Caller,
        row: Resource,
        entry: Entry,
        new: Obj,
        *,
        stored: Obj | None = None,
        value: bytes | None = None,
    ) -> Written:
        """`stored` and `value`: what `new` is in the store, if that was worked out already."""
        kind = stored_kind(row)
        if stored is None or value is None:
            stored = row.to_stored(new) if row.to_stored else new
            value = encoding.encode_stored(stored, kind.value_prefix)
        if caller.dry_run:
            return Written(make_entry(kind, entry.key, value, entry.revision, stored))
        if _gone(row, new):
            revision = await self._store.delete(entry.key, expected=entry.revision)
            await self._feed.wait_until(revision, SEEN_S)
            await self._released(row, entry)
            # shown as it was written to be, at the version it was read: that write is never stored
            return Written(make_entry(kind, entry.key, value, entry.revision, stored), removed=True)
        self._feed.expect(value, stored)
        try:
            revision = await self._store.update(entry.key, value, expected=entry.revision)
        finally:
            self._feed.expected_done(value)
        return Written(await self._seen(row, entry.key, value, revision))

    # --- delete ---------------------------------------------------------------------------------------

    async def delete(self, caller: Caller, row: Resource, namespace: str, name: str, options: DeleteOptions) -> Written:
        for attempt in range(ATTEMPTS):
            entry = self._reads.cached(row, namespace, name)
            if entry is None:
                raise errors.not_found(row.gvr, name)
            deletion.check_preconditions(row, name, entry.uid, entry.revision, options.preconditions)
            old = self._decode(row, entry)
            request = AdmissionRequest(caller, row, Operation.DELETE, namespace, name, "", None, old)
            await self.admission.mutate(request)
            await self.admission.validate(request)
            decision = deletion.decide(row, old, options, self._clock.now())
            try:
                return await self._delete(caller, row, entry, decision)
            except storage.RevisionConflict as lost:
                if lost.current == 0:
                    raise errors.not_found(row.gvr, name) from None
                if options.preconditions.resource_version or attempt == ATTEMPTS - 1:
                    raise errors.conflict(row.gvr, name) from None
                await self._feed.wait_until(lost.current)
            except storage.StorageError as error:
                raise storage_errors.translate(error, row.gvr, name) from None
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _delete(self, caller: Caller, row: Resource, entry: Entry, decision: deletion.Deletion) -> Written:
        match decision.act:
            case deletion.Act.NOTHING:
                return Written(entry)
            case deletion.Act.MARK:
                return await self._commit_update(caller, row, entry, decision.obj)
            case deletion.Act.REMOVE:
                revision = entry.revision
                if not caller.dry_run:
                    revision = await self._store.delete(entry.key, expected=entry.revision)
                    await self._feed.wait_until(revision, SEEN_S)
                    await self._released(row, entry)
                return Written(self._removed(row, entry, decision, revision), removed=True)

    def _removed(self, row: Resource, entry: Entry, decision: deletion.Deletion, revision: int) -> Entry:
        """The last state, as the answer shows it."""
        kind = stored_kind(row)
        if not decision.edited:
            return make_entry(kind, entry.key, entry.value, revision)
        stored = row.to_stored(decision.obj) if row.to_stored else decision.obj
        return make_entry(kind, entry.key, encoding.encode_stored(stored, kind.value_prefix), revision, stored)

    # --- numbers --------------------------------------------------------------------------------------

    async def _allocate(self, caller: Caller, row: Resource, obj: Obj, old: Obj | None) -> Release | None:
        allocator = self.allocators.get((row.gvr.group, row.gvr.resource))
        return None if allocator is None else await allocator.allocate(caller, obj, old)

    async def _released(self, row: Resource, entry: Entry) -> None:
        allocator = self.allocators.get((row.gvr.group, row.gvr.resource))
        if allocator is not None:
            await allocator.released(entry.obj())


def _warn(caller: Caller, texts: Iterable[str]) -> None:
    for text in texts:
        caller.warn(text)


class _SharedPartEdited(Exception):
    """Something after the client's change (defaults, admission, the strategy) edited what is the old object's, too."""


def _apart(new: Obj, old: Obj) -> Obj:
    """`new`, which may share parts with `old`, with a metadata of its own: every write edits that."""
    if new is old or new.get("metadata") is old["metadata"]:
        return {**new, "metadata": dict(old["metadata"])}
    return new


def _metadata(obj: Obj) -> Obj:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        metadata = obj["metadata"] = {}
    return metadata


def _set_namespace(row: Resource, metadata: Obj, namespace: str) -> None:
    sent = metadata.get("namespace") or ""
    if row.namespaced:
        if sent and sent != namespace:
            raise errors.bad_request(NAMESPACE_DIFFERS)
        metadata["namespace"] = namespace
    else:
        # cluster-scoped: what manifests say is dropped. Source: rest.EnsureObjectNamespaceMatchesRequestNamespace
        metadata.pop("namespace", None)


def _check_name(metadata: Obj, name: str) -> None:
    if not metadata.get("name"):
        raise errors.bad_request(nameless(name))
    if metadata["name"] != name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )


def _check_identity(row: Resource, name: str, new: Obj, old: Obj) -> None:
    """Name and version of what shall be stored against what is.

    A version in it is a precondition; on a retry it no longer fits what was
    re-read, so a pinned write is refused and an unpinned one goes on.
    """
    metadata, stored = _metadata(new), old["metadata"]
    _check_name(metadata, name)
    if "namespace" not in stored:
        metadata.pop("namespace", None)
    elif metadata.setdefault("namespace", stored["namespace"]) != stored["namespace"]:
        raise errors.bad_request(NAMESPACE_DIFFERS)
    version = metadata.get("resourceVersion", "")
    if version and version not in ("0", stored["resourceVersion"]):
        try:
            parse_version(version)
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
        raise errors.conflict(row.gvr, name)
    metadata["resourceVersion"] = stored["resourceVersion"]


def _refuse(row: Resource, name: str, causes: list[Cause]) -> None:
    if causes:
        # upstream validates the internal type, whose group is that of the stored one (events)
        raise errors.invalid(GVK(row.stored.gvk.group if row.stored else "", row.gvk.version, row.kind), name, causes)


def _gone(row: Resource, new: Obj) -> bool:
    """Whether a deleting object has nothing left to wait for. Source: generic registry ShouldDeleteDuringUpdate."""
    metadata = new["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if row.kind == "Namespace" and not row.gvr.group:
        return not new.get("spec", {}).get("finalizers")
    return bool(metadata.get("deletionGracePeriodSeconds", 0) == 0)
