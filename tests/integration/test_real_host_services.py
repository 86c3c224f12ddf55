"""Services on a real host: the numbers are the host's, and all answers are those of a cluster of the tenant's own.

The scenarios are sent to the host itself and to a virtual cluster on it; after each the twins must say what the
tenant's Services say.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from sync import metadata as md
from tests.host_cluster import AGNHOST, HostCluster
from tests.integration import service_scenarios as scenarios
from tests.integration.service_scenarios import NAMESPACE, NUMBERS, ROOT, SCENARIOS, Step
from tests.integration.tenants import Tenant, pod, service, tenant
from tests.tools.differential import Answer, RealServer
from tests.tools.requests import Sent
from tests.vapi_process import KubectlError, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ADDRESS = re.compile(r"\b10\.96\.\d+\.\d+\b")
VARYING = re.compile(
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\bgenerated-[a-z0-9]{5}\b"
)
NODE_PORT = re.compile(r"\b3[0-2]\d{3}\b")


@pytest.fixture(scope="module")
def pair(node_host: HostCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tenant, Tenant]]:
    with (
        tenant(node_host, tmp_path_factory.mktemp("a"), name="a", advertise=node_host.our_address()) as a,
        tenant(node_host, tmp_path_factory.mktemp("b"), name="b", advertise=node_host.our_address()) as b,
    ):
        yield a, b


@pytest.fixture(scope="module")
def a(pair: tuple[Tenant, Tenant]) -> Tenant:
    return pair[0]


@pytest.fixture(scope="module")
def box(a: Tenant) -> Tenant:
    """With a pod to call from."""
    a.vapi.apply(pod("box"))
    a.kubectl("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
    return a


# --- the same answers as the host's ------------------------------------------------------------------------


@dataclass
class Side:
    """One of the two, and what its numbers are called: in the order in which they appear."""

    name: str
    server: RealServer
    called: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        self.called = {str(number): token for token, number in NUMBERS[self.name].items()}

    def send(self, step: Step) -> Answer:
        body = step.body
        if callable(body):
            stored = self._request("GET", step.path.partition("/status")[0].partition("?")[0]).body
            body = body(stored)
        return self._request(step.method, step.path, self._numbered(body), step.content_type)

    def told(self, answer: Answer) -> Any:
        """The answer without what must differ."""
        body = answer.body
        if isinstance(body, dict):
            body = self._called(body)
        return {"status": answer.status, "body": body, "warnings": [self._text(w) for w in answer.warnings]}

    def services(self) -> list[Any]:
        found: list[Any] = self._request("GET", ROOT).body["items"]
        return found

    def end(self) -> None:
        self._request("DELETE", ROOT)

    def _request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        headers = {"Content-Type": content_type, "Accept": "application/json", "User-Agent": "scenario"}
        return self.server.send(Sent(method, path, headers, data))

    def _numbered(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._numbered(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._numbered(each) for each in value]
        return NUMBERS[self.name].get(value, value) if isinstance(value, str) else value

    def _called(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: self._called(v, k) for k, v in sorted(value.items())}
        if isinstance(value, list):
            return [self._called(each) for each in value]
        if key in ("resourceVersion", "uid"):
            return "…"
        if isinstance(value, int) and 30_000 <= value < 32_768:
            return self._call(str(value))
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        text = VARYING.sub("…", text)
        return NODE_PORT.sub(lambda m: self._call(m[0]), ADDRESS.sub(lambda m: self._call(m[0]), text))

    def _call(self, number: str) -> str:
        return self.called.setdefault(number, f"#{len(self.called)}")


@pytest.fixture(scope="module")
def sides(a: Tenant) -> Iterator[tuple[Side, Side]]:
    a.host.kubectl("create", "namespace", NAMESPACE)
    a.kubectl("create", "namespace", NAMESPACE)
    both = Side("host", RealServer(a.host.kubeconfig)), Side("tenant", RealServer(a.vapi.kubeconfig))
    try:
        yield both
    finally:
        for side in both:
            side.server.close()
        a.host.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_service_is_answered_for_as_on_a_cluster_of_its_own(name: str, a: Tenant, sides: tuple[Side, Side]) -> None:
    host, ours = sides
    try:
        for side in sides:
            side.begin()
        for step in SCENARIOS[name]:
            expected = host.told(host.send(step))
            assert ours.told(ours.send(step)) == expected, step.told()
        until(lambda: agree(a, ours))
    finally:
        for side in sides:
            side.end()
        until(lambda: not twins(a))


def twins(a: Tenant) -> dict[str, Any]:
    found = a.host.json(
        "-n", a.namespace, "get", "services", "-l", f"{md.MANAGED_BY}={a.name},{md.NAMESPACE}={NAMESPACE}"
    )
    return {t["metadata"]["annotations"][md.OBJECT_NAME]: t for t in found["items"]}


def agree(a: Tenant, ours: Side) -> bool:
    """Every Service has its twin and there is no other; they differ in nothing but the selector."""
    here, there = {s["metadata"]["name"]: s for s in ours.services()}, twins(a)
    return here.keys() == there.keys() and all(
        {**here[name]["spec"], "selector": 0} == {**there[name]["spec"], "selector": 0}
        and there[name]["metadata"]["annotations"][md.OBJECT_UID] == here[name]["metadata"]["uid"]
        for name in here
    )


# --- what the host decides -----------------------------------------------------------------------------------


def test_a_load_balancer_shows_what_the_host_wrote_and_the_same_numbers(a: Tenant) -> None:  # SVC-1 to SVC-3
    a.vapi.apply(service("lb", type="LoadBalancer", externalTrafficPolicy="Local", ports=scenarios.TWO))
    here, there = a.get("service", "lb"), a.twin("service", "lb")
    for key in ("ports", "clusterIP", "clusterIPs", "healthCheckNodePort"):
        assert here["spec"][key] == there["spec"][key]
    status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}})
    a.host_kubectl("patch", "service", a.host_name("lb"), "--subresource=status", "--type=merge", "-p", status)
    shown = until(lambda: a.get("service", "lb")["status"]["loadBalancer"].get("ingress"))
    assert shown == [{"ip": "203.0.113.7", "ipMode": "VIP"}]
    a.kubectl("delete", "service", "lb")


def test_two_tenants_ask_for_one_node_port_and_the_second_gets_the_hosts_error(pair: tuple[Tenant, Tenant]) -> None:
    a, b = pair
    wanted = service("clash", type="NodePort", ports=[{"port": 80, "nodePort": 31_907}])
    a.vapi.apply(wanted)
    with pytest.raises(KubectlError) as refused:
        b.vapi.apply(wanted)
    why = "spec.ports[0].nodePort: Invalid value: 31907: provided port is already allocated"
    assert f'The Service "clash" is invalid: {why}' in refused.value.stderr
    assert b.find("service", "clash") is None
    assert b.twin("service", "clash") is None
    a.kubectl("delete", "service", "clash")
    until(lambda: applied(b, wanted))
    b.kubectl("delete", "service", "clash")


def applied(b: Tenant, wanted: Any) -> bool:
    try:
        b.vapi.apply(wanted)
    except KubectlError:
        return False
    return True


def test_what_a_quota_or_a_right_refuses_leaves_nothing_on_the_host(a: Tenant) -> None:
    a.kubectl("create", "namespace", "small")
    a.kubectl("-n", "small", "create", "quota", "none", "--hard=services.nodeports=0")
    until(lambda: (a.get("quota", "none", "small").get("status") or {}).get("hard"))
    with pytest.raises(KubectlError, match="exceeded quota"):
        a.kubectl("-n", "small", "create", "service", "nodeport", "web", "--tcp=80")
    with pytest.raises(KubectlError, match="cannot create resource"):
        a.kubectl("-n", "small", "--as=nobody", "create", "service", "clusterip", "web", "--tcp=80")
    assert a.twin("service", "web", "small") is None
    a.kubectl("delete", "namespace", "small")


def test_a_quota_of_the_host_is_told_to_the_tenant(a: Tenant) -> None:
    a.host_kubectl("create", "quota", "tight", "--hard=services.loadbalancers=0")
    try:
        until(lambda: a.host.json("-n", a.namespace, "get", "quota", "tight").get("status", {}).get("hard"))
        with pytest.raises(KubectlError) as refused:
            a.kubectl("create", "service", "loadbalancer", "costly", "--tcp=80")
        assert 'services "costly" is forbidden: exceeded quota: tight' in refused.value.stderr
        assert a.find("service", "costly") is None
    finally:
        a.host_kubectl("delete", "quota", "tight")


# --- a host object that somebody touches -----------------------------------------------------------------------


def test_a_deleted_twin_comes_back_with_its_numbers(a: Tenant) -> None:
    a.vapi.apply(service("kept", type="NodePort", ports=scenarios.TWO))
    before = a.get("service", "kept")
    uid = a.twin("service", "kept")["metadata"]["uid"]
    a.host_kubectl("delete", "service", a.host_name("kept"))
    again = until(lambda: a.twin("service", "kept"), lambda t: t is not None and t["metadata"]["uid"] != uid)
    assert (again["spec"]["clusterIP"], again["spec"]["ports"]) == (
        before["spec"]["clusterIP"],
        before["spec"]["ports"],
    )
    assert a.get("service", "kept")["metadata"]["uid"] == before["metadata"]["uid"]
    a.kubectl("delete", "service", "kept")


def test_a_twin_whose_numbers_somebody_took_gets_others_and_the_tenant_is_told(a: Tenant) -> None:
    a.vapi.apply(service("robbed", type="NodePort", ports=scenarios.ONE))
    before = a.get("service", "robbed")
    thief = service("thief", type="NodePort", clusterIP=before["spec"]["clusterIP"], ports=before["spec"]["ports"])
    twin = a.host_name("robbed")
    with robbed(a, twin, thief):
        after = until(
            lambda: a.get("service", "robbed"), lambda s: s["spec"]["clusterIP"] != before["spec"]["clusterIP"]
        )
        there = until(lambda: a.twin("service", "robbed"))
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"]["ports"][0]["nodePort"] != before["spec"]["ports"][0]["nodePort"]
        for key in ("clusterIP", "clusterIPs", "ports"):
            assert there["spec"][key] == after["spec"][key]
        events = until(lambda: a.kubectl("get", "events", "--field-selector=involvedObject.name=robbed"))
        assert before["spec"]["clusterIP"] in events
    a.kubectl("delete", "service", "robbed")


@contextlib.contextmanager
def robbed(a: Tenant, twin: str, thief: Any) -> Iterator[None]:
    """The host's Service `twin` is gone and `thief` has its numbers: tried until it was faster than the syncer."""
    for _ in range(20):
        a.host_kubectl("delete", "service", twin, "--wait=false")
        with contextlib.suppress(KubectlError):
            a.host_kubectl("create", "-f", "-", stdin=json.dumps(thief))
            break
        time.sleep(0.2)
    else:
        pytest.skip("the syncer was always faster")
    try:
        yield
    finally:
        a.host_kubectl("delete", "service", thief["metadata"]["name"])


