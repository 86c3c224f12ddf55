"""Numbers of Services: what is given, what is refused and in which words, and what dry runs keep."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.vapi.control.clock import FakeClock
from vapi import encoding
from vapi.cacher.entry import Entry, make_entry
from vapi.control.service_ip import IpRange, ServiceAllocator
from vapi.errors import ApiError
from vapi.gvk import GVK, GVR, Obj
from vapi.registry.caller import Caller, system_caller
from vapi.resources.resource import StoredKind

KIND = StoredKind(GVK("", "v1", "Service"), "services", True)


class Services:
    """The view: Services that have been committed."""

    def __init__(self) -> None:
        self.committed: dict[str, Entry] = {}

    def commit(self, service: Obj) -> None:
        key = KIND.key("default", service["metadata"]["name"])
        value = encoding.encode_stored(service, KIND.value_prefix)
        self.committed[key] = make_entry(KIND, key, value, len(self.committed) + 1)

    def cached(self, _gvr: GVR, namespace: str, name: str) -> Entry | None:
        return self.committed.get(KIND.key(namespace, name))

    def entries(self, _gvr: GVR, _namespace: str = "") -> Iterable[Entry]:
        return list(self.committed.values())


class World:
    def __init__(self, *ranges: str, ports: tuple[int, int] = (30000, 32767)) -> None:
        self.services = Services()
        self.clock = FakeClock()
        self.allocator = ServiceAllocator(
            self.services, self.clock, ip_ranges=ranges or ("10.96.0.0/16",), ports=ports, pick=random.Random(1)
        )

    async def write(self, service: Obj, old: Obj | None = None, *, dry_run: bool = False) -> Obj:
        caller: Caller = system_caller("test")
        caller.dry_run = dry_run
        await self.allocator.allocate(caller, service, old)
        if not dry_run:
            self.services.commit(service)
        return service

    async def refused(self, service: Obj, old: Obj | None = None) -> str:
        with pytest.raises(ApiError) as caught:
            await self.write(service, old)
        return caught.value.message


def service(name: str = "s", **spec: Any) -> Obj:
    wanted = {"type": "ClusterIP", "selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}], **spec}
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": wanted}


async def test_a_service_gets_an_address_and_its_family() -> None:
    spec = (await World().write(service()))["spec"]
    assert spec["clusterIP"].startswith("10.96.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


async def test_no_address_is_given_twice_even_before_the_first_is_committed() -> None:
    world = World("10.96.0.0/28")
    given = []
    for number in range(14):
        made = service(f"s{number}")
        await world.allocator.allocate(system_caller("test"), made, None)
        given.append(made["spec"]["clusterIP"])
    assert len(set(given)) == 14
    assert await world.refused(service("full")) == (
        'Internal error occurred: failed to allocate a serviceIP for Service "full": range is full'
    )
    world.clock.advance(121)
    assert (await world.write(service("later")))["spec"]["clusterIP"] in given


async def test_what_an_allocator_finds_at_its_first_look_is_given_to_nobody() -> None:
    world = World("10.0.0.0/29")
    for index in range(3):
        world.services.commit(service(f"old-{index}", clusterIPs=[f"10.0.0.{index + 1}"]))
    together = [world.write(service(f"new-{index}")) for index in range(3)]
    given = [made["spec"]["clusterIP"] for made in await asyncio.gather(*together)]
    assert sorted(given) == ["10.0.0.4", "10.0.0.5", "10.0.0.6"]


async def test_a_released_claim_is_free_again() -> None:
    world = World("10.96.0.0/30")
    for _ in range(5):
        release = await world.allocator.allocate(system_caller("test"), service(), None)
        await release()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("1.2.3.4", "failed to allocate IP 1.2.3.4: the provided network does not match the current range"),
        ("10.96.0.0", "failed to allocate IP 10.96.0.0: the provided network does not match the current range"),
        ("10.96.255.255", "failed to allocate IP 10.96.255.255: the provided network does not match the current range"),
        ("10.96.0.7", "failed to allocate IP 10.96.0.7: provided IP is already allocated"),
    ],
)
async def test_an_address_that_cannot_be_had_is_refused_by_name(address: str, why: str) -> None:
    world = World()
    await world.write(service("first", clusterIP="10.96.0.7"))
    message = await world.refused(service("s2", clusterIP=address))
    assert message == f'Service "s2" is invalid: spec.clusterIPs: Invalid value: ["{address}"]: {why}'


async def test_headless_and_external_services_get_nothing() -> None:
    world = World()
    headless = (await world.write(service("h", clusterIP="None")))["spec"]
    assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
    alone = (await world.write(service("x", clusterIP="None", selector=None)))["spec"]
    assert (alone["ipFamilies"], alone["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")
    external = (await world.write(service("e", type="ExternalName", externalName="x.y")))["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & external.keys()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
        ({"ipFamilies": ["IPv6"]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
        (
            {"clusterIP": "fd00::1"},
            'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster',
        ),
    ],
)
async def test_families_that_the_cluster_lacks_are_refused(spec: Obj, why: str) -> None:
    assert await World().refused(service(**spec)) == f'Service "s" is invalid: {why}'


async def test_preferring_two_families_takes_what_there_is() -> None:
    single = (await World().write(service(ipFamilyPolicy="PreferDualStack")))["spec"]
    assert (single["ipFamilies"], len(single["clusterIPs"])) == (["IPv4"], 1)
    dual = (await World("10.96.0.0/16", "fd00::/108").write(service(ipFamilyPolicy="PreferDualStack")))["spec"]
    assert (dual["ipFamilies"], len(dual["clusterIPs"])) == (["IPv4", "IPv6"], 2)


async def test_a_put_without_an_address_keeps_the_one_it_has() -> None:
    world = World()
    old = await world.write(service())
    new = await world.write(service(), old)
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]


async def test_the_way_to_an_external_name_and_back() -> None:
    world = World("10.96.0.0/30")
    for number in range(6):
        old = await world.write(service(clusterIP=None))
        external = await world.write(service(**{**old["spec"], "type": "ExternalName"}), old)
        assert "clusterIP" not in external["spec"]
        back = await world.write(service(), external)
        assert back["spec"]["clusterIP"].startswith("10.96.0."), number
        await world.allocator.released(back)
        world.services.committed.clear()


async def test_node_ports_are_given_shared_and_refused() -> None:
    world = World()
    both = [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}, {"port": 80, "protocol": "TCP"}]
    ports = (await world.write(service("a", type="NodePort", ports=both)))["spec"]["ports"]
    assert ports[0]["nodePort"] == ports[1]["nodePort"] != ports[2]["nodePort"]
    await world.write(service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    taken = await world.refused(service("c", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    assert taken == (
        'Service "c" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated'
    )
    outside = await world.refused(service("c", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))
    assert outside.endswith(
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
        "The range of valid ports is 30000-32767"
    )


async def test_a_service_that_is_no_longer_a_node_port_gives_its_port_back() -> None:
    world = World(ports=(30000, 30000))
    old = await world.write(service("a", type="NodePort"))
    await world.allocator.released(old)
    plain = await world.write(service("a", **{**old["spec"], "type": "ClusterIP", "ports": [{"port": 80}]}), old)
    assert "nodePort" not in plain["spec"]["ports"][0]
    assert (await world.write(service("b", type="NodePort")))["spec"]["ports"][0]["nodePort"] == 30000


async def test_a_load_balancer_with_local_traffic_has_a_health_check_port() -> None:
    world = World()
    local = await world.write(service(type="LoadBalancer", externalTrafficPolicy="Local"))
    number = local["spec"]["healthCheckNodePort"]
    assert 30000 <= number <= 32767
    wide = await world.write(service(**{**local["spec"], "externalTrafficPolicy": "Cluster"}), local)
    assert "healthCheckNodePort" not in wide["spec"]
    without = service("n", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert "nodePort" not in (await world.write(without))["spec"]["ports"][0]


async def test_a_dry_run_shows_numbers_and_keeps_none() -> None:
    world = World("10.96.0.0/30")
    for _ in range(5):
        shown = await world.write(service(), dry_run=True)
        assert shown["spec"]["clusterIP"].startswith("10.96.0.")


def test_the_lower_addresses_are_left_to_those_who_ask_for_one() -> None:
    taken: set[str | int] = set()
    pick = random.Random(2)
    ip_range = IpRange(network=ipaddress.ip_network("10.96.0.0/16"))
    for _ in range(300):
        ip = ip_range.free(taken.__contains__, pick)
        assert ip is not None
        assert not ip.startswith("10.96.0.")
        taken.add(ip)


async def test_ports_of_a_dry_run_count_up_outside_of_the_range() -> None:
    world = World()
    wanted = service(type="LoadBalancer", externalTrafficPolicy="Local")
    spec = (await world.write(wanted, dry_run=True))["spec"]
    assert [port["nodePort"] for port in spec["ports"]] == [32769]
    assert spec["healthCheckNodePort"] == 32770
