"""sync: the tenant's objects mirrored into one namespace of a host, and the host's answers brought back.

One flow: a change on either side names a key (`syncer`, `informer`); a look at the key finds the state of both
(`plan.virtual_state`, `ownership.classify`); a total table says what to do (`plan.PLAN`); one coroutine does it
(`actions`, `converge`) with what the kind's row says (`translators/table`, pure functions of dicts).

- Both ends are a `cluster.Cluster`: `virtual.VirtualCluster` over the registry, `host.HostCluster` over HTTP,
  `virtual.InProcessCluster` for the embedded host and fast tests.
- Every field has one owner, so a look repairs whatever happened while nobody looked. Nothing that is kept in memory
  decides: a syncer killed before or after any of its writes ends where an unbroken one would have.
- Nothing foreign is ever written: a create is a POST, later writes carry the uid, deletes have it as precondition.
- Beside the engine: `references` (which ConfigMaps and Secrets go out), `limiter` (one bucket for all requests),
  `anchor` (whose host objects these are), `hooks` (where what follows takes part), `wording` (no name of the host in
  what the tenant is told). `tenancy` puts all of it together.
- From the host come `mirrors` (classes, and the volumes of the tenant's claims; decided by `mirror_plan`), `nodes`
  (as `nodes_copy` says), `events`. `workloads` is a room of its own: what the host's controllers make of a tenant's
  workloads, seen in the tenant.
- Services: `services` asks the host for numbers before a write is committed (`gate` keeps the engine away meanwhile),
  `service_mapping` brings single ones over the border, `strays` removes endpoints of a Service that lost its
  selector, `own_service` is how pods reach us.
- Pods: `tokens` makes their Secrets, `placing` makes choices of the tenant's scheduler true, `tunnels` finds where
  logs and exec go.
- Adding a kind adds a file in `translators/` and a row in its table.
"""
