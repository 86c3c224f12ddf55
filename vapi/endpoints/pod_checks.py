"""What is wrong with a request to a pod before anything is dialled: no such pod, container, node or option. Pure.

Source: pkg/registry/core/pod LogLocation and streamLocation, ValidatePodLogOptions; golden/pods.
"""

from __future__ import annotations

from collections.abc import Sequence

from vapi import errors
from vapi.cacher.entry import Entry
from vapi.endpoints.http import NO_CACHE, ApiResponse
from vapi.endpoints.options import parse_int
from vapi.endpoints.proxy import TunnelTarget
from vapi.endpoints.request import Query
from vapi.errors import Cause
from vapi.gvk import GVK, GVR, Obj

PODS = GVR("", "v1", "pods")
CHECKED = frozenset(("log", "exec", "attach", "portforward"))
_WITH_CONTAINER = frozenset(("log", "exec", "attach"))
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_POSITIVE = "must be greater than 0"


def check(target: TunnelTarget, query: Query, entry: Entry | None) -> ApiResponse | None:
    """`entry` is the pod as the watch cache has it. An answer, if that is all there is to say. Raises ApiError."""
    if entry is None:
        raise errors.not_found(PODS, target.name)
    if target.subresource == "log":
        check_log_options(target.name, query)
    spec = entry.obj()["spec"]
    container = query.get("container")
    if container and target.subresource in _WITH_CONTAINER and container not in container_names(spec):
        raise errors.bad_request(f"container {container} is not valid for pod {target.name}")
    if spec.get("nodeName"):
        return None
    if target.subresource == "log":
        return ApiResponse(204, "", headers=[NO_CACHE])  # nothing has been written yet
    raise errors.bad_request(f"pod {target.name} does not have a host assigned")


def container_names(spec: Obj) -> Sequence[str]:
    return [container["name"] for field in _CONTAINERS for container in spec.get(field) or ()]


def check_log_options(name: str, query: Query) -> None:
    """Raises ApiError 400 or 422."""
    causes: list[Cause] = []
    for option, least, detail in (
        ("tailLines", 0, _NOT_NEGATIVE),
        ("limitBytes", 1, _POSITIVE),
        ("sinceSeconds", 1, _POSITIVE),
    ):
        text = query.get(option)
        if text and (number := parse_int(text)) < least:
            causes.append(errors.field_invalid(option, number, detail))
    if query.get("sinceSeconds") and query.get("sinceTime"):
        causes.append(errors.field_forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    if causes:
        raise errors.invalid(GVK("", "v1", "PodLogOptions"), name, causes)
