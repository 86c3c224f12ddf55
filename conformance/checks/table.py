"""All checks: name → what is checked. The name says the group and the lines of the checklist that are covered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from conformance.checks import others, pods
from conformance.checks.setting import Setting

CHECKS: Mapping[str, Callable[[Setting], None]] = MappingProxyType(
    {
        "[pods] POD-1 a pod runs, and both sides agree on its status": pods.runs_and_both_sides_agree,
        "[pods] POD-3 POD-4 the default scheduler reports a pod as scheduled": pods.is_scheduled_with_an_event,
        "[pods] POD-5 POD-6 a readiness gate holds a pod back until the tenant sets it": (
            pods.readiness_gate_holds_it_back_until_set
        ),
        "[pods] POD-7 a pod keeps its service account": pods.keeps_its_service_account,
        "[pods] POD-8 … POD-13 ConfigMaps and Secrets reach a pod as variables and as files": (
            pods.environment_and_files_reach_it
        ),
        "[pods] POD-14 older Services are in a pod's environment": pods.older_services_are_in_its_environment,
        "[pods] POD-15 POD-16 labels of a Namespace are on its host pods": pods.namespace_labels_are_on_the_host_pod,
        "[pods] POD-17 … POD-19 the tokens of a host pod come from a Secret": pods.tokens_come_from_a_secret,
        "[pods] the log of a pod can be read": pods.its_log_is_read,
        "[pods] a deleted pod is gone on both sides": pods.deletion_ends_it_on_both_sides,
        "[pods] a name used again is another pod": pods.name_used_again_is_another_pod,
        "[pods] a deployment made by kubectl rolls out and scales": pods.deployment_rolls_out_and_scales,
        "[services] SVC-1 … SVC-3 numbers of a Service are there at once, as on the host": others.numbers_are_the_hosts,
        "[services] SVC-4 a Service without kind and apiVersion is created": others.kind_and_version_may_be_left_out,
        "[services] SVC-5 SVC-6 the status of a Service is patched and replaced": others.status_is_patched_and_replaced,
        "[services] SVC-9 a headless Service is headless on both sides": others.headless_is_headless_on_both_sides,
        "[services] a deleted Service is gone on both sides": others.deletion_removes_it_on_both_sides,
        "[endpoints] Endpoints and slices hold the ready pods of a Service": others.endpoints_hold_the_ready_pods,
        "[endpoints] SVC-27 SVC-28 Endpoints without a selector reach the host and go with their Service": (
            others.endpoints_without_selector_reach_the_host
        ),
        "[configs] an edit reaches the host's copy of what a pod refers to": others.its_edits_reach_the_host_copy,
        "[configs] what no pod refers to stays in the tenant": others.what_nobody_refers_to_stays_here,
        "[configs] every namespace has the certificate of the server's CA": others.every_namespace_trusts_the_server,
        "[configs] objects go with their namespace and with no other": others.it_goes_with_its_namespace,
        "[nodes] NODE-3 every node has an address": pods.every_node_has_an_address,
        "[nodes] a pod runs on a node that is there": pods.it_runs_on_a_node_that_is_there,
        "[events] EVT-1 events speak of the tenant's names": pods.events_speak_of_the_tenants_names,
        "[names] long names, and names that look translated, run": pods.long_and_awkward_names_run,
    }
)
