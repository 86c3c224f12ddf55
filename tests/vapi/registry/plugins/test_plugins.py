"""Built-in admission: what objects are given and why some are refused."""

from __future__ import annotations

import pytest

from tests.vapi.auth.rbac_objects import cluster_binding, cluster_role, rule, user
from tests.vapi.auth.shelf import Shelf, namespace, pod, service_account
from tests.vapi.auth.writes import SOMEBODY, admit, create, delete, refusal, update
from tests.vapi.schema.golden import recorded
from vapi.auth.admission import builtin_plugins
from vapi.auth.rbac import Rbac
from vapi.gvk import GVR, Obj
from vapi.registry.plugins import (
    certificates,
    defaults,
    mirrors,
    namespaces,
    priority,
    resize,
    runtime_class,
    tolerations,
    topology,
)
from vapi.registry.plugins.memo import EntryMemo
from vapi.resources.strategies.mirrors import MIRROR

ADMISSION = recorded("admission_1.37.json")
AUTH = recorded("auth_1.37.json")
NODES = GVR("", "v1", "nodes")


def pod_x(**spec: object) -> Obj:
    return pod("x", "replay-admission", **spec)


def named(api_version: str, kind: str, name: str, **fields: object) -> Obj:
    metadata = {"name": name, **(fields.pop("metadata", None) or {})}  # type: ignore[dict-item]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def in_ns(obj: Obj) -> Obj:
    obj["metadata"]["namespace"] = "ns"
    return obj


# --- namespaces -------------------------------------------------------------------------------------


def test_nothing_is_created_in_a_missing_namespace() -> None:
    error = refusal(create(pod()), namespaces.existence(Shelf()))
    assert (error.code, error.message) == (404, 'namespaces "ns" not found')


def test_nothing_is_created_in_an_ending_namespace() -> None:
    golden = recorded("api_behaviour_1.37.json")[109]["response"]
    ending = namespace("replay-behaviour")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    config_map = named("v1", "ConfigMap", "zz", metadata={"namespace": "replay-behaviour"})
    assert refusal(create(config_map), namespaces.existence(Shelf(ending))).status() == golden


def test_objects_of_the_cluster_need_no_namespace() -> None:
    admit(create(named("v1", "Node", "n")), namespaces.existence(Shelf()))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_stay(name: str) -> None:
    error = refusal(delete(namespace(name)), namespaces.protection())
    assert error.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    if name == "default":
        assert error.status() == recorded("api_behaviour_1.37.json")[111]["response"]


def test_other_namespaces_may_go() -> None:
    admit(delete(namespace("kube-node-lease")), namespaces.protection())


# --- priority ---------------------------------------------------------------------------------------


def priority_class(name: str, value: int, **fields: object) -> Obj:
    whole = {"value": value, "preemptionPolicy": "PreemptLowerPriority", **fields}
    return named("scheduling.k8s.io/v1", "PriorityClass", name, **whole)


CLASSES = Shelf(priority_class("high", 1000), priority_class("polite", 10, preemptionPolicy="Never"))


@pytest.mark.parametrize(
    ("name", "value", "policy"),
    [
        ("", 0, "PreemptLowerPriority"),
        ("high", 1000, "PreemptLowerPriority"),
        ("polite", 10, "Never"),
        ("system-node-critical", 2000001000, "PreemptLowerPriority"),
    ],
)
def test_a_pod_gets_the_priority_of_its_class(name: str, value: int, policy: str) -> None:
    obj = pod(priorityClassName=name) if name else pod()
    spec = admit(create(obj), priority.priority(CLASSES))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (value, policy)
    assert spec.get("priorityClassName", "") == name


@pytest.mark.parametrize("index", [30, 31])
def test_what_does_not_fit_is_refused_as_recorded(index: int) -> None:
    spec = ADMISSION[index]["request"]["body"]["spec"]
    error = refusal(create(pod_x(**spec)), priority.priority(Shelf()))
    assert error.status() == ADMISSION[index]["response"]


