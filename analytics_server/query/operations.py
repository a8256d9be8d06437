"""What `POST /api/v1/query` and `GET /api/v1/trends` take and give."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.query.answer import Answer, Trends
from analytics_server.query.language.request import QueryRequest
from analytics_server.query.language.shapes import DIMENSION
from analytics_server.query.language.time_range import RANGE_NAMES
from analytics_server.query.trends import DEFAULT_RANGE, DEFAULT_VALUES, INTERVALS, MAX_VALUES

SITE = Parameter(
    name="site_id",
    about="The site.",
    type=Annotated[str, Meta(min_length=1, pattern=r"\S")],
    required=True,
    example="example.com",
)
NO_SITE = {404: ("unknown_site",)}
FILTER_CODES = (
    "bad_filter",
    "bad_goal",
    "bad_pattern",
    "too_complex",
    "unknown_dimension",
    "unknown_goal",
    "unknown_operator",
    "unknown_segment",
    "unsupported_dimension",
)
REQUEST_CODES = ("bad_json", "bad_request", "unknown_key", "bad_date_range")
QUESTION_CODES = (
    *REQUEST_CODES,
    *FILTER_CODES,
    "bad_order",
    "bad_pagination",
    "several_currencies",
    "too_many_buckets",
    "unknown_metric",
    "unsupported_combination",
)

# A parameter that is empty is one that was left out.
_INTERVAL = Annotated[str, Meta(extra_json_schema={"enum": [*INTERVALS, ""]})]
_RANGE = Annotated[str, Meta(extra_json_schema={"enum": [*RANGE_NAMES, ""]})]
_BREAKDOWN = Annotated[str, Meta(extra_json_schema={"anyOf": [DIMENSION, {"const": ""}]})]
_LIMIT = Annotated[
    object,
    Meta(extra_json_schema={"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_VALUES}, {"const": ""}]}),
]


def operations() -> list[Operation]:
    """The JSON query and the charts."""
    return [
        Operation(
            method="POST",
            path="/api/v1/query",
            name="query",
            summary="One question, one table",
            tag="query",
            about="Metrics by dimensions, filtered, with comparison.",
            role="read",
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
        Operation(
            method="GET",
            path="/api/v1/trends",
            name="trends",
            summary="Flat rows for a chart, empty buckets filled",
            tag="query",
            role="read",
            parameters=(
                SITE,
                Parameter(
                    name="metrics",
                    about="Separated by commas; `visitors` if left out.",
                    example="visitors,pageviews",
                ),
                Parameter(name="interval", about="Chosen by the length of the range if left out.", type=_INTERVAL),
                Parameter(name="from", about="As in a pair of `date_range`.", example="2026-10-01"),
                Parameter(
                    name="to", about="As in a pair of `date_range`; the last day is included.", example="2026-10-31"
                ),
                Parameter(
                    name="date_range",
                    about=f"A named range instead; `{DEFAULT_RANGE}` if nothing is given.",
                    type=_RANGE,
                ),
                Parameter(
                    name="breakdown",
                    about="A dimension: a row per bucket and value.",
                    type=_BREAKDOWN,
                    example="visit:source",
                ),
                Parameter(name="filters", about="The JSON of a list of filters."),
                Parameter(
                    name="limit",
                    about=f"How many values of the breakdown; {DEFAULT_VALUES} if left out.",
                    type=_LIMIT,
                ),
            ),
            replies=(Reply(about="One row per bucket, or per bucket and value.", type=Trends),),
            errors={400: QUESTION_CODES, **NO_SITE},
            asks_store=True,
            takes_turns=True,
        ),
    ]
