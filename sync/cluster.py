"""Cluster: what the syncer knows of an API server, virtual or host: dicts in, dicts out.

`VirtualCluster` wraps the registry in process, `HostCluster` the real host's
API over HTTP; in fast tests and in the embedded host the host is a second
in-process API of ours (`InProcessCluster`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vapi.gvk import GVR, Obj


class PatchType(StrEnum):
    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class ClusterEventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"  # a list is complete, the first or one after a lost place (obj is None)
    REFUSED = "REFUSED"  # there is no list: no right to it, or no such kind (obj is None); tried again all the time


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """`revision`: of SYNCED, what the list was as of (0: unknown). `message`: of REFUSED. `obj` is only read."""

    type: ClusterEventType
    obj: Obj | None = None
    revision: int = 0
    message: str = ""


class ClusterError(Exception):
    """An answer other than success: the Status' code, reason, message and details (names in it are the host's)."""

    def __init__(
        self, code: int, reason: str, message: str, retry_after_s: float = 0.0, details: Obj | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s
        self.details = details


class Unreachable(ClusterError):
    """No answer: the outcome of a write is unknown."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "ServiceUnavailable", message, 1.0)


class Cluster(Protocol):
    """Raises ClusterError; Unreachable where there was no answer."""

    async def get(self, gvr: GVR, namespace: str, name: str) -> Obj: ...

    async def list(self, gvr: GVR, namespace: str = "", *, label_selector: str = "") -> Sequence[Obj]: ...

    def watch(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", metadata_only: bool = False
    ) -> AsyncIterator[ClusterEvent]:
        """List, then watch, for ever: reconnects, resumes and relists by itself.

        The first list comes as ADDED events, then one SYNCED. After a lost place only what differs is told (MODIFIED,
        DELETED, ADDED), then SYNCED again; a DELETED of that sort may hold name and uid alone. `metadata_only`: after
        the first list objects may come as PartialObjectMetadata.
        """

    async def create(self, gvr: GVR, obj: Obj) -> Obj: ...

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj: ...

    async def apply(self, gvr: GVR, obj: Obj, *, force: bool = True, subresource: str = "") -> Obj:
        """Server-side apply under the field manager `vapi`; with metadata.uid it never creates."""

    async def rehearse(self, gvr: GVR, obj: Obj, *, apply: bool) -> Obj:
        """What `create`, or `apply`, would answer: a dry run."""

    async def patch(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        patch: Obj | Sequence[Obj],
        *,
        content_type: str,
        subresource: str = "",
    ) -> Obj: ...

    async def delete(
        self,
        gvr: GVR,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_period_s: int | None = None,
        propagation: str = "",
    ) -> None: ...

    async def delete_collection(self, gvr: GVR, namespace: str, *, label_selector: str) -> None: ...
