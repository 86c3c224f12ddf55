"""Rules of certificates.k8s.io: signing requests carry who asked, and change only through their subresources.

Source: pkg/apis/certificates/validation, pkg/registry/certificates (1.37).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from vapi.clock import rfc3339
from vapi.errors import Cause, field_duplicate, field_forbidden, field_invalid, field_too_long
from vapi.gvk import Obj
from vapi.resources.strategies import checks, names_of_signers, values
from vapi.resources.strategies.checks import Causes
from vapi.resources.strategy import Strategy, WriteContext

_WHO = ("username", "uid", "groups", "extra")
_DECIDED = frozenset({"Approved", "Denied"})
_FINAL = _DECIDED | {"Failed"}
_CONDITIONS = "status.conditions"
_PLACES = tuple(f'conditions[{{"type": "{kind}"}}]' for kind in ("Approved", "Denied"))
_BOTH = f"{{{', '.join(_PLACES)}}}"
_ONE_DECISION = f"must specify at most one of: {', '.join(f'`{place}`' for place in _PLACES)}"
_LEGACY_SIGNER, _LEAST_S, _MAX_BUNDLE = "kubernetes.io/legacy-unknown", 600, 1024 * 1024
_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_block = re.compile(rb"-----BEGIN ([^\r\n]+?)-----\r?\n.*?-----END \1-----", re.S)
_request_block = re.compile(rb"-----BEGIN CERTIFICATE REQUEST-----").search


def prepare_signing_request(obj: Obj, context: WriteContext) -> None:
    """Who asks is taken from the request, never from the body."""
    spec = obj.setdefault("spec", {})
    for key in _WHO:
        spec.pop(key, None)
    user = context.user
    if user is not None:
        found: dict[str, Any] = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(listed) for key, listed in user.extra.items()},
        }
        spec.update({key: value for key, value in found.items() if value})
    obj["status"] = {}


def prepare_signing_request_update(new: Obj, old: Obj, context: WriteContext) -> None:
    """The spec never changes; a status write keeps the decision, conditions get their times."""
    new["spec"] = old.get("spec", {})
    if not context.subresource:
        return
    conditions = new.get("status", {}).get("conditions") or []
    known = old.get("status", {}).get("conditions") or []
    if context.subresource == "status":
        for decision in _DECIDED:
            _keep_instances(conditions, known, decision)
    now = rfc3339(context.now)
    for condition in conditions:
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            same = (c for c in known if c.get("type") == condition.get("type"))
            times = (c.get("lastTransitionTime") for c in same if c.get("status") == condition.get("status"))
            condition["lastTransitionTime"] = next((t for t in times if t), now)


def _keep_instances(conditions: list[Obj], known: list[Obj], kind: str) -> None:
    """Equal in number: taken from the stored object. Otherwise left, for validation to refuse."""
    places = [i for i, c in enumerate(conditions) if c.get("type") == kind]
    stored = [c for c in known if c.get("type") == kind]
    if len(places) == len(stored):
        for place, condition in zip(places, stored, strict=True):
            conditions[place] = condition


# --- validation -----------------------------------------------------------------------------------


def validate(obj: Obj) -> Sequence[Cause]:
    """Of a signing request that is made; later ones change its status alone."""
    causes: Causes = []
    spec = obj.get("spec") or {}
    request, usages = spec.get("request") or "", spec.get("usages") or ()
    if problem := _request_problem(request):
        causes.append(field_invalid("spec.request", request or None, problem))
    checks.required(causes, "spec.usages", usages)
    for index, usage in enumerate(usages):
        checks.one_of(causes, f"spec.usages[{index}]", usage, _USAGES)
    seen: set[str] = set()
    for index, usage in enumerate(usages):
        checks.unique(causes, f"spec.usages[{index}]", usage, seen)
    signer = spec.get("signerName", "")
    if signer == _LEGACY_SIGNER:
        detail = "the legacy signerName is not allowed via this API version"
        causes.append(field_invalid("spec.signerName", signer, detail))
    else:
        names_of_signers.signer_name(causes, "spec.signerName", signer)
    expires = spec.get("expirationSeconds")
    if expires is not None and expires < _LEAST_S:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        causes.append(field_invalid("spec.expirationSeconds", expires, detail))
    return causes


def _request_problem(request: str) -> str:
    """`request`: PEM in base64, as it is in the body."""
    pem = base64.b64decode(request)
    if not _request_block(pem):
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        found = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        return f"x509: malformed certificate request: {error}"
    return "" if found.is_signature_valid else "x509: invalid signature"


def _conditions(causes: Causes, listed: Sequence[Obj]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(listed):
        path, kind = f"{_CONDITIONS}[{index}]", condition.get("type", "")
        checks.required(causes, f"{path}.type", kind)
        allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        checks.required_one_of(causes, f"{path}.status", condition.get("status"), allowed)
        if kind in seen:
            causes.append(field_duplicate(f"{path}.type", kind))
        seen.add(kind)
    if seen >= _DECIDED:
        causes.append(field_invalid(_CONDITIONS, _BOTH, _ONE_DECISION))


def _certificate_problem(certificate: str) -> str:
    if not certificate:
        return ""
    blocks = _blocks(base64.b64decode(certificate))
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    for kind, pem in blocks:
        if kind != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{kind}"'
        try:
            x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            return f"x509: malformed certificate: {error}"
    return ""


def _blocks(pem: bytes) -> list[tuple[str, bytes]]:
    return [(found[1].decode(errors="replace"), found[0]) for found in _block.finditer(pem)]


def validate_status(subresource: str, new: Obj, old: Obj) -> Sequence[Cause]:
    """/status sets the certificate, once; /approval decides. Neither takes a decision back."""
    causes: Causes = []
    status, stored = new.get("status") or {}, old.get("status") or {}
    listed, known = status.get("conditions") or [], stored.get("conditions") or []
    certificate, before = status.get("certificate") or "", stored.get("certificate") or ""
    _conditions(causes, listed)
    if certificate != before and (problem := _certificate_problem(certificate)):
        causes.append(field_invalid("status.certificate", "<certificate data>", problem))
    for kind in ("Approved", "Denied", "Failed"):
        if len(_of(listed, kind)) < len(_of(known, kind)):
            causes.append(field_forbidden(_CONDITIONS, f'updates may not remove a condition of type "{kind}"'))
    if subresource != "approval":
        causes.extend(
            field_forbidden(_CONDITIONS, f'updates may not add a condition of type "{kind}"')
            for kind in ("Approved", "Denied")
            if len(_of(listed, kind)) > len(_of(known, kind))
        )
    if certificate != before:
        if subresource != "status":
            causes.append(field_forbidden("status.certificate", "updates may not set certificate content"))
        elif before:
            detail = "updates may not modify existing certificate content"
            causes.append(field_forbidden("status.certificate", detail))
    return causes


def _of(listed: Sequence[Obj], kind: str) -> list[Obj]:
    return [condition for condition in listed if condition.get("type") == kind]


# --- ClusterTrustBundles --------------------------------------------------------------------------


def validate_bundle(obj: Obj) -> Sequence[Cause]:
    causes: Causes = []
    spec = obj.get("spec") or {}
    signer, name = spec.get("signerName", ""), obj["metadata"].get("name", "")
    checks.text(causes, "metadata.name", name, names_of_signers.bundle_name(name, signer))
    if signer:
        names_of_signers.signer_name(causes, "spec.signerName", signer)
    bundle = spec.get("trustBundle", "")
    if len(bundle.encode()) > _MAX_BUNDLE:
        causes.append(field_too_long("spec.trustBundle", _MAX_BUNDLE))
    else:
        causes.extend(
            field_invalid("spec.trustBundle", "<value omitted>", problem) for problem in _anchor_problems(bundle)
        )
    return causes


def _anchor_problems(bundle: str) -> list[str]:
    problems, entries = [], dict[bytes, list[int]]()
    for index, (kind, pem) in enumerate(_blocks(bundle.encode())):
        if kind != "CERTIFICATE":
            problems.append(f"entry {index} has bad block type: {kind}")
            continue
        try:
            found = x509.load_pem_x509_certificate(pem)
        except ValueError:
            problems.append(f"entry {index} does not parse as X.509")
            continue
        if not _is_authority(found):
            problems.append(f"entry {index} does not have the CA bit set")
        entries.setdefault(found.public_bytes(Encoding.DER), []).append(index)
    if problems:
        return problems
    if not entries:
        return ["at least one trust anchor must be provided"]
    return [
        f"duplicate trust anchor (indices [{' '.join(map(str, places))}])"
        for places in entries.values()
        if len(places) > 1
    ]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def validate_bundle_update(new: Obj, old: Obj) -> Sequence[Cause]:
    causes: Causes = []
    after, before = (each.get("spec") or {} for each in (new, old))
    checks.immutable(causes, "spec.signerName", after.get("signerName", ""), before.get("signerName", ""))
    return causes


STRATEGIES: Mapping[str, Strategy] = {
    "certificatesigningrequests": Strategy(
        name_check=values.anything,
        prepare_create=prepare_signing_request,
        prepare_update=prepare_signing_request_update,
        validate=validate,
        validate_subresource=validate_status,
    ),
    # which form a name has depends on the signer: `validate_bundle` says
    "clustertrustbundles": Strategy(
        name_check=values.anything, validate=validate_bundle, validate_update=validate_bundle_update
    ),
}
