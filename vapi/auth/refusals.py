"""How a refusal of authorization is worded: one function, used for requests and for impersonation."""

from __future__ import annotations

from vapi import errors
from vapi.authorizer import Attributes
from vapi.errors import ApiError
from vapi.gvk import GVR

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def forbidden(attributes: Attributes, reason: str = "") -> ApiError:
    """The 403 for a request that nobody allowed; `reason` is the decision's.

    Source: apiserver handlers/responsewriters ForbiddenStatusError (it also
    keeps what a browser could take for markup out of the text).
    """
    why = _why(attributes).translate(_HTML)
    if reason:
        why = f"{why}: {reason}"
    if not attributes.resource_request:
        return ApiError(403, "Forbidden", f"forbidden: {why}", {})
    gvr = GVR(attributes.group, attributes.version, attributes.resource)
    return errors.forbidden(gvr, attributes.name, why)


def _why(attributes: Attributes) -> str:
    user = errors.quote_value(attributes.user.name)
    if not attributes.resource_request:
        return f"User {user} cannot {attributes.verb} path {errors.quote_value(attributes.path)}"
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'User {user} cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {where}'
