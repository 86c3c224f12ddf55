"""ServiceAccount: every Pod runs as one, and finds its token, our CA and its namespace at a well-known path.

Source: kubernetes plugin/pkg/admission/serviceaccount.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from vapi.auth.tokens import SERVICE_ACCOUNTS
from vapi.cacher.entry import Entry
from vapi.gvk import Obj
from vapi.objectmeta import SUFFIX_ALPHABET, SUFFIX_LENGTH
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Lookup, Operation
from vapi.registry.plugins.memo import EntryMemo
from vapi.registry.plugins.refusal import refuse
from vapi.resources.token_volume import VOLUME_PREFIX, mount_token

MIRROR = "kubernetes.io/config.mirror"
ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
DEFAULT = "default"
ATTEMPTS = 10
"""A namespace's default account is made just after it: a Pod that comes in between waits for it. Upstream: 10."""
PAUSE_S = 0.1
"""Between two looks. Upstream: 100 to 200 ms; ours is a look into memory."""

Sleep = Callable[[float], Awaitable[None]]
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})


@dataclass(frozen=True, slots=True)
class _Account:
    """What a Pod takes from its account."""

    automount: bool
    pull_secrets: tuple[str, ...]
    enforce: bool
    """Pods may refer to the account's own secrets only."""
    secrets: frozenset[str]


def service_account_plugin(
    lookup: Lookup, *, rng: random.Random | None = None, sleep: Sleep = asyncio.sleep
) -> AdmissionPlugin:
    plugin = _ServiceAccount(lookup, rng or random.Random(), sleep)
    return AdmissionPlugin(
        "ServiceAccount",
        frozenset({Operation.CREATE}),
        frozenset({("", "pods")}),
        mutate=plugin.mutate,
        validate=plugin.validate,
    )


class _ServiceAccount:
    def __init__(self, lookup: Lookup, rng: random.Random, sleep: Sleep) -> None:
        self._lookup = lookup
        self._rng = rng
        self._sleep = sleep
        self._facts: EntryMemo[_Account] = EntryMemo(_facts)

    def mutate(self, request: AdmissionRequest) -> Awaitable[None] | None:
        pod = request.obj
        if pod is None:
            return None
        if _is_mirror(pod):
            _refuse_mirror_references(request, pod)
            return None
        spec = pod["spec"]
        name = spec.get("serviceAccountName")
        if not name:
            name = spec["serviceAccountName"] = spec["serviceAccount"] = DEFAULT
        entry = self._lookup.cached(SERVICE_ACCOUNTS, request.namespace, name)
        if entry is None:
            if name == DEFAULT:
                return self._wait_for_default(request, spec)
            raise _missing(request, name)
        self._give(spec, entry)
        return None

    async def _wait_for_default(self, request: AdmissionRequest, spec: Obj) -> None:
        for _ in range(ATTEMPTS):
            await self._sleep(PAUSE_S)
            entry = self._lookup.cached(SERVICE_ACCOUNTS, request.namespace, DEFAULT)
            if entry is not None:
                self._give(spec, entry)
                return
        raise _missing(request, DEFAULT)

    def _give(self, spec: Obj, entry: Entry) -> None:
        account = self._facts.of(entry)
        automount = spec.get("automountServiceAccountToken")
        if account.automount if automount is None else automount:
            self._mount_token(spec)
        if account.pull_secrets and not spec.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": name} for name in account.pull_secrets]

    def _mount_token(self, spec: Obj) -> None:
        mount_token(spec, VOLUME_PREFIX + "".join(self._rng.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH)))

    def validate(self, request: AdmissionRequest) -> None:
        """Once more, on what later mutation left."""
        pod = request.obj
        if pod is None:
            return
        if _is_mirror(pod):
            _refuse_mirror_references(request, pod)
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName")
        if not name:
            raise refuse(request, f"no service account specified for pod {request.namespace}/{request.name}")
        entry = self._lookup.cached(SERVICE_ACCOUNTS, request.namespace, name)
        if entry is None:
            raise _missing(request, name)
        account = self._facts.of(entry)
        if account.enforce:
            problem = next(_unmountable(spec, account, name), "")
            if problem:
                raise refuse(request, problem)


def _facts(obj: Obj) -> _Account:
    annotations = obj["metadata"].get("annotations") or {}
    return _Account(
        automount=obj.get("automountServiceAccountToken") is not False,
        pull_secrets=tuple(s.get("name", "") for s in obj.get("imagePullSecrets") or ()),
        enforce=annotations.get(ENFORCE_MOUNTABLE) in _TRUE,
        secrets=frozenset(s.get("name", "") for s in obj.get("secrets") or ()),
    )


def _missing(request: AdmissionRequest, name: str) -> Exception:
    where = f"{request.namespace}/{name}"
    return refuse(request, f'error looking up service account {where}: serviceaccount "{name}" not found')


def _is_mirror(pod: Obj) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or ())


def _refuse_mirror_references(request: AdmissionRequest, pod: Obj) -> None:
    """A static pod of a kubelet has no identity here and reads no secrets."""
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        raise refuse(request, "a mirror pod may not reference service accounts")
    if next(_secret_names(spec), None) is not None:
        raise refuse(request, "a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken") is not None:
                raise refuse(request, "a mirror pod may not use ServiceAccountToken volume projections")


_SECRET_VOLUMES = ("azureFile", "cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")


def _secret_names(spec: Obj) -> Iterator[str]:
    """Every Secret a Pod refers to."""
    for reference in spec.get("imagePullSecrets") or ():
        yield reference.get("name", "")
    for _, container in _containers(spec):
        for _, name in _environment_secrets(container):
            yield name
    for volume in spec.get("volumes") or ():
        if volume.get("secret") is not None:
            yield volume["secret"].get("secretName", "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("secret") is not None:
                yield source["secret"].get("name", "")
        if (volume.get("csi") or {}).get("nodePublishSecretRef"):
            yield volume["csi"]["nodePublishSecretRef"].get("name", "")
        for kind in _SECRET_VOLUMES:
            held = volume.get(kind) or {}
            if held.get("secretName") or held.get("secretRef"):
                yield held.get("secretName") or held["secretRef"].get("name", "")


_CONTAINER_TITLES = (
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
)


def _containers(spec: Obj) -> Iterator[tuple[str, Obj]]:
    for field, title in _CONTAINER_TITLES:
        for container in spec.get(field) or ():
            yield title, container


def _environment_secrets(container: Obj) -> Iterator[tuple[str, str]]:
    """(how it is referred to, name) of the Secrets in a container's environment."""
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference is not None:
            yield f"envVar {variable.get('name', '')}", reference.get("name", "")
    for source in container.get("envFrom") or ():
        if source.get("secretRef") is not None:
            yield "envFrom", source["secretRef"].get("name", "")


def _unmountable(spec: Obj, account: _Account, account_name: str) -> Iterator[str]:
    """Why a Pod may not refer to a Secret that its account does not list."""
    tail = f"is not allowed because service account {account_name} does not reference that"
    for volume in spec.get("volumes") or ():
        secret = volume.get("secret")
        if secret is not None and secret.get("secretName") not in account.secrets:
            yield f'volume with secret.secretName="{secret.get("secretName", "")}" {tail} secret'
    for title, container in _containers(spec):
        for how, name in _environment_secrets(container):
            if name not in account.secrets:
                where = f"{title} {container.get('name', '')} with {how}"
                yield f'{where} referencing secret.secretName="{name}" {tail} secret'
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if reference.get("name") not in account.pull_secrets:
            yield f'imagePullSecrets[{index}].name="{reference.get("name", "")}" {tail} imagePullSecret'
