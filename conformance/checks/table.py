"""All checks: name → what is checked. The name says the group and the lines of the checklist that are covered.

Lines of the checklist that are not here, and why: POD-21, SVC-10, SVC-12 (a key that both sides write: every key has
one owner here, [pods] POD-20 and [pods] what the host writes say whose); POD-26 … POD-28 (the tenant's version is the
host's); SVC-29 (needs a start with another configuration: tests/sync/test_service_mapping.py); EVT-2 (events that a
host asks to be shown: not built). Sections 5, 8 … 10, 12, 13 and the rest of 7 and 11 are other features.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

from conformance.checks import (
    classes,
    configs,
    dns,
    drift,
    mapping,
    nodes,
    podchanges,
    pods,
    policies,
    services,
    volumes,
    workloads,
)
from conformance.checks.setting import Setting

Check = Callable[[Setting], None]

_PODS: Mapping[str, Check] = {
    "POD-1 a pod runs, and both sides agree on its status": pods.runs_and_both_sides_agree,
    "POD-2 an ephemeral container reaches a running pod": podchanges.ephemeral_container_reaches_it,
    "POD-3 POD-4 the default scheduler reports a pod as scheduled": pods.is_scheduled_with_an_event,
    "POD-5 POD-6 a readiness gate holds a pod back until the tenant sets it": (
        podchanges.readiness_gate_holds_it_back_until_set
    ),
    "POD-7 a pod keeps its service account": pods.keeps_its_service_account,
    "POD-8 … POD-13 ConfigMaps and Secrets reach a pod as variables and as files": pods.environment_and_files_reach_it,
    "POD-14 older Services are in a pod's environment": pods.older_services_are_in_its_environment,
    "POD-15 POD-16 labels of a Namespace are on its host pods": podchanges.namespace_labels_are_on_the_host_pod,
    "POD-17 … POD-19 the tokens of a host pod come from a Secret": pods.tokens_come_from_a_secret,
    "POD-20 labels and annotations that were given to the host come from it": (
        podchanges.keys_given_to_the_host_come_from_it
    ),
    "POD-22 the generation that the host has seen is told": podchanges.generation_is_observed,
    "POD-23 … POD-25 a subdomain leaves the quality of service as it is": (
        podchanges.subdomain_leaves_its_quality_of_service
    ),
    "what somebody writes on the host stays there": podchanges.what_the_host_writes_stays_there,
    "the log of a pod can be read": pods.its_log_is_read,
    "a deleted pod is gone on both sides": pods.deletion_ends_it_on_both_sides,
    "a name used again is another pod": pods.name_used_again_is_another_pod,
    "long names, and names that look translated, run": pods.long_and_awkward_names_run,
    "a host port that another tenant has is told in the tenant's names": (
        nodes.host_port_clash_is_told_in_the_tenants_names
    ),
    "the host's network with a port that another tenant has is told alike": (
        nodes.host_network_clash_is_told_in_the_tenants_names
    ),
    "one manifest runs in two clusters at once": workloads.same_manifest_in_two_clusters,
}
_SERVICES: Mapping[str, Check] = {
    "SVC-1 … SVC-3 numbers of a Service are there at once, as on the host": services.numbers_are_the_hosts,
    "SVC-4 a Service without kind and apiVersion is created": services.kind_and_version_may_be_left_out,
    "SVC-5 SVC-6 the status of a Service is patched and replaced": services.status_is_patched_and_replaced,
    "SVC-7 SVC-8 a watch sees the change of a label, and the deletion by label": services.watch_sees_its_life,
    "SVC-9 a headless Service is headless on both sides": services.headless_is_headless_on_both_sides,
    "SVC-11 changes of the tenant reach the host": services.changes_reach_the_host,
    "SVC-13 the API server's own Endpoints are those of the host": services.server_is_where_the_host_reaches_it,
    "a deleted Service is gone on both sides": services.deletion_removes_it_on_both_sides,
    "every verb gives the host's numbers": services.every_verb_gives_the_hosts_numbers,
    "the status of a load balancer comes back": services.load_balancers_status_comes_back,
    "a node port that another tenant has is refused": services.taken_node_port_is_refused,
    "Endpoints and slices hold the ready pods of a Service": services.endpoints_hold_the_ready_pods,
    "SVC-14 … SVC-20 a Service of the host is mapped into the tenant": mapping.from_the_host,
    "SVC-21 … SVC-26 a Service of the tenant is mapped to a name of the host": mapping.to_the_host,
    "ports, protocols and session affinity are on the host": services.its_ports_are_on_the_host,
    "SVC-27 SVC-28 Endpoints without a selector reach the host and go with their Service": (
        services.endpoints_without_selector_reach_the_host
    ),
}
_CONFIGS: Mapping[str, Check] = {
    "an edit reaches the host's copy of what a pod refers to": configs.its_edits_reach_the_host_copy,
    "what no pod refers to stays in the tenant": configs.what_nobody_refers_to_stays_here,
    "every namespace has the certificate of the server's CA": configs.every_namespace_trusts_the_server,
    "objects go with their namespace and with no other": configs.it_goes_with_its_namespace,
}
_VOLUMES: Mapping[str, Check] = {
    "VOL-1 … VOL-5 a claim is bound, and gone, on both sides": volumes.its_life_is_the_same_on_both_sides,
    "VOL-6 a StatefulSet with a claim each becomes ready": volumes.stateful_set_with_a_claim_each,
    "data outlives the pod that wrote it": volumes.data_outlives_its_pod,
    "the tenant has the host's StorageClasses": volumes.the_tenant_has_the_hosts_classes,
}
_POLICIES: Mapping[str, Check] = {
    "NET-1 a NetworkPolicy is on the host, and about the tenant's pods": policies.network_policy_reaches_the_host,
    "a disruption budget holds evictions back on both sides": policies.budget_holds_evictions_back,
    "an Ingress is on the host, with the Service and Secret that it names": policies.ingress_reaches_the_host,
}
_NODES: Mapping[str, Check] = {
    "NODE-1 a tenant with dedicated nodes has those, and its pods run there": (
        nodes.only_those_with_the_label_are_seen_and_used
    ),
    "NODE-2 all nodes are those of the host": nodes.all_of_the_host_are_seen,
    "NODE-3 every node has an address": nodes.every_node_has_an_address,
    "SCH-1 … SCH-3 the taint of a virtual node stays with its tenant": (
        nodes.taint_of_a_virtual_node_stays_with_the_tenant
    ),
    "the label of a virtual node stays with its tenant": nodes.label_of_a_virtual_node_stays_with_the_tenant,
    "a pod runs on a node that is there": nodes.it_runs_on_a_node_that_is_there,
}
_DNS: Mapping[str, Check] = {
    "DNS-1 a Service is reached by its name": dns.service_is_reached_by_name,
    "DNS-2 the server is the pinned image, on port 1053 behind kube-dns": dns.its_server_is_as_the_seeds_say,
    "all kinds of names resolve": dns.kinds_of_names_resolve,
    "all kinds of names resolve, without a pod for that": dns.embedded_server_answers_alike,
    "all dnsPolicies and a dnsConfig are kept": dns.policies_of_pods_are_kept,
    "one name is another Service in each cluster": dns.one_name_is_another_service_in_each_cluster,
}
_CLASSES: Mapping[str, Check] = {
    "CLS-2 CLS-3 an Ingress of a class that does not match stays": classes.ingresses_of_others_stay,
    "CLS-5 CLS-6 a pod with a PriorityClass that does not match is refused": (
        classes.pods_with_other_priorities_are_refused
    ),
    "CLS-7 CLS-8 a PriorityClass follows that of the host": classes.priority_class_follows_the_host,
    "CLS-10 CLS-11 a pod with a RuntimeClass that does not match is refused": (
        classes.pods_with_other_runtimes_are_refused
    ),
    "CLS-13 CLS-14 a claim of a StorageClass that does not match stays": classes.claims_of_others_stay,
    "PriorityClasses of a tenant reach the host under names of their own": classes.tenants_priorities_reach_the_host,
}
_SEEN = {"CLS-1": "IngressClass", "CLS-4": "PriorityClass", "CLS-9": "RuntimeClass", "CLS-12": "StorageClass"}
_OTHER: dict[str, Check] = {
    "[events] EVT-1 events speak of the tenant's names": pods.events_speak_of_the_tenants_names,
    "[events] a name that is taken on the host is told, and used once it is free": pods.taken_name_is_told,
    "[drift] a pod that is deleted on the host ends as in a drain": drift.pod_ends_as_in_a_drain,
    "[drift] a pod that is edited on the host is put back": drift.edited_pod_is_put_back,
    "[drift] a bound claim that is deleted on the host becomes Lost": drift.bound_claim_becomes_lost,
}


def _in(group: str, checks: Mapping[str, Check]) -> dict[str, Check]:
    return {f"[{group}] {title}": check for title, check in checks.items()}


CHECKS: Mapping[str, Check] = MappingProxyType(
    _OTHER
    | _in("pods", _PODS)
    | _in("services", _SERVICES)
    | _in("configs", _CONFIGS)
    | _in("volumes", _VOLUMES)
    | _in("policies", _POLICIES)
    | _in("nodes", _NODES)
    | _in(
        "classes",
        {
            f"{line} {kind}es are seen if they match": functools.partial(classes.only_those_that_match_are_seen, kind)
            for line, kind in _SEEN.items()
        },
    )
    | _in("classes", _CLASSES)
    | _in(
        "classes",
        {
            f"what a tenant does to {kind}es of the host is undone": functools.partial(
                classes.what_the_tenant_does_to_a_mirror_is_undone, kind
            )
            for kind in classes.KINDS
        },
    )
    | _in("dns", _DNS)
    | dict(workloads.CHECKS)
    | dict(drift.CHECKS)
)
