"""What everything under `/api/v1/funnels` takes and gives."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from analytics_server.access.saved import ID_BYTES
from analytics_server.analyses.funnels.answer import DrillAnswer, FunnelAnswer
from analytics_server.analyses.funnels.definition import DrillRequest, FunnelRequest
from analytics_server.analyses.funnels.materialized.definitions import (
    SavedFunnelAnswer,
    SavedFunnelChange,
    SavedFunnelRequest,
    SavedFunnelsAnswer,
)
from analytics_server.http.openapi.operation import Body, Operation, Parameter, Reply
from analytics_server.query.operations import FILTER_CODES, REQUEST_CODES, SITE

PATH = "/api/v1/funnels"
FUNNEL_CODES = (*REQUEST_CODES, *FILTER_CODES, "bad_exclusion", "bad_funnel", "bad_step", "bad_window")
_MISSING = {404: ("unknown_funnel", "unknown_site")}
_ID = Parameter(
    name="id",
    about="The funnel's id.",
    type=Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * ID_BYTES}}}$")],
    required=True,
)
_STEPS = [
    {"name": "pageview", "filters": [["is", "event:page", ["/pricing"]]]},
    {"name": "signup"},
    {"name": "purchase"},
]
_FUNNEL = {"site_id": "example.com", "date_range": "30d", "steps": _STEPS, "window": "7d"}


def operations() -> list[Operation]:
    """Asking, listing sessions, and saved funnels."""
    return [*_questions(), *_saved()]


def _questions() -> list[Operation]:
    return [
        Operation(
            method="POST",
            path=PATH,
            name="funnel",
            summary="How many take one step after the other",
            tag="analysis",
            about="Per step: how many, conversion, drop-off, and median times. With `funnel` a saved one answers.",
            role="read",
            body=Body(
                types=(FunnelRequest,),
                examples={
                    "steps": _FUNNEL,
                    "strict": _FUNNEL | {"order": "strict", "by": "user", "breakdown": "visit:source"},
                    "saved": {"site_id": "example.com", "date_range": "30d", "funnel": "From price to purchase"},
                },
            ),
            replies=(Reply(about="Steps in the order asked for.", type=FunnelAnswer),),
            errors={400: FUNNEL_CODES, **_MISSING},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="POST",
            path=f"{PATH}/sessions",
            name="funnel_sessions",
            summary="The sessions of those who dropped out, or came through",
            tag="analysis",
            role="read",
            body=Body(
                types=(DrillRequest,),
                examples={"dropped": _FUNNEL | {"drill": {"step": 2, "kind": "dropped", "limit": 50}}},
            ),
            replies=(Reply(about="The latest entries first.", type=DrillAnswer),),
            errors={400: (*FUNNEL_CODES, "bad_drill"), **_MISSING},
            asks_store=True,
            takes_turns=True,
        ),
    ]


def _saved() -> list[Operation]:
    unnamed = {key: value for key, value in _FUNNEL.items() if key != "date_range"}
    return [
        Operation(
            method="GET",
            path=f"{PATH}/saved",
            name="list_funnels",
            summary="A site's saved funnels",
            tag="saved",
            about="With how far the tables of each are.",
            role="read",
            parameters=(SITE,),
            replies=(Reply(about="By name.", type=SavedFunnelsAnswer),),
            errors={400: ("bad_request",), 404: ("unknown_site",)},
        ),
        Operation(
            method="POST",
            path=f"{PATH}/saved",
            name="create_funnel",
            summary="Save a new funnel",
            tag="saved",
            about="Its table is filled in the background; until then answers are as right, only slower.",
            role="admin",
            body=Body(types=(SavedFunnelRequest,), examples={"funnel": unnamed | {"name": "From price to purchase"}}),
            replies=(Reply(status=201, about="Saved.", type=SavedFunnelAnswer),),
            errors={400: (*FUNNEL_CODES, "too_many"), 404: ("unknown_site",), 409: ("name_taken",)},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="GET",
            path=f"{PATH}/saved/{{id}}",
            name="get_funnel",
            summary="One saved funnel",
            tag="saved",
            role="read",
            parameters=(_ID,),
            replies=(Reply(about="The funnel.", type=SavedFunnelAnswer),),
            errors=_MISSING,
        ),
        Operation(
            method="PUT",
            path=f"{PATH}/saved/{{id}}",
            name="change_funnel",
            summary="Change a saved funnel",
            tag="saved",
            about="What is left out stays. A change of what it counts fills a new table.",
            role="admin",
            parameters=(_ID,),
            body=Body(types=(SavedFunnelChange,), examples={"window": {"window": "30d"}}),
            replies=(Reply(about="The funnel as it is now.", type=SavedFunnelAnswer),),
            errors={400: FUNNEL_CODES, 409: ("name_taken",), **_MISSING},
            asks_store=True,
            takes_turns=True,
        ),
        Operation(
            method="DELETE",
            path=f"{PATH}/saved/{{id}}",
            name="delete_funnel",
            summary="Delete a saved funnel",
            tag="saved",
            about="Its tables go with it.",
            role="admin",
            parameters=(_ID,),
            replies=(Reply(status=204, about="Deleted."),),
            errors=_MISSING,
            asks_store=True,
            takes_turns=True,
        ),
    ]
