"""Who may approve, sign and attest certificates, and which ones nobody may ask for.

Plugins CertificateApproval, CertificateSigning, ClusterTrustBundleAttest, CertificateSubjectRestriction.
"""

from __future__ import annotations

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from vapi.authorizer import Attributes, Authorizer, User
from vapi.gvk import Obj
from vapi.registry.admission import AdmissionPlugin, AdmissionRequest, Operation
from vapi.registry.plugins.refusal import refuse

GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
_CSR = "certificatesigningrequests"
_UPDATE = frozenset({Operation.UPDATE})


def approval(authorizer: Authorizer) -> AdmissionPlugin:
    def validate(request: AdmissionRequest) -> None:
        # of the old object: the signer of a request does not change by approving it
        signer = _signer(request.old)
        if not may(authorizer, request.caller.user, "approve", signer):
            raise refuse(request, f'user not permitted to approve requests with signerName "{signer}"')

    return AdmissionPlugin("CertificateApproval", _UPDATE, frozenset({(GROUP, f"{_CSR}/approval")}), validate=validate)


def signing(authorizer: Authorizer) -> AdmissionPlugin:
    def validate(request: AdmissionRequest) -> None:
        old, new = (request.old or {}).get("status") or {}, (request.obj or {}).get("status") or {}
        if all(old.get(field) == new.get(field) for field in ("certificate", "conditions")):
            return
        signer = _signer(request.old)
        if not may(authorizer, request.caller.user, "sign", signer):
            raise refuse(request, f'user not permitted to sign requests with signerName "{signer}"')

    return AdmissionPlugin("CertificateSigning", _UPDATE, frozenset({(GROUP, f"{_CSR}/status")}), validate=validate)


def attestation(authorizer: Authorizer) -> AdmissionPlugin:
    def validate(request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        signer = _signer(request.obj)
        if not signer or (request.old is not None and request.old.get("spec") == request.obj.get("spec")):
            return
        if not may(authorizer, request.caller.user, "attest", signer):
            raise refuse(request, f'user not permitted to attest for signerName "{signer}"')

    return AdmissionPlugin(
        "ClusterTrustBundleAttest",
        frozenset({Operation.CREATE, Operation.UPDATE}),
        frozenset({(GROUP, "clustertrustbundles")}),
        validate=validate,
    )


def subject_restriction() -> AdmissionPlugin:
    """Nobody gets a client certificate for system:masters by asking for one."""

    def validate(request: AdmissionRequest) -> None:
        if request.obj is None or _signer(request.obj) != CLIENT_SIGNER:
            return
        try:
            groups = requested_groups(request.obj["spec"].get("request") or "")
        except ValueError as error:
            raise refuse(request, f"failed to parse CSR: {error}") from None
        if "system:masters" in groups:
            raise refuse(request, f"use of {CLIENT_SIGNER} signer with system:masters group is not allowed")

    return AdmissionPlugin(
        "CertificateSubjectRestriction", frozenset({Operation.CREATE}), frozenset({(GROUP, _CSR)}), validate=validate
    )


def requested_groups(request: str) -> tuple[str, ...]:
    """The organisations of a signing request (base64 of PEM). Raises ValueError."""
    try:
        pem = base64.b64decode(request, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    subject = x509.load_pem_x509_csr(pem).subject
    names = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return tuple(value if isinstance(value := n.value, str) else value.decode("utf-8", "replace") for n in names)


def may(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    """Whether the user may do `verb` for the signer itself, or for all signers of its domain (`domain/*`)."""

    def allowed(name: str) -> bool:
        asked = Attributes(user, verb, group=GROUP, version="*", resource="signers", name=name)
        return authorizer.authorize(asked).allowed

    return allowed(signer) or allowed(f"{signer.partition('/')[0]}/*")


def _signer(obj: Obj | None) -> str:
    return ((obj or {}).get("spec") or {}).get("signerName") or ""
