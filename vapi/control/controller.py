"""Controller: one readable file each, on one base: what to watch, which key that concerns, and `reconcile(key)`.

`reconcile` is level-triggered: it reads the view, decides, writes, and may be
called at any time for any key. It answers by returning (done), by `Retry`, by
`Permanent` (looked at again when something changes, or after 5 minutes), or by
any ApiError of its writes, which means another try.

No expectations, as client-go's controllers need them: there the watch lags
behind the answers, here a write is in the view before it is acknowledged
(storage invariant 2), so a second look cannot create a second time. With etcd
an acknowledgement may overtake its event when the watch stands still for 3 s;
then `written` remembers the key, and its next look begins with a live read,
which waits until the view is as new as everything acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic

from vapi.cacher.entry import Change, Entry
from vapi.clock import Clock
from vapi.control.events import EventRecorder
from vapi.control.informer import Informers, Name
from vapi.control.workqueue import Key, Permanent, QueueClosed, Retry, WorkQueue
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj
from vapi.registry.client import Client

log = logging.getLogger(__name__)

PERMANENT_AGAIN_S = 300.0
"""A permanent failure is looked at again after this long (design §6)."""

AT_ONCE = 16
"""Writes of one reconcile that may wait for the store together."""

MANY = 32
"""Workers of controllers that write for each of many keys: what waits together shares a commit. *Measured* (python -m
tests.bench --deployments), against upstream's 5: 17 % less CPU, a fifth less time."""

FEW = 20
"""Pods that are looked at on every change."""
MOST_DELAY_S = 0.1

FIELD_MANAGER = "kube-controller-manager"
"""Of all controllers, as in Kubernetes: clients and the golden files know this manager of status fields."""

Sources = Mapping[GVR, Callable[[Change], Iterable[Key]]]
"""What to watch → the keys that a change of it concerns. Runs inside dispatch: looks nothing up but indexes."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every controller is built from."""

    client: Client
    informers: Informers
    events: EventRecorder
    clock: Clock


class Controller(ABC, Generic[Key]):
    """Built on the loop; `run` subscribes, works and, when cancelled or after `stop`, leaves nothing behind."""

    name: ClassVar[str]
    workers: ClassVar[int] = 1

    def __init__(self, context: Context) -> None:
        self.client = context.client
        self.informers = context.informers
        self.events = context.events
        self.clock = context.clock
        self.queue: WorkQueue[Key] = WorkQueue(clock=context.clock, refill=self.all_keys)
        self._unseen: dict[Key, tuple[GVR, str, str]] = {}

    @abstractmethod
    def sources(self) -> Sources[Key]:
        """Read once, by `run`."""

    @abstractmethod
    def all_keys(self) -> Iterable[Key]:
        """Every key there is: the start. A lazy iterable over a snapshot; it is taken a piece at a time."""

    @abstractmethod
    async def reconcile(self, key: Key) -> None:
        """Bring `key` where it should be. Raises Retry, Permanent, ApiError."""

    async def prepare(self) -> None:
        """Between subscribing and the first key: for what must be complete before any decision."""

    async def run(self) -> None:
        """Until cancelled or stopped."""
        off = [self.client.on_change(gvr, self._enqueuer(keys)) for gvr, keys in self.sources().items()]
        try:
            await self.prepare()
            self.queue.refill()
            async with asyncio.TaskGroup() as group:
                for _ in range(self.workers):
                    group.create_task(work(self.queue, self._reconcile, name=self.name), name=f"controller {self.name}")
        finally:
            for unsubscribe in off:
                unsubscribe()
            self.queue.close()

    def stop(self) -> None:
        """Workers end after the item in hand."""
        self.queue.close()

    def written(self, key: Key, gvr: GVR, obj: Obj) -> None:
        """`obj` was just created or updated for `key`: see above, etcd."""
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        entry = self.client.cached(gvr, namespace, name)
        if entry is None or entry.revision < int(metadata["resourceVersion"]):
            self._unseen[key] = (gvr, namespace, name)

    def delay_s(self, key: Key) -> float:
        """How long a change may wait for others about `key` to come with it, our own writes included."""
        return 0.0

    def _enqueuer(self, keys: Callable[[Change], Iterable[Key]]) -> Callable[[Change], None]:
        def changed(change: Change) -> None:
            for key in keys(change):
                self.queue.add_after(key, self.delay_s(key))

        return changed

    async def _reconcile(self, key: Key) -> None:
        unseen = self._unseen.get(key)
        if unseen is not None:
            try:
                await self.client.get(*unseen)
            except ApiError as error:
                if error.code != 404:
                    raise
            del self._unseen[key]
        await self.reconcile(key)