def test_our_own_service_is_put_back_with_its_address_and_its_slice(box: Tenant) -> None:
    own = partial(box.host.json, "-n", box.namespace, "get")
    address, uid = own("service", box.name)["spec"]["clusterIP"], own("service", box.name)["metadata"]["uid"]
    box.host_kubectl("delete", f"service/{box.name}", f"endpointslice/{box.name}")
    again = until(lambda: own("service", box.name), lambda found: found["metadata"]["uid"] != uid)
    assert again["spec"]["clusterIP"] == address
    until(lambda: own("endpointslice", box.name))
    until(lambda: call(box, "https://kubernetes.default.svc/version"), lambda said: '"1"' in said)
    for obj in (again, own("endpointslice", box.name)):
        assert [o["name"] for o in obj["metadata"]["ownerReferences"]] == [f"vapi-{box.name}"]


# --- without a selector ------------------------------------------------------------------------------------------


def test_endpoints_made_before_their_service_follow_it(box: Tenant) -> None:  # SVC-27, SVC-28
    own = box.host.our_address()
    subsets = [{"addresses": [{"ip": own}], "ports": [{"name": "https", "port": box.vapi.port}]}]
    box.vapi.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "early"}, "subsets": subsets})
    assert box.twin("endpoints", "early") is None
    box.vapi.apply(service("early", clusterIP="None", ports=[{"name": "https", "port": 443}]))
    there = until(lambda: box.twin("endpoints", "early"))
    assert there["subsets"][0]["addresses"] == [{"ip": own}]
    assert there["subsets"][0]["ports"] == [{"name": "https", "port": box.vapi.port, "protocol": "TCP"}]
    assert box.twin("service", "early")["spec"]["ports"][0]["port"] == 443
    (piece,) = until(partial(slices, box, "early"))
    assert piece["endpoints"][0]["addresses"] == [own]
    box.kubectl("delete", "service", "early")
    until(lambda: not slices(box, "early") and box.twin("endpoints", "early") is None)
    assert box.twin("service", "early") is None


