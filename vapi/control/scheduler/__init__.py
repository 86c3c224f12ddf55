"""The scheduler of virtual and simulated nodes: Kubernetes' default profile, without plugins.

    watch of Pods, Nodes, … ─▶ state ─▶ assessment ─▶ assume ─▶ Binder.bind ─▶ confirmed by the watch
                                 ▲          │ nobody fits
                                 │          ▼
                   news that helps ◀── condition, event, preemption: it waits

Pure, in the order of reading: `requests` what a pod asks for · `demand` a pod's wishes, compiled once for all pods
that are equal · `node` what a node has, kept incrementally · `filters` and `pairs` (spread, affinity between pods)
why a node does not fit, in Kubernetes' words · `scoring` which one is best · `assessment` all nodes for one demand,
looked at again only where something changed · `verdict` the message · `preemption` whose place a pod may take ·
`state` the cluster as the watch cache tells it, with assumed pods.
The shell: `binder` the seam to what makes a decision true · `volumes` · `queue` · `writes` · `scheduler`.

Held against the real kube-scheduler by tests/integration/test_scheduler_real.py: the same best nodes, the same
refusals word for word, the same places taken. What differs, and why:
- Claims that are missing or unbound hold nobody up: the host's scheduler, or the kubelet, waits for them.
- By default pods of one controller are spread; upstream finds them by the selectors of Services and controllers.
- Ties go to the node with the fewest pods, not to a lot.
Not here: dynamic resources, image locality, limits of volumes, extenders, profiles, pod groups, resizes that preempt.
Source: pkg/scheduler and its framework/plugins, 1.37.1.
"""
