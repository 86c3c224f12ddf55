"""service-account controller: every active namespace has the ServiceAccount `default`."""

from __future__ import annotations

from collections.abc import Iterable

from vapi.cacher.entry import Change, ChangeType
from vapi.control import kinds
from vapi.control.controller import Controller, Sources, is_namespace_terminating
from vapi.errors import ApiError
from vapi.gvk import GVR, Obj

DEFAULT = "default"


class ServiceAccountController(Controller[str]):
    """Keys are namespaces. Source: pkg/controller/serviceaccount/serviceaccounts_controller.go."""

    name = "service-account-controller"

    def sources(self) -> Sources[str]:
        return {kinds.NAMESPACES: lambda change: (change.entry.name,), kinds.SERVICE_ACCOUNTS: _lost}

    def all_keys(self) -> Iterable[str]:
        return (entry.name for entry in self.client.entries(kinds.NAMESPACES))

    async def reconcile(self, key: str) -> None:
        namespace = self.client.cached(kinds.NAMESPACES, "", key)
        if namespace is None or namespace.deleting:
            return
        if self.client.cached(kinds.SERVICE_ACCOUNTS, key, DEFAULT) is not None:
            return
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": key}}
        await create_unless_there(self, kinds.SERVICE_ACCOUNTS, account, key)


def _lost(change: Change) -> Iterable[str]:
    if change.type is ChangeType.DELETED and change.entry.name == DEFAULT:
        return (change.entry.namespace,)
    return ()


async def create_unless_there(controller: Controller[str], gvr: GVR, obj: Obj, key: str) -> None:
    """Create what a namespace must have. Somebody was faster, or the namespace has begun to go: fine."""
    try:
        controller.written(key, gvr, await controller.client.create(gvr, obj))
    except ApiError as error:
        if error.reason == "AlreadyExists" or is_namespace_terminating(error) or error.code == 404:
            return
        raise
