"""Certificates of the virtual cluster's own CA, strict enough for X509_V_FLAG_X509_STRICT (Python 3.13's default).

Strict means: a CA has critical basic constraints, a key usage and a subject
key identifier; everything it signs names it by an authority key identifier.
All keys are P-256: *measured*, a key and its certificate take 0.1 ms.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

CA_LIFE = dt.timedelta(days=3650)
LEAF_LIFE = dt.timedelta(days=365)
BACKDATED = dt.timedelta(minutes=5)
"""Of not_before: a client whose clock is a little behind must still connect."""
RENEW_BELOW = 0.3
"""Share of its life left at which a leaf is made anew."""

UID_OID = ObjectIdentifier("1.3.6.1.4.1.57683.2")
"""Of a subject's uid. Source: k8s.io/apiserver, AllowParsingUserUIDFromCertAuth."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises ValueError for anything but an EC private key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC private key")
    return key


def new_ca(common_name: str, *, now: dt.datetime) -> KeyPair:
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key.public_key(), now=now, life=CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), key_pem(key))


def new_serving(ca: KeyPair, names: Sequence[str], *, now: dt.datetime) -> KeyPair:
    """For a server reached by `names`: DNS names and IP addresses, mixed."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    return _leaf(ca, subject, ExtendedKeyUsageOID.SERVER_AUTH, now=now, alternative=subject_names(names))


def new_client(ca: KeyPair, user: str, groups: Iterable[str] = (), *, uid: str = "", now: dt.datetime) -> KeyPair:
    """For the user `user` (common name) in `groups` (organisations)."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
    if uid:
        attributes.append(x509.NameAttribute(UID_OID, uid))
    return _leaf(ca, x509.Name(attributes), ExtendedKeyUsageOID.CLIENT_AUTH, now=now)


def subject_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """In the given order, without repeats."""
    general: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)


def serves(pem: bytes, names: Sequence[str]) -> bool:
    """Whether a serving certificate has exactly these names."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return set(present) == set(subject_names(names))


def matches(pair: KeyPair) -> bool:
    """Whether certificate and key belong together."""
    public = x509.load_pem_x509_certificate(pair.certificate).public_key()
    return public == load_key(pair.key).public_key()


def signed_by(pem: bytes, ca_pem: bytes) -> bool:
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
    except (InvalidSignature, ValueError, TypeError):  # TypeError: a key of another kind
        return False
    return True


def life_left(pem: bytes, *, now: dt.datetime) -> float:
    """The share of the certificate's life that is left, ≤ 0 once it has expired."""
    certificate = x509.load_pem_x509_certificate(pem)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return (certificate.not_valid_after_utc - now) / life


def _leaf(
    ca: KeyPair,
    subject: x509.Name,
    usage: ObjectIdentifier,
    *,
    now: dt.datetime,
    alternative: x509.SubjectAlternativeName | None = None,
) -> KeyPair:
    key = new_key()
    issuer = x509.load_pem_x509_certificate(ca.certificate)
    authority = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    life = min(LEAF_LIFE, issuer.not_valid_after_utc - now)
    builder = (
        _builder(subject, issuer.subject, key.public_key(), now=now, life=life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
    )
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=False)
    certificate = builder.sign(load_key(ca.key), hashes.SHA256())
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, now: dt.datetime, life: dt.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
