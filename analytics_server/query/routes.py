"""The query's HTTP face: bytes in, JSON out, with the body's size and the token checked first.

A token is asked for before anything is read, and its right to the site before
anything is looked up, so that an answer never tells whether a foreign site exists.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from aiohttp import web

from analytics_server.errors import RequestError
from analytics_server.http.body import read_within
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import QueryRequest, decode_request
from analytics_server.query.trends import parse_trends, run_trends


class Reader(Protocol):
    """Whoever asks. `require_read` raises `Forbidden` for a site that is not theirs."""

    def require_read(self, site_id: str) -> None: ...


class QueryGate(Protocol):
    """Turns an Authorization header into a reader; raises `Unauthorized`."""

    async def authenticate(self, authorization: str | None) -> Reader: ...


def routes(service: QueryService, gate: QueryGate) -> list[web.RouteDef]:
    """`POST /api/v1/query` and `GET /api/v1/trends`. Handlers raise `AnalyticsError`."""

    async def query(request: web.Request) -> web.Response:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        body = await read_body(request, service.limits.query_bytes)
        asked = decode_request(body, QueryRequest)
        reader.require_read(asked.site_id.strip().lower())
        return json_response(await service.run(asked))

    async def trends(request: web.Request) -> web.Response:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        repeated = [name for name in request.query if len(request.query.getall(name)) > 1]
        if repeated:
            raise RequestError(f"The parameter {repeated[0]!r} is given more than once.", code="bad_request")
        asked = parse_trends(dict(request.query))
        reader.require_read(asked.query.site_id.strip().lower())
        return json_response(await run_trends(service, asked))

    return [web.post("/api/v1/query", query), web.get("/api/v1/trends", trends)]


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it passes the limit, `TooSlow` when it does not end."""
    return await read_within(request, limit, f"A query may have {limit} bytes at most ([limits] query_bytes).")


def json_response(answer: object, *, status: int = 200) -> web.Response:
    """An answer that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(answer),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
