"""Service account tokens: made by TokenRequest, checked on every request.

Of a token only the signature check is remembered (it never changes its
outcome); expiry is asked of the clock and the bound objects are looked up in
the watch cache each time, so that a deleted pod ends its tokens at once.
Source: kubernetes pkg/serviceaccount (claims.go, jwt.go, legacy.go).
"""

from __future__ import annotations

import base64
import binascii
import csv
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import jwt
from jwt.types import Options

from vapi import encoding
from vapi.auth import service_accounts
from vapi.auth.bounded import BoundedDict
from vapi.auth.jwt_keys import ALGORITHM, TokenKeys
from vapi.auth.rules import quoted
from vapi.authorizer import User
from vapi.cacher.entry import Entry
from vapi.clock import Clock, parse_rfc3339
from vapi.gvk import GVR, Obj
from vapi.registry.admission import Lookup

DEFAULT_ISSUER = "https://kubernetes.default.svc.cluster.local"
LEGACY_ISSUER = "kubernetes/serviceaccount"
EXTENDED_TO_S = 365 * 24 * 3600
LEEWAY_S = 60
"""Of expiry and of deletions. Source: go-jose DefaultLeeway, used by the validator."""
MAX_REMEMBERED = 4096
"""Checked signatures kept, each about 3 KB."""
MAX_TOKEN_BYTES = 16 << 10
"""A guess with room: a token of ours has 1 KB."""

SERVICE_ACCOUNTS = GVR("", "v1", "serviceaccounts")
SECRETS = GVR("", "v1", "secrets")
PODS = GVR("", "v1", "pods")
NODES = GVR("", "v1", "nodes")

INVALIDATED = "service account token has been invalidated"
_CLAIM = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io/"
_LEGACY = "kubernetes.io/serviceaccount/"


class TokenRejected(Exception):
    """Not a token of ours (no text), or one that does not count: why, as a TokenReview words it."""


