"""The official Python client against a real server: typed models, watches that resume, leaders, exec."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.vapi_server import VapiServer, serving, wait_until

pytestmark = pytest.mark.integration

MISSING = "no Python client of Kubernetes (PyPI: kubernetes)"
client = pytest.importorskip("kubernetes.client", reason=MISSING)
config = pytest.importorskip("kubernetes.config", reason=MISSING)
dynamic = pytest.importorskip("kubernetes.dynamic", reason=MISSING)
stream = pytest.importorskip("kubernetes.stream", reason=MISSING)
utils = pytest.importorskip("kubernetes.utils", reason=MISSING)
watch = pytest.importorskip("kubernetes.watch", reason=MISSING)
electionconfig = pytest.importorskip("kubernetes.leaderelection.electionconfig", reason=MISSING)
leaderelection = pytest.importorskip("kubernetes.leaderelection.leaderelection", reason=MISSING)
locks = pytest.importorskip("kubernetes.leaderelection.resourcelock.configmaplock", reason=MISSING)

WATCH_S = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VapiServer]:
    with serving(tmp_path_factory.mktemp("python-client")) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Tenant:
    """The typed APIs, and a namespace of the test's own."""

    api: Any
    namespace: str

    @property
    def core(self) -> Any:
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> Any:
        return client.AppsV1Api(self.api)

    def configmap(self, name: str, **data: str) -> Any:
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)
        return self.core.create_namespaced_config_map(self.namespace, body)


@pytest.fixture
def tenant(server: VapiServer) -> Iterator[Tenant]:
    api = config.new_client_from_config(config_file=str(server.kubeconfig))
    name = f"t-{uuid.uuid4().hex[:8]}"
    tenant = Tenant(api, name)
    tenant.core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
    wait_until(
        lambda: bool(tenant.core.list_namespaced_service_account(name).items), "the namespace has its service account"
    )
    yield tenant
    api.close()
    api.rest_client.pool_manager.clear()


