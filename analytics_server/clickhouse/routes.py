"""ClickHouse's HTTP interface: `GET` and `POST` of a path of the config, and its `ping`."""

from __future__ import annotations

import asyncio

from aiohttp import web

from analytics_server.access.actions import QUERY_SITE
from analytics_server.clickhouse.failures import failure_response
from analytics_server.clickhouse.formats import FORMATS
from analytics_server.clickhouse.request.credentials import credential
from analytics_server.clickhouse.request.question import ClickHouseQuery, read_query
from analytics_server.clickhouse.running import until_ended
from analytics_server.clickhouse.scope import VisibleSites, scope_of
from analytics_server.clickhouse.sending import headers_of, send_answer
from analytics_server.clickhouse.service import ClickhouseService
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, ForeignProtocol, SiteFrom
from analytics_server.http.streams.pieces import NO_STORE
from analytics_server.sql.codes import RUN_CODES

PROTOCOL = ForeignProtocol(credential=credential, refuse=failure_response)
_ERRORS = {
    400: (*RUN_CODES, "bad_body", "bad_format", "bad_request", "bad_setting", "sql_cancelled", "too_many_sites"),
    408: ("request_timeout",),
    413: ("too_large",),
    503: ("busy",),
}
_PARAMETERS = (
    Parameter(
        name="query",
        about="One statement; in a POST the body may be it instead, or go on with it.",
        required=True,
        example="SELECT 1",
    ),
    Parameter(
        name="database",
        about="`analytics` or `default` for all sites of the token, or one site's name.",
        example="example.com",
    ),
    Parameter(name="default_format", about="The answer's format, unless the statement ends with FORMAT."),
    Parameter(
        name="wait_end_of_query",
        about="1: nothing is sent before the answer is whole, so that a late fault has its status; where there is no "
        "room to hold it (`[clickhouse_api] held_mb`) it is sent as it comes.",
    ),
    Parameter(name="enable_http_compression", about="1 for gzip, where `Accept-Encoding` takes it."),
)


def endpoints(service: ClickhouseService) -> list[Endpoint]:
    """Questions, with and without a slash at the end of the path, and the sign of life."""
    path = service.section.path
    return [
        question(service, "GET", f"{path}/", "clickhouse_get"),
        question(service, "POST", f"{path}/", "clickhouse_post"),
        question(service, "GET", path, "clickhouse_get_bare"),
        question(service, "POST", path, "clickhouse_post_bare"),
        sign_of_life(f"{path}/ping", "clickhouse_ping"),
    ]


def question(service: ClickhouseService, method: str, path: str, name: str) -> Endpoint:
    """The endpoint that answers statements."""

    async def ask(call: Call[None]) -> web.StreamResponse:
        query = await read_query(call.request, service.sql.context.limits, service.sql.guard)
        call.trail.asked = query.text.encode("utf-8", "surrogatepass")
        caller = call.caller
        scope = scope_of(query.database, caller, service.site_ids(), most_sites=service.section.sites)
        for site in scope.sites:
            call.authorize(site)
        if len(scope.sites) > 1:
            call.trail.sites, call.trail.resource = scope.sites, scope.database
        with service.running.entered(caller.token_id, query.query_id) as end:
            return await _answered(call, query, scope, end)

    async def _answered(
        call: Call[None], query: ClickHouseQuery, scope: VisibleSites, end: asyncio.Future[None]
    ) -> web.StreamResponse:
        limits = service.sql.limits
        pieces = await service.answer(query, scope, call.caller.token_id, call.caller.token_id)
        if pieces is None:
            return web.Response(headers=headers_of(query, limits.rows))
        pieces = until_ended(pieces, end)
        within_s = limits.timeout_s + limits.send_s
        with service.held.entered() as held:
            return await send_answer(call.request, query, pieces, call.trail, held, rows=limits.rows, within_s=within_s)

    return Endpoint(
        method=method,
        path=path,
        is_question=True,
        name=name,
        summary="A statement by a client of ClickHouse",
        tag="query",
        about="ClickHouse's HTTP interface over the tables `events` and `sessions`, read-only. The token is the "
        "password of Basic authentication, `X-ClickHouse-Key`, the parameter `password`, or a bearer token. Errors "
        "are ClickHouse's: `Code: 60. DB::Exception: … (UNKNOWN_TABLE)`.",
        action=QUERY_SITE,
        site=SiteFrom.HANDLER,
        handle=ask,
        protocol=PROTOCOL,
        allow_head=False,
        parameters=_PARAMETERS,
        replies=(
            Reply(
                about="The answer in its format.",
                formats=tuple(sorted({kind.partition(";")[0] for kind in FORMATS.values()})),
                headers={
                    "X-ClickHouse-Format": "The format.",
                    "X-ClickHouse-Dropped-Settings": "Settings that are not followed.",
                    "X-ClickHouse-Exception-Tag": "What marks an error that comes behind the first rows.",
                    "X-Row-Limit": "An answer longer than so many rows was cut off there.",
                },
            ),
        ),
        errors=_ERRORS,
        asks_store=True,
        takes_turns=True,
    )


def sign_of_life(path: str, name: str) -> Endpoint:
    """The endpoint that says that the server is there."""
    return Endpoint(
        method="GET",
        path=path,
        name=name,
        summary="A sign of life for clients of ClickHouse",
        tag="query",
        action=PUBLIC,
        serve=say_ok,
        replies=(Reply(about="`Ok.`", formats=("text/plain",)),),
    )


async def say_ok(request: web.Request) -> web.Response:
    """What ClickHouse answers where nothing is asked."""
    return web.Response(text="Ok.\n", headers=NO_STORE)
