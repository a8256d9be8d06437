"""Queries over HTTP: `POST /api/v1/query` and `GET /api/v1/trends`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import QUERY_SITE
from analytics_server.http.authorization import Narrowing
from analytics_server.http.declaration import SITE, Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import single_values
from analytics_server.query.answer import Answer, Trends
from analytics_server.query.endpoint_parts import NO_SITE, QUESTION_CODES, query_body
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import QueryRequest
from analytics_server.query.language.shapes import DIMENSION, RANGE_NAME
from analytics_server.query.share_links.narrowing import narrow_query, threshold_of, told_to
from analytics_server.query.share_links.threshold import run_with_threshold
from analytics_server.query.trends import (
    DEFAULT_RANGE,
    DEFAULT_VALUES,
    INTERVALS,
    MAX_VALUES,
    TrendsRequest,
    parse_trends,
    run_trends,
)

# A parameter that is empty is one that was left out.
_INTERVAL = Annotated[str, Meta(extra_json_schema={"enum": [*INTERVALS, ""]})]
_RANGE = Annotated[str, Meta(extra_json_schema={"anyOf": [RANGE_NAME, {"const": ""}]})]
_BREAKDOWN = Annotated[str, Meta(extra_json_schema={"anyOf": [DIMENSION, {"const": ""}]})]
_LIMIT = Annotated[
    object,
    Meta(extra_json_schema={"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_VALUES}, {"const": ""}]}),
]
TRENDS_PARAMETERS = (
    SITE,
    Parameter(name="metrics", about="Separated by commas; `visitors` if left out.", example="visitors,pageviews"),
    Parameter(name="interval", about="Chosen by the length of the range if left out.", type=_INTERVAL),
    Parameter(name="from", about="As in a pair of `date_range`.", example="2026-10-01"),
    Parameter(name="to", about="As in a pair of `date_range`; the last day is included.", example="2026-10-31"),
    Parameter(
        name="date_range",
        about=f"A range with a name or number instead, such as `7d`; `{DEFAULT_RANGE}` if nothing is given.",
        type=_RANGE,
    ),
    Parameter(
        name="breakdown",
        about="A dimension: a row per bucket and value.",
        type=_BREAKDOWN,
        example="visit:source",
    ),
    Parameter(name="filters", about="The JSON of a list of filters."),
    Parameter(name="limit", about=f"How many values of the breakdown; {DEFAULT_VALUES} if left out.", type=_LIMIT),
)


def endpoints(service: QueryService) -> list[Endpoint]:
    """The JSON query and the charts."""

    async def query(call: Call[QueryRequest]) -> Answer:
        threshold = threshold_of(call.caller)
        work = run_with_threshold(service, call.body, threshold) if threshold else service.run(call.body)
        return told_to(call.caller, await work)

    async def trends(call: Call[TrendsRequest]) -> Trends:
        return told_to(call.caller, await run_trends(service, call.body, threshold=threshold_of(call.caller)))

    def narrow(request: QueryRequest, narrowing: Narrowing) -> QueryRequest:
        return narrow_query(service.context, request, narrowing)

    def narrow_trends(request: TrendsRequest, narrowing: Narrowing) -> TrendsRequest:
        return msgspec.structs.replace(request, query=narrow(request.query, narrowing))

    return [
        Endpoint(
            method="POST",
            path="/api/v1/query",
            is_question=True,
            name="query",
            summary="One question, one table",
            tag="query",
            about="Metrics by dimensions, filtered, with comparison.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=query,
            narrow=narrow,
            keeps_threshold=True,
            reading=query_body(service.limits),
            body=Body(
                types=(QueryRequest,),
                examples={
                    "sources": {
                        "site_id": "example.com",
                        "metrics": ["visitors", "pageviews", "bounce_rate"],
                        "date_range": "7d",
                        "dimensions": ["visit:source"],
                        "filters": [["is", "event:page", ["/a", "/b"]]],
                        "order_by": [["visitors", "desc"]],
                        "include": {"total_rows": True, "comparison": "previous_period"},
                        "pagination": {"limit": 100, "offset": 0},
                    },
                    "headline": {"site_id": "example.com", "metrics": ["visitors"], "date_range": "day"},
                },
            ),
            replies=(Reply(about="Rows in the order asked for.", type=Answer),),
            errors={400: QUESTION_CODES, **NO_SITE},
            asks_store=True,
            takes_turns=True,
        ),
        Endpoint(
            method="GET",
            path="/api/v1/trends",
            name="trends",
            summary="Flat rows for a chart, empty buckets filled",
            tag="query",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=trends,
            narrow=narrow_trends,
            keeps_threshold=True,
            parse=_parse_trends,
            parameters=TRENDS_PARAMETERS,
            replies=(Reply(about="One row per bucket, or per bucket and value.", type=Trends),),
            errors={400: QUESTION_CODES, **NO_SITE},
            asks_store=True,
            takes_turns=True,
        ),
    ]


def _parse_trends(request: web.Request) -> TrendsRequest:
    return parse_trends(single_values(request))
