"""Pki: the keys of one virtual cluster in its data directory, and the leaves signed with them.

`KeyMaterial` is what must be one for all replicas: the CA and the keys that
sign tokens. With one process it is made in the directory; on etcd it is made
once by `store.create` under a prefix that no resource maps to, and the
directory is only its copy. Leaves are each replica's own and renewed from it.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from storage.errors import KeyExists, KeyNotFound, RevisionConflict
from storage.store import Store
from vapi import encoding
from vapi.auth import certificates, files
from vapi.auth.certificates import KeyPair
from vapi.clock import Clock

STORE_KEY = "/vapi/pki/v1"
"""Outside `/registry/`, so that no request can reach it."""

FRONT_PROXY_CA = "front-proxy-ca"
"""Its common name, as kubeadm's."""
ADMIN_USER = "kubernetes-admin"
ADMIN_GROUP = "system:masters"


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """The CA, and the service account keys as PEM: the first signs, all verify.

    `front_proxy`: the CA of those whose word for a user's name aggregated servers take (X-Remote-User); never the
    same as `ca`, whose certificates tenants may get by a CertificateSigningRequest. None: of an older vapi.
    """

    ca: KeyPair
    token_keys: tuple[bytes, ...]
    front_proxy: KeyPair | None = None


def generate(name: str, clock: Clock) -> KeyMaterial:
    """New keys for the cluster `name`."""
    ca = certificates.new_ca(f"vapi-{name}-ca" if name else "vapi-ca", now=clock.now())
    return _completed(KeyMaterial(ca, (certificates.key_pem(certificates.new_key()),)), clock)


def _completed(material: KeyMaterial, clock: Clock) -> KeyMaterial:
    """With what an older vapi did not make."""
    if material.front_proxy is not None:
        return material
    return replace(material, front_proxy=certificates.new_ca(FRONT_PROXY_CA, now=clock.now()))


def load_or_create(directory: Path, *, name: str = "", clock: Clock) -> KeyMaterial:
    """What lies in `directory`, else new material, written there. Raises ValueError for files that are no keys."""
    found = load(directory)
    if found is None or found.front_proxy is None:
        found = generate(name, clock) if found is None else _completed(found, clock)
        save(directory, found)
    return found


async def load_or_create_in_store(store: Store, directory: Path, *, name: str = "", clock: Clock) -> KeyMaterial:
    """The material all replicas share: whoever creates the key first has made it; copied to `directory`.

    Material in the directory is what a first replica proposes, so that a
    cluster moved from a local store to etcd keeps its CA.
    """
    with contextlib.suppress(KeyExists):
        if not await _is_there(store):
            proposed = load(directory) or generate(name, clock)
            await store.create(STORE_KEY, encode(_completed(proposed, clock)))
    found = await store.get(STORE_KEY)
    material = decode(found.value)
    if material.front_proxy is None:
        with contextlib.suppress(RevisionConflict):  # another replica was first
            await store.update(STORE_KEY, encode(_completed(material, clock)), expected=found.revision)
        material = decode((await store.get(STORE_KEY)).value)
    if load(directory) != material:
        save(directory, material)
    return material


async def _is_there(store: Store) -> bool:
    try:
        await store.get(STORE_KEY)
    except KeyNotFound:
        return False
    return True


def load(directory: Path) -> KeyMaterial | None:
    """None if any of the files is missing: a start that crashed half-way is repeated."""
    paths = [directory / name for name in ("ca.crt", "ca.key", "sa.key")]
    if not all(path.exists() for path in paths):
        return None
    ca_certificate, ca_key, token_key = (path.read_bytes() for path in paths)
    certificates.load_key(ca_key)
    older = sorted(directory.glob("sa-*.key"))
    token_keys = (token_key, *(path.read_bytes() for path in older))
    return KeyMaterial(KeyPair(ca_certificate, ca_key), token_keys, _load_pair(directory, "front-proxy-ca"))