def test_the_right_number_may_be_given() -> None:
    admit(create(pod(priorityClassName="high", priority=1000)), priority.priority(CLASSES))
    error = refusal(create(pod(priorityClassName="polite", preemptionPolicy="x")), priority.priority(CLASSES))
    assert "the string value of PreemptionPolicy (x) must not be provided" in error.message


def test_the_default_class_is_given_to_pods_without_one() -> None:
    shelf = Shelf(priority_class("b", 7, globalDefault=True), priority_class("a", 9, globalDefault=True))
    spec = admit(create(pod()), priority.priority(shelf))["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("b", 7)


def test_an_update_keeps_the_priority() -> None:
    old = pod(priority=5, preemptionPolicy="Never")
    spec = admit(update(old, pod()), priority.priority(Shelf()))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (5, "Never")


def test_there_is_one_default_class() -> None:
    first = priority_class("first", 1, globalDefault=True)
    plugin = priority.one_default_class(Shelf(first))
    error = refusal(create(priority_class("second", 2, globalDefault=True)), plugin)
    assert error.message.endswith("PriorityClass first is already marked as default. Only one default can exist")
    admit(update(first, first), plugin)
    admit(create(priority_class("third", 2)), plugin)


# --- tolerations and taints -------------------------------------------------------------------------

NOT_READY = {
    "key": "node.kubernetes.io/not-ready",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 300,
}
UNREACHABLE = {**NOT_READY, "key": "node.kubernetes.io/unreachable"}


@pytest.mark.parametrize(
    ("own", "result"),
    [
        (None, [NOT_READY, UNREACHABLE]),
        ([{"key": "a"}], [{"key": "a"}, NOT_READY, UNREACHABLE]),
        ([{"operator": "Exists"}], [{"operator": "Exists"}]),
        (
            [{"key": NOT_READY["key"], "effect": "NoSchedule"}],
            [{"key": NOT_READY["key"], "effect": "NoSchedule"}, NOT_READY, UNREACHABLE],
        ),
        ([{"key": NOT_READY["key"]}], [{"key": NOT_READY["key"]}, UNREACHABLE]),
    ],
)
def test_a_pod_stays_five_minutes_on_a_lost_node(own: list[Obj] | None, result: list[Obj]) -> None:
    obj = pod(tolerations=own) if own else pod()
    assert admit(create(obj), tolerations.default_toleration_seconds())["spec"]["tolerations"] == result


def test_a_new_node_is_tainted_once() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    first = admit(create(named("v1", "Node", "n")), tolerations.taint_nodes())
    assert first["spec"]["taints"] == [taint]
    assert admit(create(first), tolerations.taint_nodes())["spec"]["taints"] == [taint]


# --- default classes and finalizers -----------------------------------------------------------------


def storage_class(name: str, created: str, **annotations: str) -> Obj:
    key = "storageclass.kubernetes.io/is-default-class"
    metadata = {"creationTimestamp": created, "annotations": {key: annotations.get("default", "false")}}
    return named("storage.k8s.io/v1", "StorageClass", name, metadata=metadata)


def claim(**spec: object) -> Obj:
    return in_ns(named("v1", "PersistentVolumeClaim", "v", spec=dict(spec)))


STORAGE = Shelf(
    storage_class("old", "2026-01-01T00:00:00Z", default="true"),
    storage_class("new-b", "2026-01-02T00:00:00Z", default="true"),
    storage_class("new-a", "2026-01-02T00:00:00Z", default="true"),
    storage_class("newest", "2026-01-03T00:00:00Z"),
)


@pytest.mark.parametrize(
    ("given", "result"), [({}, "new-a"), ({"storageClassName": "x"}, "x"), ({"storageClassName": ""}, "")]
)
def test_a_claim_without_class_gets_the_newest_default(given: Obj, result: str) -> None:
    plugin = defaults.default_storage_class(STORAGE)
    assert admit(create(claim(**given)), plugin)["spec"]["storageClassName"] == result


def test_without_a_default_class_a_claim_stays_without() -> None:
    assert admit(create(claim()), defaults.default_storage_class(Shelf()))["spec"] == {}


def test_a_claim_that_names_its_class_in_the_old_way_is_left_alone() -> None:
    obj = claim()
    obj["metadata"]["annotations"] = {"volume.beta.kubernetes.io/storage-class": "x"}
    assert admit(create(obj), defaults.default_storage_class(STORAGE))["spec"] == {}


def test_an_ingress_gets_the_default_class() -> None:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    shelf = Shelf(named("networking.k8s.io/v1", "IngressClass", "nginx", metadata={"annotations": annotations}))
    ingress = in_ns(named("networking.k8s.io/v1", "Ingress", "i", spec={}))
    plugin = defaults.default_ingress_class(shelf)
    assert admit(create(ingress), plugin)["spec"] == {"ingressClassName": "nginx"}
    old = in_ns(named("networking.k8s.io/v1", "Ingress", "i", spec={}))
    old["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "x"}
    assert admit(create(old), plugin)["spec"] == {}


@pytest.mark.parametrize(
    ("obj", "finalizer"),
    [
        (claim(), "kubernetes.io/pvc-protection"),
        (named("v1", "PersistentVolume", "v", spec={}), "kubernetes.io/pv-protection"),
    ],
)
def test_storage_is_protected_while_in_use(obj: Obj, finalizer: str) -> None:
    plugin = defaults.storage_protection()
    once = admit(create(obj), plugin)
    assert once["metadata"]["finalizers"] == [finalizer]
    assert admit(create(once), plugin)["metadata"]["finalizers"] == [finalizer]


def sized(size: str, storage_class_name: str = "grows", phase: str = "Bound") -> Obj:
    obj = claim(storageClassName=storage_class_name, resources={"requests": {"storage": size}})
    obj["status"] = {"phase": phase}
    return obj


GROWING = Shelf(
    named("storage.k8s.io/v1", "StorageClass", "grows", allowVolumeExpansion=True),
    named("storage.k8s.io/v1", "StorageClass", "stays"),
)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (sized("1Gi"), sized("2Gi"), ""),
        (sized("1Gi"), sized("1024Mi"), ""),
        (sized("2Gi", "stays"), sized("1Gi", "stays"), ""),
        (sized("1Gi", phase="Pending"), sized("2Gi"), "Only bound persistent volume claims can be expanded"),
        (sized("1Gi", "stays"), sized("2Gi", "stays"), "only dynamically provisioned pvc can be resized and the "),
        (sized("1Gi", "gone"), sized("2Gi", "gone"), "only dynamically provisioned pvc can be resized and the "),
    ],
)
def test_a_claim_grows_when_it_is_bound_and_its_class_allows_it(old: Obj, new: Obj, why: str) -> None:
    request = update(old, new)
    if why:
        assert why in refusal(request, resize.claim_resize(GROWING)).message
    else:
        admit(request, resize.claim_resize(GROWING))


