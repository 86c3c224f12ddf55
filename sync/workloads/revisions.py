"""Revisions: what the tenant itself puts into the history of a workload that the host runs.

A cluster's controllers count a ControllerRevision that somebody made for a workload, find the present template in it,
and drop it in its turn. So it goes out to the history on the host, and from then on the tenant's object is a mirror
of that like any other, but for its uid: its mark tells the host's. Between the two writes the host's object names the
tenant's, and has no mirror of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from sync import metadata as md
from sync.cluster import Cluster, ClusterError
from sync.informer import HostInformer
from sync.ownership import Twin
from sync.state import Engine
from sync.translator import Context, Untranslatable
from sync.translators import template
from sync.virtual import Record
from sync.workloads.children import Children, Key
from sync.workloads.deletes import SOON_S, HostDeletes
from sync.workloads.rows import MADE_BY
from vapi.control import history, kinds
from vapi.control.workqueue import Retry
from vapi.gvk import GVK, GVR, Obj

log = logging.getLogger(__name__)

REVISIONS = kinds.CONTROLLER_REVISIONS
KIND = md.kind_text(GVK("apps", "v1", "ControllerRevision"))
"""What the host's controllers make has the annotations of its workload, and so says that it is one."""
AGAIN_S = 5.0
"""Its workload is not on the host yet, or its name is taken there."""


def tenant_data(host: Obj) -> Obj | None:
    """What a revision of the host's says in the tenant's terms; None: no template of ours is in it."""
    there = history.template_of(host)
    tenants = template.tenant_template((there.get("metadata") or {}).get("annotations") or {})
    return None if tenants is None else history.template_patch({"spec": {"template": tenants}})


def host_data(revision: Obj, owner: Obj, resource: GVR, known: Iterable[Obj], context: Context) -> Obj | None:
    """The data on the host; None: there is no template in it. Raises Untranslatable.

    `known`: revisions on the host. What one of them says is said in the same bytes, for those the controllers compare.
    """
    data = revision.get("data")
    for other in known:
        if data == tenant_data(other):
            found: Obj = other["data"]
            return found
    tenants = history.template_of(revision)
    if not isinstance(tenants.get("spec"), dict):
        return None
    return history.template_patch({"spec": {"template": template.host_template(tenants, owner, resource, context)}})


def host_revision(revision: Obj, data: Obj, workload: Twin, reference: Obj, context: Context) -> Obj:
    """The host's object, in the history of `workload`; `reference`: the tenant's, to the workload."""
    metadata = revision["metadata"]
    namespace, name, owner = metadata["namespace"], metadata["name"], reference["name"]
    ours = {
        md.OBJECT_NAME: name,
        md.OBJECT_NAMESPACE: namespace,
        md.OBJECT_UID: metadata["uid"],
        md.OBJECT_KIND: KIND,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": workload.name + name[len(owner) :] if name.startswith(owner) else f"{workload.name}-{name}",
            "namespace": context.host_namespace,
            "labels": md.tenant_labels(revision, context.from_host) | context.own_labels(namespace),
            "annotations": md.tenant_annotations(revision, context.from_host) | ours,
            "ownerReferences": [{**reference, "name": workload.name, "uid": workload.uid}],
        },
        "data": data,
        "revision": revision.get("revision", 0),
    }


def controller_of(obj: Obj) -> Obj | None:
    return next((r for r in obj["metadata"].get("ownerReferences") or () if r.get("controller")), None)


