"""Impersonation: acting as another user, in Kubernetes' five modes.

The four constrained modes ask for two rights (to impersonate, and to do this
very request while impersonating), the legacy one for the verb `impersonate`
alone. The first mode that allows wins; the refusal shown is the first one's.
Source: apiserver endpoints/filters/impersonation (KEP 5284).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from vapi import errors, names
from vapi.auth import refusals, service_accounts
from vapi.authorizer import ANONYMOUS, Attributes, Authorizer, User
from vapi.errors import ApiError

_AUTHENTICATION = "authentication.k8s.io"
_NODE_PREFIX = "system:node:"
_USER, _UID, _GROUP, _EXTRA = "impersonate-user", "impersonate-uid", "impersonate-group", "impersonate-extra-"
_NODE_NAME_EXTRA = "authentication.kubernetes.io/node-name"
_MANY = 4
"""From so many groups or extra values on, one check for all is tried first. Source: manyAuthorizationChecksInLoop."""


def wanted_user(headers: Iterable[tuple[str, str]]) -> User | None:
    """The user the headers ask for, as written; None if they ask for none. Raises ApiError 400."""
    name = uid = ""
    groups: list[str] = []
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers:
        key = header.lower()
        if not key.startswith("impersonate-"):
            continue
        if key == _USER:
            name = name or value
        elif key == _UID:
            uid = uid or value
        elif key == _GROUP:
            groups.append(value)
        elif key.startswith(_EXTRA):
            extra_key = unquote(key[len(_EXTRA) :])
            extra[extra_key] = (*extra.get(extra_key, ()), value)
    if name:
        return User(name, uid, tuple(groups), extra)
    if uid or groups or extra:
        raise errors.bad_request(f"requested {_go_user(uid, groups, extra)} without impersonating a user name")
    return None


def impersonate(authorizer: Authorizer, attributes: Attributes, wanted: User) -> User:
    """The user the request goes on as. `attributes` are the request's, with the real user. Raises ApiError 403."""
    first: ApiError | None = None
    for mode in _MODES:
        if not mode.applies(wanted, attributes.user):
            continue
        try:
            if mode.name:
                _check(authorizer, replace(attributes, verb=f"impersonate-on:{mode.name}:{attributes.verb}"))
            return _authorized(authorizer, attributes.user, wanted, mode)
        except ApiError as error:
            first = first or error
    assert first is not None, "the legacy mode applies to everybody"
    raise first


@dataclass(frozen=True, slots=True)
class _Mode:
    name: str
    """Of the verbs `impersonate:<name>` and `impersonate-on:<name>:<verb>`; "": the legacy one."""
    applies: Callable[[User, User], bool]
    """(wanted, requestor)"""

    @property
    def verb(self) -> str:
        return f"impersonate:{self.name}" if self.name else "impersonate"


def _only_name(user: User) -> bool:
    return not (user.uid or user.groups or user.extra)


def _node_of(name: str) -> str:
    """The node a user name stands for, or ""."""
    node = name[len(_NODE_PREFIX) :] if name.startswith(_NODE_PREFIX) else ""
    return "" if names.dns_subdomain(node) else node


def _associated(wanted: User, requestor: User) -> bool:
    """A service account whose token names the node it wants to be."""
    node = _node_of(wanted.name)
    return bool(
        node
        and _only_name(wanted)
        and service_accounts.split(requestor.name)
        and tuple(requestor.extra.get(_NODE_NAME_EXTRA, ())) == (node,)
    )


_MODES = (
    _Mode("associated-node", _associated),
    _Mode("arbitrary-node", lambda wanted, _: bool(_only_name(wanted) and _node_of(wanted.name))),
    _Mode("serviceaccount", lambda wanted, _: bool(_only_name(wanted) and service_accounts.split(wanted.name))),
    _Mode("user-info", lambda wanted, _: not (_node_of(wanted.name) or service_accounts.split(wanted.name))),
    _Mode("", lambda _wanted, _requestor: True),
)