def slices(a: Tenant, name: str) -> list[Any]:
    """The host's, by the label that its kube-proxy goes by."""
    label = f"kubernetes.io/service-name={a.host_name(name)}"
    found: list[Any] = a.host.json("-n", a.namespace, "get", "endpointslices", "-l", label)["items"]
    return found


def test_a_service_that_loses_its_selector_leads_where_the_tenant_says(box: Tenant) -> None:
    web = pod("web", container={"image": AGNHOST, "command": ["/agnhost", "netexec", "--http-port=80"]})
    box.vapi.apply(web, service("turns", selector={"app": "web"}, ports=[{"port": 80}]))
    box.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    address = box.get("service", "turns")["spec"]["clusterIP"]
    until(lambda: call(box, f"http://{address}/hostname"), lambda said: said == "web")
    box.kubectl("patch", "service", "turns", "--type=json", "-p", '[{"op":"remove","path":"/spec/selector"}]')
    box.kubectl("delete", "endpoints", "turns")
    box.kubectl("delete", "endpointslices", "-l", "kubernetes.io/service-name=turns")
    until(lambda: not slices(box, "turns"))
    subsets = [{"addresses": [{"ip": box.host.our_address()}], "ports": [{"port": box.vapi.port}]}]
    box.vapi.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "turns"}, "subsets": subsets})
    until(lambda: call(box, f"https://{address}:80/version"), lambda said: '"1"' in said)
    box.kubectl("patch", "service", "turns", "-p", '{"spec":{"selector":{"app":"web"}}}')
    until(lambda: call(box, f"http://{address}/hostname"), lambda said: said == "web")
    (here,) = until(lambda: box.listed("endpointslices", "-l", "kubernetes.io/service-name=turns"))
    (endpoint,) = here["endpoints"]
    assert (endpoint["targetRef"]["name"], endpoint["targetRef"]["namespace"]) == ("web", "default")
    assert endpoint["targetRef"]["uid"] == box.get("pod", "web")["metadata"]["uid"]
    assert endpoint["nodeName"] == box.get("pod", "web")["spec"]["nodeName"]
    box.kubectl("delete", "service/turns", "pod/web")