def _load_pair(directory: Path, name: str) -> KeyPair | None:
    """None if a file is missing, or where a crash between the two left a pair that does not match."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    if not (certificate.exists() and key.exists()):
        return None
    pair = KeyPair(certificate.read_bytes(), key.read_bytes())
    return pair if certificates.matches(pair) else None


def save(directory: Path, material: KeyMaterial) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    first, *older = material.token_keys
    files.write_atomic(directory / "sa.key", first, mode=files.PRIVATE)
    for number, key in enumerate(older):
        files.write_atomic(directory / f"sa-{number}.key", key, mode=files.PRIVATE)
    if material.front_proxy is not None:
        files.write_atomic(directory / "front-proxy-ca.key", material.front_proxy.key, mode=files.PRIVATE)
        files.write_atomic(directory / "front-proxy-ca.crt", material.front_proxy.certificate, mode=files.PUBLIC)
    files.write_atomic(directory / "ca.key", material.ca.key, mode=files.PRIVATE)
    files.write_atomic(directory / "ca.crt", material.ca.certificate, mode=files.PUBLIC)


def encode(material: KeyMaterial) -> bytes:
    fields = {
        "ca.crt": material.ca.certificate.decode(),
        "ca.key": material.ca.key.decode(),
        "sa.keys": [key.decode() for key in material.token_keys],
    }
    if material.front_proxy is not None:
        fields["front-proxy-ca.crt"] = material.front_proxy.certificate.decode()
        fields["front-proxy-ca.key"] = material.front_proxy.key.decode()
    return encoding.dumps(fields)


def decode(value: bytes) -> KeyMaterial:
    fields = encoding.loads(value)
    ca = KeyPair(fields["ca.crt"].encode(), fields["ca.key"].encode())
    front_proxy = None
    if "front-proxy-ca.crt" in fields:
        front_proxy = KeyPair(fields["front-proxy-ca.crt"].encode(), fields["front-proxy-ca.key"].encode())
    return KeyMaterial(ca, tuple(key.encode() for key in fields["sa.keys"]), front_proxy)


def serving_names(
    *, service_ip: str = "", cluster_domain: str = "cluster.local", others: Sequence[str] = ()
) -> tuple[str, ...]:
    """The names of the API server: those pods use, those of this machine, and `others` (advertised addresses)."""
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{cluster_domain}",
        "localhost",
        "127.0.0.1",
        "::1",
        service_ip,
        *others,
    ]
    return tuple(dict.fromkeys(name for name in names if name))


class Pki:
    """Leaves in `directory`, made and renewed on demand.

    Methods do file I/O with fsync: *measured*, 5-7 ms for a first start with
    all its keys, 2 ms for another.
    """

    def __init__(self, directory: Path, material: KeyMaterial, clock: Clock) -> None:
        self.directory = directory
        self.material = material
        self._clock = clock

    @property
    def ca_certificate(self) -> bytes:
        return self.material.ca.certificate

    @property
    def front_proxy_ca(self) -> bytes:
        """PEM."""
        assert self.material.front_proxy is not None  # of what `load_or_create` gives
        return self.material.front_proxy.certificate

    @property
    def ca_path(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def serving_paths(self) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.directory / "apiserver.crt", self.directory / "apiserver.key"

    def ensure_serving(self, names: Sequence[str]) -> bool:
        """Whether a new serving certificate was made: it was missing, of another CA, due, or had other names.

        Call it at the start and then periodically; after True, `reload` the TLS context.
        """
        now = self._clock.now()
        found = self._load("apiserver")
        if found is not None and not self._due(found) and certificates.serves(found.certificate, names):
            return False
        self._save("apiserver", certificates.new_serving(self.material.ca, names, now=now))
        return True

    def ensure_admin(self) -> tuple[KeyPair, bool]:
        """The admin's client certificate, and whether it is new (the kubeconfig must be written again)."""
        found = self._load("admin")
        if found is not None and not self._due(found):
            return found, False
        made = self.client(ADMIN_USER, (ADMIN_GROUP,))
        self._save("admin", made)
        return made, True

    def client(self, user: str, groups: Sequence[str] = (), *, uid: str = "") -> KeyPair:
        """A client certificate, written nowhere."""
        return certificates.new_client(self.material.ca, user, groups, uid=uid, now=self._clock.now())

    def server_context(self) -> ssl.SSLContext:
        """TLS for the listener: our leaf, client certificates of our CA asked for but not required."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=self.ca_certificate.decode())
        context.set_alpn_protocols(["http/1.1"])
        self.reload(context)
        return context

    def reload(self, context: ssl.SSLContext) -> None:
        """Swap the serving certificate: handshakes from now on use it, connections stay."""
        certificate, key = self.serving_paths
        context.load_cert_chain(certificate, key)

    def _due(self, leaf: KeyPair) -> bool:
        if certificates.life_left(leaf.certificate, now=self._clock.now()) < certificates.RENEW_BELOW:
            return True
        return not certificates.signed_by(leaf.certificate, self.ca_certificate)

    def _load(self, name: str) -> KeyPair | None:
        return _load_pair(self.directory, name)

    def _save(self, name: str, leaf: KeyPair) -> None:
        """A crash between the two leaves a pair that `_load` takes for none."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_atomic(self.directory / f"{name}.key", leaf.key, mode=files.PRIVATE)
        files.write_atomic(self.directory / f"{name}.crt", leaf.certificate, mode=files.PUBLIC)
