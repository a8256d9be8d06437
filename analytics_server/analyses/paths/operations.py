"""What `POST /api/v1/paths` takes and gives."""

from __future__ import annotations

from analytics_server.analyses.paths.request import PathsAnswer, PathsRequest
from analytics_server.http.openapi.operation import Body, Operation, Reply
from analytics_server.query.operations import FILTER_CODES, NO_SITE, REQUEST_CODES


def operations() -> list[Operation]:
    """Paths."""
    return [
        Operation(
            method="POST",
            path="/api/v1/paths",
            name="paths",
            summary="Which way sessions take through pages or events",
            tag="analysis",
            about="Nodes and links of a sankey diagram, forward from a start or backward from an end.",
            role="read",
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
