"""The subresources of Pods that are calls: binding and eviction.

Source: pkg/registry/core/pod/storage (BindingREST, EvictionREST).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from vapi import errors, selectors
from vapi.cacher.entry import Entry
from vapi.clock import Clock, rfc3339
from vapi.errors import Cause
from vapi.gvk import GVR, Obj
from vapi.registry import deletion
from vapi.registry.caller import DeleteOptions, Preconditions
from vapi.registry.registry import Registry
from vapi.registry.virtual import Call, CallHandler, Reply
from vapi.resources.resource import Propagation, Resource

PODS = GVR("", "v1", "pods")
BUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
BLOCKED = "Cannot evict pod as it would violate the pod's disruption budget."
_MAX_DISRUPTED = 2_000  # upstream MaxDisruptedPodSize
_RETRY_UNOBSERVED_S = 10


def success(code: int) -> Obj:
    """The metav1.Status of a call that leaves no object."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


class PodCalls:
    """Handlers for the CallTable."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def handlers(self) -> Mapping[tuple[str, str, str], CallHandler]:
        return {
            ("", "pods", "binding"): self.bind,
            ("", "bindings", ""): self.bind,
            ("", "pods", "eviction"): self.evict,
        }

    async def bind(self, call: Call) -> Reply:
        """Sets spec.nodeName, once. A write of the storage: no generation, no managedFields."""
        body = call.body or {}
        metadata = body.get("metadata") or {}
        name = call.name or metadata.get("name", "")
        target = body.get("target") or {}
        if metadata.get("name", name) != name:
            raise errors.bad_request("name in URL does not match name in Binding object")
        texts = [cause.text() for cause in _target_causes(target)]
        if texts:
            # a bare error of the storage, unlike those of other validations
            raise errors.bare_error(500, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")

        def change(pod: Obj) -> Obj:
            return bound(pod, name, target["name"], metadata, self._clock.now())

        await self._registry.change(
            call.caller, self._registry.row(PODS), call.namespace, name, change, subresource="binding", tracked=True
        )
        return Reply(success(201))

    async def evict(self, call: Call) -> Reply:
        """DELETE, if the pod's disruption budget allows it."""
        body = call.body or {}
        metadata = body.get("metadata") or {}
        name = call.name
        if metadata.get("name", name) != name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
        asked = body.get("deleteOptions") or {}
        call.caller.dry_run = call.caller.dry_run or bool(asked.get("dryRun"))
        row = self._registry.row(PODS)
        entry = await self._registry.get(row, call.namespace, name)
        deletion.check_preconditions(row, name, entry.uid, entry.revision, _preconditions(asked))
        pod = entry.obj()
        options = _delete_options(asked)
        if _must_ask(pod):
            await self._ask_budget(call, entry, pod)
            if not call.caller.dry_run:
                await self._mark(call, row, name)
        await self._registry.delete(call.caller, row, call.namespace, name, options)
        return Reply(success(201))

    async def _mark(self, call: Call, row: Resource, name: str) -> None:
        """The condition that tells an eviction from other ends. Source: addConditionAndDeletePod."""

        def change(pod: Obj) -> Obj:
            condition = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None}
            condition |= {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
            set_condition(pod, condition, self._clock.now())
            return pod

        await self._registry.change(
            call.caller, row, call.namespace, name, change, subresource="eviction", tracked=True
        )

    async def _ask_budget(self, call: Call, entry: Entry, pod: Obj) -> None:
        budgets = [
            b for b in self._registry.entries(BUDGETS, call.namespace) if _selects(b.obj().get("spec") or {}, entry)
        ]
        if not budgets:
            return
        if len(budgets) > 1:
            raise errors.bare_error(
                500,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        if not _is_ready(pod) and _unhealthy_may_go(budgets[0].obj()):
            return
        await self._registry.change(
            call.caller,
            self._registry.row(BUDGETS),
            call.namespace,
            budgets[0].name,
            lambda budget: _charged(budget, entry.name, self._clock.now()),
            subresource="status",
        )


def _target_causes(target: Obj) -> Sequence[Cause]:
    """Source: pkg/apis/core/validation ValidatePodBinding."""
    causes: list[Cause] = []
    if target.get("kind") not in (None, "", "Node"):
        causes.append(errors.field_not_supported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        causes.append(errors.field_required("target.name"))
    return causes


def set_condition(pod: Obj, condition: Obj, now: dt.datetime) -> None:
    """In place of the one of its type; its transition time moves only with its status.

    Source: podutil.UpdatePodCondition.
    """
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    for index, known in enumerate(conditions):
        if known.get("type") == condition["type"]:
            since = known.get("lastTransitionTime") if known.get("status") == condition["status"] else None
            conditions[index] = {**condition, "lastTransitionTime": since or rfc3339(now)}
            return
    conditions.append({**condition, "lastTransitionTime": rfc3339(now)})


def bound(pod: Obj, name: str, node: str, binding: Obj, now: dt.datetime) -> Obj:
    """`pod`, edited, on `node`. `binding` is the Binding's metadata: uid is a precondition. Raises ApiError 409.

    Labels and annotations of the Binding go over to the pod. Source: BindingREST.setPodNodeAndMetadata.
    """
    uid = (binding or {}).get("uid")
    metadata, spec = pod["metadata"], pod["spec"]
    gvr = GVR("", "v1", "pods/binding")
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise errors.conflict(gvr, name, why)
    if "deletionTimestamp" in metadata:
        raise errors.conflict(gvr, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise errors.conflict(gvr, name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise errors.conflict(gvr, name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = node
    pod.get("status", {}).pop("nominatedNodeName", None)
    for part in ("annotations", "labels"):
        if more := (binding or {}).get(part):
            metadata[part] = {**(metadata.get(part) or {}), **more}
    set_condition(pod, {"type": "PodScheduled", "status": "True", "lastProbeTime": None}, now)
    return pod


def _delete_options(options: Obj) -> DeleteOptions:
    """Without the preconditions, which are of the pod as it was before it was marked."""
    policy = options.get("propagationPolicy")
    return DeleteOptions(
        grace_period_s=options.get("gracePeriodSeconds"),
        propagation=Propagation(policy) if policy else None,
        preconditions=Preconditions(uid=_preconditions(options).uid),
        orphan_dependents=options.get("orphanDependents"),
    )


def _preconditions(options: Obj) -> Preconditions:
    wanted = options.get("preconditions") or {}
    return Preconditions(uid=wanted.get("uid") or "", resource_version=wanted.get("resourceVersion") or "")


def _must_ask(pod: Obj) -> bool:
    """Pods that are over, not started or deleting are evicted without asking. Source: canIgnorePDB."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]


def _selects(spec: Obj, pod: Entry) -> bool:
    selector = spec.get("selector")
    if selector is None:
        return False
    return selectors.label_selector_from_obj(selector).matches(pod.labels)


def _is_ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _unhealthy_may_go(budget: Obj) -> bool:
    """Whether a pod that is not ready may go without being counted. Source: EvictionREST.Create."""
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    wanted: int = status.get("desiredHealthy", 0)
    return wanted > 0 and bool(status.get("currentHealthy", 0) >= wanted)


def _charged(budget: Obj, pod: str, now: dt.datetime) -> Obj:
    """`budget`, edited, with one disruption less. Raises ApiError 429 or 403. Source: checkAndDecrement."""
    name = budget["metadata"]["name"]
    status = budget.setdefault("status", {})
    allowed = status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _blocked(f"The disruption budget {name} is still being processed by the server.", _RETRY_UNOBSERVED_S)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.get("disruptedPods") or {}) > _MAX_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        raise _blocked(_why_none_is_allowed(name, status), 0)
    status["disruptionsAllowed"] = allowed - 1
    # the disruption controller takes it out again once it has seen the pod go
    status.setdefault("disruptedPods", {})[pod] = rfc3339(now)
    return budget


def _why_none_is_allowed(name: str, status: Obj) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionAllowed" and condition.get("reason") == "SyncFailed":
            why = condition.get("message", "")
            return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
    healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently"


def _blocked(why: str, retry_after_s: int) -> errors.ApiError:
    return errors.too_many_requests(BLOCKED, retry_after_s=retry_after_s, causes=[Cause("DisruptionBudget", why)])


def _forbidden(name: str, why: str) -> errors.ApiError:
    return errors.forbidden(GVR("policy", "", "poddisruptionbudget"), name, why)
