"""The review kinds and the token subresource: calls that are answered from a decision and never stored.

`review_table` gives the handlers for the registry's CallTable; the shapes are
the recorded ones (golden/auth). Source: kubernetes pkg/registry/{authentication,authorization}.
"""

from __future__ import annotations

from vapi import errors
from vapi.auth import review_objects
from vapi.auth.authenticator import Authenticator
from vapi.auth.rbac import Rbac
from vapi.auth.token_requests import TOKEN_REQUEST, TokenRequests
from vapi.auth.tokens import TokenRejected
from vapi.authorizer import Attributes, Authorizer, User
from vapi.clock import Clock, rfc3339
from vapi.errors import ApiError, Cause
from vapi.gvk import GVK, GVR, Obj
from vapi.registry.virtual import Call, CallTable, Reply

AUTHENTICATION = "authentication.k8s.io"
AUTHORIZATION = "authorization.k8s.io"
_ACCESS_KIND = GVK(AUTHORIZATION, "v1", "")
"""Upstream words errors of access reviews without their kind (golden auth 27)."""


def review_table(
    *, rbac: Rbac, authorizer: Authorizer, authenticator: Authenticator, tokens: TokenRequests, clock: Clock
) -> CallTable:
    """`authorizer` decides (usually `rbac` itself); `rbac` lists the rules a user has."""
    reviews = _Reviews(rbac, authorizer, authenticator, tokens, clock)
    return {
        (AUTHENTICATION, "tokenreviews", ""): reviews.token,
        (AUTHENTICATION, "selfsubjectreviews", ""): reviews.self_subject,
        (AUTHORIZATION, "subjectaccessreviews", ""): reviews.access,
        (AUTHORIZATION, "localsubjectaccessreviews", ""): reviews.local_access,
        (AUTHORIZATION, "selfsubjectaccessreviews", ""): reviews.self_access,
        (AUTHORIZATION, "selfsubjectrulesreviews", ""): reviews.self_rules,
        ("", "serviceaccounts", "token"): reviews.token_request,
    }


