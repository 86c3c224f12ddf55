"""resourcequota controller: keeps what a ResourceQuota says is used; admission refuses, and charges at once.

What was charged and never came to be is handed back here: once nothing has been charged for SETTLED_S, for until then
its object may still be on its way into the store.

Every kind that a quota may count is followed; a change in a namespace with quotas
brings these, a few at a time, to a new count.
Source: pkg/controller/resourcequota.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vapi.cacher.entry import Change, ChangeType
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources, names, own_name
from vapi.control.informer import Name, sliced
from vapi.gvk import GVR, Obj
from vapi.resources import quota_usage
from vapi.resources.quota_usage import Sum
from vapi.schema import quantity

SOON_S = 0.1
"""Changes that come together are counted once."""
SETTLED_S = 2.0
"""Between the charge of a request and its commit lie milliseconds; this is for a machine that is in trouble."""
NOT_COUNTED = frozenset({"events"})
"""Source: quota install.DefaultIgnoredResources."""
WITH_AMOUNTS = (kinds.PODS, kinds.SERVICES, kinds.CLAIMS)


class ResourceQuotaController(Controller[Name]):
    """Keys are quotas. Custom resources are counted when something else makes the quota be looked at."""

    name = "resourcequota-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._pods = context.informers.facts(kinds.PODS, quota_usage.pod_usage)
        self._services = context.informers.facts(kinds.SERVICES, quota_usage.service_usage)
        self._claims = context.informers.facts(kinds.CLAIMS, quota_usage.claim_usage)
        self._quotas: dict[str, int] = {}
        """Namespace → quotas in it: most have none, and then a change costs a look-up."""
        self._charged: dict[Name, float] = {}
        """When somebody else last changed a quota: an admission that charged it."""
        self._writing: set[Name] = set()

    def sources(self) -> Sources[Name]:
        catalog = self.client.catalog
        rows = (catalog.preferred(each.gvk.group, each.plural) for each in catalog.stored_kinds() if each.namespaced)
        counted = {
            row.gvr: self._member_changed for row in rows if row is not None and row.gvr.resource not in NOT_COUNTED
        }
        amounts = dict.fromkeys(WITH_AMOUNTS, self._amount_changed)
        return {**counted, **amounts, kinds.RESOURCE_QUOTAS: self._quota_changed}

    async def prepare(self) -> None:
        for entry in self.client.entries(kinds.RESOURCE_QUOTAS):
            self._quotas.setdefault(entry.namespace, 1)

    def all_keys(self) -> Iterable[Name]:
        return names(self.client.entries(kinds.RESOURCE_QUOTAS))

    def _quota_changed(self, change: Change) -> Iterable[Name]:
        """A look at the entries tells the number; counting changes alone would miss those of the start."""
        namespace = change.entry.namespace
        if change.type is not ChangeType.DELETED:
            self._quotas[namespace] = 1
            key = (namespace, change.entry.name)
            if change.type is ChangeType.MODIFIED and key not in self._writing:
                self._charged[key] = self.clock.monotonic()
        elif not any(True for _ in self.client.entries(kinds.RESOURCE_QUOTAS, namespace)):
            self._quotas.pop(namespace, None)
        self._later(namespace)
        return own_name(change)

    def _member_changed(self, change: Change) -> Iterable[Name]:
        if change.type is not ChangeType.MODIFIED:
            self._later(change.entry.namespace)
        return ()

    def _amount_changed(self, change: Change) -> Iterable[Name]:
        self._later(change.entry.namespace)
        return ()

    def _later(self, namespace: str) -> None:
        if namespace in self._quotas:
            for entry in self.client.entries(kinds.RESOURCE_QUOTAS, namespace):
                self.queue.add_after((entry.namespace, entry.name), SOON_S)

    async def reconcile(self, key: Name) -> None:
        entry = self.client.cached(kinds.RESOURCE_QUOTAS, *key)
        if entry is None:
            self._charged.pop(key, None)
            return
        quota = entry.obj()
        hard = {name: quantity.canonical(str(text)) for name, text in (quota["spec"].get("hard") or {}).items()}
        status = {"hard": hard, "used": await self._used(key[0], quota, list(hard))}
        old: Obj = quota.get("status") or {}
        if status == old:
            return
        left_s = self._charged.get(key, float("-inf")) + SETTLED_S - self.clock.monotonic()
        if left_s > 0 and hard == old.get("hard") and _less(status["used"], old.get("used") or {}):
            self.queue.add_after(key, left_s)
        else:
            quota["status"] = status
            self._writing.add(key)
            try:
                await self.client.update(kinds.RESOURCE_QUOTAS, quota, subresource="status")
            finally:
                self._writing.discard(key)

    async def _used(self, namespace: str, quota: Obj, wanted: list[str]) -> dict[str, str]:
        """Of what anything uses: a name that nothing knows is left out."""
        total = Sum()
        known = {name for name in wanted if quota_usage.is_of_pods(name) or quota_usage.is_of_claims(name)}
        known.update(name for name in wanted if name.split(".")[0] == "services")
        if any(quota_usage.is_of_pods(name) for name in wanted):
            now = self.clock.now().timestamp()
            async for entry in sliced(self.client.entries(kinds.PODS, namespace)):
                pod = self._pods.of(entry)
                if pod.counts(now) and quota_usage.in_scopes(quota, pod):
                    total.add(pod.amounts)
        if not quota_usage.has_scopes(quota):
            await self._add_the_rest(total, namespace, wanted)
        for name in wanted:
            found = quota_usage.counted(name)
            gvr = self._gvr(*found) if found is not None else None
            if gvr is not None:
                known.add(name)
                count = 0 if quota_usage.has_scopes(quota) else sum(1 for _ in self.client.entries(gvr, namespace))
                total.add([(name, (count * quantity.NANO, "1"))])
        return {name: total.text(name) for name in wanted if name in known}

    async def _add_the_rest(self, total: Sum, namespace: str, wanted: list[str]) -> None:
        if any(name.startswith("services") for name in wanted):
            async for entry in sliced(self.client.entries(kinds.SERVICES, namespace)):
                total.add(self._services.of(entry))
        if any(quota_usage.is_of_claims(name) for name in wanted):
            async for entry in sliced(self.client.entries(kinds.CLAIMS, namespace)):
                total.add(self._claims.of(entry))

    def _gvr(self, resource: str, group: str) -> GVR | None:
        row = self.client.catalog.preferred(group, resource)
        return row.gvr if row is not None and row.namespaced and row.stored is not None else None


def _less(counted: Mapping[str, str], used: Mapping[str, str]) -> bool:
    """Whether anything would be handed back."""
    return any(quantity.parse(counted.get(n, "0")).nanos < quantity.parse(text).nanos for n, text in used.items())
