"""What the routes of sessions take and give."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.analyses.sessions.request import (
    DEFAULT_EVENTS,
    MAX_OFFSET,
    SESSION_ID_CHARS,
    SessionsAnswer,
    SessionsRequest,
    Timeline,
)
from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.query.operations import FILTER_CODES, NO_SITE, REQUEST_CODES, SITE

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


def operations() -> list[Operation]:
    """The list, and one session's events."""
    return [
        Operation(
            method="POST",
            path="/api/v1/sessions",
            name="sessions",
            summary="Sessions one by one",
            tag="analysis",
            about="Those that begin in the range and pass the filters, the newest first if nothing else is asked for.",
            role="read",
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
        Operation(
            method="GET",
            path="/api/v1/sessions",
            name="session_by_query",
            summary="One session and its events, its id in the query string",
            tag="analysis",
            about="For ids that can't stand in a path.",
            role="read",
            parameters=(*_PARAMETERS, _SESSION),
            replies=(Reply(about="The session's timeline.", type=Timeline),),
            errors=_ERRORS,
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="GET",
            path="/api/v1/sessions/{session_id}",
            name="session",
            summary="One session and its events in order",
            tag="analysis",
            role="read",
            parameters=(*_PARAMETERS, _SESSION),
            replies=(Reply(about="The session's timeline.", type=Timeline),),
            errors=_ERRORS,
            asks_store=True,
            takes_turns=True,
        ),
    ]