class _Reviews:
    def __init__(
        self,
        rbac: Rbac,
        authorizer: Authorizer,
        authenticator: Authenticator,
        tokens: TokenRequests,
        clock: Clock,
    ) -> None:
        self._rbac = rbac
        self._authorizer = authorizer
        self._authenticator = authenticator
        self._tokens = tokens
        self._clock = clock

    # --- authentication -----------------------------------------------------------------------------

    async def token(self, call: Call) -> Reply:
        spec = _spec(call)
        token = spec.get("token") or ""
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        try:
            accepted = self._authenticator.authenticate_token(token, spec.get("audiences") or ())
        except TokenRejected as rejected:
            error = f"[invalid bearer token, {rejected}]" if str(rejected) else "invalid bearer token"
            status: Obj = {"user": {}, "error": error}
        else:
            status = {"authenticated": True, "user": user_info(accepted.user), "audiences": list(accepted.audiences)}
        shown = review_objects.in_order(spec, review_objects.TOKEN_REVIEW_SPEC)
        return self._reply(call, shown, status)

    async def self_subject(self, call: Call) -> Reply:
        metadata = {"creationTimestamp": rfc3339(self._clock.now())}
        return Reply(_object(call, metadata=metadata, status={"userInfo": user_info(call.caller.user)}))

    async def token_request(self, call: Call) -> Reply:
        body = call.body or {}
        metadata, spec = body.get("metadata") or {}, _spec(call)
        _check_namespace(call, metadata)
        if metadata.get("name") and metadata["name"] != call.name:
            detail = "must match the service account name if specified"
            cause = errors.field_invalid("metadata.name", metadata["name"], detail)
            raise errors.invalid(TOKEN_REQUEST, call.name, [cause])
        account = self._tokens.account(call.namespace, call.name)
        uid = metadata.get("uid") or account.uid
        if uid != account.uid:
            raise errors.conflict(
                GVR(TOKEN_REQUEST.group, TOKEN_REQUEST.version, TOKEN_REQUEST.kind),
                call.name,
                f"the UID in the token request ({uid}) does not match the UID of the service account ({account.uid})",
            )
        bound = spec.get("boundObjectRef") or None
        issued = self._tokens.issue(
            account,
            audiences=spec.get("audiences") or (),
            expiration_s=spec.get("expirationSeconds"),
            bound=bound,
        )
        owned = {**spec, "expirationSeconds": issued.expiration_s, "boundObjectRef": bound}
        now = rfc3339(self._clock.now())
        shown_bound = review_objects.in_order(bound, review_objects.BOUND_REFERENCE) if bound else None
        answer: Obj = {
            "kind": TOKEN_REQUEST.kind,
            "apiVersion": TOKEN_REQUEST.api_version,
            "metadata": {
                "name": account.name,
                "namespace": account.namespace,
                "uid": account.uid,
                "creationTimestamp": now,
                "managedFields": review_objects.managed_fields(
                    review_objects.fields_of(owned, nullable=frozenset({"boundObjectRef"})),
                    manager=call.caller.field_manager,
                    api_version=TOKEN_REQUEST.api_version,
                    time=now,
                    subresource="token",
                ),
            },
            "spec": {
                "audiences": list(issued.audiences),
                "expirationSeconds": issued.expiration_s,
                "boundObjectRef": shown_bound,
            },
            "status": {"token": issued.token, "expirationTimestamp": rfc3339(issued.expires)},
        }
        return Reply(answer)

    # --- authorization ------------------------------------------------------------------------------

    async def access(self, call: Call) -> Reply:
        spec = _spec(call)
        _refuse([*_subject_causes(spec, self_review=False), *_metadata_causes(call, "must be empty")])
        return self._decided(call, spec, _reviewed_user(spec), review_objects.ACCESS_SPEC)

    async def local_access(self, call: Call) -> Reply:
        spec = _spec(call)
        _check_namespace(call, (call.body or {}).get("metadata") or {})
        causes = [
            *_subject_causes(spec, self_review=False),
            *_metadata_causes(call, "must be empty except for namespace"),
        ]
        resource = spec.get("resourceAttributes")
        if resource is not None and (resource.get("namespace") or "") != call.namespace:
            path = "spec.resourceAttributes.namespace"
            causes.append(errors.field_invalid(path, resource.get("namespace") or "", "must match metadata.namespace"))
        if spec.get("nonResourceAttributes") is not None:
            value = _go_path_attributes(spec)
            detail = "disallowed on this kind of request"
            causes.append(errors.field_invalid("spec.nonResourceAttributes", value, detail))
        _refuse(causes)
        return self._decided(call, spec, _reviewed_user(spec), review_objects.ACCESS_SPEC)

    async def self_access(self, call: Call) -> Reply:
        spec = _spec(call)
        _refuse([*_subject_causes(spec, self_review=True), *_metadata_causes(call, "must be empty")])
        return self._decided(call, spec, call.caller.user, review_objects.SELF_ACCESS_SPEC)

    async def self_rules(self, call: Call) -> Reply:
        namespace = _spec(call).get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        resource_rules: list[Obj] = []
        path_rules: list[Obj] = []
        problems: list[str] = []
        for grant in self._rbac.grants(call.caller.user, namespace):
            if grant.rule is None:
                problems.append(grant.missing)
                continue
            if grant.source.get("resources"):
                resource_rules.append(_picked(grant.source, ("verbs", "apiGroups", "resources", "resourceNames")))
            if grant.source.get("nonResourceURLs"):
                path_rules.append(_picked(grant.source, ("verbs", "nonResourceURLs")))
        status: Obj = {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": False}
        if problems:
            unique = list(dict.fromkeys(problems))
            status["evaluationError"] = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
        return Reply(_object(call, metadata={}, spec={}, status=status))

    def _decided(self, call: Call, spec: Obj, user: User, shape: dict[str, object]) -> Reply:
        decision = self._authorizer.authorize(_attributes(spec, user))
        status: Obj = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return self._reply(call, review_objects.in_order(spec, shape), status)

    def _reply(self, call: Call, spec: Obj, status: Obj) -> Reply:
        metadata: Obj = {"namespace": call.namespace} if call.namespace else {}
        managed = review_objects.managed_fields(
            review_objects.fields_of(spec),
            manager=call.caller.field_manager,
            api_version=call.row.gvk.api_version,
            time=rfc3339(self._clock.now()),
        )
        if managed:
            metadata["managedFields"] = managed
        return Reply(_object(call, metadata=metadata, spec=spec, status=status))


def user_info(user: User) -> Obj:
    """authentication.k8s.io UserInfo, without what is empty."""
    info: Obj = {}
    if user.name:
        info["username"] = user.name
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in sorted(user.extra.items())}
    return info