def deployment(name: str, replicas: int) -> Any:
    labels = {"app": name}
    container = client.V1Container(
        name="c",
        image="nginx",
        ports=[client.V1ContainerPort(container_port=80)],
        resources=client.V1ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"}),
        readiness_probe=client.V1Probe(http_get=client.V1HTTPGetAction(path="/", port=80)),
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=replicas, selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


def test_an_object_is_created_read_replaced_patched_and_deleted(tenant: Tenant) -> None:
    made = tenant.configmap("settings", a="1")
    assert made.metadata.creation_timestamp.tzinfo is not None
    made.data["a"] = "2"
    replaced = tenant.core.replace_namespaced_config_map("settings", tenant.namespace, made)
    assert replaced.data == {"a": "2"}
    with pytest.raises(client.ApiException) as stale:
        tenant.core.replace_namespaced_config_map("settings", tenant.namespace, made)
    assert (stale.value.status, stale.value.reason) == (409, "Conflict")
    patched = tenant.core.patch_namespaced_config_map("settings", tenant.namespace, {"data": {"a": None, "b": "3"}})
    assert patched.data == {"b": "3"}
    gone = tenant.core.delete_namespaced_config_map("settings", tenant.namespace)
    assert gone["status"] == "Success"  # the client makes no model of it
    with pytest.raises(client.ApiException) as missing:
        tenant.core.read_namespaced_config_map("settings", tenant.namespace)
    assert missing.value.status == 404


def test_every_object_of_a_fresh_cluster_fits_the_typed_models(tenant: Tenant) -> None:
    """Deserializing checks what the models call required."""
    tenant.apps.create_namespaced_deployment(tenant.namespace, deployment("web", 2))
    api = tenant.api
    lists = {
        tenant.core: ("namespace", "node", "pod", "service", "service_account", "config_map", "event", "endpoints"),
        client.RbacAuthorizationV1Api(api): ("role", "role_binding"),
        tenant.apps: ("deployment", "replica_set"),
        client.DiscoveryV1Api(api): ("endpoint_slice",),
    }
    for group, kinds in lists.items():
        for kind in kinds:
            call = getattr(group, f"list_{kind}_for_all_namespaces", None) or getattr(group, f"list_{kind}")
            assert call().items is not None
    assert client.RbacAuthorizationV1Api(api).list_cluster_role().items
    assert client.SchedulingV1Api(api).list_priority_class().items
    assert client.FlowcontrolApiserverV1Api(api).list_flow_schema().items
    assert client.ApiregistrationV1Api(api).list_api_service().items
    assert client.VersionApi(api).get_code().minor == "37"


def test_a_deployment_comes_back_as_it_was_sent_and_completed(tenant: Tenant) -> None:
    sent = deployment("web", 2)
    made = tenant.apps.create_namespaced_deployment(tenant.namespace, sent)
    container = made.spec.template.spec.containers[0]
    assert container.resources.requests == {"cpu": "100m", "memory": "64Mi"}
    assert container.readiness_probe.http_get.port == 80
    assert (container.image_pull_policy, made.spec.strategy.type) == ("Always", "RollingUpdate")
    wait_until(
        lambda: tenant.apps.read_namespaced_deployment_status("web", tenant.namespace).status.ready_replicas == 2,
        "both pods are ready",
    )
    scale = tenant.apps.read_namespaced_deployment_scale("web", tenant.namespace)
    scale.spec.replicas = 0
    tenant.apps.replace_namespaced_deployment_scale("web", tenant.namespace, scale)
    wait_until(lambda: not tenant.core.list_namespaced_pod(tenant.namespace).items, "the pods are gone")


def test_a_long_list_is_read_page_by_page(tenant: Tenant) -> None:
    for number in range(7):
        tenant.configmap(f"c{number}")
    names: list[str] = []
    following = None
    while True:
        page = tenant.core.list_namespaced_config_map(tenant.namespace, limit=3, _continue=following)
        names += [item.metadata.name for item in page.items]
        following = page.metadata._continue
        if not following:
            break
    assert [name for name in names if name.startswith("c")] == [f"c{number}" for number in range(7)]


def test_a_watch_resumes_where_another_ended(tenant: Tenant) -> None:
    """As an informer: list, watch from there, lose the connection, watch on; no event is missed or comes twice."""
    start = tenant.core.list_namespaced_config_map(tenant.namespace).metadata.resource_version
    for number in range(5):
        tenant.configmap(f"w{number}")
    tenant.core.patch_namespaced_config_map("w0", tenant.namespace, {"data": {"a": "b"}})
    tenant.core.delete_namespaced_config_map("w1", tenant.namespace)
    seen: list[tuple[str, str]] = []
    place = start
    while len(seen) < 7:
        watcher = watch.Watch()
        events = watcher.stream(
            tenant.core.list_namespaced_config_map, tenant.namespace, resource_version=place, timeout_seconds=WATCH_S
        )
        for event in events:
            place = event["object"].metadata.resource_version
            if event["object"].metadata.name.startswith("w"):
                seen.append((event["type"], event["object"].metadata.name))
            watcher.stop()  # after one event: the connection is closed
    assert seen == [*(("ADDED", f"w{number}") for number in range(5)), ("MODIFIED", "w0"), ("DELETED", "w1")]


def test_a_watch_follows_what_is_written_while_it_runs(tenant: Tenant) -> None:
    watcher = watch.Watch()
    writer = threading.Thread(target=lambda: [tenant.configmap(f"w{number}") for number in range(20)])
    names: list[str] = []
    writer.start()
    for event in watcher.stream(
        tenant.core.list_namespaced_config_map, tenant.namespace, resource_version="0", timeout_seconds=WATCH_S
    ):
        if event["object"].metadata.name.startswith("w"):
            names.append(event["object"].metadata.name)
        if len(names) == 20:
            watcher.stop()
    writer.join()
    assert sorted(names) == sorted(f"w{number}" for number in range(20))


def test_the_dynamic_client_finds_every_kind(tenant: Tenant) -> None:
    found = dynamic.DynamicClient(tenant.api)
    deployments = found.resources.get(api_version="apps/v1", kind="Deployment")
    body = tenant.api.sanitize_for_serialization(deployment("web", 1))
    made = deployments.create(body=body, namespace=tenant.namespace)
    assert made.metadata.name == "web"
    applied = deployments.server_side_apply(
        body={"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"a": "b"}}},
        namespace=tenant.namespace,
        field_manager="test",
    )
    assert applied.metadata.labels.to_dict() == {"a": "b"}
    names = [item.metadata.name for item in deployments.get(namespace=tenant.namespace).items]
    assert names == ["web"]


def test_objects_are_made_from_yaml(tenant: Tenant) -> None:
    made = utils.create_from_dict(
        tenant.api,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}},
        namespace=tenant.namespace,
    )
    assert made[0].data == {"a": "Yg=="}


