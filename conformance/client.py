"""Plain HTTP to the server of a kubeconfig, one kept-alive connection for each user who asks.

The replay must see exactly what goes over the wire, so nothing here retries, follows, decodes or adds headers, except
that a kept-alive connection the server has closed is opened anew.
"""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import ssl
import tempfile
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

ADMIN, ANONYMOUS = "admin", "anonymous"
USERS = {"alice": ("alice-uid", ("devs",))}
"""Name → uid and groups of who else asks: nobody with rights, but those that a recorded request grants."""

REQUEST_LIMIT_S = 60  # kube-apiserver's own --request-timeout; no recorded watch is that long
UID_OID = ObjectIdentifier("1.3.6.1.4.1.57683.2")  # where kube-apiserver looks for a uid in a certificate's subject


class BadKubeconfig(ValueError):
    """The kubeconfig names something that is not in it, or uses a way to log in that is not known here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0 means that no HTTP answer came; the body then says why."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body, or an empty object if it is not JSON."""
        return json_or_empty(self.body)


class Server:
    """The server behind a kubeconfig's current context. Used by one thread."""

    def __init__(self, kubeconfig: Path, ca_dir: Path | None = None) -> None:
        """`ca_dir` holds ca.crt and ca.key of the client CA: `USERS` then come with certificates, else by
        impersonation.

        Raises BadKubeconfig.
        """
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config, "contexts", config.get("current-context"))["context"]
        self._cluster = _named(config, "clusters", context["cluster"])["cluster"]
        self._admin = _named(config, "users", context["user"])["user"]
        if odd := {"exec", "auth-provider"} & set(self._admin):
            raise BadKubeconfig(f"user {context['user']} logs in by {', '.join(odd)}: use a token or a certificate")
        self._folder = kubeconfig.parent
        self.url = urllib.parse.urlsplit(self._cluster["server"])
        self.ca_dir = ca_dir
        self._scratch = tempfile.TemporaryDirectory()
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._scratch.cleanup()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        who: str = ADMIN,
    ) -> Answer:
        """One request by `who`: ADMIN, ANONYMOUS, one of USERS, or else a bearer token."""
        certificate, identity = self._identity(who)
        sent = {"User-Agent": "Python-urllib/3", **identity, **(headers or {})}
        fresh = certificate not in self._connections
        while True:
            connection = self._connections.get(certificate) or self._connect(certificate)
            try:
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                del self._connections[certificate]
                if fresh or isinstance(error, TimeoutError):
                    return Answer(0, http.client.HTTPMessage(), f"no answer: {error!r}".encode())
                fresh = True  # the server may have closed a connection that stood idle

    def get(self, path: str, accept: str = "application/json") -> Any:
        """The decoded body of a 200, else None."""
        answer = self.send("GET", path, headers={"Accept": accept})
        return answer.json() if answer.status == 200 else None

    def version(self) -> str:
        """gitVersion; empty if the server does not say."""
        return str((self.get("/version") or {}).get("gitVersion", ""))

    def _identity(self, who: str) -> tuple[str, dict[str, str]]:
        """Which connection `who` uses, and the headers that say who it is."""
        if who == ADMIN:
            token = self._admin.get("token") or _text(self._file(self._admin, "tokenFile"))
            return ADMIN, {"Authorization": f"Bearer {token}"} if token else {}
        if who == ANONYMOUS:
            return ANONYMOUS, {}
        if who not in USERS:
            return ANONYMOUS, {"Authorization": f"Bearer {who}"}
        if self.ca_dir:
            return who, {}
        uid, groups = USERS[who]
        certificate, headers = self._identity(ADMIN)
        as_user = {"Impersonate-User": who, "Impersonate-Uid": uid, "Impersonate-Group": groups[0]}
        return certificate, headers | as_user

    def _connect(self, certificate: str) -> http.client.HTTPConnection:
        host, port = self.url.hostname or "", self.url.port
        if self.url.scheme == "http":
            connection = http.client.HTTPConnection(host, port, timeout=REQUEST_LIMIT_S)
        else:
            tls = self._tls(certificate)
            connection = http.client.HTTPSConnection(host, port, timeout=REQUEST_LIMIT_S, context=tls)
        self._connections[certificate] = connection
        return connection

    def _tls(self, certificate: str) -> ssl.SSLContext:
        tls = ssl.create_default_context(cafile=self._file(self._cluster, "certificate-authority"))
        if self._cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        own = self._file(self._admin, "client-certificate")
        if certificate == ADMIN and own:
            tls.load_cert_chain(own, self._file(self._admin, "client-key"))
        elif certificate in USERS and self.ca_dir:
            tls.load_cert_chain(issue(certificate, self.ca_dir, Path(self._scratch.name)))
        return tls

    def _file(self, part: Mapping[str, Any], what: str) -> Path | None:
        """The path of a file that a kubeconfig names, or holds as `…-data`; None if neither."""
        if f"{what}-data" in part:
            path = Path(self._scratch.name) / what
            path.write_bytes(base64.b64decode(part[f"{what}-data"]))
            return path
        return self._folder / part[what] if part.get(what) else None


def issue(user: str, ca_dir: Path, folder: Path) -> Path:
    """A client certificate of that CA for one of USERS, valid for a day; the file holds its key too."""
    uid, groups = USERS[user]
    ca = x509.load_pem_x509_certificate((ca_dir / "ca.crt").read_bytes())
    ca_key = serialization.load_pem_private_key((ca_dir / "ca.key").read_bytes(), password=None)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    name += [x509.NameAttribute(NameOID.COMMON_NAME, user), x509.NameAttribute(UID_OID, uid)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(name))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())  # type: ignore[arg-type]  # a CA's key is one that can sign
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"{user}.pem"
    path.touch(mode=0o600)
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path


def json_or_empty(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return {}


def _named(config: Mapping[str, Any], part: str, name: str | None) -> Any:
    rows: Iterable[Any] = config.get(part) or ()
    for row in rows:
        if row.get("name") == name:
            return row
    raise BadKubeconfig(f"no {part.removesuffix('s')} named {name!r}")


def _text(path: Path | None) -> str:
    return path.read_text().strip() if path else ""
