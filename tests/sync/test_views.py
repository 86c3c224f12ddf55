"""Views: the EndpointSlices of a Service, kept by its name."""

from __future__ import annotations

from sync.translator import ENDPOINTSLICES
from sync.views import Views
from sync.virtual import VirtualCluster
from tests.planes import NAMESPACES, plane
from vapi.gvk import Obj

SERVICE = "kubernetes.io/service-name"


def endpoint_slice(name: str, service: str = "", namespace: str = "default") -> Obj:
    labels = {SERVICE: service} if service else {}
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "addressType": "IPv4"}


async def test_the_slices_of_a_service_are_found_by_its_name_whatever_becomes_of_them() -> None:
    async with plane() as it:
        client = it.client("test")
        await client.create(NAMESPACES, {"metadata": {"name": "other"}})
        for each in (endpoint_slice("a", "web"), endpoint_slice("b", "db"), endpoint_slice("c", "web", "other")):
            await client.create(ENDPOINTSLICES, each)
        views = Views(VirtualCluster(it.client("vapi-syncer")))

        def found(service: str, namespace: str = "default") -> list[str]:
            return sorted(entry.name for entry in views.slices(namespace, service))

        assert (found("web"), found("db"), found("web", "other"), found("none")) == (["a"], ["b"], ["c"], [])
        made = await client.create(ENDPOINTSLICES, endpoint_slice("d", "web"))
        assert found("web") == ["a", "d"]
        made["metadata"]["labels"] = {SERVICE: "db"}
        await client.update(ENDPOINTSLICES, made)
        assert (found("web"), found("db")) == (["a"], ["b", "d"])
        await client.delete(ENDPOINTSLICES, "default", "d")
        await client.delete(ENDPOINTSLICES, "default", "b")
        assert (found("web"), found("db")) == (["a"], [])
        await client.create(ENDPOINTSLICES, endpoint_slice("b", "web"))
        assert found("web") == ["a", "b"]
        views.close()
