"""Template: the pod template of a workload that the host's own controller runs, translated once for all kinds.

It holds nothing that varies, for each change of it rolls out: no service links, one token Secret a workload, of the
Namespace's labels only the one that never changes (the others are put on the pods). What differs from pod to pod is
read through a scheduling gate: a fieldRef to the pod's name, labels or annotations waits until the pod is annotated.
The tenant's own template goes along as an annotation: what the host makes of ours is told to the tenant by it, never
translated back. Source: design §6, "From the host".
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from sync import metadata as md
from sync import names
from sync.translator import CONFIGMAPS, Context, Ref, Untranslatable
from sync.translators import podspec
from vapi import encoding
from vapi.gvk import GVR, Obj
from vapi.objectmeta import SUFFIX_ALPHABET, SUFFIX_LENGTH
from vapi.resources import token_volume

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label of a Namespace that never changes."""
ROOT_CA = "kube-root-ca.crt"
GATED = frozenset({"metadata.name", "metadata.labels", "metadata.annotations"})
"""Field paths that differ from pod to pod; its uid is the same on both sides."""
MAX_TEMPLATE = 200_000
"""Bytes of the tenant's template; all annotations of an object together may have 256 KiB."""


def token_secret_name(cluster: str, resource: GVR, namespace: str, name: str) -> str:
    """The host's Secret with the tokens of all pods of a workload."""
    return names.derived_name(name, namespace, cluster, f"token-{resource.resource}")


def host_template(template: Obj, owner: Obj, resource: GVR, context: Context, *, dropped: Iterable[str] = ()) -> Obj:
    """The host's pod template. `dropped`: label keys of the template that the host's API makes itself.

    Raises Untranslatable.
    """
    namespace, name = owner["metadata"]["namespace"], owner["metadata"]["name"]
    source = admitted(template.get("spec") or {}, owner, resource, context)
    terms = podspec.Terms(namespace, token_secret_name(context.cluster, resource, namespace, name))
    spec = podspec.host_spec(source, terms, context)
    labels, annotations = _tenant_keys(template, context)
    for key in dropped:
        labels.pop(key, None)
    gates = [g["name"] for g in source.get("schedulingGates") or ()]
    if needs_name(source):
        gates.append(md.NAME_GATE)
        spec["schedulingGates"] = [*(source.get("schedulingGates") or ()), {"name": md.NAME_GATE}]
    constant = {names.namespace_label(NAMESPACE_NAME): namespace}
    ours = {
        md.OBJECT_NAMESPACE: namespace,
        md.SERVICE_ACCOUNT: source.get("serviceAccountName") or "default",
        md.TEMPLATE: carried(template),
        md.KEYS: md.keys_text([*labels, *constant], annotations, gates),
    }
    host: dict[str, Any] = {
        "metadata": {
            "labels": labels | constant | context.own_labels(namespace),
            "annotations": annotations | ours,
        },
        "spec": spec,
    }
    finalizers = (template.get("metadata") or {}).get("finalizers")
    if finalizers:
        raise Untranslatable("finalizers in a pod template: nobody on the host would take them off")
    return host


def _tenant_keys(template: Obj, context: Context) -> tuple[dict[str, str], dict[str, str]]:
    given = {"metadata": template.get("metadata") or {}}
    return md.tenant_labels(given, context.from_host), md.tenant_annotations(given, context.from_host)


def carried(template: Obj) -> str:
    """The tenant's template as an annotation. Raises Untranslatable."""
    text = encoding.dumps_sorted(template)
    if len(text) > MAX_TEMPLATE:
        raise Untranslatable(f"its pod template has {len(text)} bytes, the host takes at most {MAX_TEMPLATE}")
    return text.decode()


def tenant_template(annotations: Mapping[str, str]) -> Obj | None:
    """What `carried` put there; None: it is none of ours, or somebody broke it."""
    try:
        found: Any = encoding.loads(annotations.get(md.TEMPLATE, ""))
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("spec"), dict) else None


def admitted(spec: Obj, owner: Obj, resource: GVR, context: Context) -> Obj:
    """A copy with what admission gives to each pod: its account, the account's token and pull secrets.

    That there is such an account is seen to before anything goes out (`workloads.tokens`).
    """
    name = spec.get("serviceAccountName") or "default"
    account = context.account(owner["metadata"]["namespace"], name) or {}
    given: Obj = copy.deepcopy(spec)
    given["serviceAccountName"] = given["serviceAccount"] = name
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken") is not False
    if automount:
        token_volume.mount_token(given, token_volume_name(owner, resource))
    if account.get("imagePullSecrets") and not given.get("imagePullSecrets"):
        given["imagePullSecrets"] = [{"name": s.get("name", "")} for s in account["imagePullSecrets"]]
    return given


def token_volume_name(owner: Obj, resource: GVR) -> str:
    """The same for all pods of a workload, where admission draws lots for each."""
    metadata = owner["metadata"]
    digest = hashlib.sha256(f"{resource.resource}/{metadata['namespace']}/{metadata['name']}".encode()).digest()
    suffix = "".join(SUFFIX_ALPHABET[byte % len(SUFFIX_ALPHABET)] for byte in digest[:SUFFIX_LENGTH])
    return token_volume.VOLUME_PREFIX + suffix


def needs_name(spec: Obj) -> bool:
    """Whether a container reads what is known only once the pod has a name in the tenant."""
    if podspec.downward_paths(spec) & GATED:
        return True
    return any(
        ((env.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath") in GATED
        for containers in ("containers", "initContainers")
        for container in spec.get(containers) or ()
        for env in container.get("env") or ()
    )


def references(template: Obj, namespace: str) -> Iterable[Ref]:
    """What its pods name, the CA of their account's token with it, and the pull secrets of no account."""
    spec = template.get("spec") or {}
    found = set(podspec.references(spec, namespace))
    if spec.get("automountServiceAccountToken") is not False:
        found.add(Ref(CONFIGMAPS, namespace, ROOT_CA))
    return found


def selector(given: Obj, namespace: str, context: Context) -> Obj:
    """A label selector that meets only this tenant's pods of that namespace."""
    return {**given, "matchLabels": context.selector_labels(given.get("matchLabels"), namespace)}
