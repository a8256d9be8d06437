"""SQL over HTTP: `POST /api/v1/sql` and `GET /api/v1/schema`.

The status is sent with the first piece of the answer: until then every fault becomes an
error answer. A fault after that cuts the connection, so that no half answer looks whole.
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import QUERY_SITE, VIEW_SCHEMA
from analytics_server.errors import RequestError
from analytics_server.http.answer import json_response
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import single_values
from analytics_server.http.streams.pieces import NO_STORE, send_pieces
from analytics_server.http.streams.row_tally import RowTally
from analytics_server.query.endpoint_parts import NO_SITE, query_body
from analytics_server.sql.answer import FORMATS, SqlAnswer
from analytics_server.sql.codes import RUN_CODES
from analytics_server.sql.schema import SchemaAnswer, describe
from analytics_server.sql.service import SqlRequest, SqlService

CSV_KINDS = ("safe", "raw")

_CSV = Annotated[str, Meta(extra_json_schema={"enum": list(CSV_KINDS)})]
_FORMAT = Annotated[str, Meta(extra_json_schema={"enum": list(FORMATS)})]


def endpoints(service: SqlService) -> list[Endpoint]:
    """SQL and what it may ask."""

    async def sql(call: Call[SqlRequest]) -> web.StreamResponse:
        format_, raw_csv = _format(call.request)
        tally = RowTally(format_, heads=1 if format_ == "csv" else 0)
        try:
            return await _answer(call, service, format_, raw_csv, tally)
        finally:
            call.trail.rows = tally.rows

    async def schema(call: Call[None]) -> web.Response:
        site_id = single_values(call.request).get("site_id", "")
        if site_id:
            call.authorize(site_id)
        response = json_response(await describe(service, site_id))
        response.headers.update(NO_STORE)
        return response

    return [
        Endpoint(
            method="POST",
            path="/api/v1/sql",
            is_question=True,
            name="sql",
            summary="A SELECT on the site's events and sessions",
            tag="query",
            about="In ClickHouse's dialect, over the tables `events` and `sessions`. `GET /api/v1/schema` names "
            "columns and functions. Values go into `params` and stand as `{name:Type}` in the text.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=sql,
            reading=query_body(service.context.limits),
            parameters=(
                Parameter(
                    name="format", about="The answer's format; `json` if left out.", type=_FORMAT, example="json"
                ),
                Parameter(
                    name="csv",
                    about="How CSV holds texts that a spreadsheet would take for formulas: with an apostrophe in front"
                    " (`safe`, if left out), or as they are (`raw`, for machines).",
                    type=_CSV,
                    example="safe",
                ),
            ),
            body=Body(
                types=(SqlRequest,),
                examples={
                    "pages": {
                        "site_id": "example.com",
                        "query": "SELECT path, count() AS views FROM events WHERE name = {name:String} "
                        "GROUP BY path ORDER BY views DESC LIMIT 10",
                        "params": {"name": "pageview"},
                    }
                },
            ),
            replies=(
                Reply(
                    about="Columns and rows; `meta.truncated` says whether rows were cut off.",
                    type=SqlAnswer,
                    formats=tuple(kind.partition(";")[0] for name, (_, kind) in FORMATS.items() if name != "json"),
                    headers={"X-Row-Limit": "An answer longer than so many rows was cut off there."},
                ),
            ),
            errors={
                400: (*RUN_CODES, "bad_format", "bad_json", "bad_request", "unknown_key"),
                429: ("too_many_queries",),
                503: ("busy",),
                **NO_SITE,
            },
            asks_store=True,
            takes_turns=True,
        ),
        Endpoint(
            method="GET",
            path="/api/v1/schema",
            name="get_schema",
            summary="Tables, columns, functions and limits of SQL",
            tag="query",
            about="The same for every site, but for columns that its profile leaves out.",
            action=VIEW_SCHEMA,
            handle=schema,
            parameters=(Parameter(name="site_id", about="A site the token covers.", example="example.com"),),
            replies=(Reply(about="What can be asked.", type=SchemaAnswer),),
            errors={400: ("bad_request",), **NO_SITE},
            asks_store=True,
            takes_turns=True,
        ),
    ]


async def _answer(
    call: Call[SqlRequest], service: SqlService, format_: str, raw_csv: bool, tally: RowTally
) -> web.StreamResponse:
    limits = service.limits
    return await send_pieces(
        call.request,
        service.run(call.body, format_, token_id=call.caller.token_id, raw_csv=raw_csv, tally=tally),
        {"X-Row-Limit": str(limits.rows)} | ({"Content-Type": FORMATS[format_][1]} if format_ in FORMATS else {}),
        within_s=limits.timeout_s + limits.send_s,
    )


def _format(request: web.Request) -> tuple[str, bool]:
    """The format, and whether CSV is wanted raw. Raises `RequestError`."""
    unknown = sorted(set(request.query) - {"format", "csv"})
    if unknown:
        raise RequestError(
            f"There is no parameter {unknown[0]!r}: format and csv are the only ones.", code="unknown_key"
        )
    given = single_values(request)
    kind = given.get("csv", "safe")
    if kind not in CSV_KINDS:
        raise RequestError(f"csv is one of {', '.join(CSV_KINDS)}.", code="bad_format")
    return given.get("format", "json"), kind == "raw"
