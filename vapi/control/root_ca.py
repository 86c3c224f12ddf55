"""root-ca-certificate-publisher: every active namespace has the ConfigMap `kube-root-ca.crt`, equal to our CA."""

from __future__ import annotations

from collections.abc import Iterable

from vapi.cacher.entry import Change
from vapi.control import kinds
from vapi.control.controller import Context, Controller, Sources
from vapi.control.service_account import create_unless_there

NAME = "kube-root-ca.crt"
DESCRIPTION_KEY = "kubernetes.io/description"
DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


class RootCaController(Controller[str]):
    """Keys are namespaces. Source: pkg/controller/certificates/rootcacertpublisher/publisher.go."""

    name = "root-ca-certificate-publisher"

    def __init__(self, context: Context, root_ca: str) -> None:
        """`root_ca`: PEM."""
        super().__init__(context)
        self._data = {"ca.crt": root_ca}

    def sources(self) -> Sources[str]:
        return {kinds.NAMESPACES: lambda change: (change.entry.name,), kinds.CONFIG_MAPS: _touched}

    def all_keys(self) -> Iterable[str]:
        return (entry.name for entry in self.client.entries(kinds.NAMESPACES))

    async def reconcile(self, key: str) -> None:
        namespace = self.client.cached(kinds.NAMESPACES, "", key)
        if namespace is None or namespace.deleting:
            return
        entry = self.client.cached(kinds.CONFIG_MAPS, key, NAME)
        if entry is None:
            metadata = {"name": NAME, "namespace": key, "annotations": {DESCRIPTION_KEY: DESCRIPTION}}
            new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self._data}
            await create_unless_there(self, kinds.CONFIG_MAPS, new, key)
            return
        config_map = entry.obj()
        annotations = config_map["metadata"].setdefault("annotations", {})
        if config_map.get("data") == self._data and annotations.get(DESCRIPTION_KEY):
            return
        annotations[DESCRIPTION_KEY] = DESCRIPTION
        config_map["data"] = self._data
        await self.client.update(kinds.CONFIG_MAPS, config_map)


def _touched(change: Change) -> Iterable[str]:
    return (change.entry.namespace,) if change.entry.name == NAME else ()
