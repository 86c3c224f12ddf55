"""DNS inside real pods: two virtual clusters on one host, first with CoreDNS each, then answered by vapi itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.etcd_server import free_ports
from tests.host_cluster import HostCluster
from tests.integration.tenants import Tenant, pod, service, tenant
from tests.vapi.dns.names import HTTP, put
from tests.vapi.dns.names import service as dns_service
from tests.vapi_process import manifests, until
from vapi.dns.forwarder import Forwarder
from vapi.dns.records import Index
from vapi.dns.server import Responder, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SVC = "default.svc.cluster.local"
WWW = "www.default.svc.example.com"
"""Known to the resolver that both clusters forward to."""
WWW_IP = "198.51.100.7"
PORTS = [{"name": "http", "port": 80, "targetPort": 8080}]


@pytest.fixture(scope="module")
def upstream(node_host: HostCluster) -> Iterator[str]:
    """ADDR:PORT of a resolver that knows one name. The host's own knows none beyond the machine."""
    index = Index()
    index.put_namespace("default")
    put(index, dns_service("www", clusterIP=WWW_IP, ports=[HTTP]))
    responder = Responder(index, "example.com", Forwarder(()), random.Random(1))
    address = node_host.our_address()
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[int] = []

    async def serve() -> None:
        async with serving(responder, address, 0) as port:
            found.append(port)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)
    yield f"{address}:{found[0]}"
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@dataclass(frozen=True, slots=True)
class Pair:
    mode: str
    a: Tenant
    b: Tenant


