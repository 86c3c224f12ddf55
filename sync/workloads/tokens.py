"""TemplateTokens: one host Secret a workload with the tokens of all of its pods, renewed at 80 % of their life.

A token of a pod of its own would differ from pod to pod, which a template cannot. These are the account's, bound to
nothing, as short-lived as asked. The Secret is made before the workload's twin and deleted once neither the tenant nor
the host has it, and nothing on the host names it: pods that were left behind (--cascade=orphan) go on with it.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import heapq
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from sync import metadata as md
from sync import names
from sync.cluster import Cluster, ClusterError, PatchType
from sync.limiter import Limiter
from sync.state import COMPONENT, EventSink
from sync.tokens import RENEW_AT, RETRY_S, Issue
from sync.translator import SECRETS, Context
from sync.translators import template as templates
from sync.translators.podtokens import TokenSource, token_sources
from sync.virtual import VirtualCluster
from sync.workloads.rows import ROWS
from vapi import encoding
from vapi.clock import Clock, parse_rfc3339, rfc3339
from vapi.control.informer import sliced
from vapi.control.workqueue import Retry
from vapi.gvk import GVR, Obj

log = logging.getLogger(__name__)

PRIORITY = 0
NO_ACCOUNT_AGAIN_S = 1.0
IN_USE_AGAIN_S = 60.0
_MARKER_KIND = "WorkloadToken"

Key = tuple[GVR, str, str]


@dataclass(slots=True)
class _Kept:
    uid: str
    """Of the workload."""
    account: str
    sources: tuple[TokenSource, ...]
    secret_uid: str
    due: dt.datetime


class TemplateTokens:
    """Part of the hooks; `run` renews. Runs on the loop."""

    def __init__(
        self,
        *,
        virtual: VirtualCluster,
        host: Cluster,
        limiter: Limiter,
        context: Callable[[], Context],
        issue: Issue,
        events: EventSink,
        clock: Clock,
        in_use: Callable[[str], Awaitable[bool]],
    ) -> None:
        """`in_use`: whether anything that the host's controllers made names a Secret (by the host's name)."""
        self._in_use = in_use
        self._virtual = virtual
        self._host = host
        self._limiter = limiter
        self._context = context
        self._issue = issue
        self._events = events
        self._clock = clock
        self._kept: dict[Key, _Kept] = {}
        self._due: list[tuple[dt.datetime, str, Key]] = []
        self._wake = asyncio.Event()
        self._gone: asyncio.Queue[tuple[str, str, Key]] = asyncio.Queue()
        """(host name, uid, workload) of Secrets whose workloads have gone."""
        self._found: dict[Key, str] = {}
        """uids of the Secrets that a start has found: of a Job that has ended nobody asks for one again."""
        self._told: dict[Key, str] = {}
        """uid of a workload whose account is missing."""
        self._later: list[asyncio.TimerHandle] = []

    async def before_template(self, resource: GVR, virtual: Obj, template: Obj) -> None:
        """There is such an account, and the Secret has what the template asks for. Raises Retry, ClusterError."""
        metadata = virtual["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        context = self._context()
        spec = templates.admitted(template.get("spec") or {}, virtual, resource, context)
        account = spec["serviceAccountName"]
        key = (resource, namespace, name)
        if context.account(namespace, account) is None:
            self._tell(key, virtual, account)
            raise Retry(NO_ACCOUNT_AGAIN_S)
        self._told.pop(key, None)
        sources = tuple(token_sources({"spec": spec}))
        kept = self._kept.get(key)
        if not sources or (kept and (kept.uid, kept.account, kept.sources) == (metadata["uid"], account, sources)):
            return
        await self._make(key, metadata["uid"], account, sources)

    def _tell(self, key: Key, virtual: Obj, account: str) -> None:
        """Once for each workload."""
        metadata = virtual["metadata"]
        if self._told.get(key) == metadata["uid"]:
            return
        self._told[key] = metadata["uid"]
        where = f"{metadata['namespace']}/{account}"
        message = f'error looking up service account {where}: serviceaccount "{account}" not found'
        self._events(COMPONENT, virtual, "Warning", "FailedCreate", f"Error creating: pods are forbidden: {message}")

    def gone(self, resource: GVR, namespace: str, name: str) -> None:
        key = (resource, namespace, name)
        self._told.pop(key, None)
        kept = self._kept.get(key)
        uid = kept.secret_uid if kept is not None else self._found.get(key, "")
        if uid:
            secret = templates.token_secret_name(self._context().cluster, resource, namespace, name)
            self._gone.put_nowait((secret, uid, key))

    # --- the Secret -----------------------------------------------------------------------------------------

    async def _make(self, key: Key, uid: str, account: str, sources: tuple[TokenSource, ...]) -> None:
        digest = _text(account, sources)
        secret, due = self._secret(key, uid, account, sources, digest)
        await self._limiter.take(PRIORITY)
        try:
            made = await self._host.create(SECRETS, secret)
        except ClusterError as error:
            if error.code != 409:
                raise
            made, due = await self._take_over(key, uid, secret, digest, due)
        self._kept[key] = _Kept(uid, account, sources, made["metadata"]["uid"], due)
        self._push(due, key, uid)

    async def _take_over(
        self, key: Key, uid: str, secret: Obj, digest: str, due: dt.datetime
    ) -> tuple[Obj, dt.datetime]:
        """One is there: from before a restart, of an earlier template, or of a predecessor of that name."""
        name = secret["metadata"]["name"]
        found = await self._host.get(SECRETS, self._context().host_namespace, name)
        annotations = found["metadata"].get("annotations") or {}
        if annotations.get(md.OBJECT_KIND) != _MARKER_KIND:
            raise ClusterError(409, "Conflict", f'secrets "{name}" belongs to somebody else')
        if annotations.get(md.OBJECT_UID) == uid and annotations.get(md.DESIRED) == digest:
            try:
                renew = parse_rfc3339(annotations.get(md.RENEW_AT, ""))
            except ValueError:
                renew = self._clock.now()
            if renew > self._clock.now():
                return found, renew
        await self._patch(secret)
        return found, due

    def _secret(
        self, key: Key, uid: str, account: str, sources: tuple[TokenSource, ...], digest: str
    ) -> tuple[Obj, dt.datetime]:
        """The Secret, and when it is to be renewed."""
        resource, namespace, name = key
        context = self._context()
        data: dict[str, str] = {}
        expires: list[dt.datetime] = []
        for source in sources:
            issued = self._issue(namespace, account, "", "", source.audience, source.expiration_s)
            data[source.key] = base64.b64encode(issued.token.encode()).decode()
            expires.append(issued.expires)
        now = self._clock.now()
        due = now + (min(expires) - now) * RENEW_AT
        owner = md.owner_reference(
            anchor=names.anchor_name(context.cluster), anchor_uid=context.anchor_uid, controller=False
        )
        annotations = {
            md.OBJECT_KIND: _MARKER_KIND,
            md.OBJECT_NAME: f"{resource.resource}/{name}",
            md.OBJECT_NAMESPACE: namespace,
            md.OBJECT_UID: uid,
            md.DESIRED: digest,
            md.RENEW_AT: rfc3339(due),
        }
        secret: Obj = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": templates.token_secret_name(context.cluster, resource, namespace, name),
                "namespace": context.host_namespace,
                "labels": context.own_labels(namespace),
                "annotations": annotations,
                "ownerReferences": [owner] if context.anchor_uid else [],
            },
            "type": "Opaque",
            "data": data,
        }
        return secret, due

    async def _patch(self, secret: Obj) -> None:
        """Keys of an earlier template stay: its pods still mount them."""
        await self._limiter.take(PRIORITY)
        patch = {"data": secret["data"], "metadata": {"annotations": secret["metadata"]["annotations"]}}
        context = self._context()
        name = secret["metadata"]["name"]
        await self._host.patch(SECRETS, context.host_namespace, name, patch, content_type=PatchType.MERGE)

    # --- renewal --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew what is due and delete what is left over, until cancelled."""
        try:
            await self._find_left_over()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._renew_all())
                group.create_task(self._delete_all())
        finally:
            for timer in self._later:
                timer.cancel()

    async def _find_left_over(self) -> None:
        context, said = self._context(), False
        while True:
            try:
                selector = f"{md.MANAGED_BY}={context.cluster}"
                secrets = list(await self._host.list(SECRETS, context.host_namespace, label_selector=selector))
                break
            except ClusterError as error:
                if error.code != 403 and not said:  # of a right that is missing the informer of Secrets has told
                    log.warning("token Secrets could not be listed, again later", extra={"error": error.message})
                    said = True
                await asyncio.sleep(RETRY_S)
        async for secret in sliced(secrets.pop() for _ in range(len(secrets))):  # to free all at once takes long
            annotations = secret["metadata"].get("annotations") or {}
            if annotations.get(md.OBJECT_KIND) != _MARKER_KIND:
                continue
            plural, _, name = annotations.get(md.OBJECT_NAME, "").partition("/")
            namespace, uid = annotations.get(md.OBJECT_NAMESPACE, ""), annotations.get(md.OBJECT_UID, "")
            row = ROWS.get(plural)
            if row is None:
                continue
            key = (row.resource, namespace, name)
            if self._virtual.cached(row.resource, namespace, name) is not None:
                self._found[key] = secret["metadata"]["uid"]
                continue
            found = _parsed(annotations.get(md.DESIRED, ""))
            if found is not None:
                now = self._clock.now()
                self._kept[key] = _Kept(uid, *found, secret["metadata"]["uid"], now)
                self._push(now, key, uid)
            self._gone.put_nowait((secret["metadata"]["name"], secret["metadata"]["uid"], key))

    async def _renew_all(self) -> None:
        while True:
            now = self._clock.now()
            while self._due and self._due[0][0] <= now:
                _, uid, key = heapq.heappop(self._due)
                await self._renew(key, uid)
            self._wake.clear()
            wait_s = max(0.05, (self._due[0][0] - self._clock.now()).total_seconds()) if self._due else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _renew(self, key: Key, uid: str) -> None:
        kept = self._kept.get(key)
        if kept is None or kept.uid != uid or kept.due > self._clock.now():
            return
        try:
            text = _text(kept.account, kept.sources)
            secret, due = self._secret(key, uid, kept.account, kept.sources, text)
            await self._patch(secret)
        except ClusterError as error:
            if error.code == 404:
                self._kept.pop(key, None)  # the next look at the workload makes it anew
                return
            log.warning("token not renewed, again soon", extra={"key": key[1:], "error": error.message})
            due = self._clock.now() + dt.timedelta(seconds=RETRY_S)
        kept.due = due
        self._push(due, key, uid)

    async def _delete_all(self) -> None:
        while True:
            name, uid, key = await self._gone.get()
            if self._virtual.cached(*key) is not None:
                continue  # a successor has it
            if await self._in_use(name):
                self._later.append(asyncio.get_running_loop().call_later(IN_USE_AGAIN_S, self._again, name, uid, key))
                continue
            self._kept.pop(key, None)
            self._found.pop(key, None)
            await self._limiter.take(PRIORITY)
            try:
                await self._host.delete(SECRETS, self._context().host_namespace, name, uid=uid)
            except ClusterError as error:
                if error.code in (404, 409):
                    continue
                log.warning("token Secret not deleted, again soon", extra={"secret": name, "error": error.message})
                self._gone.put_nowait((name, uid, key))
                await asyncio.sleep(RETRY_S)

    def _again(self, name: str, uid: str, key: Key) -> None:
        self._later = [timer for timer in self._later if timer.when() > asyncio.get_running_loop().time()]
        self._gone.put_nowait((name, uid, key))

    def _push(self, due: dt.datetime, key: Key, uid: str) -> None:
        heapq.heappush(self._due, (due, uid, key))
        self._wake.set()


def _text(account: str, sources: Iterable[TokenSource]) -> str:
    """What is asked for, as an annotation: whoever finds the Secret after a restart can renew it."""
    return encoding.dumps([account, [[s.key, s.audience, s.expiration_s, s.path] for s in sources]]).decode()


def _parsed(text: str) -> tuple[str, tuple[TokenSource, ...]] | None:
    try:
        account, sources = encoding.loads(text)
        return str(account), tuple(TokenSource(*each) for each in sources)
    except (ValueError, TypeError):
        return None