def _authorized(authorizer: Authorizer, requestor: User, wanted: User, mode: _Mode) -> User:
    """Checks every field that is asked for; the answer has the groups that follow from the name."""
    constrained = bool(mode.name)
    group, version = (_AUTHENTICATION, "v1") if constrained else ("", "v1")
    base = Attributes(requestor, mode.verb, group=group, version=version)
    groups = _check_name(authorizer, base, wanted, constrained=constrained, associated=mode.name == "associated-node")
    own = replace(base, group=_AUTHENTICATION)
    if wanted.uid:
        _check(authorizer, replace(own, resource="uids", name=wanted.uid))
    _check_groups(authorizer, replace(base, resource="groups"), wanted.groups, constrained=constrained)
    _check_extra(authorizer, replace(own, resource="userextras"), wanted.extra, constrained=constrained)
    if wanted.name == ANONYMOUS.name:
        membership = "system:unauthenticated"
    else:
        membership = "" if "system:unauthenticated" in groups else "system:authenticated"
    if membership and membership not in groups:
        groups = (*groups, membership)
    return User(wanted.name, wanted.uid, groups, wanted.extra)


def _check_name(
    authorizer: Authorizer, base: Attributes, wanted: User, *, constrained: bool, associated: bool
) -> tuple[str, ...]:
    account = service_accounts.split(wanted.name)
    node = _node_of(wanted.name) if constrained else ""
    groups = wanted.groups
    if node:
        # an associated node is a right over all nodes: which one follows from the requestor's token
        asked = replace(base, resource="nodes", name="*" if associated else node)
        groups = ("system:nodes",)
    elif account is not None:
        namespace, name = account
        asked = replace(base, resource="serviceaccounts", namespace=namespace, name=name)
        groups = groups or service_accounts.groups(namespace)
    else:
        asked = replace(base, resource="users", name=wanted.name)
    _check(authorizer, asked)
    return groups


def _check_groups(authorizer: Authorizer, base: Attributes, groups: tuple[str, ...], *, constrained: bool) -> None:
    if constrained:
        if "" in groups:
            raise refusals.forbidden(base, "impersonating the empty string group is not allowed")
        if "system:masters" in groups:
            asked = replace(base, name="system:masters")
            raise refusals.forbidden(asked, "impersonating the system:masters group is not allowed")
        if len(groups) >= _MANY and authorizer.authorize(replace(base, name="*")).allowed:
            return
    for group in groups:
        _check(authorizer, replace(base, name=group))


def _check_extra(
    authorizer: Authorizer, base: Attributes, extra: Mapping[str, tuple[str, ...]], *, constrained: bool
) -> None:
    if constrained:
        for key, values in extra.items():
            if problem := _extra_problem(key, values):
                raise refusals.forbidden(base, problem)
        if sum(max(1, len(values)) for values in extra.values()) >= _MANY:
            everything = replace(base, subresource="*", name="*")
            if authorizer.authorize(everything).allowed:
                return
    for key, values in extra.items():
        for value in values:
            _check(authorizer, replace(base, subresource=key, name=value))


def _extra_problem(key: str, values: tuple[str, ...]) -> str:
    if not key:
        return "impersonating the empty string key in extra is not allowed"
    domain, slash, path = key.partition("/")
    if not slash or not path or names.dns_subdomain(domain):
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        quoted = errors.quote_value(key)
        return f"impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {quoted}: {detail}"
    if "" in values:
        return "impersonating the empty string value in extra is not allowed"
    return ""


def _check(authorizer: Authorizer, attributes: Attributes) -> None:
    decision = authorizer.authorize(attributes)
    if not decision.allowed:
        raise refusals.forbidden(attributes, decision.reason)


def _go_user(uid: str, groups: list[str], extra: Mapping[str, tuple[str, ...]]) -> str:
    """A user.DefaultInfo as Go prints it with %#v."""
    quote = errors.quote_value
    listed = "{" + ", ".join(map(quote, groups)) + "}" if groups else "(nil)"
    pairs = ", ".join(f"{quote(k)}:[]string{{{', '.join(map(quote, v))}}}" for k, v in sorted(extra.items()))
    mapped = "{" + pairs + "}" if extra else "(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:{quote(uid)}, Groups:[]string{listed}, Extra:map[string][]string{mapped}}}'
