"""vapi: a Kubernetes control plane in one process: API server, controllers and, through `sync`, the pods of a host.

One flow: write → log → watch cache → watchers → syncer → host → status back.

Rooms, from the top down; each knows only those below it (pyproject.toml enforces it):

- `__main__`, `main`, `hosts`, `apiserver`: command line and composition root; `config` alone reads the environment.
- `sync` (its own package): tenant objects out to the host, statuses, nodes and classes back.
- `plane`: store, watch caches and registry of one control plane, running. Tenant and embedded host are two of them.
- `dns`: the names of the tenant: a CoreDNS installed, or answered here.
- `control`: informers, work queues and one file a controller; `control.scheduler`, for virtual and simulated nodes.
- `endpoints`: HTTP in and out: request → `dispatch` → response, without an HTTP library up to `app`.
- `auth`: certificates, tokens, RBAC, reviews, bootstrap objects.
- `registry`: create, get, list, update, patch, delete, watch of any row: the door to the objects. `notices`: what
  a writer is told of what is only stored.
- `cacher`: the watch cache: view (current objects), history (ring of changes), watchers that hold a position in it.
- `resources`: kinds as rows, their strategies (pure rules), conversions, columns and printers.
- `schema`: definitions, the compiled gate, decoding, defaults, protobuf.
- leaves: `errors` (ApiError ↔ Status), `encoding` (the only orjson), `gvk`, `clock`, `names`, `objectmeta`,
  `selectors` …

Hot paths move bytes: an object is encoded once (`encoding.encode_stored`), stored, listed and fanned out as those
bytes; its resourceVersion is spliced in on the way out. Decisions are pure functions; I/O, clocks and randomness
come in as arguments. No module holds mutable state.
"""
