"""Flat rows over HTTP, `GET /api/v1/flat/…`: each answer is one JSON array, as Grafana's Infinity data source reads it.

What they say is what the endpoints of the same reports say; only the shape is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import QUERY_SITE
from analytics_server.analyses.cohorts.request import CohortsRequest
from analytics_server.analyses.cohorts.run import run_cohorts
from analytics_server.analyses.funnels.definition import FunnelRequest
from analytics_server.analyses.funnels.routes import FUNNEL_CODES
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.errors import RequestError
from analytics_server.flat.rows import Row, rows_of_answer, rows_of_cohorts, rows_of_funnel, rows_of_trends
from analytics_server.http.declaration import SITE, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import is_number_within, known_values, single_values
from analytics_server.query.context import zone_of
from analytics_server.query.endpoint_parts import FILTER_CODES, NO_SITE, QUESTION_CODES, REQUEST_CODES
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import QueryRequest
from analytics_server.query.language.shapes import DIMENSION, RANGE_NAME
from analytics_server.query.routes import TRENDS_PARAMETERS
from analytics_server.query.trends import (
    DEFAULT_RANGE,
    TrendsRequest,
    date_range_of,
    filters_of,
    find_trends,
    parse_trends,
)

PATH = "/api/v1/flat"
DEFAULT_ROWS = 20
MAX_ROWS = 1_000

_RANGE = Annotated[str, Meta(extra_json_schema={"anyOf": [RANGE_NAME, {"const": ""}]})]
_DIMENSION = Annotated[str, Meta(extra_json_schema=DIMENSION)]
_BREAKDOWN = Annotated[str, Meta(extra_json_schema={"anyOf": [DIMENSION, {"const": ""}]})]
_LIMIT = Annotated[
    object, Meta(extra_json_schema={"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_ROWS}, {"const": ""}]})
]
_COMMON = (
    SITE,
    Parameter(
        name="from", about="As in a pair of `date_range`; epoch milliseconds are taken too.", example="2026-10-01"
    ),
    Parameter(name="to", about="As in a pair of `date_range`; the last day is included.", example="2026-10-31"),
    Parameter(
        name="date_range",
        about=f"A range with a name or number instead, such as `7d`; `{DEFAULT_RANGE}` if nothing is given.",
        type=_RANGE,
    ),
    Parameter(name="filters", about="The JSON of a list of filters."),
)
_METRICS = Parameter(name="metrics", about="Separated by commas; `visitors` if left out.", example="visitors")
_BY_DIMENSION = Parameter(name="breakdown", about="A dimension: rows for each value.", type=_BREAKDOWN)
R = TypeVar("R", bound=msgspec.Struct)


def endpoints(queries: QueryService, funnels: FunnelService) -> list[Endpoint]:
    """The reports that panels are made of. Links that show a part of a site can't ask them."""
    context = queries.context

    async def trends(call: Call[TrendsRequest]) -> list[Row]:
        found = await find_trends(queries, call.body)
        return rows_of_trends(found.trends, found.begins)

    async def table(call: Call[QueryRequest]) -> list[Row]:
        return rows_of_answer(await queries.run(call.body))

    async def funnel(call: Call[FunnelRequest]) -> list[Row]:
        return rows_of_funnel(await funnels.run(call.body), by_value=call.body.breakdown is not None)

    async def cohorts(call: Call[CohortsRequest]) -> list[Row]:
        return rows_of_cohorts(await run_cohorts(context, call.body), zone_of(context.site(call.body.site_id)))

    def declare(name: str, summary: str, about: str, **more: Any) -> Endpoint:
        return Endpoint(
            method="GET",
            path=f"{PATH}/{name}",
            name=f"flat_{name}",
            summary=summary,
            tag="query",
            about=about,
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            replies=(Reply(about="Rows with the same keys each; none where there is nothing.", type=list[Row]),),
            asks_store=True,
            takes_turns=True,
            **more,
        )

    return [
        declare(
            "trends",
            "A report by time as a plain array",
            "The rows of `GET /api/v1/trends`, `time` in epoch milliseconds and the breakdown as `value`.",
            handle=trends,
            parse=lambda request: parse_trends(single_values(request)),
            parameters=TRENDS_PARAMETERS,
            errors={400: QUESTION_CODES, **NO_SITE},
        ),
        declare(
            "totals",
            "A report's numbers as a plain array",
            "One row with the metrics.",
            handle=table,
            parse=_totals,
            parameters=(*_COMMON, _METRICS),
            errors={400: QUESTION_CODES, **NO_SITE},
        ),
        declare(
            "breakdown",
            "The values of a dimension as a plain array",
            "`value` and the metrics, the greatest of the first metric first.",
            handle=table,
            parse=_breakdown,
            parameters=(
                *_COMMON,
                Parameter(
                    name="dimension",
                    about="What to divide by.",
                    type=_DIMENSION,
                    required=True,
                    example="visit:source",
                ),
                _METRICS,
                Parameter(name="limit", about=f"How many values; {DEFAULT_ROWS} if left out.", type=_LIMIT),
            ),
            errors={400: QUESTION_CODES, **NO_SITE},
        ),
        declare(
            "funnel",
            "A saved funnel as a plain array",
            "A row per step; with a breakdown per value and step.",
            handle=funnel,
            parse=_funnel,
            parameters=(
                *_COMMON,
                Parameter(
                    name="funnel",
                    about="Id or name of a saved funnel.",
                    required=True,
                    example="From price to purchase",
                ),
                _BY_DIMENSION,
            ),
            errors={400: FUNNEL_CODES, 404: ("unknown_funnel", "unknown_site")},
        ),
        declare(
            "cohorts",
            "Retention as a plain array",
            "A row per cohort and period after it.",
            handle=cohorts,
            parse=_cohorts,
            parameters=(
                *_COMMON,
                Parameter(name="period", about="`day`, `week` or `month`; `week` if left out.", example="week"),
                Parameter(name="by", about="`user`, `session` or `visitor`; `user` if left out.", example="user"),
            ),
            errors={400: (*REQUEST_CODES, *FILTER_CODES, "too_many_cohorts", "too_many_cells"), **NO_SITE},
        ),
    ]


