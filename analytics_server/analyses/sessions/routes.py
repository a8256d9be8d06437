"""Sessions over HTTP: the list `POST /api/v1/sessions`, and one session's events.

A session's id is whatever the client chose. In the address it is percent-encoded; an id of dots alone, which
clients take for a directory, goes into the query string: `GET /api/v1/sessions?site_id=…&session_id=…`.
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import QUERY_SITE
from analytics_server.analyses.sessions.request import (
    DEFAULT_EVENTS,
    MAX_OFFSET,
    SESSION_ID_CHARS,
    SessionsAnswer,
    SessionsRequest,
    Timeline,
    TimelineQuestion,
    check_timeline,
)
from analytics_server.analyses.sessions.run import run_sessions, run_timeline
from analytics_server.errors import RequestError
from analytics_server.http.declaration import SITE, Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import single_values
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES, NO_SITE, REQUEST_CODES, query_body

_SESSION = Parameter(
    name="session_id",
    about="The session's id.",
    type=Annotated[str, Meta(min_length=1, max_length=SESSION_ID_CHARS)],
    required=True,
    example="s1",
)
_PARAMETERS = (
    SITE,
    Parameter(name="opened_at", about="Which session of that id, as the list gives it; the newest if left out."),
    Parameter(
        name="limit",
        about=f"How many events; {DEFAULT_EVENTS} if left out, `[limits] query_rows` at most.",
        type=Annotated[int, Meta(ge=1)],
    ),
    Parameter(name="offset", about="How many to skip.", type=Annotated[int, Meta(ge=0, le=MAX_OFFSET)]),
)
_ERRORS = {400: ("bad_request", "unknown_key", "bad_pagination"), 404: ("unknown_site", "unknown_session")}


def endpoints(context: QueryContext) -> list[Endpoint]:
    """The list, and one session's events."""

    async def sessions(call: Call[SessionsRequest]) -> SessionsAnswer:
        return await run_sessions(context, call.body)

    async def timeline(call: Call[TimelineQuestion]) -> Timeline:
        return await run_timeline(context, call.body)

    def parse(request: web.Request) -> TimelineQuestion:
        given = single_values(request)
        if given.keys() & request.match_info.keys():
            raise RequestError("The parameter 'session_id' is given more than once.", code="bad_request")
        return check_timeline({**given, **request.match_info}, max_rows=context.limits.query_rows)

    return [
        Endpoint(
            method="POST",
            path="/api/v1/sessions",
            is_question=True,
            name="sessions",
            summary="Sessions one by one",
            tag="analysis",
            about="Those that begin in the range and pass the filters, the newest first if nothing else is asked for.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=sessions,
            reading=query_body(context.limits),
            body=Body(
                types=(SessionsRequest,),
                examples={
                    "newest": {"site_id": "example.com", "date_range": "7d"},
                    "longest": {
                        "site_id": "example.com",
                        "date_range": "30d",
                        "filters": [["is", "event:page", ["/pricing"]]],
                        "order_by": [["duration_s", "desc"]],
                        "include": {"total_rows": True},
                        "pagination": {"limit": 50, "offset": 0},
                    },
                },
            ),
            replies=(Reply(about="One page of sessions.", type=SessionsAnswer),),
            errors={400: (*REQUEST_CODES, *FILTER_CODES, "bad_order", "bad_pagination"), **NO_SITE},
            asks_store=True,
            takes_turns=True,
        ),
        Endpoint(
            method="GET",
            path="/api/v1/sessions",
            name="session_by_query",
            summary="One session and its events, its id in the query string",
            tag="analysis",
            about="For ids that can't stand in a path.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=timeline,
            parse=parse,
            parameters=(*_PARAMETERS, _SESSION),
            replies=(Reply(about="The session's timeline.", type=Timeline),),
            errors=_ERRORS,
            asks_store=True,
            takes_turns=True,
        ),
        Endpoint(
            method="GET",
            path="/api/v1/sessions/{session_id}",
            name="session",
            summary="One session and its events in order",
            tag="analysis",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=timeline,
            parse=parse,
            parameters=(*_PARAMETERS, _SESSION),
            replies=(Reply(about="The session's timeline.", type=Timeline),),
            errors=_ERRORS,
            asks_store=True,
            takes_turns=True,
        ),
    ]
