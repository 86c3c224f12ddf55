"""Printers: what `kubectl get` shows of each kind, a pure function from the *stored* object to its cells.

`PRINTERS` is the table; which columns the cells stand under is in
`columns.py`. A printer takes whatever may be missing: the row of a bookmark
is printed from an object that has metadata alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from vapi.gvk import Obj
from vapi.resources.printers import core, networking, others, pods, workloads

Cells = Callable[[Obj, dt.datetime], list[Any]]
"""(stored object, now) → one cell a column."""

PRINTERS: Mapping[tuple[str, str], Cells] = {
    ("", "componentstatuses"): core.component_status_cells,
    ("", "configmaps"): core.config_map_cells,
    ("", "endpoints"): core.endpoints_cells,
    ("", "events"): core.event_cells,
    ("", "limitranges"): others.name_and_creation,
    ("", "namespaces"): core.namespace_cells,
    ("", "nodes"): core.node_cells,
    ("", "persistentvolumeclaims"): core.claim_cells,
    ("", "persistentvolumes"): core.volume_cells,
    ("", "pods"): pods.pod_cells,
    ("", "podtemplates"): workloads.pod_template_cells,
    ("", "replicationcontrollers"): workloads.controller_cells,
    ("", "resourcequotas"): core.resource_quota_cells,
    ("", "secrets"): core.secret_cells,
    ("", "serviceaccounts"): others.name_and_age,
    ("", "services"): core.service_cells,
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"): others.policy_cells("mutations"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"): others.policy_binding_cells,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): others.counted("webhooks"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): others.policy_cells("validations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): others.policy_binding_cells,
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): others.counted("webhooks"),
    ("apiextensions.k8s.io", "customresourcedefinitions"): others.definition_cells,
    ("apiregistration.k8s.io", "apiservices"): others.api_service_cells,
    ("apps", "controllerrevisions"): workloads.controller_revision_cells,
    ("apps", "daemonsets"): workloads.daemon_set_cells,
    ("apps", "deployments"): workloads.deployment_cells,
    ("apps", "replicasets"): workloads.replica_cells,
    ("apps", "statefulsets"): workloads.stateful_set_cells,
    ("autoscaling", "horizontalpodautoscalers"): workloads.autoscaler_cells,
    ("autoscaling", "scales"): workloads.scale_cells,
    ("batch", "cronjobs"): workloads.cron_job_cells,
    ("batch", "jobs"): workloads.job_cells,
    ("certificates.k8s.io", "certificatesigningrequests"): others.signing_request_cells,
    ("certificates.k8s.io", "clustertrustbundles"): others.trust_bundle_cells,
    ("certificates.k8s.io", "podcertificaterequests"): others.pod_certificate_cells,
    ("coordination.k8s.io", "leases"): others.valued("holderIdentity", "spec"),
    ("discovery.k8s.io", "endpointslices"): networking.endpoint_slice_cells,
    ("events.k8s.io", "events"): core.event_cells,
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): others.flow_schema_cells,
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): others.priority_level_cells,
    ("networking.k8s.io", "ingressclasses"): networking.ingress_class_cells,
    ("networking.k8s.io", "ingresses"): networking.ingress_cells,
    ("networking.k8s.io", "ipaddresses"): networking.ip_address_cells,
    ("networking.k8s.io", "networkpolicies"): networking.network_policy_cells,
    ("networking.k8s.io", "servicecidrs"): networking.service_cidr_cells,
    ("node.k8s.io", "runtimeclasses"): others.valued("handler"),
    ("policy", "poddisruptionbudgets"): workloads.disruption_budget_cells,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): others.role_binding_cells,
    ("rbac.authorization.k8s.io", "clusterroles"): others.name_and_creation,
    ("rbac.authorization.k8s.io", "rolebindings"): others.role_binding_cells,
    ("rbac.authorization.k8s.io", "roles"): others.name_and_creation,
    ("resource.k8s.io", "deviceclasses"): others.name_and_age,
    ("resource.k8s.io", "devicetaintrules"): others.taint_rule_cells,
    ("resource.k8s.io", "resourceclaims"): others.claim_cells,
    ("resource.k8s.io", "resourceclaimtemplates"): others.name_and_age,
    ("resource.k8s.io", "resourceslices"): others.slice_cells,
    ("scheduling.k8s.io", "priorityclasses"): others.priority_class_cells,
    ("storage.k8s.io", "csidrivers"): others.driver_cells,
    ("storage.k8s.io", "csinodes"): others.counted("drivers", "spec"),
    ("storage.k8s.io", "csistoragecapacities"): others.name_and_creation,
    ("storage.k8s.io", "storageclasses"): others.storage_class_cells,
    ("storage.k8s.io", "volumeattachments"): others.attachment_cells,
    ("storage.k8s.io", "volumeattributesclasses"): others.valued("driverName"),
    ("storagemigration.k8s.io", "storageversionmigrations"): others.migration_cells,
}

CONDITIONS: Mapping[tuple[str, str], Callable[[Obj], list[Obj]]] = {("", "pods"): pods.pod_conditions}
"""Conditions of a row, for the kinds that have them."""
