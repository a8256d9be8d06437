"""What `POST /api/v1/sql` and `GET /api/v1/schema` take and give."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.query.operations import NO_SITE
from analytics_server.sql.answer import FORMATS, SqlAnswer
from analytics_server.sql.schema import SchemaAnswer
from analytics_server.sql.service import SqlRequest

CHECK_CODES = (
    "bad_parameter",
    "bad_sql",
    "sql_not_allowed",
    "sql_too_big",
    "unknown_column",
    "unknown_function",
    "unknown_table",
    "unknown_type",
)
"""What can be wrong with a text, whatever the rows."""
RUN_CODES = (
    *CHECK_CODES,
    "bad_pattern",
    "sql_answer_too_big",
    "sql_failed",
    "sql_memory",
    "sql_timeout",
    "sql_too_much_read",
    "unsupported_join",
)
_CSV = Annotated[str, Meta(extra_json_schema={"enum": ["safe", "raw"]})]
_FORMAT = Annotated[str, Meta(extra_json_schema={"enum": list(FORMATS)})]


def operations() -> list[Operation]:
    """SQL and what it may ask."""
    return [
        Operation(
            method="POST",
            path="/api/v1/sql",
            name="sql",
            summary="A SELECT on the site's events and sessions",
            tag="query",
            about="In ClickHouse's dialect, over the tables `events` and `sessions`. `GET /api/v1/schema` names "
            "columns and functions. Values go into `params` and stand as `{name:Type}` in the text.",
            role="read",
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
        Operation(
            method="GET",
            path="/api/v1/schema",
            name="get_schema",
            summary="Tables, columns, functions and limits of SQL",
            tag="query",
            about="The same for every site.",
            role="read",
            parameters=(Parameter(name="site_id", about="A site the token covers.", example="example.com"),),
            replies=(Reply(about="What can be asked.", type=SchemaAnswer),),
            errors={400: ("bad_request",), **NO_SITE},
            asks_store=True,
            takes_turns=True,
        ),
    ]