def _given(request: web.Request, *names: str) -> tuple[dict[str, str], dict[str, object]]:
    """The parameters, and those that all reports share as they stand in a body. Raises `RequestError`."""
    given = known_values(request, *(one.name for one in _COMMON), *names)
    if not given["site_id"]:
        raise RequestError("site_id is missing: name the site.", code="bad_request")
    shared: dict[str, object] = {"site_id": given["site_id"], "date_range": date_range_of(given)}
    # Without filters there is no key: beside a saved funnel's own there may be none.
    return given, shared | ({"filters": filters_of(given["filters"])} if given["filters"] else {})


def _filled(given: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: given[name] for name in names if given[name]}


def _made(kind: type[R], body: Mapping[str, object]) -> R:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestError(f"{error}.", code="bad_request") from error


def _metrics(given: Mapping[str, str]) -> list[str]:
    return [part.strip() for part in (given["metrics"] or "visitors").split(",") if part.strip()]


def _totals(request: web.Request) -> QueryRequest:
    given, shared = _given(request, "metrics")
    return _made(QueryRequest, {**shared, "metrics": _metrics(given)})


def _breakdown(request: web.Request) -> QueryRequest:
    given, shared = _given(request, "dimension", "metrics", "limit")
    limit = given["limit"] or str(DEFAULT_ROWS)
    if not is_number_within(limit, MAX_ROWS):
        raise RequestError(f"limit must be a number from 1 to {MAX_ROWS}.", code="bad_request")
    if not given["dimension"] or given["dimension"].split(":")[0] == "time":
        raise RequestError("Name a dimension that is no time, such as ?dimension=visit:source.", code="bad_request")
    return _made(
        QueryRequest,
        {
            **shared,
            "metrics": _metrics(given),
            "dimensions": [given["dimension"]],
            "pagination": {"limit": int(limit)},
        },
    )


def _funnel(request: web.Request) -> FunnelRequest:
    given, shared = _given(request, "funnel", "breakdown")
    if not given["funnel"]:
        raise RequestError("Name a saved funnel: ?funnel=NAME.", code="bad_request")
    return _made(FunnelRequest, {**shared, **_filled(given, "funnel", "breakdown")})


def _cohorts(request: web.Request) -> CohortsRequest:
    given, shared = _given(request, "period", "by")
    return _made(CohortsRequest, {**shared, **_filled(given, "period", "by")})
