"""`POST /api/v1/cohorts` over HTTP: the token first, then the body, then the right to the site."""

from __future__ import annotations

from aiohttp import web

from analytics_server.analyses.cohorts.request import CohortsRequest
from analytics_server.analyses.cohorts.run import run_cohorts
from analytics_server.query.context import Desk
from analytics_server.query.language.request import decode_request
from analytics_server.query.routes import QueryGate, json_response, read_body


def routes(desk: Desk, gate: QueryGate) -> list[web.RouteDef]:
    """The route table. Handlers raise `AnalyticsError`."""

    async def cohorts(request: web.Request) -> web.Response:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        asked = decode_request(await read_body(request, desk.limits.query_bytes), CohortsRequest)
        reader.require_read(asked.site_id.strip().lower())
        return json_response(await run_cohorts(desk, asked))

    return [web.post("/api/v1/cohorts", cohorts)]