# --- runtime classes --------------------------------------------------------------------------------


def runtime(**fields: object) -> Shelf:
    return Shelf(named("node.k8s.io/v1", "RuntimeClass", "kata", handler="kata", **fields))


HEAVY = {"podFixed": {"cpu": "250m"}}


def test_a_missing_runtime_class_is_refused_as_recorded() -> None:
    error = refusal(create(pod_x(runtimeClassName="nope")), runtime_class.runtime_class(Shelf()))
    assert error.status() == ADMISSION[32]["response"]


def test_a_pod_gets_the_overhead_of_its_runtime() -> None:
    plugin = runtime_class.runtime_class(runtime(overhead=HEAVY))
    assert admit(create(pod(runtimeClassName="kata")), plugin)["spec"]["overhead"] == {"cpu": "250m"}
    wrong = refusal(create(pod(runtimeClassName="kata", overhead={"cpu": "1"})), plugin)
    assert wrong.message.endswith("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")


def test_an_overhead_without_a_class_is_refused() -> None:
    error = refusal(create(pod(overhead={"cpu": "1"})), runtime_class.runtime_class(Shelf()))
    assert error.message.endswith("Pod Overhead set without corresponding RuntimeClass defined Overhead")


def test_a_runtime_brings_its_scheduling() -> None:
    scheduling = {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]}
    plugin = runtime_class.runtime_class(runtime(scheduling=scheduling))
    spec = admit(create(pod(runtimeClassName="kata", nodeSelector={"a": "b"})), plugin)["spec"]
    assert spec["nodeSelector"] == {"a": "b", "kata": "yes"}
    assert spec["tolerations"] == scheduling["tolerations"]
    clash = refusal(create(pod(runtimeClassName="kata", nodeSelector={"kata": "no"})), plugin)
    assert (
        "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; pod.spec.nodeSelector[kata] = no" in clash.message
    )


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ([{"key": "a", "operator": "Exists"}], [], [{"key": "a", "operator": "Exists"}]),
        (
            [{"key": "a", "operator": "Equal", "value": "1"}],
            [{"key": "a", "operator": "Exists"}],
            [{"key": "a", "operator": "Exists"}],
        ),
        (
            [{"operator": "Exists"}],
            [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
            [{"operator": "Exists"}],
        ),
        ([{"key": "a", "operator": "Exists"}] * 2, [], [{"key": "a", "operator": "Exists"}]),
        (
            [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
            [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
            [{"key": "a", "operator": "Exists", "effect": "NoExecute"}],
        ),
    ],
)
def test_tolerations_that_others_cover_are_left_out(first: list[Obj], second: list[Obj], merged: list[Obj]) -> None:
    assert runtime_class.merged_tolerations(first, second) == merged


# --- certificates -----------------------------------------------------------------------------------


def rbac(*rules: Obj) -> Rbac:
    made = Rbac()
    made.attach(Shelf(cluster_role("r", *rules), cluster_binding("b", "r", user(SOMEBODY.name))))
    return made


def signing_request(signer: str, **status: object) -> Obj:
    spec = {"signerName": signer, "request": AUTH[73]["request"]["body"]["spec"]["request"]}
    return named("certificates.k8s.io/v1", "CertificateSigningRequest", "c", spec=spec, status=status)


@pytest.mark.parametrize("name", ["acme.io/web", "acme.io/*"])
@pytest.mark.parametrize("verb", ["approve", "sign"])
def test_certificates_need_a_right_over_their_signer(verb: str, name: str) -> None:
    make = {"approve": certificates.approval, "sign": certificates.signing}[verb]
    subresource = {"approve": "approval", "sign": "status"}[verb]
    old = signing_request("acme.io/web")
    new = signing_request("acme.io/web", conditions=[{"type": "Approved"}], certificate="x")
    request = update(old, new, subresource=subresource)
    assert refusal(request, make(rbac())).message == (
        'certificatesigningrequests.certificates.k8s.io "c" is forbidden: '
        f'user not permitted to {verb} requests with signerName "acme.io/web"'
    )
    admit(request, make(rbac(rule(verb, "certificates.k8s.io", "signers", names=name))))


def test_a_status_that_changes_nothing_of_a_signer_needs_no_right() -> None:
    old = signing_request("acme.io/web", certificate="x")
    admit(update(old, old, subresource="status"), certificates.signing(rbac()))


def test_trust_bundles_need_a_right_over_their_signer() -> None:
    spec = {"signerName": "acme.io/web", "trustBundle": "x"}
    bundle = named("certificates.k8s.io/v1", "ClusterTrustBundle", "acme.io:web:1", spec=spec)
    assert "not permitted to attest" in refusal(create(bundle), certificates.attestation(rbac())).message
    admit(create(bundle), certificates.attestation(rbac(rule("attest", "certificates.k8s.io", "signers"))))
    admit(update(bundle, bundle), certificates.attestation(rbac()))


def test_nobody_asks_for_a_certificate_of_masters() -> None:
    body = AUTH[82]["request"]["body"]
    assert refusal(create(body), certificates.subject_restriction()).status() == AUTH[82]["response"]
    admit(create(AUTH[73]["request"]["body"]), certificates.subject_restriction())
    other = {**body, "spec": {**body["spec"], "signerName": "acme.io/web"}}
    admit(create(other), certificates.subject_restriction())


@pytest.mark.parametrize("request_text", ["", "Zm9v", "!", "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0="])
def test_what_is_no_signing_request_is_refused(request_text: str) -> None:
    body = AUTH[82]["request"]["body"]
    broken = {**body, "spec": {**body["spec"], "request": request_text}}
    assert "failed to parse CSR: " in refusal(create(broken), certificates.subject_restriction()).message


# --- topology ---------------------------------------------------------------------------------------

ZONE = "topology.kubernetes.io/zone"


def test_a_pod_on_a_node_carries_its_zone() -> None:
    shelf = Shelf(named("v1", "Node", "n", metadata={"labels": {ZONE: "z1", "other": "x"}}))
    plugin = topology.pod_topology_labels(shelf)
    assert admit(create(pod(nodeName="n")), plugin)["metadata"]["labels"] == {ZONE: "z1"}
    assert "labels" not in admit(create(pod()), plugin)["metadata"]
    assert "labels" not in admit(create(pod(nodeName="gone")), plugin)["metadata"]
    bound = {"metadata": {"name": "p", "namespace": "ns"}, "target": {"kind": "Node", "name": "n"}}
    request = create(pod(), subresource="binding")
    request.obj = bound
    assert admit(request, plugin)["metadata"]["labels"] == {ZONE: "z1"}


# --- mirrors of the host's --------------------------------------------------------------------------


def _storage_class(name: str, **labels: str) -> Obj:
    return named("storage.k8s.io/v1", "StorageClass", name, metadata={"labels": labels}, provisioner="x/y")


def test_a_client_cannot_touch_what_shows_an_object_of_the_host() -> None:
    shown = _storage_class("fast", **{MIRROR: "uid-of-the-host"})
    for request in (update(shown, _storage_class("fast")), delete(shown)):
        error = refusal(request, mirrors.protection())
        assert error.code == 403
        assert error.message.endswith("it shows an object of the host, and can be changed only there")


def test_a_client_cannot_claim_to_show_an_object_of_the_host() -> None:
    assert refusal(create(_storage_class("fast", **{MIRROR: "x"})), mirrors.protection()).code == 403
    adopted = update(_storage_class("fast"), _storage_class("fast", **{MIRROR: "x"}))
    assert refusal(adopted, mirrors.protection()).code == 403


def test_a_class_of_the_tenants_own_is_its_own() -> None:
    mine = _storage_class("mine")
    for request in (create(mine), update(mine, mine), delete(mine)):
        admit(request, mirrors.protection())


# --- all of them ------------------------------------------------------------------------------------


def test_a_plain_pod_comes_out_as_recorded() -> None:
    golden = AUTH[47]["response"]["spec"]
    obj = pod("bound")
    del obj["spec"]["serviceAccountName"]
    shelf = Shelf(namespace("ns"), service_account())
    spec = admit(create(obj), *builtin_plugins(shelf, rbac()))["spec"]
    given = ("serviceAccountName", "serviceAccount", "tolerations", "priority", "preemptionPolicy")
    assert {key: spec[key] for key in given} == {key: golden[key] for key in given}


def test_the_plugins_run_in_kubernetes_order() -> None:
    order = list(dict.fromkeys(p.name for p in builtin_plugins(Shelf(), rbac())))
    assert order == [
        "NamespaceLifecycle",
        "MirrorProtection",  # of ours
        "LimitRanger",
        "ServiceAccount",
        "TaintNodesByCondition",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "ClusterTrustBundleAttest",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "PodTopologyLabels",
        "RBACEscalation",
    ]


def test_storage_protection_can_be_left_out() -> None:
    plugins = builtin_plugins(Shelf(), rbac(), protect_storage=False)
    assert "StorageObjectInUseProtection" not in [p.name for p in plugins]


def test_facts_are_worked_out_once_per_version() -> None:
    shelf, decoded = Shelf(), []

    def facts(obj: Obj) -> str:
        decoded.append(obj["metadata"]["name"])
        return str(obj["spec"]["providerID"])

    memo = EntryMemo(facts)
    first = shelf.put(named("v1", "Node", "n", spec={"providerID": "a"}))
    assert (memo.of(first), memo.of(first)) == ("a", "a")
    second = shelf.put(named("v1", "Node", "n", spec={"providerID": "b"}))
    assert memo.of(second) == "b"
    assert decoded == ["n", "n"]