def is_namespace_terminating(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is going. Source: apierrors.HasStatusCause."""
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


async def work(queue: WorkQueue[Key], reconcile: Callable[[Key], Awaitable[None]], *, name: str) -> None:
    """One worker: takes keys until the queue is closed, and gives the loop a turn after each (law 9).

    What `reconcile` raises decides when the key is looked at again; a bug (any
    other exception) is logged with its traceback the first time in a row.
    """
    while True:
        try:
            key = await queue.get()
        except QueueClosed:
            return
        try:
            await reconcile(key)
        except Retry as retry:
            _again(queue, key, retry)
        except Permanent as permanent:
            log.warning("cannot be done", extra={"controller": name, "key": key, "reason": permanent.reason})
            queue.forget(key)
            queue.add_after(key, PERMANENT_AGAIN_S)
        except ApiError as error:
            usual = error.code in (404, 409) or is_namespace_terminating(error)
            level = logging.DEBUG if usual else logging.WARNING
            log.log(level, "write refused, again later", extra={"controller": name, "key": key, "error": error.message})
            queue.retry(key)
        except Exception:
            if queue.failures(key) == 0:
                log.exception("reconcile failed, again later", extra={"controller": name, "key": key})
            queue.retry(key)
        else:
            queue.forget(key)
        finally:
            queue.done(key)
        await asyncio.sleep(0)


def _again(queue: WorkQueue[Key], key: Key, retry: Retry) -> None:
    if retry.after_s is None:
        queue.retry(key)
    else:
        queue.forget(key)
        queue.add_after(key, retry.after_s)


def names(entries: Iterable[Entry]) -> Iterable[Name]:
    """The keys of most controllers."""
    return ((entry.namespace, entry.name) for entry in entries)


def own_name(change: Change) -> Iterable[Name]:
    """The changed object's own key."""
    return ((change.entry.namespace, change.entry.name),)


class Sizes(Generic[Key]):
    """How many pods a key was about when it was last looked at, and so how long its next look may wait.

    A look at n pods costs about n × 10 µs, so n/10 ms between two looks bounds
    them to a tenth of the loop; few pods wait for nothing, and nobody more than 100 ms.
    """

    def __init__(self) -> None:
        self._sizes: dict[Key, int] = {}

    def note(self, key: Key, size: int) -> None:
        if size >= FEW:
            self._sizes[key] = size
        else:
            self._sizes.pop(key, None)

    def delay_s(self, key: Key) -> float:
        return min(self._sizes.get(key, 0) * 0.0001, MOST_DELAY_S)


async def all_at_once(calls: Iterable[Callable[[], Awaitable[object]]], limit: int = AT_ONCE) -> list[ApiError]:
    """Make all calls, at most `limit` at a time; the errors of those that were refused (404 is success), in order.

    Writes that wait for the store together share its group commit.
    """
    waiting = list(calls)
    pending = iter(waiting)
    refused: list[ApiError] = []

    async def one_after_the_other() -> None:
        for call in pending:
            try:
                await call()
            except ApiError as error:
                if error.code != 404:
                    refused.append(error)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(limit, len(waiting))):
            group.create_task(one_after_the_other())
    return refused