@dataclass(frozen=True, slots=True)
class BoundObject:
    """What a token names: it dies with that object."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Claims:
    """A token whose signature is ours. Times are Unix seconds; `expires` 0: never (a legacy token)."""

    user: User
    namespace: str
    account: BoundObject
    audiences: tuple[str, ...]
    not_before: float
    expires: float
    pod: BoundObject | None = None
    secret: BoundObject | None = None
    node: BoundObject | None = None
    legacy_secret: str = ""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """`audiences`: those asked for that the token has."""

    user: User
    audiences: tuple[str, ...]


class TokenSigner:
    """Makes tokens. `new_id` gives the jti."""

    def __init__(
        self,
        keys: TokenKeys,
        clock: Clock,
        *,
        issuer: str = DEFAULT_ISSUER,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.keys = keys
        self.issuer = issuer
        self._clock = clock
        self._new_id = new_id

    def bound(
        self,
        *,
        namespace: str,
        account: BoundObject,
        audiences: Sequence[str],
        lifetime_s: int,
        warn_after_s: int = 0,
        pod: BoundObject | None = None,
        secret: BoundObject | None = None,
        node: BoundObject | None = None,
    ) -> str:
        """A token of the service account, bound to at most one object (a pod's may name its node too)."""
        now = int(self._clock.now().timestamp())
        private: Obj = {
            "namespace": namespace,
            "serviceaccount": {"name": account.name, "uid": account.uid},
        }
        for kind, bound in (("pod", pod), ("secret", secret), ("node", node)):
            if bound is not None:
                private[kind] = {"name": bound.name, "uid": bound.uid} if bound.uid else {"name": bound.name}
        if warn_after_s:
            private["warnafter"] = now + warn_after_s
        return self.keys.sign(
            {
                "aud": list(audiences),
                "exp": now + lifetime_s,
                "iat": now,
                "iss": self.issuer,
                "jti": self._new_id(),
                _CLAIM: private,
                "nbf": now,
                "sub": service_accounts.username(namespace, account.name),
            }
        )

    def legacy(self, *, namespace: str, account: BoundObject, secret: str) -> str:
        """The token for ever of a Secret of type kubernetes.io/service-account-token."""
        return self.keys.sign(
            {
                "iss": LEGACY_ISSUER,
                f"{_LEGACY}namespace": namespace,
                f"{_LEGACY}secret.name": secret,
                f"{_LEGACY}service-account.name": account.name,
                f"{_LEGACY}service-account.uid": account.uid,
                "sub": service_accounts.username(namespace, account.name),
            }
        )


class TokenVerifier:
    """Checks tokens. Runs on the loop, never awaits. *Measured*: 125 µs the first time, 3 µs after."""

    def __init__(
        self,
        keys: TokenKeys,
        lookup: Lookup,
        clock: Clock,
        *,
        issuer: str = DEFAULT_ISSUER,
        audiences: Sequence[str] = (),
    ) -> None:
        self._keys = keys
        self._lookup = lookup
        self._clock = clock
        self._issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._remembered: BoundedDict[str, Claims] = BoundedDict(MAX_REMEMBERED)

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Authenticated:
        """Who the token is, for these audiences (default: the API server's). Raises TokenRejected."""
        claims = self._remembered.get(token)
        if claims is None:
            claims = self._remembered.remember(token, self._check_signature(token))
        wanted = tuple(audiences) or self.audiences
        # a token without audiences (a legacy one) is for the API server
        offered = claims.audiences or self.audiences
        shared = tuple(a for a in offered if a in wanted)
        if not shared:
            raise TokenRejected(
                f"token audiences {quoted(offered)} is invalid for the target audiences {quoted(wanted)}"
            )
        now = self._clock.now().timestamp()
        if claims.expires and now > claims.expires + LEEWAY_S:
            raise TokenRejected("service account token has expired")
        if now < claims.not_before - LEEWAY_S:
            raise TokenRejected("service account token is not valid yet")
        self._check_bound(claims, token, now)
        return Authenticated(self._user(claims), shared)

    def _check_signature(self, token: str) -> Claims:
        """Raises TokenRejected, without a text for what is no token of ours at all."""
        if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2:
            raise TokenRejected
        try:
            header = jwt.get_unverified_header(token)
            payload = encoding.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        except (jwt.PyJWTError, ValueError, binascii.Error):
            raise TokenRejected from None
        if not isinstance(payload, dict) or payload.get("iss") not in (self._issuer, LEGACY_ISSUER):
            raise TokenRejected
        key_id = header.get("kid", "")
        candidates = [self._keys.verifying[key_id]] if key_id in self._keys.verifying else []
        if not key_id:
            candidates = list(self._keys.verifying.values())
        if not candidates:
            raise TokenRejected("invalid signature, no keys found")
        for key in candidates:
            try:
                checked = jwt.decode(token, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
            except jwt.PyJWTError:
                continue
            return _claims(checked)
        raise TokenRejected("go-jose/go-jose: error in cryptographic primitive")

    def _check_bound(self, claims: Claims, token: str, now: float) -> None:
        account = claims.account
        entry = self._lookup.cached(SERVICE_ACCOUNTS, claims.namespace, account.name)
        if entry is None:
            raise TokenRejected(f'serviceaccounts "{account.name}" not found')
        if entry.uid != account.uid:
            raise TokenRejected(f"service account UID ({entry.uid}) does not match claim ({account.uid})")
        if entry.deleting and _deleted_before(entry, now - LEEWAY_S):
            raise TokenRejected(f"service account {claims.namespace}/{account.name} has been deleted")
        if claims.secret is not None:
            found = self._lookup.cached(SECRETS, claims.namespace, claims.secret.name)
            _check_alive("secret", "secret", claims.secret, found, now)
        if claims.pod is not None:
            found = self._lookup.cached(PODS, claims.namespace, claims.pod.name)
            _check_alive("pod", "pod", claims.pod, found, now)
        elif claims.node is not None:
            found = self._lookup.cached(NODES, "", claims.node.name)
            _check_alive("node", "node", claims.node, found, now)
        if claims.legacy_secret:
            self._check_legacy(claims, token)

    def _user(self, claims: Claims) -> User:
        """With the node of its pod, which a token made before the pod was placed (as the syncer's are) cannot say."""
        entry = self._lookup.cached(PODS, claims.namespace, claims.pod.name) if claims.pod and not claims.node else None
        name = entry.fields.get("spec.nodeName") if entry is not None else None
        if not name:
            return claims.user
        node = self._lookup.cached(NODES, "", name)
        return replace(claims.user, extra={**claims.user.extra, **_node_extra(name, node.uid if node else "")})

    def _check_legacy(self, claims: Claims, token: str) -> None:
        entry = self._lookup.cached(SECRETS, claims.namespace, claims.legacy_secret)
        held = (entry.obj().get("data") or {}).get("token") or "" if entry is not None else ""
        if held != base64.b64encode(token.encode()).decode():
            raise TokenRejected("Token has been invalidated")


_SIGNATURE_ONLY: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
}


def _check_alive(kind: str, title: str, bound: BoundObject, entry: Entry | None, now: float) -> None:
    if entry is None:
        raise TokenRejected(INVALIDATED)
    if entry.uid != bound.uid:
        raise TokenRejected(f"{title} UID ({entry.uid}) does not match service account {kind} ref claim ({bound.uid})")
    if entry.deleting and _deleted_before(entry, now - LEEWAY_S):
        raise TokenRejected(INVALIDATED)


def _deleted_before(entry: Entry, moment: float) -> bool:
    return parse_rfc3339(entry.obj()["metadata"]["deletionTimestamp"]).timestamp() < moment


def _claims(payload: Mapping[str, object]) -> Claims:
    """Raises TokenRejected: signed by us, but not in a form we make."""
    try:
        return _legacy_claims(payload) if payload["iss"] == LEGACY_ISSUER else _bound_claims(payload)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise TokenRejected from None


def _bound_claims(payload: Mapping[str, object]) -> Claims:
    private = payload[_CLAIM]
    if not isinstance(private, dict):
        raise TypeError(_CLAIM)
    namespace = private["namespace"]
    account = _bound(private, "serviceaccount")
    if account is None:
        raise KeyError("serviceaccount")
    pod, node = _bound(private, "pod"), _bound(private, "node")
    extra: dict[str, tuple[str, ...]] = {}
    if payload.get("jti"):
        extra[f"{_EXTRA}credential-id"] = (f"JTI={payload['jti']}",)
    if node is not None:
        extra |= _node_extra(node.name, node.uid)
    if pod is not None:
        extra[f"{_EXTRA}pod-name"] = (pod.name,)
        extra[f"{_EXTRA}pod-uid"] = (pod.uid,)
    audience = payload.get("aud") or ()
    return Claims(
        user=_account_user(namespace, account, extra),
        namespace=namespace,
        account=account,
        audiences=(audience,) if isinstance(audience, str) else tuple(audience),  # type: ignore[arg-type]
        not_before=float(payload.get("nbf") or 0),  # type: ignore[arg-type]
        expires=float(payload["exp"]),  # type: ignore[arg-type]
        pod=pod,
        secret=_bound(private, "secret"),
        node=node,
    )


def _legacy_claims(payload: Mapping[str, object]) -> Claims:
    namespace = str(payload[f"{_LEGACY}namespace"])
    name, uid = str(payload[f"{_LEGACY}service-account.name"]), str(payload[f"{_LEGACY}service-account.uid"])
    account = BoundObject(name, uid)
    return Claims(
        user=_account_user(namespace, account, {}),
        namespace=namespace,
        account=account,
        audiences=(),
        not_before=0,
        expires=0,
        legacy_secret=str(payload[f"{_LEGACY}secret.name"]),
    )


def _bound(private: Obj, kind: str) -> BoundObject | None:
    reference = private.get(kind)
    return BoundObject(reference["name"], reference.get("uid", "")) if reference else None


def _node_extra(name: str, uid: str) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {f"{_EXTRA}node-name": (name,)}
    return extra | {f"{_EXTRA}node-uid": (uid,)} if uid else extra


def _account_user(namespace: str, account: BoundObject, extra: Mapping[str, tuple[str, ...]]) -> User:
    groups = (*service_accounts.groups(namespace), "system:authenticated")
    return User(service_accounts.username(namespace, account.name), account.uid, groups, extra)


def static_tokens(text: str) -> dict[str, User]:
    """A token file: lines `token,user,uid,"group1,group2"`, groups optional. Raises ValueError naming the line.

    Source: apiserver tokenfile.NewCSV.
    """
    users: dict[str, User] = {}
    for number, columns in enumerate(csv.reader(text.splitlines(), skipinitialspace=True), start=1):
        if not columns or columns[0].startswith("#"):
            continue
        if len(columns) < 3 or not columns[0]:
            raise ValueError(f"token file, line {number}: expected token,user,uid[,groups]")
        groups = tuple(g.strip() for g in columns[3].split(",") if g.strip()) if len(columns) > 3 else ()
        users[columns[0]] = User(columns[1], columns[2], groups)
    return users
