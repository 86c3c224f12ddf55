"""Group certificates.k8s.io, v1."""

from __future__ import annotations

from vapi.resources import fields
from vapi.resources.resource import Resource
from vapi.resources.rows import STATUS, editable, kind, subresources

V1 = ("certificates.k8s.io", "v1")

ROWS: tuple[Resource, ...] = (
    kind(
        V1,
        "certificatesigningrequests",
        "CertificateSigningRequest",
        namespaced=False,
        short_names=("csr",),
        subresources=subresources(editable("approval"), editable("status")),
        fields=fields.texts("spec.signerName"),
    ),
    kind(
        V1,
        "clustertrustbundles",
        "ClusterTrustBundle",
        namespaced=False,
        fields=fields.texts("spec.signerName"),
        update_needs_version=True,
    ),
    kind(
        V1,
        "podcertificaterequests",
        "PodCertificateRequest",
        subresources=STATUS,
        fields=fields.texts("spec.signerName", "spec.podName", "spec.nodeName"),
        update_needs_version=True,
    ),
)
