"""Handlers: one coroutine a verb, from a routed request to the registry and back to an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from vapi import encoding, errors
from vapi.cacher.entry import Entry
from vapi.endpoints import negotiate, options
from vapi.endpoints.forms import Forms
from vapi.endpoints.http import LARGE_BODY_BYTES, YAML, ApiRequest, ApiResponse
from vapi.endpoints.negotiate import PLAIN_JSON, Answer, Endpoint, Shape
from vapi.endpoints.options import DeleteRequest, WriteOptions
from vapi.endpoints.request import Query, RequestInfo
from vapi.endpoints.responses import list_response, object_response, status_response
from vapi.endpoints.routing import Route
from vapi.endpoints.watch import Watches
from vapi.errors import ApiError
from vapi.gvk import GVK, Obj
from vapi.registry.caller import Caller, PatchRequest
from vapi.registry.graft import OBJECT_SUBRESOURCES
from vapi.registry.registry import Registry
from vapi.registry.virtual import Call, CallHandler, CallTable
from vapi.registry.writes import Written
from vapi.resources import table
from vapi.resources.resource import Propagation, Resource, Verb

APPLY = "application/apply-patch+yaml"
STRATEGIC = "application/strategic-merge-patch+json"
LARGE_YAML_BYTES = 64 << 10  # 10 µs a line (schema.decode): from here on in a thread
ORPHANING_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or "
    "set propagationPolicy=Orphan to suppress this warning"
)


class DecodedBody(Protocol):
    @property
    def obj(self) -> Obj: ...

    @property
    def warnings(self) -> Sequence[str]: ...


class Decoder(Protocol):
    """Bodies in JSON, YAML or protobuf → a private object, checked against its schema."""

    def decode(
        self,
        data: bytes,
        content_type: str,
        row: Resource,
        gvk: GVK,
        field_validation: str,
        accepted: Sequence[GVK] = (),
    ) -> DecodedBody:
        """Of a create or update. `gvk` is expected, the row's or a subresource's; `accepted` may come instead.

        Pure, and does not await. Raises ApiError 400.
        """

    def decode_options(self, data: bytes, content_type: str) -> Obj:
        """DeleteOptions, of whichever apiVersion. Raises ApiError 400."""


@dataclass(slots=True)
class Exchange:
    """One routed and authorized request."""

    request: ApiRequest
    info: RequestInfo
    query: Query
    route: Route
    caller: Caller
    accept: str

    @property
    def namespace(self) -> str:
        """ "" for cluster-scoped resources; the path of a Namespace names itself, which only matters to RBAC."""
        return self.info.namespace if self.route.row.namespaced else ""

    def answer(self, endpoint: Endpoint) -> Answer:
        """Raises ApiError 406."""
        return negotiate.negotiate(self.accept, endpoint)


class Handlers:
    def __init__(
        self, *, registry: Registry, decoder: Decoder, forms: Forms, watches: Watches, calls: CallTable
    ) -> None:
        self._registry = registry
        self._decoder = decoder
        self._forms = forms
        self._watches = watches
        self._calls = calls
        self._large = asyncio.Lock()
        self._by_verb: Mapping[Verb, Callable[[Exchange], Awaitable[ApiResponse]]] = {
            Verb.GET: self._get,
            Verb.LIST: self._list,
            Verb.WATCH: self._watch,
            Verb.CREATE: self._create,
            Verb.UPDATE: self._update,
            Verb.PATCH: self._patch,
            Verb.DELETE: self._delete,
            Verb.DELETECOLLECTION: self._delete_collection,
        }

    async def handle(self, exchange: Exchange) -> ApiResponse:
        """Raises ApiError."""
        route = exchange.route
        sub = route.subresource
        row = route.row
        if sub is not None or row.stored is None:
            call = self._calls.get((row.gvr.group, row.gvr.resource, sub.name if sub else ""))
            if call is not None:
                return await self._call(exchange, call)
            if sub is None or sub.name not in OBJECT_SUBRESOURCES:
                raise errors.unknown_resource()
        return await self._by_verb[route.verb](exchange)

    # --- reads ----------------------------------------------------------------------------------------

    async def _get(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.OBJECTS)
        row = x.route.row
        entry = await self._registry.get(row, x.namespace, x.info.name, resource_version=x.query.get("resourceVersion"))
        if answer is PLAIN_JSON:
            body = self._forms.plain(row).single(entry, entry.revision)
            return await object_response(200, body, x.request, x.query, answer)
        return await self._entry_response(x, 200, entry, answer)

    async def _entry_response(self, x: Exchange, status: int, entry: Entry, answer: Answer) -> ApiResponse:
        if answer.shape is Shape.PARTIAL_LIST:
            raise _not_that_shape("you requested PartialObjectMetadataList, but the requested object is not a list")
        form = self._forms.form(x.route.row, answer, x.query.get("includeObject"))
        return await object_response(status, form.single(entry, entry.revision), x.request, x.query, answer)

    async def _list(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.LISTS)
        if answer.shape is Shape.PARTIAL:
            raise _not_that_shape("you requested PartialObjectMetadata, but the requested object is a list")
        form = self._forms.form(x.route.row, answer, x.query.get("includeObject"))
        listing = await self._registry.list(x.route.row, x.namespace, options.list_options(x.query))
        return await list_response(listing, form, x.request, x.query, answer)

    async def _watch(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.WATCH)
        row = x.route.row
        source = self._watches.source(row, answer, x.query.get("includeObject"))
        name = x.info.name if x.info.old_watch else ""
        watcher = await self._registry.watch(row, x.namespace, name, options.watch_options(x.query))
        return self._watches.response(watcher, source)

    # --- writes ---------------------------------------------------------------------------------------

    async def _create(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.OBJECTS)
        obj = await self._body(x, self._write_options(x, "CreateOptions"))
        written = await self._registry.create(x.caller, x.route.row, x.namespace, obj)
        return await self._written(x, 201, written, answer)

    async def _update(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.OBJECTS)
        obj = await self._body(x, self._write_options(x, "UpdateOptions"))
        sub = x.route.subresource
        written = await self._registry.update(
            x.caller, x.route.row, x.namespace, x.info.name, obj, subresource=sub.name if sub else ""
        )
        return await self._written(x, 201 if written.created else 200, written, answer)

    async def _patch(self, x: Exchange) -> ApiResponse:
        patch = self._patch_request(x)
        answer = x.answer(Endpoint.OBJECTS)
        sub = x.route.subresource
        # what a large patch makes is decoded, compared and encoded in one step: one at a time, as large bodies are
        async with self._large if len(patch.body) > LARGE_BODY_BYTES else contextlib.nullcontext():
            written = await self._registry.patch(
                x.caller, x.route.row, x.namespace, x.info.name, patch, subresource=sub.name if sub else ""
            )
        return await self._written(x, 201 if written.created else 200, written, answer)

    async def _written(self, x: Exchange, status: int, written: Written, answer: Answer) -> ApiResponse:
        entry = written.entry
        if answer is PLAIN_JSON:
            body = self._forms.plain(x.route.row).single(entry, entry.revision)
            return await object_response(status, body, x.request, x.query, answer)
        return await self._entry_response(x, status, entry, answer)

    def _write_options(self, x: Exchange, kind: str, *, apply: bool = False) -> WriteOptions:
        """Options of the query, and what of them the caller carries."""
        found = options.write_options(x.query, kind, apply=apply)
        caller = x.caller
        caller.dry_run = found.dry_run
        caller.field_manager = found.field_manager or options.default_field_manager(
            x.request.headers.get("User-Agent") or ""
        )
        return found

    def _patch_request(self, x: Exchange) -> PatchRequest:
        media = negotiate.patch_type(x.request.headers.get("Content-Type"))
        if media == STRATEGIC and x.route.row.custom:
            accepted = ", ".join(kind for kind in negotiate.PATCH_TYPES if kind != STRATEGIC)
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise ApiError(415, "UnsupportedMediaType", message)
        found = self._write_options(x, "PatchOptions", apply=media == APPLY)
        return PatchRequest(
            content_type=media,
            body=x.request.body,
            force=bool(found.force),
            field_validation=found.field_validation,
        )

    async def _body(self, x: Exchange, found: WriteOptions) -> Obj:
        media = negotiate.body_type(x.request.headers.get("Content-Type"))
        data = x.request.body
        decode = partial(
            self._decoder.decode,
            data,
            media,
            x.route.row,
            x.route.body_gvk,
            found.field_validation,
            x.route.accepted_gvks,
        )
        if media == YAML and len(data) > LARGE_YAML_BYTES:
            async with self._large:
                decoded = await asyncio.to_thread(decode)
        elif len(data) > LARGE_BODY_BYTES:
            async with self._large:
                decoded = decode()
                await asyncio.sleep(0)  # others get a turn before the next large one
        else:
            decoded = decode()
        for text in decoded.warnings:
            x.caller.warn(text)
        return decoded.obj

    # --- deletes --------------------------------------------------------------------------------------

    async def _delete(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.OBJECTS)
        wanted = self._delete_request(x)
        row, name = x.route.row, x.info.name
        _warn_of_orphans(x, wanted)
        written = await self._registry.delete(x.caller, row, x.namespace, name, wanted.options)
        if not written.removed or row.delete_returns_object:
            # 202: the client asked for dependents to go first, and they have not. Source: handlers/delete.go
            pending = not written.removed and wanted.options.orphan_dependents is False
            return await self._entry_response(x, 202 if pending else 200, written.entry, answer)
        return status_response(200, deleted_status(row, written.entry), x.request)

    def _delete_request(self, x: Exchange) -> DeleteRequest:
        body = None
        if x.request.body:
            media = negotiate.body_type(x.request.headers.get("Content-Type"))
            body = self._decoder.decode_options(x.request.body, media)
        found = options.delete_options(x.query, body)
        x.caller.dry_run = found.dry_run
        return found

    async def _delete_collection(self, x: Exchange) -> ApiResponse:
        answer = x.answer(Endpoint.LISTS)
        wanted = self._delete_request(x)
        _warn_of_orphans(x, wanted)
        form = self._forms.form(x.route.row, answer, x.query.get("includeObject"))
        listing = await self._registry.delete_collection(
            x.caller, x.route.row, x.namespace, options.list_options(x.query), wanted.options
        )
        return await list_response(listing, form, x.request, x.query, answer)

    # --- calls ----------------------------------------------------------------------------------------

    async def _call(self, x: Exchange, handler: CallHandler) -> ApiResponse:
        """Reviews, scale, eviction, tokens: a handler of the call table."""
        route = x.route
        answer = x.answer(_call_endpoint(route))
        body: Obj | None = None
        patch: PatchRequest | None = None
        if route.verb is Verb.CREATE:
            body = await self._body(x, self._write_options(x, "CreateOptions"))
        elif route.verb is Verb.UPDATE:
            body = await self._body(x, self._write_options(x, "UpdateOptions"))
        elif route.verb is Verb.PATCH:
            patch = self._patch_request(x)
        sub = route.subresource.name if route.subresource else ""
        reply = await handler(
            Call(x.caller, route.row, sub, route.verb, x.namespace, x.info.name, body=body, patch=patch)
        )
        return await self._reply(x, reply.obj, reply.code, answer)

    async def _reply(self, x: Exchange, obj: Obj, code: int, answer: Answer) -> ApiResponse:
        if obj.get("kind") == "Status" or answer.shape is Shape.OBJECT:
            return await object_response(code, encoding.dumps(obj), x.request, x.query, answer)
        if answer.shape is Shape.TABLE:
            form = self._forms.table(table.scale_printer(), answer, x.query.get("includeObject"))
            return await object_response(code, form.of_object(obj), x.request, x.query, answer)
        reduced = table.partial_metadata(obj, version=answer.version)
        return await object_response(code, reduced, x.request, x.query, answer)


def _warn_of_orphans(x: Exchange, wanted: DeleteRequest) -> None:
    """Before the delete, whatever becomes of it. Source: pkg/registry/batch/job/storage Delete."""
    row, choice = x.route.row, wanted.options
    if row.default_propagation is not Propagation.ORPHAN or row.gvr.group != "batch":
        return
    if choice.propagation is None and choice.orphan_dependents is None:
        x.caller.warn(ORPHANING_WARNING)


def deleted_status(row: Resource, entry: Entry) -> Obj:
    """The Status Success of a DELETE whose object is gone."""
    details: Obj = {"name": entry.name}
    if row.gvr.group:
        details["group"] = row.gvr.group
    details |= {"kind": row.gvr.resource, "uid": entry.uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _not_that_shape(message: str) -> ApiError:
    return ApiError(406, "NotAcceptable", message)


def _call_endpoint(route: Route) -> Endpoint:
    """Scale can be printed; reviews and the like cannot."""
    sub = route.subresource
    return Endpoint.OBJECTS if sub is not None and sub.name == "scale" else Endpoint.PLAIN
