"""Reads: get, list and watch of any row from the watch cache, with the version rules of the API."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.errors import Compacted, FutureRevision, StorageError
from storage.store import Store
from vapi import errors, selectors
from vapi.cacher.cacher import Cacher
from vapi.cacher.entry import Entry, make_entry
from vapi.cacher.feed import Feed
from vapi.cacher.view import prefix_end
from vapi.cacher.watcher import Matcher, Start, Watcher
from vapi.gvk import GVR
from vapi.registry import continue_token, list_options, storage_errors
from vapi.registry.caller import ListOptions, WatchOptions
from vapi.registry.continue_token import ContinueToken
from vapi.registry.list_options import ReadMode, ReadPlan
from vapi.resources.resource import Resource, StoredKind

WAIT_S = 3.0  # how long a read waits for a version that is not there yet; upstream blockTimeout
MIN_WATCH_S = 1_800.0  # upstream --min-request-timeout; the end is random in [1, 2) of it
STORE_PAGE = 500
DECODE_SLICE = 100  # entries decoded between two turns of the loop: about 1 ms
FILTER_SLICE = 1_000  # entries filtered between two turns of the loop: about 1 ms

CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)
LIST_EXPIRED = "The resourceVersion for the provided list is too old."


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries in key order at one revision. `remaining`: None when a selector makes it unknown or nothing follows."""

    entries: Sequence[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None


class Reads:
    """Raises only ApiError (and CancelledError)."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed

    # --- get ------------------------------------------------------------------------------------------

    def cached(self, row: Resource, namespace: str, name: str) -> Entry | None:
        kind = stored_kind(row)
        return self._feed.cachers[kind.prefix].view.get(kind.key(namespace, name))

    async def get(self, row: Resource, namespace: str, name: str, *, resource_version: str = "") -> Entry:
        if not resource_version:
            await self._barrier()
        elif resource_version != "0":
            await self._reach(list_options.read_version(resource_version))
        entry = self.cached(row, namespace, name)
        if entry is None:
            raise errors.not_found(row.gvr, name)
        return entry

    async def _barrier(self) -> None:
        """Until the views hold every write acknowledged before now, by whichever replica."""
        try:
            revision = await self._store.sync()
        except StorageError as error:
            raise errors.timeout(f"the store did not confirm its revision: {error}", retry_after_s=1) from None
        if not await self._feed.wait_until(revision, WAIT_S):
            raise errors.timeout("the watch cache did not catch up with the store", retry_after_s=1)

    async def _reach(self, revision: int) -> None:
        if not await self._feed.wait_until(revision, WAIT_S):
            raise errors.resource_version_too_large(revision, self._feed.revision)

    # --- list -----------------------------------------------------------------------------------------

    async def list(self, row: Resource, namespace: str, options: ListOptions) -> Listing:
        """`namespace` "": all of them."""
        plan = list_options.list_plan(options)
        matches = self._matcher(row, options.label_selector, options.field_selector)
        kind = stored_kind(row)
        cacher = self._feed.cachers[kind.prefix]
        prefix = kind.key(namespace, "") if namespace else kind.prefix
        exact = _exact_name(row, namespace, options)
        entries, revision = await self._source(cacher, plan, prefix, exact)
        return await self._page(cacher, plan, prefix, entries, revision, matches)

    async def _source(self, cacher: Cacher, plan: ReadPlan, prefix: str, exact: str) -> tuple[Sequence[Entry], int]:
        """What the plan reads: entries from its start on, and their revision."""
        if plan.mode is ReadMode.CURRENT:
            await self._barrier()
        elif plan.mode is ReadMode.NOT_OLDER:
            await self._reach(plan.revision)
        elif plan.mode is ReadMode.EXACT or (plan.mode is ReadMode.CONTINUE and plan.revision > 0):
            if plan.mode is ReadMode.EXACT:
                await self._reach(plan.revision)
            return await self._at(cacher, plan, prefix), plan.revision
        revision = self._feed.revision
        if exact:
            entry = cacher.view.get(exact)
            return ([entry] if entry is not None else []), revision
        start = prefix + plan.start if plan.start else ""
        return cacher.view.entries(prefix, start), revision

    async def _at(self, cacher: Cacher, plan: ReadPlan, prefix: str) -> Sequence[Entry]:
        """The state at a revision: the view, if nothing changed since; a snapshot; or the store."""
        start = prefix + plan.start if plan.start else ""
        if plan.revision < self._feed.compacted:
            raise _expired(plan)
        if cacher.last_change <= plan.revision:
            return cacher.view.entries(prefix, start)
        snapshot = cacher.snapshots.get(plan.revision)
        if snapshot is not None:
            return _under(snapshot, prefix, start)
        try:
            return await self._stored_at(cacher, plan.revision, prefix, start)
        except (Compacted, FutureRevision):
            if plan.mode is ReadMode.CONTINUE:
                token = continue_token.encode(ContinueToken(continue_token.NOW, "/" + plan.start))
                raise errors.expired(CONTINUE_EXPIRED, continue_token=token) from None
            raise errors.expired(LIST_EXPIRED) from None
        except StorageError as error:
            raise storage_errors.translate(error, _gvr(cacher.kind), "") from None

    async def _stored_at(self, cacher: Cacher, revision: int, prefix: str, start: str) -> Sequence[Entry]:
        """From the store, in pages and slices. Raises StorageError."""
        entries: list[Entry] = []
        while True:
            page = await self._store.list(prefix, start=start, limit=STORE_PAGE, at=revision)
            for item in page.items:
                entries.append(make_entry(cacher.kind, item.key, item.value, item.revision))
                if len(entries) % DECODE_SLICE == 0:
                    await asyncio.sleep(0)
            if not page.more:
                return entries
            start = page.items[-1].key + "\0"

    async def _page(
        self,
        cacher: Cacher,
        plan: ReadPlan,
        prefix: str,
        entries: Sequence[Entry],
        revision: int,
        matches: Matcher | None,
    ) -> Listing:
        taken, following = await _take(entries, plan.limit, matches)
        if following >= len(entries):
            return Listing(taken, revision)
        cacher.remember_snapshot(revision)
        start = entries[following].key.removeprefix(prefix)
        token = continue_token.encode(ContinueToken(revision, "/" + start))
        return Listing(taken, revision, token, len(entries) - following if matches is None else None)

    # --- watch ----------------------------------------------------------------------------------------

    async def watch(self, row: Resource, namespace: str, name: str, options: WatchOptions) -> Watcher:
        """Option errors are raised here, before the first byte; a too old version is an ERROR event of the watcher."""
        plan = list_options.watch_plan(options)
        matches = self._matcher(row, options.label_selector, options.field_selector)
        kind = stored_kind(row)
        cacher = self._feed.cachers[kind.prefix]
        prefix = kind.key(namespace, "") if namespace or not kind.namespaced else kind.prefix
        if name:
            matches = _named(name, matches)
        if plan.current:
            await self._barrier()
        elif plan.initial and plan.revision:
            await self._reach(plan.revision)
        if plan.initial or plan.current:
            initial = cacher.view.entries(prefix) if plan.initial else None
            start = Start(self._feed.revision, initial, plan.closing_bookmark)
        else:
            start = Start(plan.revision)
        timeout_s = options.timeout_s or MIN_WATCH_S * (1.0 + random.random())
        return cacher.watch(
            start, prefix=prefix, matches=matches, bookmarks_allowed=options.allow_bookmarks, timeout_s=timeout_s
        )

    # --- selectors --------------------------------------------------------------------------------------

    def _matcher(self, row: Resource, label_selector: str, field_selector: str) -> Matcher | None:
        checks: list[Callable[[Entry], bool]] = []
        if label_selector:
            labels = selectors.parse_label_selector(label_selector)
            if not labels.empty:
                checks.append(lambda entry: labels.matches(entry.labels))
        if field_selector:
            fields = selectors.parse_field_selector(field_selector, row.field_labels, custom=row.custom)
            if not fields.empty:
                checks.append(lambda entry: fields.matches(entry.fields))
        if not checks:
            return None
        if len(checks) == 1:
            return checks[0]
        first, second = checks
        return lambda entry: first(entry) and second(entry)


def stored_kind(row: Resource) -> StoredKind:
    if row.stored is None:
        raise errors.method_not_allowed()
    return row.stored


def _gvr(kind: StoredKind) -> GVR:
    return GVR(kind.gvk.group, kind.gvk.version, kind.plural)


def _under(entries: Sequence[Entry], prefix: str, start: str) -> Sequence[Entry]:
    """Of entries in key order, those under `prefix` from the key `start` on."""
    first = bisect_left(entries, max(prefix, start), key=_key)
    return entries[first : bisect_left(entries, prefix_end(prefix), lo=first, key=_key)]


def _key(entry: Entry) -> str:
    return entry.key


def _named(name: str, matches: Matcher | None) -> Matcher:
    if matches is None:
        return lambda entry: entry.name == name
    inner = matches
    return lambda entry: entry.name == name and inner(entry)


def _expired(plan: ReadPlan) -> errors.ApiError:
    """A continued list may go on at the newest state, with the token that comes along."""
    if plan.mode is not ReadMode.CONTINUE:
        return errors.expired(LIST_EXPIRED)
    token = continue_token.encode(ContinueToken(continue_token.NOW, "/" + plan.start))
    return errors.expired(CONTINUE_EXPIRED, continue_token=token)


def _exact_name(row: Resource, namespace: str, options: ListOptions) -> str:
    """The one key that `metadata.name=x` can match: what kubectl wait and informers of one object list."""
    if not options.field_selector.startswith("metadata.name=") or options.limit or options.continue_token:
        return ""
    name = options.field_selector.removeprefix("metadata.name=").removeprefix("=")
    if "," in name or not name or (row.namespaced and not namespace):
        return ""
    return stored_kind(row).key(namespace, name)


async def _take(entries: Sequence[Entry], limit: int, matches: Matcher | None) -> tuple[Sequence[Entry], int]:
    """The first `limit` (0: all) matching entries, and the index of the first entry not looked at."""
    if matches is None:
        if not limit or limit >= len(entries):
            return entries, len(entries)
        return entries[:limit], limit
    taken: list[Entry] = []
    for index, entry in enumerate(entries):
        if matches(entry):
            if limit and len(taken) == limit:
                return taken, index
            taken.append(entry)
        if index % FILTER_SLICE == FILTER_SLICE - 1:
            await asyncio.sleep(0)
    return taken, len(entries)
