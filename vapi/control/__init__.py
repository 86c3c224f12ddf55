"""control: what keeps objects as they should be: the controllers of a kube-controller-manager, in this process.

One base, one file a controller. `workqueue` keeps keys, `informer` says which
keys a change concerns and indexes the watch cache, `controller` is the loop,
`controllers` the table of all of them and the manager that runs them.
A controller reads the view, decides in pure functions (`deployment_rolling`,
`replica_ranking`, `endpointslice_plan`, …) and writes through the registry, so
it may be stopped anywhere and started again: nothing is kept but keys.
`scheduler` places pods on nodes that are the tenant's own, or simulated. `taint_eviction` and `node_leases` run only
where nodes, or controllers, make them needed; `simulated_*` are an embedded host's nodes.
`service_ip` is no controller but the registry's hook that gives Services their numbers.
"""
