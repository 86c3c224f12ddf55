"""ClusterDns: the number of the tenant's Service kube-system/kube-dns, for the pods that use it.

Where the tenant has DNS of its own, a pod with such a policy is not made before
that number is known: its nameserver is fixed at creation. The Service itself is
installed by somebody else (`vapi.dns`), and CoreDNS has dnsPolicy Default, so nothing waits for itself.
"""

from __future__ import annotations

from collections.abc import Callable

from sync.state import COMPONENT, SYNC_WARNING, EventSink
from sync.translator import SERVICES, Context
from sync.translators.podspec import uses_cluster_dns
from sync.virtual import Record, VirtualCluster
from vapi.clock import Clock
from vapi.control.workqueue import Retry
from vapi.gvk import Obj

NAMESPACE = "kube-system"
NAME = "kube-dns"

AGAIN_S = 5.0
"""The number's coming wakes the pods; this is for a wake-up that was lost."""
PATIENCE_S = 10.0
"""Without a number for this long: waiting pods say so, each once."""
WAITS = "the pod waits for the address of the Service kube-system/kube-dns, its nameserver"


class ClusterDns:
    """`known(ip)` is called at once and on every change: an address, "" (to come) or None (there is none).

    Subscribed until `close`. Runs on the loop, never awaits.
    """

    def __init__(
        self,
        virtual: VirtualCluster,
        *,
        expected: bool,
        known: Callable[[str | None], None],
        events: EventSink,
        clock: Clock,
    ) -> None:
        """`expected`: there will be such a Service."""
        self._virtual = virtual
        self._expected = expected
        self._known = known
        self._events = events
        self._clock = clock
        self._unknown_since = clock.monotonic()
        self._told: set[str] = set()
        self._ip: str | None = None
        self._remove = virtual.on_change(SERVICES, self._changed)
        self._look()

    def close(self) -> None:
        self._remove()

    def before_create(self, virtual: Obj, context: Context) -> None:
        """Raises Retry while the pod's nameserver is not known."""
        if context.dns_ip != "" or not uses_cluster_dns(virtual["spec"]):
            return
        uid = virtual["metadata"].get("uid", "")
        if self._clock.monotonic() - self._unknown_since >= PATIENCE_S and uid not in self._told:
            self._told.add(uid)
            self._events(COMPONENT, {"apiVersion": "v1", "kind": "Pod", **virtual}, "Warning", SYNC_WARNING, WAITS)
        raise Retry(AGAIN_S, WAITS)

    def _changed(self, entry: Record, _old: Record | None) -> None:
        if (entry.namespace, entry.name) == (NAMESPACE, NAME):
            self._look()

    def _look(self) -> None:
        entry = self._virtual.cached(SERVICES, NAMESPACE, NAME)
        ip = (entry.obj()["spec"].get("clusterIP") if entry is not None else "") or ""
        found: str | None = "" if ip == "None" else ip
        if not found and not self._expected:
            found = None
        if found == "" and self._ip != "":
            self._unknown_since = self._clock.monotonic()
        self._ip = found
        self._told.clear()
        self._known(found)
