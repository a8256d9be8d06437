"""Files of events over HTTP: `GET /api/v1/export/events`."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import QUERY_SITE
from analytics_server.analyses.event_files.request import (
    CSV_KINDS,
    DEFAULT_FORMAT,
    FORMATS,
    EventsRequest,
    check_request,
)
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.http.declaration import SITE, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import single_values
from analytics_server.http.streams.pieces import send_pieces
from analytics_server.http.streams.row_tally import RowTally
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES, NO_SITE
from analytics_server.query.language.shapes import RANGE_NAME
from analytics_server.query.trends import DEFAULT_RANGE

_FORMAT = Annotated[str, Meta(extra_json_schema={"enum": [*FORMATS, ""]})]
_CSV = Annotated[str, Meta(extra_json_schema={"enum": [*CSV_KINDS, ""]})]
_RANGE = Annotated[str, Meta(extra_json_schema={"anyOf": [RANGE_NAME, {"const": ""}]})]
_PARAMETERS = (
    SITE,
    Parameter(name="date_range", about=f"A range with a name; `{DEFAULT_RANGE}` if nothing is given.", type=_RANGE),
    Parameter(name="from", about="As in a pair of `date_range`.", example="2026-10-01"),
    Parameter(name="to", about="As in a pair of `date_range`; the last day is included.", example="2026-10-31"),
    Parameter(name="filters", about="The JSON of a list of filters; each event is judged by itself."),
    Parameter(
        name="columns",
        about="Columns of `events`, separated by commas; all that the site's profile allows if left out.",
        example="ts,name,path",
    ),
    Parameter(name="format", about=f"The file's format; `{DEFAULT_FORMAT}` if left out.", type=_FORMAT),
    Parameter(
        name="csv",
        about="How CSV holds texts that a spreadsheet would take for formulas: with an apostrophe in front"
        " (`safe`, if left out), or as they are (`raw`, for machines).",
        type=_CSV,
    ),
)


def endpoints(context: QueryContext) -> list[Endpoint]:
    """The one way to the rows themselves that has no limit of rows."""
    files = EventFiles(context)

    async def events(call: Call[EventsRequest]) -> web.StreamResponse:
        asked = call.body
        headers = {
            "Content-Type": FORMATS[asked.format][1],
            "Content-Disposition": f'attachment; filename="events.{asked.format}"',
        }
        tally = RowTally(asked.format)
        pieces = files.write(asked, token_id=call.caller.token_id, tally=tally)
        try:
            return await send_pieces(call.request, pieces, headers, within_s=context.limits.export_timeout_s)
        finally:
            call.trail.rows = tally.rows

    def parse(request: web.Request) -> EventsRequest:
        return check_request(single_values(request))

    return [
        Endpoint(
            method="GET",
            path="/api/v1/export/events",
            name="export_events",
            summary="A site's events as a file",
            tag="query",
            about="Every stored event of the range, column by column as SQL has them, streamed: however many there are."
            " Rows come hour by hour, within an hour by session. A file that breaks off was not whole: the connection"
            " is cut. Ask for a month at a time, and a file that broke off costs a month.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=events,
            parse=parse,
            parameters=_PARAMETERS,
            replies=(
                Reply(
                    about="The events.",
                    formats=tuple(kind.partition(";")[0] for _, kind in FORMATS.values()),
                ),
            ),
            errors={
                400: (
                    "bad_request",
                    "unknown_key",
                    "bad_date_range",
                    "bad_format",
                    "unknown_column",
                    "too_much_memory",
                    *FILTER_CODES,
                ),
                429: ("too_many_queries",),
                503: ("busy",),
                **NO_SITE,
            },
            asks_store=True,
            takes_turns=True,
        ),
    ]
