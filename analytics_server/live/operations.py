"""What `/api/v1/live` takes and gives."""

from __future__ import annotations

from analytics_server.http.openapi.operation import Operation, Parameter, Reply
from analytics_server.live.hub import Snapshot


def operations() -> list[Operation]:
    """The live socket."""
    return [
        Operation(
            method="GET",
            path="/api/v1/live",
            name="watch_live",
            summary="WebSocket: who is there now",
            tag="live",
            about="A WebSocket upgrade. The token comes in the `Authorization` header, as the second subprotocol after "
            '`bearer` or as the only one, or as the first message `{"token": "…"}`; never in the address. A snapshot '
            "comes at once and then every second (the schema of 101 is that of a message). Close codes: 4401 token "
            "unknown, 4403 not for this site, 4404 no such site, 1013 too many sockets, 1001 the server stops.",
            role="read",
            parameters=(Parameter(name="site_id", about="The site.", required=True, example="example.com"),),
            replies=(Reply(status=101, about="Switching to WebSocket.", type=Snapshot),),
            errors={400: ("missing_site_id", "websocket_required")},
        )
    ]
