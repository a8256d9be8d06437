"""Sessions over HTTP: the token first, then the request, then the right to the site.

A session's id is whatever the client chose. In the address it is percent-encoded; an id of dots alone, which
clients take for a directory, goes into the query string: `GET /api/v1/sessions?site_id=…&session_id=…`.
"""

from __future__ import annotations

from aiohttp import web

from analytics_server.analyses.sessions.request import SessionsRequest, check_timeline
from analytics_server.analyses.sessions.run import run_sessions, run_timeline
from analytics_server.errors import RequestError
from analytics_server.query.context import Desk
from analytics_server.query.language.request import decode_request
from analytics_server.query.routes import QueryGate, json_response, read_body

PATH = "/api/v1/sessions"


def routes(desk: Desk, gate: QueryGate) -> list[web.RouteDef]:
    """The route table. Handlers raise `AnalyticsError`."""

    async def sessions(request: web.Request) -> web.Response:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        asked = decode_request(await read_body(request, desk.limits.query_bytes), SessionsRequest)
        reader.require_read(asked.site_id.strip().lower())
        return json_response(await run_sessions(desk, asked))

    async def timeline(request: web.Request) -> web.Response:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        repeated = [name for name in request.query if len(request.query.getall(name)) > 1]
        if repeated or ("session_id" in request.match_info and "session_id" in request.query):
            name = repeated[0] if repeated else "session_id"
            raise RequestError(f"The parameter {name[:120]!r} is given more than once.", code="bad_request")
        asked = check_timeline({**request.query, **request.match_info}, max_rows=desk.limits.query_rows)
        reader.require_read(asked.site_id)
        return json_response(await run_timeline(desk, asked))

    return [web.post(PATH, sessions), web.get(PATH, timeline), web.get(f"{PATH}/{{session_id}}", timeline)]
