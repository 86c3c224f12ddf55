"""Who calls the registry and with which options: the values every write carries.

`Caller` is an argument of every call; in-process writers (controllers, the
syncer) are named users who skip only authentication and RBAC.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vapi.authorizer import User
from vapi.resources.resource import Propagation


@dataclass(slots=True)
class Caller:
    """`warnings` collects what is sent as Warning headers; it belongs to this one request."""

    user: User
    field_manager: str = "unknown"
    """Of Update operations; for apply it must be given by the client."""
    dry_run: bool = False
    audit_id: str = ""
    deadline: float = 0.0
    """Of the request, on the monotonic clock; 0: none."""
    warnings: list[str] = field(default_factory=list)
    in_process: bool = False
    """A controller or the syncer: no RBAC, may write protected annotations (`vapi.dev/host-uid`)."""
    copies: bool = False
    """What is created is there already, on the host: it keeps its uid and age, and no admission can refuse it."""

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def system_caller(component: str) -> Caller:
    """An in-process writer: user `system:vapi:<component>`, field manager `<component>`."""
    user = User(f"system:vapi:{component}", groups=("system:masters", "system:authenticated"))
    return Caller(user, field_manager=component, in_process=True)


@dataclass(frozen=True, slots=True)
class Preconditions:
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    grace_period_s: int | None = None
    propagation: Propagation | None = None
    preconditions: Preconditions = Preconditions()
    orphan_dependents: bool | None = None


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Already parsed; `resource_version` and `match` as the client wrote them (contract §3.1)."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_s: float = 0.0
    """0: the server picks 30-60 minutes."""


@dataclass(frozen=True, slots=True)
class PatchRequest:
    """A PATCH body as sent; `content_type` without parameters."""

    content_type: str
    body: bytes
    force: bool = False
    """Of server-side apply."""
    field_validation: str = "Warn"