@pytest.fixture(scope="module", params=["coredns", "embedded"])
def pair(
    request: pytest.FixtureRequest, node_host: HostCluster, upstream: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two clusters with the same objects in them, whose pods run."""
    address = node_host.our_address()
    with contextlib.ExitStack() as stack:
        both = []
        for name in ("a", "b"):
            arguments: tuple[str, ...] = ("--dns", request.param, "--dns-forward", upstream)
            if request.param == "embedded":
                arguments += ("--dns-listen", f"{address}:{free_ports(1)[0]}")
            one = stack.enter_context(
                tenant(node_host, tmp_path_factory.mktemp(name), name=name, advertise=address, arguments=arguments)
            )
            one.vapi.apply(*objects())
            both.append(one)
        for one in both:
            one.kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
            one.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
            until(partial(dig, one, f"db-1.db.{SVC}"), timeout_s=60)
        yield Pair(request.param, *both)


def objects() -> list[dict[str, Any]]:
    main = {"name": "main", "image": "docker.io/library/busybox:1.37", "command": ["sleep", "100000"]}
    return [
        pod("box"),
        service("my-service", ports=PORTS, selector={"app": "db"}),
        service("db", clusterIP="None", ports=PORTS, selector={"app": "db"}),
        service("outside", type="ExternalName", externalName=WWW),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db"},
            "spec": {
                "serviceName": "db",
                "replicas": 2,
                "podManagementPolicy": "Parallel",
                "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {"terminationGracePeriodSeconds": 0, "containers": [main]},
                },
            },
        },
    ]


def dig(one: Tenant, *question: str) -> list[str]:
    """What a pod is told, one record a line, sorted."""
    return sorted(one.kubectl("exec", "box", "--", "dig", "+short", *question).split("\n"))[1:]


def status(one: Tenant, *question: str) -> str:
    said = one.kubectl("exec", "box", "--", "dig", *question)
    return said.partition("status: ")[2].partition(",")[0]


def resolved(one: Tenant, name: str) -> str:
    """By the C library of a pod, with its search domains."""
    return one.kubectl("exec", "box", "--", "getent", "hosts", name).split()[0]


def cluster_ip(one: Tenant, name: str) -> str:
    return str(one.get("service", name)["spec"]["clusterIP"])


def pod_ip(one: Tenant, name: str) -> str:
    return str(one.get("pod", name)["status"]["podIP"])


def test_one_name_is_another_service_in_each_cluster(pair: Pair) -> None:
    addresses = {cluster_ip(one, "my-service") for one in (pair.a, pair.b)}
    assert len(addresses) == 2
    for one in (pair.a, pair.b):
        for name in (f"my-service.{SVC}", "my-service.default.svc", "my-service.default", "my-service"):
            assert resolved(one, name) == cluster_ip(one, "my-service")


def test_a_pods_nameserver_is_its_own_clusters_dns(pair: Pair) -> None:
    for one in (pair.a, pair.b):
        text = one.kubectl("exec", "box", "--", "cat", "/etc/resolv.conf").splitlines()
        kube_dns = one.get("service", "kube-dns", "kube-system")["spec"]["clusterIP"]
        assert f"nameserver {kube_dns}" in text
        assert f"search {SVC} svc.cluster.local cluster.local" in text
        assert "options ndots:5" in text


def test_the_api_server_has_its_name(pair: Pair) -> None:
    assert dig(pair.a, "kubernetes.default.svc.cluster.local") == [cluster_ip(pair.a, "kubernetes")]


def test_a_headless_service_is_its_pods_and_each_has_its_name(pair: Pair) -> None:
    for one in (pair.a, pair.b):
        ips = [pod_ip(one, "db-0"), pod_ip(one, "db-1")]
        assert dig(one, f"db.{SVC}") == sorted(ips)
        assert [dig(one, f"db-{n}.db.{SVC}") for n in (0, 1)] == [[ip] for ip in ips]
        assert one.kubectl("exec", "db-0", "--", "hostname").strip() == "db-0"


def test_a_port_is_found_by_its_name(pair: Pair) -> None:
    assert dig(pair.a, f"_http._tcp.my-service.{SVC}", "SRV") == [f"0 100 80 my-service.{SVC}."]
    assert dig(pair.a, f"_http._tcp.db.{SVC}", "SRV") == [f"0 50 8080 db-{n}.db.{SVC}." for n in (0, 1)]


def test_addresses_have_names(pair: Pair) -> None:
    assert dig(pair.a, "-x", cluster_ip(pair.a, "my-service")) == [f"my-service.{SVC}."]
    assert f"db-0.db.{SVC}." in dig(pair.a, "-x", pod_ip(pair.a, "db-0"))


def test_a_pods_address_is_a_name(pair: Pair) -> None:
    ip = pod_ip(pair.a, "box")
    assert dig(pair.a, f"{ip.replace('.', '-')}.default.pod.cluster.local") == [ip]


def test_an_external_name_leads_to_its_target(pair: Pair) -> None:
    assert dig(pair.a, f"outside.{SVC}", "CNAME") == [f"{WWW}."]
    assert dig(pair.a, f"outside.{SVC}") == sorted([WWW_IP, f"{WWW}."])
    assert resolved(pair.a, "outside") == WWW_IP


def test_names_of_others_are_forwarded(pair: Pair) -> None:
    assert resolved(pair.a, WWW) == WWW_IP
    assert status(pair.a, "nothing.default.svc.example.com") == "NXDOMAIN"


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_both_transports_answer(pair: Pair, transport: str) -> None:
    assert dig(pair.a, transport, f"my-service.{SVC}") == [cluster_ip(pair.a, "my-service")]


def test_what_is_not_there_is_told_with_the_zones_soa(pair: Pair) -> None:
    said = pair.a.kubectl("exec", "box", "--", "dig", f"nothing.{SVC}")
    assert "status: NXDOMAIN" in said
    assert "ns.dns.cluster.local. hostmaster.cluster.local." in said
    assert status(pair.a, f"my-service.{SVC}", "AAAA") == "NOERROR"


def test_names_follow_their_objects(pair: Pair) -> None:
    pair.a.vapi.apply(service("later", ports=PORTS, selector={"app": "db"}))
    ip = cluster_ip(pair.a, "later")
    until(lambda: dig(pair.a, f"later.{SVC}"), lambda found: found == [ip])
    pair.a.kubectl("delete", "service", "later")
    until(lambda: status(pair.a, f"later.{SVC}"), lambda said: said == "NXDOMAIN")


def test_other_policies_have_other_nameservers(pair: Pair) -> None:
    own = {"nameservers": ["192.0.2.1"], "searches": ["example.com"], "options": [{"name": "ndots", "value": "2"}]}
    pair.a.vapi.apply(
        pod("by-default", dnsPolicy="Default"),
        pod("by-none", dnsPolicy="None", dnsConfig=own),
        pod("by-both", dnsPolicy="ClusterFirst", dnsConfig=own),
        pod("by-net", dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True),
    )
    kube_dns = f"nameserver {pair.a.get('service', 'kube-dns', 'kube-system')['spec']['clusterIP']}"
    found = {}
    for name in ("by-default", "by-none", "by-both", "by-net"):
        pair.a.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        found[name] = pair.a.kubectl("exec", name, "--", "cat", "/etc/resolv.conf").splitlines()
    assert kube_dns not in found["by-default"]
    assert set(found["by-none"]) == {"nameserver 192.0.2.1", "search example.com", "options ndots:2"}
    assert found["by-both"][0] == f"search {SVC} svc.cluster.local cluster.local example.com"
    assert [line for line in found["by-both"] if "nameserver" in line] == [kube_dns, "nameserver 192.0.2.1"]
    assert "options ndots:2" in found["by-both"]
    assert kube_dns in found["by-net"]


def test_coredns_comes_back_when_it_is_deleted_and_is_not_there_when_vapi_answers(pair: Pair) -> None:
    twin = pair.a.twin("service", "kube-dns", "kube-system")
    if pair.mode == "embedded":
        assert pair.a.find("deployment", "coredns", "kube-system") is None
        assert not twin["spec"].get("selector")
        return
    assert {p["targetPort"] for p in twin["spec"]["ports"] if p["port"] == 53} == {1053}
    pair.a.kubectl("-n", "kube-system", "delete", "deployment", "coredns")
    until(lambda: pair.a.find("deployment", "coredns", "kube-system"))
    pair.a.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
    until(lambda: dig(pair.a, f"my-service.{SVC}"), lambda found: found == [cluster_ip(pair.a, "my-service")])


def test_the_tenant_adds_zones_of_its_own_to_coredns(pair: Pair) -> None:
    if pair.mode == "embedded":
        pytest.skip("there is no Corefile")
    server = 'my.zone:1053 {\n  template IN A {\n    answer "{{ .Name }} 5 IN A 203.0.113.5"\n  }\n}\n'
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns-custom"}}
    pair.a.kubectl(
        "-n", "kube-system", "apply", "-f", "-", stdin=manifests([{**config, "data": {"my.server": server}}])
    )
    pair.a.kubectl("-n", "kube-system", "rollout", "restart", "deployment/coredns")
    until(lambda: dig(pair.a, "any.my.zone"), lambda found: found == ["203.0.113.5"], timeout_s=60)
