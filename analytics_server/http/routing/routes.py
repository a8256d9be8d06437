"""Routes of endpoints: how a request is answered by its declaration, and the audit entry of whatever became of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from aiohttp import web

from analytics_server.errors import AnalyticsError, Forbidden, TooLarge
from analytics_server.http.answer import json_response
from analytics_server.http.audit import AuditTrail, Recorder, append_all, outcome_of, rows_of
from analytics_server.http.authorization import ALL_SITES, ANYWHERE, Action, Authorizer, C, ResourceKind
from analytics_server.http.body import BodyLimits, read_within
from analytics_server.http.endpoint import Call, Endpoint, InnerHandler, InnerQuestion, RawHandler, SiteFrom
from analytics_server.http.routing.refused_site import note_refused_site
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.model import stored_site_id


def route_table(
    endpoints: Iterable[Endpoint],
    authorizer: Authorizer[C],
    recorder: Recorder | None = None,
    cookies: SessionCookies | None = None,
) -> list[web.RouteDef]:
    """The routes of the endpoints; `recorder` takes their audit entries. Handlers raise `AnalyticsError`."""
    cookies = cookies or SessionCookies()
    return [
        web.RouteDef(
            endpoint.method,
            endpoint.path,
            endpoint.serve
            or _refusing(endpoint, _audited(endpoint, _handler(endpoint, authorizer, cookies), recorder)),
            {"allow_head": endpoint.allow_head} if endpoint.method == "GET" else {},
        )
        for endpoint in endpoints
    ]


def inner_handler(
    endpoint: Endpoint, authorizer: Authorizer[C], recorder: Recorder | None, cookies: SessionCookies
) -> InnerHandler:
    """The endpoint for others that ask it within a request: with the rights, limits and audit entry of any call."""
    return _audited(endpoint, _handler(endpoint, authorizer, cookies), recorder)


class _Answer(Protocol):
    async def __call__(
        self, request: web.Request, trail: AuditTrail, inner: InnerQuestion | None
    ) -> web.StreamResponse: ...


def _handler(endpoint: Endpoint, authorizer: Authorizer[C], cookies: SessionCookies) -> _Answer:
    action, handle, reading = endpoint.action, endpoint.handle, endpoint.reading
    assert isinstance(action, Action)
    assert handle is not None
    body_type: Any = None if endpoint.body is None else endpoint.body.types[0]

    async def answer(request: web.Request, trail: AuditTrail, inner: InnerQuestion | None) -> web.StreamResponse:
        named, protocol = request.match_info if inner is None else inner.named, endpoint.protocol
        try:
            if protocol is not None:
                cookies.check_page(request)
            credential = (protocol or cookies).credential(request)
        except Forbidden:  # of a page of another address: the entry tells in whose name
            with contextlib.suppress(AnalyticsError):
                stated = cookies.stated(request) if protocol is None else protocol.credential(request)
                trail.caller = await authorizer.authenticate(stated)
                _note_address(trail, request, named, is_asked=protocol is None)
            raise
        trail.caller = caller = await authorizer.authenticate(credential)
        _note_address(trail, request, named, is_asked=protocol is None)
        authorizer.authorize(caller, action, ALL_SITES if action.resource is ResourceKind.ALL_SITES else ANYWHERE)
        # Every authenticated call passes here: the place for limits of a caller's rate.
        body = None if endpoint.parse is None else endpoint.parse(request)
        if body_type is not None:
            trail.body = text = await _body_of(request, reading, inner)
            if endpoint.is_question:
                trail.asked = text
            body = reading.decode(text or reading.if_empty, body_type)
        if caller.narrowed_by is not None:
            if endpoint.narrow is None:
                raise Forbidden(caller.narrowed_by.refusal)
            body = endpoint.narrow(body, caller.narrowed_by)
        call = Call(
            request,
            caller,
            body,
            lambda resource: authorizer.authorize(caller, action, resource),
            action.resource is not ResourceKind.SITE,
            trail,
            named,
        )
        if endpoint.site is not None and endpoint.site is not SiteFrom.HANDLER:
            call.authorize(_site_id(endpoint.site, call))
        result = await handle(call)
        if not call.is_authorized:
            raise RuntimeError(f"{endpoint.route} answered without asking whether the caller may.")
        if trail.rows is None:
            trail.rows = rows_of(result)
        if isinstance(result, web.StreamResponse):
            return result
        return web.Response(status=endpoint.status) if result is None else json_response(result, status=endpoint.status)

    return answer


def _audited(endpoint: Endpoint, answer: _Answer, recorder: Recorder | None) -> InnerHandler:
    """The handler, with an audit entry of what was done by whom. That of a change is durable before it is answered."""
    assert isinstance(endpoint.action, Action)
    action = endpoint.action.name

    async def audited(request: web.Request, inner: InnerQuestion | None = None) -> web.StreamResponse:
        trail = AuditTrail()
        if recorder is None:
            return await answer(request, trail, inner)
        try:
            response = await answer(request, trail, inner)
        except BaseException as error:
            try:
                if isinstance(error, AnalyticsError) and trail.caller is not None:
                    await note_refused_site(trail, trail.caller, endpoint, request, inner)
            finally:
                for entry in trail.entries(action, endpoint.name, outcome_of(error)):
                    recorder.note(entry)
            raise
        entries = trail.entries(action, endpoint.name, trail.outcome)
        if endpoint.changes and not response.prepared:
            await append_all(recorder, entries)
        else:
            for entry in entries:
                recorder.note(entry)
        return response

    return audited


async def _body_of(request: web.Request, reading: BodyLimits, inner: InnerQuestion | None) -> bytes:
    if inner is None:
        return await read_within(request, reading.most_bytes, reading.too_large)
    if len(inner.body) > reading.most_bytes:
        raise TooLarge(reading.too_large)
    return inner.body


def _refusing(endpoint: Endpoint, answer: RawHandler) -> RawHandler:
    """The handler, with errors in the endpoint's own protocol, and without the requests that are another's."""
    protocol, otherwise = endpoint.protocol, endpoint.otherwise
    if protocol is None:
        return answer
    needed = {parameter.name for parameter in endpoint.parameters if parameter.required}

    async def refusing(request: web.Request) -> web.StreamResponse:
        if otherwise is not None and not (request.method == endpoint.method and needed <= request.query.keys()):
            return await otherwise(request)
        try:
            return await answer(request)
        except AnalyticsError as error:
            return protocol.refuse(request, error)

    return refusing


def _note_address(trail: AuditTrail, request: web.Request, named: Mapping[str, str], *, is_asked: bool) -> None:
    """What the path names, and what the query string asks."""
    trail.site_id = stored_site_id(named.get("site_id", ""))
    trail.resource = "/".join(value for name, value in named.items() if name != "site_id")
    trail.asked = request.query_string.encode("utf-8", "surrogatepass") if is_asked else b""


def _site_id(where: SiteFrom, call: Call[Any]) -> str:
    return call.path("site_id") if where is SiteFrom.PATH else str(call.body.site_id)
