"""Content negotiation: an Accept header → how to answer, a Content-Type → what a body is. Pure, memoised by header.

We answer JSON and YAML. Who asks for protobuf gets JSON, which every client
takes (contract §3.13), and says so in its Content-Type.
Source: apiserver handlers/negotiation; go-restful's own check of Accept comes before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from vapi import errors
from vapi.endpoints.http import JSON, YAML
from vapi.errors import ApiError

MEMO_SIZE = 256  # headers kept; clients send a dozen different ones

PROTOBUF = "application/vnd.kubernetes.protobuf"
MEDIA_TYPES = (JSON, YAML, PROTOBUF)
STREAM_TYPES = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


class Shape(StrEnum):
    """What the object is turned into before it is encoded."""

    OBJECT = ""
    TABLE = "Table"
    PARTIAL = "PartialObjectMetadata"
    PARTIAL_LIST = "PartialObjectMetadataList"


class Endpoint(StrEnum):
    """Which answers an endpoint has to offer."""

    PLAIN = "plain"  # no other shapes: reviews, scale, errors
    OBJECTS = "objects"
    LISTS = "lists"  # their routes also produce streams; matters to the text of a 406
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Answer:
    """`media` is JSON or YAML; `version` of meta.k8s.io for a shape other than the object's own."""

    media: str = JSON
    shape: Shape = Shape.OBJECT
    version: str = "v1"
    pretty: bool = False


PLAIN_JSON = Answer()


@dataclass(frozen=True, slots=True)
class Clause:
    """One element of an Accept header. `parameters` without q."""

    type: str
    quality: float
    parameters: Mapping[str, str]

    def matches(self, media_type: str) -> bool:
        return self.type in (media_type, "*/*", "application/*")


@lru_cache(MEMO_SIZE)
def clauses(accept: str) -> tuple[Clause, ...]:
    """Most wanted first; of equal quality the more specific, then as written."""
    found = [_clause(part) for part in accept.split(",") if part.strip()]
    return tuple(sorted(found, key=lambda c: (-c.quality, c.type.startswith("*/"), c.type.endswith("/*"))))


def _clause(text: str) -> Clause:
    media_type, *rest = text.split(";")
    parameters: dict[str, str] = {}
    quality = 1.0
    for parameter in rest:
        name, _, value = parameter.partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 1.0
        else:
            parameters[name] = value
    return Clause(media_type.strip().lower(), quality, parameters)


def _produced(endpoint: Endpoint) -> tuple[str, ...]:
    return MEDIA_TYPES + STREAM_TYPES if endpoint in (Endpoint.LISTS, Endpoint.WATCH) else MEDIA_TYPES


@lru_cache(MEMO_SIZE)
def negotiate(accept: str, endpoint: Endpoint) -> Answer:
    """Raises ApiError 406, in one of two wordings: no such type at all, or not with these parameters."""
    if not accept:
        return PLAIN_JSON
    wanted = clauses(accept)
    if not any(clause.matches(media) for clause in wanted for media in MEDIA_TYPES):
        listed = ", ".join(_produced(endpoint))
        raise errors.not_acceptable(f"406: Not Acceptable\n\nAvailable representations: {listed}")
    for clause in wanted:
        for media in MEDIA_TYPES:
            if clause.matches(media):
                answer = _accepts(clause, media, endpoint)
                if answer is not None:
                    return PLAIN_JSON if answer == PLAIN_JSON else answer  # one object: tested by identity
    raise not_offered(STREAM_TYPES if endpoint is Endpoint.WATCH else MEDIA_TYPES)


def not_offered(offered: Sequence[str]) -> ApiError:
    """The type would do, its parameters do not."""
    return ApiError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(offered)}")


def _accepts(clause: Clause, media: str, endpoint: Endpoint) -> Answer | None:
    if endpoint is Endpoint.WATCH and media == YAML:
        return None
    parameters = clause.parameters
    if "stream" in parameters and parameters["stream"] != "watch":
        return None
    shape, version = Shape.OBJECT, "v1"
    if "as" in parameters:
        found = _shape(parameters, media, endpoint)
        if found is None:
            return None
        shape, version = found, parameters["v"]
    pretty = parameters.get("pretty") == "1"
    return Answer(YAML if media == YAML else JSON, shape, version, pretty)


def _shape(parameters: Mapping[str, str], media: str, endpoint: Endpoint) -> Shape | None:
    """Which shape `as` asks for; None where this endpoint cannot take it on."""
    if endpoint is Endpoint.PLAIN or parameters.get("g") != "meta.k8s.io":
        return None
    if parameters.get("v") not in ("v1", "v1beta1") or parameters["as"] not in _SHAPES:
        return None
    shape = Shape(parameters["as"])
    return None if shape is Shape.TABLE and media == PROTOBUF else shape


_SHAPES = frozenset(shape.value for shape in Shape if shape)


@lru_cache(MEMO_SIZE)
def error_answer(accept: str) -> Answer:
    """How to answer an error: never with another 406."""
    try:
        return negotiate(accept, Endpoint.PLAIN)
    except ApiError:
        for clause in clauses(accept):
            if clause.type == YAML:
                return Answer(YAML)
        return PLAIN_JSON


_BROWSERS = ("curl", "Wget", "Mozilla/5.0")


def wants_pretty(pretty: str | None, user_agent: str, answer: Answer) -> bool:
    """`?pretty` decides, then the Accept header, then whether somebody is reading."""
    if pretty:
        return pretty in ("1", "t", "T", "true", "TRUE", "True")
    return answer.pretty or user_agent.startswith(_BROWSERS)


@lru_cache(MEMO_SIZE)
def media_type(content_type: str) -> str:
    """Of a Content-Type header, without parameters and in lower case."""
    return content_type.partition(";")[0].strip().lower()


def body_type(content_type: str | None) -> str:
    """Of a POST or PUT: a missing header means JSON. Raises ApiError 415."""
    if not content_type:
        return JSON
    media = media_type(content_type)
    if media not in MEDIA_TYPES:
        accepted = ", ".join(MEDIA_TYPES)
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise ApiError(415, "UnsupportedMediaType", message)
    return media


def patch_type(content_type: str | None) -> str:
    """Of a PATCH. Raises ApiError 415."""
    media = media_type(content_type or "")
    if media not in PATCH_TYPES:
        raise errors.unsupported_media_type("415: Unsupported Media Type")
    return media


def aggregated_discovery(accept: str) -> str | None:
    """The version of APIGroupDiscoveryList that is wanted; None: the plain documents."""
    for clause in clauses(accept):
        parameters = clause.parameters
        if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("g") == "apidiscovery.k8s.io":
            if clause.type in (JSON, PROTOBUF) and parameters.get("v"):
                return parameters["v"]
        elif clause.matches(JSON):
            return None
    return None


def accepts_gzip(accept_encoding: str | None) -> bool:
    return accept_encoding is not None and "gzip" in accept_encoding