def call(a: Tenant, url: str) -> str:
    try:
        return a.kubectl("exec", "box", "--", "curl", "-sk", "-m", "2", url)
    except KubectlError:
        return ""


def test_a_manual_slice_that_names_a_pod_is_sent_with_the_hosts_pod(box: Tenant) -> None:
    target = {"kind": "Pod", "name": "box", "namespace": "default", "uid": box.get("pod", "box")["metadata"]["uid"]}
    manual = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "manual-1", "labels": {"kubernetes.io/service-name": "manual"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "targetRef": target, "nodeName": "node-1", "zone": "zone-1"}],
        "ports": [{"name": "", "port": 80}],
    }
    box.vapi.apply(service("manual", ports=[{"port": 80}]), manual)
    (there,) = until(partial(slices, box, "manual"))
    (endpoint,) = there["endpoints"]
    assert (endpoint["nodeName"], endpoint["zone"]) == ("node-1", "zone-1")
    twin = box.twin("pod", "box")["metadata"]
    assert [endpoint["targetRef"][k] for k in ("name", "namespace", "uid")] == [
        twin["name"],
        twin["namespace"],
        twin["uid"],
    ]
    box.kubectl("delete", "service/manual", "endpointslice/manual-1")
    until(lambda: not slices(box, "manual"))


# --- ports of the node -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [False, True], ids=["hostPort", "hostNetwork"])
def test_the_second_pod_of_a_node_port_waits_and_is_told_why_in_its_own_names(
    network: bool, pair: tuple[Tenant, Tenant]
) -> None:
    a, b = pair
    ports = [{"containerPort": 28_083}] if network else [{"containerPort": 80, "hostPort": 28_084}]
    wanted = pod("greedy", container={"ports": ports}, **({"hostNetwork": True} if network else {}))
    for one in pair:
        one.vapi.apply(wanted)
        if one is a:
            a.kubectl("wait", "--for=condition=Ready", "pod/greedy", "--timeout=60s")
    waiting = until(lambda: b.get("pod", "greedy"), lambda p: p["status"].get("conditions"))
    (scheduled,) = [c for c in waiting["status"]["conditions"] if c["type"] == "PodScheduled"]
    said = until(lambda: [e["message"] for e in b.listed("events") if e["reason"] == "FailedScheduling"])
    assert waiting["status"]["phase"] == "Pending"
    for text in (scheduled["message"], *said):
        assert "didn't have free ports for the requested pod ports" in text
        assert not re.search(f"-x-|{a.namespace}|{b.namespace}", text)
    a.kubectl("delete", "pod", "greedy")
    b.kubectl("wait", "--for=condition=Ready", "pod/greedy", "--timeout=60s")
    b.kubectl("delete", "pod", "greedy")
