"""ApiError: every refusal a client can get, as an exception that is one metav1.Status.

The tree is flat on purpose: a constructor per reason, worded as Kubernetes
words it (reference: apiserver-contract §3.12), and `ApiError.status()` for the
wire. Causes are built with the functions of the second half, one per field error type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vapi.gvk import GVK, GVR, Obj


@dataclass(frozen=True, slots=True)
class Cause:
    """One metav1.StatusCause: `reason` such as FieldValueInvalid, `message` without the field."""

    reason: str
    message: str
    field: str = ""

    def text(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message

    def as_json(self) -> Obj:
        cause: Obj = {"reason": self.reason, "message": self.message}
        if self.field:
            cause["field"] = self.field
        return cause


@dataclass(eq=False)
class ApiError(Exception):
    """An answer other than success. `details` is None where Kubernetes sends none, {} where it sends an empty one."""

    code: int
    reason: str
    message: str
    details: Obj | None = None
    retry_after_s: int = 0
    metadata: Obj = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def status(self) -> Obj:
        """The metav1.Status for the wire."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(resource: GVR | GVK, name: str) -> Obj:
    details: Obj = {}
    if name:
        details["name"] = name
    if resource.group:
        details["group"] = resource.group
    kind = resource.resource if isinstance(resource, GVR) else resource.kind
    if kind:
        details["kind"] = kind
    return details


def _kind_name(gvk: GVK) -> str:
    return f"{gvk.kind}.{gvk.group}" if gvk.group else gvk.kind


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(gvr: GVR, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """`configmaps "c" is forbidden: <why>`; without a name, `configmaps is forbidden: <why>`."""
    subject = f'{gvr.group_resource} "{name}"' if name else gvr.group_resource
    details = _details(gvr, name)
    if causes:
        details["causes"] = [c.as_json() for c in causes]
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details)


def not_found(gvr: GVR, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{gvr.group_resource} "{name}" not found', _details(gvr, name))


def unknown_resource() -> ApiError:
    """An unknown resource in a known group."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    return ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def already_exists(gvr: GVR, name: str, *, deleting: bool = False) -> ApiError:
    """`deleting`: what is in the way waits for its finalizers. Source: generic registry Store.Create."""
    prefix = "object is being deleted: " if deleting else ""
    return ApiError(409, "AlreadyExists", f'{prefix}{gvr.group_resource} "{name}" already exists', _details(gvr, name))


OBJECT_MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(gvr: GVR, name: str, why: str = OBJECT_MODIFIED) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {gvr.group_resource} "{name}": {why}',
        _details(gvr, name),
    )


def apply_conflict(message: str, causes: Sequence[Cause]) -> ApiError:
    """The 409 of server-side apply; its causes name managers and fields."""
    return ApiError(409, "Conflict", message, {"causes": [c.as_json() for c in causes]})


def expired(message: str, *, continue_token: str = "") -> ApiError:
    return ApiError(410, "Expired", message, metadata={"continue": continue_token} if continue_token else {})


def too_large(limit_bytes: int) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_bytes}")


def unsupported_media_type(message: str) -> ApiError:
    return ApiError(415, "UnsupportedMediaType", message, {})


def not_acceptable(message: str) -> ApiError:
    return ApiError(406, "NotAcceptable", message, {})


def invalid(gvk: GVK, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 in field order; brackets only when there are two or more causes, as field.ErrorList prints itself.

    What two rules found is said once.
    """
    causes = list(dict.fromkeys(causes))
    texts = list(dict.fromkeys(c.text() for c in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(gvk, name)
    details["causes"] = [c.as_json() for c in causes]
    return ApiError(422, "Invalid", f'{_kind_name(gvk)} "{name}" is invalid: {joined}', details)


def too_many_requests(message: str, *, retry_after_s: int = 1, causes: Sequence[Cause] = ()) -> ApiError:
    details: Obj = {}
    if causes:
        details["causes"] = [c.as_json() for c in causes]
    if retry_after_s:
        details["retryAfterSeconds"] = retry_after_s
    return ApiError(429, "TooManyRequests", message, details, retry_after_s)


def internal(message: str) -> ApiError:
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )


def bare_error(code: int, message: str) -> ApiError:
    """An error that kube-apiserver answers without a reason, such as a failed apply conversion (500)."""
    return ApiError(code, "", message)


def service_unavailable(message: str, *, retry_after_s: int = 0) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message, None, retry_after_s)


def timeout(message: str, *, retry_after_s: int = 0) -> ApiError:
    details = {"retryAfterSeconds": retry_after_s} if retry_after_s else {}
    return ApiError(504, "Timeout", message, details, retry_after_s)


def resource_version_too_large(wanted: int, current: int) -> ApiError:
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
        1,
    )


def options_gvk(kind: str) -> GVK:
    """The pseudo kind that errors of options are worded for, such as `ListOptions.meta.k8s.io ""`."""
    return GVK("meta.k8s.io", "v1", kind)


# --- field errors; source: apimachinery field.Error ---------------------------------------------


def field_required(path: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value{': ' + detail if detail else ''}", path)


def field_invalid(path: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {quote_value(value)}: {detail}", path)


def field_type_invalid(path: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueTypeInvalid", f"Invalid value: {quote_value(value)}: {detail}", path)


def field_not_supported(path: str, value: Any, supported: Sequence[str]) -> Cause:
    quoted = ", ".join(f'"{s}"' for s in supported)
    tail = f": supported values: {quoted}" if supported else ""
    return Cause("FieldValueNotSupported", f"Unsupported value: {quote_value(value)}{tail}", path)


def field_duplicate(path: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {quote_value(value)}", path)


def field_forbidden(path: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", path)


def field_not_found(path: str, value: Any) -> Cause:
    return Cause("FieldValueNotFound", f"Not found: {quote_value(value)}", path)


def field_too_long(path: str, limit: int, unit: str = "bytes") -> Cause:
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} {unit}", path)


def field_too_many(path: str, count: int, limit: int) -> Cause:
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} items", path)


_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"} | {
    "\\": "\\\\",
    '"': '\\"',
}


def go_quote(text: str) -> str:
    """As Go's %q prints it: backslashes, quotes and what cannot be printed are escaped."""
    if text.isprintable() and "\\" not in text and '"' not in text:
        return f'"{text}"'
    escaped = (_ESCAPES.get(char) or (char if char.isprintable() else _code(ord(char))) for char in text)
    return f'"{"".join(escaped)}"'


def _code(code: int) -> str:
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quote_value(value: Any) -> str:
    """A value as field.Error prints it: strings quoted, composites as compact JSON, null as `null`."""
    if isinstance(value, str):
        return go_quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        # encoding is a leaf beside this one; imported late because it raises ApiError itself
        from vapi import encoding

        return encoding.dumps(value).decode()
    return str(value)
