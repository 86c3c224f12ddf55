"""DNS of a virtual cluster: what answers its names for its pods, in two ways with the same answers.

*coredns* (default where pods of a real host reach us): `manifest` says which
objects make a CoreDNS of the tenant's own, `installer` keeps them in its
kube-system, and the syncer runs them like any workload. *embedded*: this process answers:

    watch cache ──▶ directory ──▶ records.Index ──▶ zone.lookup (pure) ──▶ messages ──▶ server, UDP and TCP
                                                         other names ──▶ forwarder ──▶ the resolvers of this pod

Either way pods ask Service kube-system/kube-dns, whose number the host gave (`sync.cluster_dns`).
dnspython is imported in `messages`, `forwarder` and `server` only, and those only where DNS is embedded
(*measured*: 50 ms and 13 MB).
Source of the answers: Kubernetes DNS specification 1.1.0; CoreDNS 1.14, plugin kubernetes.
"""
