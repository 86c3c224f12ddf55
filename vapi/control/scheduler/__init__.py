"""The scheduler of virtual and simulated nodes: Kubernetes' default profile, without plugins.

    watch of Pods, Nodes, …  ─▶ state ─▶ place(pod) ─▶ assume ─▶ Binder.bind ─▶ confirmed by the watch
                                             │ nobody fits
                                             ▼
                          condition and event ─▶ preempt ─▶ wait for a change that helps

Pure, in the order of reading: `requests` what a pod asks for · `demand` a pod's wishes, compiled once for all pods
that are equal · `node` what a node has, kept incrementally · `filters` and `pairs` (spread, affinity between pods)
why a node does not fit, in Kubernetes' words · `scoring` which one is best · `verdict` the message ·
`preemption` whose place a pod may take. `state` is the cluster as the watch cache tells it, with assumed pods.
`binder` is the seam to what makes a decision true; `scheduler` the one controller.

What is not here: dynamic resources, image locality, volume limits, extenders, profiles, pod groups.
Source: pkg/scheduler and its framework/plugins, 1.37.1.
"""
