"""Pods: the one kind whose life goes both ways. Source of the rules: sync-behaviour §3, design §6.

`to_host` gives the pod as it is created; later only its mutable paths go out
(`podupdate`), and its status comes back (`podstatus`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sync import metadata as md
from sync import names
from sync.translator import CLAIMS, PODS, Context, Ref, Translator, WhenLost
from sync.translators import podenv, podspec, podstatus, podtokens, podupdate
from vapi.gvk import GVK, Obj

GVK_POD = GVK("", "v1", "Pod")


def to_host(virtual: Obj, context: Context) -> Obj:
    """Raises Untranslatable."""
    metadata = virtual["metadata"]
    terms = podspec.Terms(
        metadata["namespace"],
        podtokens.token_secret_name(context.cluster, virtual),
        pod=metadata["name"],
        node=context.chosen_node(virtual),
    )
    spec = podspec.host_spec(virtual["spec"], terms, context)
    desired = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": context.host_metadata(virtual, GVK_POD, controller=True),
        "spec": spec,
    }
    _add_metadata(desired, virtual, context)
    conditions = podstatus.gate_conditions(virtual)
    if conditions:
        desired["status"] = {"conditions": conditions}
    return desired


def _add_metadata(desired: Obj, virtual: Obj, context: Context) -> None:
    """Labels of the Namespace, what fieldRefs read, and what later patches must know."""
    metadata = virtual["metadata"]
    labels: dict[str, str] = desired["metadata"]["labels"]
    annotations: dict[str, str] = desired["metadata"]["annotations"]
    tenant_labels = md.tenant_labels(virtual, context.from_host)
    tenant_annotations = md.tenant_annotations(virtual, context.from_host)
    gates = [g["name"] for g in virtual["spec"].get("schedulingGates") or ()]
    namespace_labels = {
        names.namespace_label(key): value for key, value in context.namespace_labels(metadata["namespace"]).items()
    }
    labels |= namespace_labels
    annotations[md.SERVICE_ACCOUNT] = virtual["spec"].get("serviceAccountName") or "default"
    annotations[md.GENERATION] = str(metadata.get("generation", 1))
    if context.virtual_nodes:
        annotations[md.NODE] = context.chosen_node(virtual)
    used = podspec.downward_paths(virtual["spec"])
    if "metadata.labels" in used:
        annotations[md.LABELS_TEXT] = md.downward_text(metadata.get("labels") or {}, podenv.quoted)
    if "metadata.annotations" in used:
        annotations[md.ANNOTATIONS_TEXT] = md.downward_text(_seen_annotations(metadata), podenv.quoted)
    annotations[md.KEYS] = md.keys_text([*tenant_labels, *namespace_labels], tenant_annotations, gates)


def _seen_annotations(metadata: Obj) -> Mapping[str, str]:
    """All but the mark, which is no business of the tenant's containers and changes with each twin."""
    return {k: v for k, v in (metadata.get("annotations") or {}).items() if k != md.HOST_UID}


def references(virtual: Obj) -> Iterable[Ref]:
    """The ConfigMaps, Secrets and claims that it names, those of its ephemeral volumes too, each once."""
    metadata, spec = virtual["metadata"], virtual["spec"]
    yield from podspec.references(spec, metadata["namespace"])
    for volume in spec.get("volumes") or ():
        if volume.get("ephemeral"):
            yield Ref(CLAIMS, metadata["namespace"], f"{metadata['name']}-{volume['name']}")


def admit(virtual: Obj, context: Context) -> None:
    """Raises Withheld."""
    podspec.admit(virtual["spec"], context)


def wanted(virtual: Obj, context: Context) -> bool:
    """Not what the host's controllers made; with virtual nodes: once the tenant's scheduler has placed it."""
    if md.is_child(virtual):
        return False
    return not context.virtual_nodes or bool(context.chosen_node(virtual))


def creation(desired: Obj) -> Obj:
    """Without ephemeral containers and readiness gates' conditions, which can only be added to a pod that is."""
    spec = {k: v for k, v in desired["spec"].items() if k != "ephemeralContainers"}
    return {k: v for k, v in desired.items() if k != "status"} | {"spec": spec}


TRANSLATOR = Translator(
    resource=PODS,
    gvk=GVK_POD,
    to_host=to_host,
    references=references,
    admit=admit,
    wanted=wanted,
    creation=creation,
    status=podstatus.status,
    update=podupdate.update,
    settle=podupdate.settle,
    when_lost=WhenLost.END,
    forwards_deletion=True,
    keeps_body=True,
    priority=2,
)
