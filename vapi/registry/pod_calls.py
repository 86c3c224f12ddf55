"""The subresources of Pods that are calls: binding and eviction.

Source: pkg/registry/core/pod/storage (BindingREST, EvictionREST).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from vapi import errors, selectors
from vapi.cacher.entry import Entry
from vapi.clock import Clock, rfc3339
from vapi.errors import Cause
from vapi.gvk import GVK, GVR, Obj
from vapi.registry.caller import DeleteOptions, Preconditions
from vapi.registry.registry import Registry
from vapi.registry.virtual import Call, CallHandler, Reply

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
        """Sets spec.nodeName, once."""
        body = call.body or {}
        metadata = body.get("metadata") or {}
        name = call.name or metadata.get("name", "")
        target = body.get("target") or {}
        if metadata.get("name", name) != name:
            raise errors.bad_request("name in URL does not match name in Binding object")
        if target.get("kind") not in (None, "", "Node") or not target.get("name"):
            cause = errors.field_required("target.name")
            raise errors.invalid(GVK("", "v1", "Binding"), name, [cause])

        def change(pod: Obj) -> Obj:
            return bound(pod, name, target["name"], metadata)

        await self._registry.change(
            call.caller, self._registry.row(PODS), call.namespace, name, change, subresource="binding"
        )
        return Reply(success(201))

    async def evict(self, call: Call) -> Reply:
        """DELETE, if the pod's disruption budget allows it."""
        body = call.body or {}
        row = self._registry.row(PODS)
        name = call.name
        entry = await self._registry.get(row, call.namespace, name)
        pod = entry.obj()
        options = _delete_options(body.get("deleteOptions") or {})
        if _must_ask(pod):
            await self._charge_budget(call, entry)
        await self._registry.delete(call.caller, row, call.namespace, name, options)
        return Reply(success(201))

    async def _charge_budget(self, call: Call, pod: Entry) -> None:
        budgets = [
            b for b in self._registry.entries(BUDGETS, call.namespace) if _selects(b.obj().get("spec") or {}, pod)
        ]
        if not budgets:
            return
        if len(budgets) > 1:
            raise errors.bare_error(
                500,
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        await self._registry.change(
            call.caller,
            self._registry.row(BUDGETS),
            call.namespace,
            budgets[0].name,
            lambda budget: _charged(budget, pod.name, self._clock.now()),
            subresource="status",
        )


def bound(pod: Obj, name: str, node: str, binding: Obj) -> Obj:
    """`pod`, edited, on `node`. `binding` is the Binding's metadata: uid is a precondition. Raises ApiError 409."""
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
    if annotations := binding.get("annotations"):
        metadata.setdefault("annotations", {}).update(annotations)
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    if not any(c.get("type") == "PodScheduled" for c in conditions):
        conditions.append({"type": "PodScheduled", "status": "True"})
    return pod


def _delete_options(options: Obj) -> DeleteOptions:
    preconditions = options.get("preconditions") or {}
    return DeleteOptions(
        grace_period_s=options.get("gracePeriodSeconds"),
        preconditions=Preconditions(
            uid=preconditions.get("uid") or "", resource_version=preconditions.get("resourceVersion") or ""
        ),
    )


def _must_ask(pod: Obj) -> bool:
    """Pods that are over, not started or deleting are evicted without asking. Source: canIgnorePDB."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]


def _selects(spec: Obj, pod: Entry) -> bool:
    selector = spec.get("selector")
    if selector is None:
        return False
    return selectors.label_selector_from_obj(selector).matches(pod.labels)


def _charged(budget: Obj, pod: str, now: dt.datetime) -> Obj:
    name = budget["metadata"]["name"]
    status = budget.setdefault("status", {})
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _blocked(f"The disruption budget {name} is still being processed by the server.", _RETRY_UNOBSERVED_S)
    if status.get("disruptionsAllowed", 0) <= 0 or len(status.get("disruptedPods") or {}) > _MAX_DISRUPTED:
        healthy, wanted = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _blocked(f"The disruption budget {name} needs {wanted} healthy pods and has {healthy} currently", 0)
    status["disruptionsAllowed"] -= 1
    # the disruption controller takes it out again once it has seen the pod go
    status.setdefault("disruptedPods", {})[pod] = rfc3339(now)
    return budget


def _blocked(why: str, retry_after_s: int) -> errors.ApiError:
    return errors.too_many_requests(BLOCKED, retry_after_s=retry_after_s, causes=[Cause("DisruptionBudget", why)])
