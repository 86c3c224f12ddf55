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
  `anchor` (whose host objects these are), `hooks` (where tokens and nodes take part).
- `workloads` is a room of its own: what the host's controllers make of a tenant's workloads, seen in the tenant.
- Adding a kind adds a file in `translators/` and a row in its table.
"""
