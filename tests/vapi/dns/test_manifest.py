"""Which objects make up the DNS of a tenant, and what their Corefile says."""

from __future__ import annotations

import pytest

from vapi.config import ConfigError, load
from vapi.dns import choice
from vapi.dns.manifest import RESOURCES, Mode, Settings, corefile, objects
from vapi.gvk import Obj

COREFILE = """\
.:1053 {
    errors
    health {
        lameduck 5s
    }
    ready
    kubernetes team.example in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . 192.0.2.1:53 [2001:db8::1]:53
    cache 30 {
        disable success team.example
        disable denial team.example
    }
    loop
    reload
    loadbalance
    import /etc/coredns-custom/*.override
}
import /etc/coredns-custom/*.server
"""


def of(settings: Settings) -> dict[str, Obj]:
    return {obj["kind"]: obj for obj in objects(settings)}


def test_the_corefile_serves_the_domain_and_forwards_the_rest() -> None:
    assert corefile("team.example", ("192.0.2.1:53", "[2001:db8::1]:53")) == COREFILE


def test_coredns_listens_on_1053_behind_port_53_and_needs_no_privilege() -> None:
    found = of(Settings(Mode.COREDNS, image="example.com/coredns:1"))
    assert next(iter(found)) == "Service"
    assert {(p["port"], p["targetPort"]) for p in found["Service"]["spec"]["ports"]} == {(53, 1053), (9153, 9153)}
    template = found["Deployment"]["spec"]["template"]
    assert found["Service"]["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert container["image"] == "example.com/coredns:1"
    assert {(p["containerPort"], p["protocol"]) for p in container["ports"][:2]} == {(1053, "UDP"), (1053, "TCP")}
    assert template["spec"]["dnsPolicy"] == "Default"
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert found["ConfigMap"]["data"]["Corefile"] == corefile("cluster.local", ("/etc/resolv.conf",))


def test_what_is_handed_out_is_a_copy() -> None:
    of(Settings(Mode.COREDNS))["Service"]["spec"].clear()
    assert of(Settings(Mode.COREDNS))["Service"]["spec"]


@pytest.mark.parametrize(
    ("address", "family"), [(("192.0.2.9", 1053), "IPv4"), (("2001:db8::9", 5353), "IPv6")], ids=["IPv4", "IPv6"]
)
def test_an_embedded_server_is_behind_a_service_without_selector(address: tuple[str, int], family: str) -> None:
    found = of(Settings(Mode.EMBEDDED, address=address))
    assert found.keys() == {"Service", "EndpointSlice"}
    assert "selector" not in found["Service"]["spec"]
    slice_ = found["EndpointSlice"]
    assert slice_["addressType"] == family
    assert slice_["endpoints"][0]["addresses"] == [address[0]]
    assert {(p["name"], p["port"]) for p in slice_["ports"]} == {("dns", address[1]), ("dns-tcp", address[1])}
    assert {p["name"] for p in found["Service"]["spec"]["ports"]} == {"dns", "dns-tcp"}


def test_every_kind_is_known_by_its_resource() -> None:
    settings = [Settings(mode, address=("192.0.2.9", 1053)) for mode in Mode]
    assert {obj["kind"] for each in settings for obj in objects(each)} == RESOURCES.keys()


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ({}, Mode.NONE),
        ({"host": "none"}, Mode.NONE),
        ({"host": "in-cluster"}, Mode.COREDNS),
        ({"host": "in-cluster", "dns": "none"}, Mode.NONE),
        ({"host": f"kubeconfig={__file__}"}, Mode.NONE),
        ({"host": f"kubeconfig={__file__}", "advertise": "192.0.2.9:443"}, Mode.COREDNS),
        ({"dns": "coredns"}, Mode.COREDNS),
        ({"dns": "embedded"}, Mode.EMBEDDED),
    ],
    ids=str,
)
def test_coredns_is_the_default_where_pods_of_a_real_host_reach_us(flags: dict[str, str], mode: Mode) -> None:
    assert choice.settings(load(flags, None, {})).mode is mode


@pytest.mark.parametrize(
    ("flags", "address"),
    [
        ({"advertise": "192.0.2.9:443"}, ("192.0.2.9", 1053)),
        ({"advertise": "192.0.2.9:443", "dns_listen": "0.0.0.0:5353"}, ("192.0.2.9", 5353)),
        ({"advertise": "127.0.0.1:443"}, None),
        ({"advertise": "vapi.example:443"}, None),
        ({}, None),
    ],
)
def test_an_embedded_server_is_reached_at_the_advertised_address(
    flags: dict[str, str], address: tuple[str, int] | None
) -> None:
    assert choice.settings(load({"dns": "embedded", **flags}, None, {})).address == address


def test_an_embedded_server_that_pods_cannot_reach_is_refused_on_a_real_host() -> None:
    with pytest.raises(ConfigError, match="--advertise with an IP address"):
        choice.settings(load({"dns": "embedded", "host": "in-cluster"}, None, {}))


@pytest.mark.parametrize(
    ("flags", "addresses"),
    [
        ({"listen": "192.0.2.9:443"}, ["192.0.2.9:1053"]),
        ({"listen": "0.0.0.0:443"}, ["0.0.0.0:1053"]),
        ({"listen": "0.0.0.0:443", "advertise": "192.0.2.9:443"}, ["192.0.2.9:1053", "0.0.0.0:1053"]),
        ({"listen": "0.0.0.0:443", "advertise": "vapi.example:443"}, ["0.0.0.0:1053"]),
        ({"listen": "0.0.0.0:443", "advertise": "192.0.2.9:443", "dns_listen": "0.0.0.0:53"}, ["0.0.0.0:53"]),
    ],
)
def test_an_embedded_server_listens_beside_the_api_server_where_it_is_asked(
    flags: dict[str, str], addresses: list[str]
) -> None:
    assert [str(a) for a in choice.listen(load(flags, None, {}))] == addresses
