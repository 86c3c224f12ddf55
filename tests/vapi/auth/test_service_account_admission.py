"""ServiceAccount admission: every Pod has an identity and finds its token."""

from __future__ import annotations

import inspect
import random

import pytest

from tests.vapi.auth.shelf import Shelf, pod, service_account
from tests.vapi.auth.writes import admit, create, refusal
from tests.vapi.schema.golden import recorded
from vapi.auth.service_account_admission import ATTEMPTS, service_account_plugin
from vapi.errors import ApiError
from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin
from vapi.resources.token_volume import MOUNT_PATH

SHELF = Shelf(
    service_account(),
    service_account("quiet", automountServiceAccountToken=False),
    service_account("puller", imagePullSecrets=[{"name": "registry"}]),
    {
        **service_account("strict", secrets=[{"name": "mine"}]),
        "metadata": {
            "name": "strict",
            "namespace": "ns",
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"},
        },
    },
)


def plugin(shelf: Shelf = SHELF) -> AdmissionPlugin:
    return service_account_plugin(shelf, rng=random.Random(1))


def bare(**spec: object) -> Obj:
    made = pod()
    del made["spec"]["serviceAccountName"]
    made["spec"].update(spec)
    return made


def test_a_plain_pod_gets_the_default_account_and_its_token() -> None:
    golden = recorded("auth_1.37.json")[47]["response"]["spec"]
    spec = admit(create(bare()), plugin())["spec"]
    (volume,), (mount,) = spec["volumes"], spec["containers"][0]["volumeMounts"]
    assert volume["name"] == mount["name"]
    assert volume["name"].startswith("kube-api-access-") and len(volume["name"]) == len("kube-api-access-") + 5
    assert {**volume, "name": golden["volumes"][0]["name"]} == golden["volumes"][0]
    assert {**mount, "name": golden["volumes"][0]["name"]} == golden["containers"][0]["volumeMounts"][0]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    assert "imagePullSecrets" not in spec


@pytest.mark.parametrize(
    ("account", "automount", "mounted"),
    [("default", None, True), ("default", False, False), ("quiet", None, False), ("quiet", True, True)],
)
def test_the_pod_decides_before_its_account_whether_the_token_is_mounted(
    account: str, automount: bool | None, mounted: bool
) -> None:
    spec: Obj = {"serviceAccountName": account}
    if automount is not None:
        spec["automountServiceAccountToken"] = automount
    assert ("volumes" in admit(create(bare(**spec)), plugin())["spec"]) is mounted


def test_init_containers_get_the_token_too_and_own_mounts_stay() -> None:
    own = {"name": "mine", "mountPath": MOUNT_PATH}
    obj = bare(
        initContainers=[{"name": "i", "image": "i"}],
        containers=[{"name": "c", "image": "i", "volumeMounts": [own]}],
    )
    spec = admit(create(obj), plugin())["spec"]
    assert spec["initContainers"][0]["volumeMounts"][0]["mountPath"] == MOUNT_PATH
    assert spec["containers"][0]["volumeMounts"] == [own]
    assert len(spec["volumes"]) == 1


def test_without_a_container_that_needs_it_there_is_no_volume() -> None:
    own = {"name": "mine", "mountPath": MOUNT_PATH}
    obj = bare(containers=[{"name": "c", "image": "i", "volumeMounts": [own]}])
    assert "volumes" not in admit(create(obj), plugin())["spec"]


def test_a_token_volume_that_is_there_is_used() -> None:
    spec = admit(create(bare(volumes=[{"name": "kube-api-access-abcde"}])), plugin())["spec"]
    assert spec["volumes"] == [{"name": "kube-api-access-abcde"}]
    assert spec["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-abcde"


@pytest.mark.parametrize(("own", "result"), [([], ["registry"]), (["x"], ["x"])])
def test_pull_secrets_of_the_account_are_the_pods_unless_it_has_its_own(own: list[str], result: list[str]) -> None:
    obj = bare(serviceAccountName="puller", imagePullSecrets=[{"name": n} for n in own])
    assert [s["name"] for s in admit(create(obj), plugin())["spec"]["imagePullSecrets"]] == result


def test_a_missing_account_is_refused_as_recorded() -> None:
    golden = recorded("admission_1.37.json")[29]["response"]
    obj = pod("x", "replay-admission", serviceAccountName="nope")
    assert refusal(create(obj), plugin()).status() == golden


def test_a_pod_to_be_named_is_refused_by_its_prefix() -> None:
    obj = pod(serviceAccountName="nope")
    obj["metadata"] = {"generateName": "web-", "namespace": "ns"}
    assert refusal(create(obj, name=""), plugin()).message.startswith('pods "web-" is forbidden: ')


async def test_a_pod_waits_for_the_default_account_of_a_new_namespace() -> None:
    shelf, naps = Shelf(), []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            shelf.put(service_account())

    request = create(bare())
    hook = service_account_plugin(shelf, sleep=sleep).mutate
    assert hook is not None
    waiting = hook(request)
    assert inspect.isawaitable(waiting)
    await waiting
    assert request.obj is not None
    assert len(request.obj["spec"]["volumes"]) == 1
    assert len(naps) == 3


async def test_it_does_not_wait_for_ever() -> None:
    naps = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    hook = service_account_plugin(Shelf(), sleep=sleep).mutate
    assert hook is not None
    waiting = hook(create(bare()))
    assert inspect.isawaitable(waiting)
    with pytest.raises(ApiError, match='serviceaccount "default" not found'):
        await waiting
    assert len(naps) == ATTEMPTS


def mirror(**spec: object) -> Obj:
    obj = bare(**spec)
    obj["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    return obj


def test_a_mirror_pod_is_left_as_it_is() -> None:
    assert admit(create(mirror()), plugin()) == mirror()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "a mirror pod may not reference secrets"),
        ({"imagePullSecrets": [{"name": "s"}]}, "a mirror pod may not reference secrets"),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]},
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ],
)
def test_a_mirror_pod_refers_to_nothing_of_ours(spec: Obj, why: str) -> None:
    assert refusal(create(mirror(**spec)), plugin()).message == f'pods "p" is forbidden: {why}'


TAIL = "is not allowed because service account strict does not reference that"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            f'volume with secret.secretName="s" {TAIL} secret',
        ),
        (
            {"containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}]},
            f'container c with envVar E referencing secret.secretName="s" {TAIL} secret',
        ),
        (
            {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]},
            f'init container i with envFrom referencing secret.secretName="s" {TAIL} secret',
        ),
        ({"imagePullSecrets": [{"name": "s"}]}, f'imagePullSecrets[0].name="s" {TAIL} imagePullSecret'),
    ],
)
def test_an_account_may_limit_its_pods_to_its_own_secrets(spec: Obj, why: str) -> None:
    error = refusal(create(bare(serviceAccountName="strict", **spec)), plugin())
    assert error.message == f'pods "p" is forbidden: {why}'
    admit(create(bare(serviceAccountName="default", **spec)), plugin())


def test_its_own_secret_is_allowed() -> None:
    volumes = [{"name": "v", "secret": {"secretName": "mine"}}]
    admit(create(bare(serviceAccountName="strict", volumes=volumes)), plugin())