class OwnRevisions:
    """Runs on the loop. Contains the keys of the tenant's own revisions that are not in a history on the host yet."""

    def __init__(
        self,
        engine: Engine,
        host: Cluster,
        children: Children,
        workloads: Iterable[HostInformer],
        deletes: HostDeletes,
    ) -> None:
        self._engine = engine
        self._host = host
        self._children = children
        self._workloads: Mapping[str, HostInformer] = {
            each.row.gvk.kind: each for each in workloads if REVISIONS.resource in MADE_BY[each.row.resource.resource]
        }
        """Kind → those on the host."""
        self._deletes = deletes
        self._own: dict[Key, tuple[str, str]] = {}
        """(namespace, name)."""
        self._untried: dict[Key, str] = {}
        """Those of them that were not looked at yet: uid of the tenant's workload."""

    def __contains__(self, key: Key) -> bool:
        return key in self._own

    def keys(self) -> Iterable[Key]:
        yield from list(self._own)

    def learn(self, entry: Record) -> bool:
        """Whether it is to be given to the host: it has just appeared, changed or gone."""
        key = (REVISIONS, entry.uid)
        live = self._engine.virtual.cached(REVISIONS, entry.namespace, entry.name)
        obj = live.obj() if live is not None and live.uid == entry.uid and not live.deleting else None
        owner = controller_of(obj) if obj is not None and not md.marked_host_uid(obj) else None
        if owner is None or owner["kind"] not in self._workloads:
            self._forget(key)
            return False
        if key not in self._own:
            self._untried[key] = owner["uid"]
        self._own[key] = (entry.namespace, entry.name)
        return True

    def _forget(self, key: Key) -> None:
        self._own.pop(key, None)
        self._untried.pop(key, None)

    def awaited(self, workload_uid: str) -> bool:
        """Whether one of that workload's is on its way: the controllers must find it before another goes."""
        return workload_uid in self._untried.values()

    async def give(self, key: Key) -> None:
        """Raises Retry, ClusterError."""
        entry = self._engine.virtual.cached(REVISIONS, *self._own[key])
        if entry is None or entry.uid != key[1] or not self.learn(entry):
            self._forget(key)
            return
        try:
            await self._give(entry.obj())
        finally:
            self._untried.pop(key, None)
        raise Retry(AGAIN_S)  # unless it is marked by then

    async def _give(self, revision: Obj) -> None:
        context, reference = self._engine.context, controller_of(revision)
        assert reference is not None
        namespace = revision["metadata"]["namespace"]
        informer = self._workloads[reference["kind"]]
        workload = informer.get(context.twin_name(informer.row, reference["name"], namespace))
        owner = self._engine.virtual.cached(informer.row.resource, namespace, reference["name"])
        if workload is None or workload.object_uid != reference["uid"] or workload.deleting or owner is None:
            return
        uids = [key[1] for key in self._children.children(workload.uid) if key[0] == REVISIONS]
        there = [twin for twin in (self._children.host((REVISIONS, uid)) for uid in uids) if twin is not None]
        if any(twin.object_uid == revision["metadata"]["uid"] for twin in there):
            return
        known = [twin.obj() for twin in there if twin.kind != KIND]
        try:
            data = host_data(revision, owner.obj(), informer.row.resource, known, context)
        except Untranslatable as error:
            log.info("a revision stays in the tenant", extra={"name": reference["name"], "error": str(error)})
            return
        if data is None:
            return
        await self._engine.limiter.take(2)
        try:
            await self._host.create(REVISIONS, host_revision(revision, data, workload, reference, context))
        except ClusterError as error:
            if error.code != 409:
                raise

    async def take(self, twin: Twin) -> bool:
        """Make the tenant's object the mirror of `twin` if that stands for one. Raises Retry, ClusterError."""
        if twin.kind != KIND:
            return False
        try:
            found = await self._engine.virtual.get(REVISIONS, twin.object_namespace, twin.object_name)
        except ClusterError as error:
            if error.code != 404:
                raise
            found = {"metadata": {}}
        metadata = found["metadata"]
        if metadata.get("uid") != twin.object_uid:  # the tenant has deleted it meanwhile
            await self._deletes.send((REVISIONS, twin.uid), twin, None, "Background")
            raise Retry(SOON_S)
        if "deletionTimestamp" in metadata:
            raise Retry(SOON_S)
        mark = {md.HOST_UID: md.make_mark(metadata["uid"], twin.uid)}
        annotations = {**(metadata.get("annotations") or {}), **mark}
        with self._engine.racing():
            await self._engine.virtual.update(
                REVISIONS, {**found, "metadata": {**metadata, "annotations": annotations}}
            )
        return True
