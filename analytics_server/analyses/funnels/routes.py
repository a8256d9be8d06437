"""Funnels over HTTP: asking one, and listing the sessions of those who dropped out or came through."""

from __future__ import annotations

from msgspec import UNSET

from analytics_server.access.actions import QUERY_SITE
from analytics_server.analyses.funnels.answer import DrillAnswer, FunnelAnswer
from analytics_server.analyses.funnels.definition import DrillRequest, FunnelRequest
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.errors import Forbidden
from analytics_server.http.authorization import Narrowing
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES, REQUEST_CODES, query_body
from analytics_server.query.share_links.narrowing import (
    check_dimension,
    check_events,
    narrow_analysis,
    told_to,
    within,
)

PATH = "/api/v1/funnels"
FUNNEL_CODES = (*REQUEST_CODES, *FILTER_CODES, "bad_exclusion", "bad_funnel", "bad_step", "bad_window")
_MISSING = {404: ("unknown_funnel", "unknown_site")}


def example(**more: object) -> dict[str, object]:
    """A funnel as it is sent, without a range."""
    steps = [
        {"name": "pageview", "filters": [["is", "event:page", ["/pricing"]]]},
        {"name": "signup"},
        {"name": "purchase"},
    ]
    return {"site_id": "example.com", "steps": steps, "window": "7d", **more}


def endpoints(service: FunnelService, context: QueryContext) -> list[Endpoint]:
    """The question, and the sessions behind it."""

    async def ask(call: Call[FunnelRequest]) -> FunnelAnswer:
        return told_to(call.caller, await service.run(call.body))

    def narrow(request: FunnelRequest, narrowing: Narrowing) -> FunnelRequest:
        fixed = narrow_analysis(context, narrowing)
        if fixed is None:
            return request
        if request.funnel is not UNSET:
            raise Forbidden("This link asks no saved funnel, whose numbers are of the whole site: spell out its steps.")
        for specs in (request.steps, request.exclude):
            check_events(() if specs is UNSET else specs, fixed)
        check_dimension(request.breakdown, fixed)
        return within(request, () if request.filters is UNSET else request.filters, fixed)

    async def sessions(call: Call[DrillRequest]) -> DrillAnswer:
        return await service.sessions(call.body)

    return [
        Endpoint(
            method="POST",
            path=PATH,
            is_question=True,
            name="funnel",
            summary="How many take one step after the other",
            tag="analysis",
            about="Per step: how many, conversion, drop-off, and median times. With `funnel` a saved one answers.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=ask,
            narrow=narrow,
            reading=query_body(context.limits),
            body=Body(
                types=(FunnelRequest,),
                examples={
                    "steps": example(date_range="30d"),
                    "strict": example(date_range="30d", order="strict", by="user", breakdown="visit:source"),
                    "saved": {"site_id": "example.com", "date_range": "30d", "funnel": "From price to purchase"},
                },
            ),
            replies=(Reply(about="Steps in the order asked for.", type=FunnelAnswer),),
            errors={400: FUNNEL_CODES, **_MISSING},
            asks_store=True,
            takes_turns=True,
        ),
        Endpoint(
            method="POST",
            path=f"{PATH}/sessions",
            is_question=True,
            name="funnel_sessions",
            summary="The sessions of those who dropped out, or came through",
            tag="analysis",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=sessions,
            reading=query_body(context.limits),
            body=Body(
                types=(DrillRequest,),
                examples={
                    "dropped": example(date_range="30d", drill={"step": 2, "kind": "dropped", "limit": 50}),
                },
            ),
            replies=(Reply(about="The latest entries first.", type=DrillAnswer),),
            errors={400: (*FUNNEL_CODES, "bad_drill"), **_MISSING},
            asks_store=True,
            takes_turns=True,
        ),
    ]
