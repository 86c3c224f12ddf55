"""SelectorIndex: the Services that mean a pod, found without a look at all Services."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from tests.planes import NAMESPACES, SERVICES, plane
from vapi.control import service_endpoints
from vapi.control.informer import Informers, SelectorIndex
from vapi.gvk import Obj
from vapi.registry.client import Client


def service(name: str, namespace: str = "default", **selector: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "None", "selector": selector, "ports": [{"port": 80}]},
    }


@contextlib.asynccontextmanager
async def indexed(*before: Obj) -> AsyncIterator[tuple[Client, SelectorIndex]]:
    """`before`: what is there when the index is made."""
    async with plane() as it:
        client = it.client("test")
        await client.create(NAMESPACES, {"metadata": {"name": "other"}})
        for each in before:
            await client.create(SERVICES, each)
        informers = Informers(client)
        index = informers.selecting(SERVICES, service_endpoints.selector_of)
        await informers.start()
        yield client, index
        informers.stop()


def meaning(index: SelectorIndex, namespace: str = "default", **labels: str) -> list[str]:
    return sorted(index.meaning(namespace, labels))


async def test_an_object_is_meant_by_those_whose_whole_selector_it_has_in_its_namespace() -> None:
    there = (service("a", app="a"), service("both", app="a", tier="x"), service("else", "other", app="a"))
    async with indexed(*there, service("nobody")) as (_, index):
        assert meaning(index, app="a") == ["a"]
        assert meaning(index, app="a", tier="x", more="y") == ["a", "both"]
        assert meaning(index, "other", app="a") == ["else"]
        assert meaning(index) == meaning(index, tier="x") == []


async def test_it_follows_what_comes_changes_and_goes() -> None:
    async with indexed() as (client, index):
        made = await client.create(SERVICES, service("s", app="a"))
        assert meaning(index, app="a") == ["s"]
        made["spec"]["selector"] = {"app": "b"}
        made = await client.update(SERVICES, made)
        assert (meaning(index, app="a"), meaning(index, app="b")) == ([], ["s"])
        del made["spec"]["selector"]
        made = await client.update(SERVICES, made)
        assert meaning(index, app="b") == []
        made["spec"]["selector"] = {"app": "c"}
        await client.update(SERVICES, made)
        await client.delete(SERVICES, "default", "s")
        assert meaning(index, app="c") == []


async def test_an_item_that_all_have_in_their_selectors_hides_none_of_them() -> None:
    there = [service(f"s-{i}", tier="x", app=f"a-{i % 3}") for i in range(9)]
    async with indexed(*there) as (_, index):
        assert meaning(index, tier="x", app="a-1") == ["s-1", "s-4", "s-7"]
        assert meaning(index, tier="x") == []
