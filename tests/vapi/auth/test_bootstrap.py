"""Bootstrap: what a real API server has made after its start, ours has too, and keeps complete."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from storage.memory import MemoryStore
from tests.vapi.auth.rbac_objects import binding, cluster_binding, cluster_role, rule, user
from tests.vapi.control.clock import FakeClock
from tests.vapi.schema.golden import recorded
from vapi.auth import bootstrap, reconcile
from vapi.auth.rules import compile_rules, uncovered
from vapi.gvk import GVR, Obj
from vapi.plane import running_plane
from vapi.registry.client import Client

GOLDEN: dict[str, list[Obj]] = recorded("bootstrap_objects_1.37.json")
ROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")
BINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
FLOW_SCHEMAS = GVR("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
API_SERVICES = GVR("apiregistration.k8s.io", "v1", "apiservices")


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    store = MemoryStore()
    async with running_plane(store, clock=FakeClock()) as plane:
        yield plane.client("bootstrap")
    await store.close()


async def start(client: Client) -> None:
    clock = FakeClock()
    await bootstrap.ensure_bootstrap(client, clock)
    await bootstrap.ensure_tracking(client, clock)
    await bootstrap.ensure_authentication_config(client, b"pem", b"front")
    await bootstrap.ensure_kubernetes_service(
        client, clock, cluster_ip="10.96.0.1", cidr="10.96.0.0/16", address="10.0.0.1", port=6443
    )


def located(path: str, obj: Obj) -> tuple[GVR, str, str]:
    """Where a golden object is: its paths are collections, or one object."""
    parts = path.strip("/").split("/")
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    if rest[0] == "namespaces" and len(rest) > 1:
        rest = rest[2:]
    metadata = obj["metadata"]
    return GVR(group, version, rest[0]), metadata.get("namespace", ""), metadata["name"]


MADE_BY_OTHERS = ("kube-root-ca.crt", "apiserver-xxxxx")
EXPECTED = [
    (path, obj)
    for path, objects in GOLDEN.items()
    for obj in objects
    if obj["metadata"]["name"] not in MADE_BY_OTHERS and not path.endswith("/serviceaccounts")
]


def test_nothing_recorded_is_forgotten() -> None:
    assert len(EXPECTED) == 188 + 7


async def test_every_recorded_object_is_there_with_the_same_content(client: Client) -> None:
    await start(client)
    for path, golden in EXPECTED:
        gvr, namespace, name = located(path, golden)
        entry = client.cached(gvr, namespace, name)
        assert entry is not None, f"{path} {name}"
        ours = entry.obj()
        for field in ("labels", "annotations"):
            assert ours["metadata"].get(field) == golden["metadata"].get(field), f"{path} {name}"
        for field in golden.keys() - {"metadata", "status", "data", "kind", "apiVersion"}:
            assert ours.get(field) == golden[field], f"{path} {name} {field}"


async def test_a_second_start_writes_nothing(client: Client) -> None:
    await start(client)
    before = {entry.key: entry.revision for gvr in (ROLES, BINDINGS, FLOW_SCHEMAS) for entry in client.entries(gvr)}
    await start(client)
    after = {entry.key: entry.revision for gvr in (ROLES, BINDINGS, FLOW_SCHEMAS) for entry in client.entries(gvr)}
    assert after == before


async def test_local_api_services_are_available(client: Client) -> None:
    await start(client)
    for entry in client.entries(API_SERVICES):
        (condition,) = entry.obj()["status"]["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == ("Available", "True", "Local")


async def test_a_deleted_role_comes_back_and_a_narrowed_one_is_completed(client: Client) -> None:
    await start(client)
    await client.delete(ROLES, "", "system:discovery")
    narrowed = await client.get(ROLES, "", "system:basic-user")
    narrowed["rules"] = narrowed["rules"][:1]
    narrowed["metadata"]["labels"] = {"mine": "x"}
    await client.update(ROLES, narrowed)
    await start(client)
    assert client.cached(ROLES, "", "system:discovery") is not None
    completed = await client.get(ROLES, "", "system:basic-user")
    expected = next(o for o in bootstrap.objects() if o["metadata"]["name"] == "system:basic-user")
    assert uncovered(compile_rules(completed["rules"]), expected["rules"]) == []
    assert completed["metadata"]["labels"] == {"mine": "x", "kubernetes.io/bootstrapping": "rbac-defaults"}


async def test_a_binding_to_another_role_is_made_anew(client: Client) -> None:
    await start(client)
    wrong = await client.get(BINDINGS, "", "system:discovery")
    await client.delete(BINDINGS, "", "system:discovery")
    for field in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
        wrong["metadata"].pop(field, None)
    wrong["roleRef"]["name"] = "cluster-admin"
    await client.create(BINDINGS, wrong)
    await start(client)
    assert (await client.get(BINDINGS, "", "system:discovery"))["roleRef"]["name"] == "system:discovery"


async def test_the_kubernetes_service_follows_its_address(client: Client) -> None:
    await start(client)
    clock = FakeClock()
    await bootstrap.ensure_kubernetes_service(
        client, clock, cluster_ip="10.96.0.1", cidr="10.96.0.0/16", address="10.0.0.2", port=7443
    )
    service = await client.get(bootstrap.SERVICES, "default", "kubernetes")
    part = await client.get(bootstrap.ENDPOINT_SLICES, "default", "kubernetes")
    assert service["spec"]["ports"][0]["targetPort"] == 7443
    assert part["endpoints"][0]["addresses"] == ["10.0.0.2"]
    assert part["ports"][0]["port"] == 7443


@pytest.mark.parametrize("address", ["", "127.0.0.1", "::1"])
async def test_a_loopback_address_is_no_endpoint(client: Client, address: str) -> None:
    clock = FakeClock()
    await bootstrap.ensure_bootstrap(client, clock)
    await bootstrap.ensure_kubernetes_service(
        client, clock, cluster_ip="10.96.0.1", cidr="10.96.0.0/16", address=address, port=6443
    )
    assert client.cached(bootstrap.SERVICES, "default", "kubernetes") is not None
    assert client.cached(bootstrap.ENDPOINTS, "default", "kubernetes") is None


# --- reconcile --------------------------------------------------------------------------------------


def protected(obj: Obj) -> Obj:
    shielded = copy.deepcopy(obj)
    shielded["metadata"]["annotations"] = {reconcile.AUTOUPDATE: "false"}
    return shielded


GET = rule("get", "", "pods")
LIST = rule("list", "", "pods")
AGGREGATION = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}


@pytest.mark.parametrize(
    ("existing", "expected", "rules"),
    [
        (cluster_role("r", GET), cluster_role("r", GET), None),
        (cluster_role("r", GET), cluster_role("r", GET, LIST), [GET, LIST]),
        (cluster_role("r", GET, LIST), cluster_role("r", GET), None),
        (protected(cluster_role("r")), cluster_role("r", GET), None),
    ],
    ids=["complete", "lacks a rule", "has more", "protected"],
)
def test_roles_gain_rules_and_lose_none(existing: Obj, expected: Obj, rules: list[Obj] | None) -> None:
    changed = reconcile.role(existing, expected)
    assert (changed and changed["rules"]) == rules


def test_an_aggregated_role_keeps_its_rules_and_gains_selectors() -> None:
    expected = cluster_role("r", GET, LIST, aggregationRule=AGGREGATION)
    changed = reconcile.role(cluster_role("r", GET), expected)
    assert changed is not None
    assert (changed["rules"], changed["aggregationRule"]) == ([GET], AGGREGATION)
    assert reconcile.role(cluster_role("r", aggregationRule=AGGREGATION), expected) is None


def test_a_role_that_should_not_aggregate_stops_it() -> None:
    changed = reconcile.role(cluster_role("r", aggregationRule=AGGREGATION), cluster_role("r", GET))
    assert changed is not None
    assert "aggregationRule" not in changed
    assert changed["rules"] == [GET]


def test_bindings_gain_subjects() -> None:
    existing, expected = cluster_binding("b", "r", user("x")), cluster_binding("b", "r", user("y"))
    changed = reconcile.binding(existing, expected)
    assert changed is not None
    assert changed["subjects"] == [user("x"), user("y")]
    assert reconcile.binding(protected(existing), expected) is None


def test_only_a_different_role_recreates_a_binding() -> None:
    assert reconcile.must_recreate(binding("b", "r"), binding("b", "s"))
    assert not reconcile.must_recreate(binding("b", "r"), binding("b", "r", user("x")))
    assert not reconcile.must_recreate(protected(binding("b", "r")), binding("b", "s"))


@pytest.mark.parametrize(
    ("name", "annotation", "reverted"),
    [("exempt", "", True), ("exempt", "false", True), ("system", "true", True), ("system", "false", False)],
)
def test_flow_control_is_reverted_unless_it_is_somebodys_own(name: str, annotation: str, reverted: bool) -> None:
    existing = {"metadata": {"name": name, "annotations": {reconcile.APF_AUTOUPDATE: annotation}}, "spec": {"a": 1}}
    changed = reconcile.flow_control(existing, {"metadata": {"name": name}, "spec": {"a": 2}})
    assert (changed is not None) is reverted
