"""Cohorts and retention over HTTP: `POST /api/v1/cohorts`."""

from __future__ import annotations

from analytics_server.access.actions import QUERY_SITE
from analytics_server.analyses.cohorts.request import CohortsAnswer, CohortsRequest
from analytics_server.analyses.cohorts.run import run_cohorts
from analytics_server.http.authorization import Narrowing
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES, NO_SITE, REQUEST_CODES, query_body
from analytics_server.query.share_links.narrowing import (
    check_dimension,
    check_events,
    narrow_analysis,
    told_to,
    within,
)


def endpoints(context: QueryContext) -> list[Endpoint]:
    """Cohorts and retention."""

    async def cohorts(call: Call[CohortsRequest]) -> CohortsAnswer:
        return told_to(call.caller, await run_cohorts(context, call.body))

    def narrow(request: CohortsRequest, narrowing: Narrowing) -> CohortsRequest:
        fixed = narrow_analysis(context, narrowing)
        if fixed is None:
            return request
        check_events((request.first, request.returning), fixed)
        check_dimension(request.breakdown, fixed)
        return within(request, request.filters, fixed)

    return [
        Endpoint(
            method="POST",
            path="/api/v1/cohorts",
            is_question=True,
            name="cohorts",
            summary="Who came for the first time when, and who of them came back",
            tag="analysis",
            about="A matrix of cohorts by the periods after, and retention over all of them.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=cohorts,
            narrow=narrow,
            reading=query_body(context.limits),
            body=Body(
                types=(CohortsRequest,),
                examples={
                    "weekly": {"site_id": "example.com", "date_range": "91d", "period": "week", "by": "user"},
                    "signups": {
                        "site_id": "example.com",
                        "date_range": "12mo",
                        "period": "month",
                        "by": "user",
                        "first": {"name": "signup"},
                        "returning": {"name": "purchase"},
                        "breakdown": "visit:source",
                    },
                },
            ),
            replies=(Reply(about="The cohorts of the range, oldest first.", type=CohortsAnswer),),
            errors={400: (*REQUEST_CODES, *FILTER_CODES, "bad_step", "too_many_cohorts", "too_many_cells"), **NO_SITE},
            asks_store=True,
            takes_turns=True,
        )
    ]
