"""Workload: what the rows of Deployments, DaemonSets, Jobs and their like have in common.

The twin is the tenant's object with its selector and template translated; the host's controller does the rest, and
its status comes back in the tenant's names and numbers. Each kind's own file says what is special to it. A mirror of
what the host's controllers made (a Deployment's ReplicaSet, a CronJob's Job) is never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sync import metadata as md
from sync import names
from sync.translator import Context, Ref, Translator, running
from sync.translators import podspec, podstatus, template
from sync.wording import in_tenant_words
from vapi.gvk import GVK, GVR, Obj

SHORT_NAME = 52
"""Of twins whose name, with up to 11 characters behind it, is a label value or host name of their pods."""

EXACT = ("spec.minReadySeconds",)
"""What somebody may add to the spec of a twin, and has to come off again: fields that no API server fills in by itself.

Not what is added to a template: taking that off is a rollout, against what may add it at once again.
"""

ToSpec = Callable[[Obj, Context], Obj]


def pod_template(virtual: Obj) -> Obj:
    found: Obj = virtual["spec"].get("template") or {}
    return found


def row(
    resource: GVR,
    gvk: GVK,
    to_spec: ToSpec,
    *,
    template_of: Callable[[Obj], Obj] = pod_template,
    name_limit: int = names.MAX_LENGTH,
    controller: bool = False,
    admit_more: Callable[[Obj, Context], None] | None = None,
    **special: Any,
) -> Translator:
    """`to_spec`: the host's spec. `controller`: a controller of the host could adopt the twin otherwise.

    `admit_more`: beyond the classes that the template names, as Translator.admit.
    """

    def to_host(virtual: Obj, context: Context) -> Obj:
        metadata = context.host_metadata(virtual, gvk, controller=controller)
        owner = virtual["metadata"]
        metadata["name"] = names.host_name(owner["name"], owner["namespace"], context.cluster, name_limit)
        for key in COUNTED_BY_HOST:
            metadata["annotations"].pop(key, None)
        tenant = (md.tenant_labels(virtual, context.from_host), md.tenant_annotations(virtual, context.from_host))
        metadata["annotations"][md.KEYS] = md.keys_text(*tenant, ())
        metadata["annotations"][md.GENERATION] = str(owner.get("generation", 1))
        spec = {key: value for key, value in to_spec(virtual, context).items() if value is not None}
        return {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata, "spec": spec}

    def references(virtual: Obj) -> Iterable[Ref]:
        return template.references(template_of(virtual), virtual["metadata"]["namespace"])

    def admit(virtual: Obj, context: Context) -> None:
        podspec.admit(template_of(virtual).get("spec") or {}, context)
        if admit_more is not None:
            admit_more(virtual, context)

    return Translator(
        resource=resource,
        gvk=gvk,
        admit=admit,
        to_host=to_host,
        references=references,
        pod_template=template_of,
        name_limit=name_limit,
        forwards_deletion=True,
        keeps_body=True,
        priority=2,
        **({"wanted": wanted, "status": status, "ended": running} | special),
    )


REVISION = "deployment.kubernetes.io/revision"
COUNTED_BY_HOST = (REVISION,)
"""Annotations of a Deployment that the host's controller writes, and the tenant sees."""


def wanted(virtual: Obj, context: Context) -> bool:
    """In a Namespace that is going, the host's controller would only make pods anew that the tenant deletes."""
    return not md.is_child(virtual) and not context.terminating(virtual["metadata"]["namespace"])


def status(virtual: Obj, host: Obj) -> Obj:
    """The host's, in the tenant's names; observedGeneration once the host has seen what went out last."""
    theirs = in_tenant_terms(virtual, host)
    ours: Obj = virtual.get("status") or {}
    new = {k: v for k, v in theirs.items() if k != "observedGeneration"}
    seen = podstatus.Generations(virtual, host).seen(theirs.get("observedGeneration"), ours.get("observedGeneration"))
    if seen:
        new["observedGeneration"] = seen
    return new


def in_tenant_terms(virtual: Obj, host: Obj) -> Obj:
    """The host's status; conditions that tell of a pod call it by namespace and name."""
    found = podstatus.in_tenant_terms(virtual, host)
    if not any(c.get("message") for c in found.get("conditions") or ()):
        return found
    there = host["metadata"]
    cluster = (there.get("labels") or {}).get(md.MANAGED_BY, "")

    def told(message: str) -> str:
        return in_tenant_words(
            message,
            {},
            cluster=cluster,
            host_namespace=there.get("namespace", ""),
            namespace=virtual["metadata"]["namespace"],
        )

    conditions = [{**c, "message": told(c["message"])} if c.get("message") else c for c in found["conditions"]]
    return {**found, "conditions": conditions}


def replicated(resource: GVR) -> ToSpec:
    """The spec of a kind with `selector` and `template`."""

    def to_spec(virtual: Obj, context: Context) -> Obj:
        spec: Obj = dict(virtual["spec"])
        namespace = virtual["metadata"]["namespace"]
        spec["selector"] = template.selector(spec.get("selector") or {}, namespace, context)
        spec["template"] = template.host_template(spec["template"], virtual, resource, context)
        return spec

    return to_spec