def _object(call: Call, **parts: Obj) -> Obj:
    return {"kind": call.row.kind, "apiVersion": call.row.gvk.api_version, **parts}


def _spec(call: Call) -> Obj:
    spec: Obj = (call.body or {}).get("spec") or {}
    return spec


def _picked(rule: Obj, fields: tuple[str, ...]) -> Obj:
    return {field: rule[field] for field in fields if rule.get(field)}


def _check_namespace(call: Call, metadata: Obj) -> None:
    if metadata.get("namespace") and metadata["namespace"] != call.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def _reviewed_user(spec: Obj) -> User:
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), extra)


def _attributes(spec: Obj, user: User) -> Attributes:
    resource = spec.get("resourceAttributes")
    if resource is None:
        path = spec["nonResourceAttributes"]
        return Attributes(user, path.get("verb") or "", path=path.get("path") or "", resource_request=False)
    return Attributes(
        user,
        resource.get("verb") or "",
        group=resource.get("group") or "",
        version=resource.get("version") or "",
        resource=resource.get("resource") or "",
        subresource=resource.get("subresource") or "",
        namespace=resource.get("namespace") or "",
        name=resource.get("name") or "",
    )


def _subject_causes(spec: Obj, *, self_review: bool) -> list[Cause]:
    causes: list[Cause] = []
    given = [spec.get(field) is not None for field in ("resourceAttributes", "nonResourceAttributes")]
    if all(given) or not any(given):
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        causes.append(errors.field_invalid("spec", _go_path_attributes(spec), detail))
    if not self_review and not spec.get("user") and not spec.get("groups"):
        causes.append(errors.field_invalid("spec.user", "", "at least one of user or group must be specified"))
    for selector in ("fieldSelector", "labelSelector"):
        found = (spec.get("resourceAttributes") or {}).get(selector)
        if found is not None:
            causes.extend(_selector_causes(found, f"spec.resourceAttributes.{selector}"))
    return causes


def _selector_causes(selector: Obj, path: str) -> list[Cause]:
    raw, requirements = selector.get("rawSelector"), selector.get("requirements")
    if raw and requirements:
        return [errors.field_invalid(f"{path}.rawSelector", raw, "may not specified at the same time as requirements")]
    if not raw and not requirements:
        detail = f"when {path} is specified, requirements or rawSelector is required"
        return [errors.field_required(f"{path}.requirements", detail)]
    return []


def _go_path_attributes(spec: Obj) -> Obj | None:
    """As Go prints the struct inside an error: its field names, not the JSON ones."""
    path = spec.get("nonResourceAttributes")
    return None if path is None else {"Path": path.get("path") or "", "Verb": path.get("verb") or ""}


def _metadata_causes(call: Call, detail: str) -> list[Cause]:
    metadata = {k: v for k, v in ((call.body or {}).get("metadata") or {}).items() if k != "managedFields" and v}
    if call.namespace:
        metadata.pop("namespace", None)
    return [errors.field_invalid("metadata", metadata, detail)] if metadata else []


def _refuse(causes: list[Cause]) -> None:
    if not causes:
        return
    error: ApiError = errors.invalid(_ACCESS_KIND, "", causes)
    if error.details is not None:
        error.details.pop("kind", None)
    raise error
