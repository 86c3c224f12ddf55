"""workloads: the host way: the tenant's workload runs as one of the host, and what that makes is seen in the tenant.

- The workload itself is a row like any other (`translators.workload` and a file a kind); `rows` picks those that the
  configuration sends to the host.
- What the host's controllers make of it (ReplicaSets, Jobs, Pods, ControllerRevisions, claims) is a child: found by
  its controller, up to a twin of ours. `children` decides by `mirror_plan` what its mirror needs; `mirror` and
  `podmirror` are the pure translations; a child's mirror has the host's uid.
- `revisions` takes what the tenant itself adds to a workload's history there.
- `tokens` keeps one Secret a workload with the tokens of its pods.
"""
