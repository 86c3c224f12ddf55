"""Allocator: the seam through which a Service gets its numbers (cluster IPs, node ports) before it is committed.

Two implementations: `control.service_ip` allocates from our own ranges when
there is no host; `sync.services` asks the host first (design §6, Services).
"""

from __future__ import annotations

from typing import Protocol

from vapi.gvk import Obj
from vapi.registry.caller import Caller


class Release(Protocol):
    async def __call__(self, *, committed: bool = False) -> None:
        """The write has ended: `committed` and in the view (or a dry run), else the numbers are given back.

        Idempotent, never raises.
        """


class Allocator(Protocol):
    async def allocate(self, caller: Caller, obj: Obj, old: Obj | None) -> Release:
        """Fill in `obj`'s spec (clusterIP, clusterIPs, ipFamilies, ipFamilyPolicy, nodePorts, healthCheckNodePort).

        Runs after authorization, admission, validation, name and uid, on every
        create and update of a Service; dry run fills in placeholders and keeps nothing.
        Raises ApiError, worded with the tenant's names.
        """

    async def released(self, obj: Obj) -> None:
        """The Service `obj` has been deleted."""
