"""Paths over HTTP: `POST /api/v1/paths`."""

from __future__ import annotations

from analytics_server.access.actions import QUERY_SITE
from analytics_server.analyses.paths.request import PathsAnswer, PathsRequest
from analytics_server.analyses.paths.run import run_paths
from analytics_server.errors import Forbidden
from analytics_server.http.authorization import Narrowing
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.query.context import QueryContext
from analytics_server.query.endpoint_parts import FILTER_CODES, NO_SITE, REQUEST_CODES, query_body
from analytics_server.query.share_links.narrowing import narrow_analysis, told_to, within


def endpoints(context: QueryContext) -> list[Endpoint]:
    """Paths."""

    async def paths(call: Call[PathsRequest]) -> PathsAnswer:
        return told_to(call.caller, await run_paths(context, call.body))

    def narrow(request: PathsRequest, narrowing: Narrowing) -> PathsRequest:
        fixed = narrow_analysis(context, narrowing)
        if fixed is None:
            return request
        if fixed.by_event:
            raise Forbidden("This link shows no paths: sessions go through pages that the link leaves out.")
        return within(request, request.filters, fixed)

    return [
        Endpoint(
            method="POST",
            path="/api/v1/paths",
            is_question=True,
            name="paths",
            summary="Which way sessions take through pages or events",
            tag="analysis",
            about="Nodes and links of a sankey diagram, forward from a start or backward from an end.",
            action=QUERY_SITE,
            site=SiteFrom.BODY,
            handle=paths,
            narrow=narrow,
            reading=query_body(context.limits),
            body=Body(
                types=(PathsRequest,),
                examples={
                    "forward": {"site_id": "example.com", "date_range": "30d", "start": "/", "steps": 4},
                    "backward": {"site_id": "example.com", "date_range": "30d", "end": "signup", "by": "event"},
                },
            ),
            replies=(Reply(about="The graph, from left to right in time.", type=PathsAnswer),),
            errors={400: (*REQUEST_CODES, *FILTER_CODES), **NO_SITE},
            asks_store=True,
            takes_turns=True,
        )
    ]