def test_one_of_two_candidates_leads_and_the_other_takes_over(tenant: Tenant) -> None:
    client.Configuration.set_default(tenant.api.configuration)

    def candidate(name: str) -> Any:
        lock = locks.ConfigMapLock("leader", tenant.namespace, name)
        settings = electionconfig.Config(
            lock, lease_duration=2, renew_deadline=1.5, retry_period=1, onstarted_leading=print, onstopped_leading=None
        )
        return leaderelection.LeaderElection(settings)

    first = candidate("first")
    assert first.try_acquire_or_renew()
    second = candidate("second")
    assert not second.try_acquire_or_renew()
    wait_until(second.try_acquire_or_renew, "the lease of the first has run out", within_s=10)
    assert not first.try_acquire_or_renew()


def test_a_lease_is_held_by_who_wrote_it_last(tenant: Tenant) -> None:
    leases = client.CoordinationV1Api(tenant.api)
    now = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    spec = client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15, acquire_time=now, renew_time=now)
    body = client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=spec)
    made = leases.create_namespaced_lease(tenant.namespace, body)
    assert made.spec.renew_time == now
    made.spec.holder_identity = "you"
    leases.replace_namespaced_lease("l", tenant.namespace, made)
    with pytest.raises(client.ApiException) as late:
        leases.replace_namespaced_lease("l", tenant.namespace, made)
    assert late.value.status == 409


def test_exec_into_a_simulated_pod_says_that_there_is_no_container(tenant: Tenant) -> None:
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name="p"),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="nginx")]),
    )
    tenant.core.create_namespaced_pod(tenant.namespace, pod)
    wait_until(lambda: tenant.core.read_namespaced_pod("p", tenant.namespace).status.phase == "Running", "the pod runs")
    with pytest.raises(client.ApiException) as refused:
        stream.stream(
            tenant.core.connect_get_namespaced_pod_exec, "p", tenant.namespace, command=["ls"], stdout=True, stderr=True
        )
    assert "501" in str(refused.value) and "only simulates pods" in str(refused.value)
    assert tenant.core.read_namespaced_pod_log("p", tenant.namespace) == ""
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name="p"))
    assert tenant.core.create_namespaced_pod_eviction("p", tenant.namespace, eviction) is not None
    wait_until(lambda: not tenant.core.list_namespaced_pod(tenant.namespace).items, "the evicted pod is gone")


def test_a_token_of_a_service_account_is_one_to_come_in_with(tenant: Tenant, server: VapiServer) -> None:
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    issued = tenant.core.create_namespaced_service_account_token("default", tenant.namespace, request)
    settings = client.Configuration(host=server.url)
    settings.ssl_ca_cert = str(server.data / "pki" / "ca.crt")
    settings.api_key = {"authorization": f"Bearer {issued.status.token}"}
    with client.ApiClient(settings) as robot:
        review = client.AuthenticationV1Api(robot).create_self_subject_review(client.V1SelfSubjectReview())
        assert review.status.user_info.username == f"system:serviceaccount:{tenant.namespace}:default"
        with pytest.raises(client.ApiException) as forbidden:
            client.CoreV1Api(robot).list_secret_for_all_namespaces()
        assert forbidden.value.status == 403
        robot.rest_client.pool_manager.clear()
