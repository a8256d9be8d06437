"""SQL's HTTP face: `POST /api/v1/sql` and `GET /api/v1/schema`.

The status is sent with the first piece of the answer: until then every fault becomes an
error answer. A fault after that cuts the connection, so that no half answer looks whole.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Protocol

import msgspec
from aiohttp import web

from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError
from analytics_server.query.language.request import decode_request
from analytics_server.query.routes import Reader, read_body
from analytics_server.sql.answer import FORMATS
from analytics_server.sql.schema import describe
from analytics_server.sql.service import SqlRequest, SqlService

CSV_KINDS = ("safe", "raw")
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class SqlReader(Reader, Protocol):
    """Whoever asks; turns are counted by `token_id`."""

    @property
    def token_id(self) -> str: ...


class SqlGate(Protocol):
    """Turns an Authorization header into a reader; raises `Unauthorized`."""

    async def authenticate(self, authorization: str | None) -> SqlReader: ...


def routes(service: SqlService, gate: SqlGate, limits: LimitsSection) -> list[web.RouteDef]:
    """Handlers raise `AnalyticsError`."""

    async def sql(request: web.Request) -> web.StreamResponse:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        body = await read_body(request, limits.query_bytes)
        asked = decode_request(body, SqlRequest)
        reader.require_read(asked.site_id.strip().lower())
        return await _answer(request, service, asked, *_format(request), reader.token_id)

    async def schema(request: web.Request) -> web.Response:
        reader = await gate.authenticate(request.headers.get("Authorization"))
        site_id = _single(request, "site_id")
        if site_id:
            reader.require_read(site_id.strip().lower())
        answer = await describe(service, site_id)
        return web.Response(body=msgspec.json.encode(answer), content_type="application/json", headers=NO_STORE)

    return [web.post("/api/v1/sql", sql), web.get("/api/v1/schema", schema)]


async def _answer(
    request: web.Request, service: SqlService, asked: SqlRequest, format_: str, raw_csv: bool, token_id: str
) -> web.StreamResponse:
    limits = service.limits
    async with aclosing(service.run(asked, format_, token_id=token_id, raw_csv=raw_csv)) as pieces:
        first = await anext(pieces, b"")
        response = web.StreamResponse(
            headers={**NO_STORE, "Content-Type": FORMATS[format_][1], "X-Row-Limit": str(limits.rows)}
        )
        try:
            async with asyncio.timeout(limits.timeout_s + limits.send_s):
                await response.prepare(request)
                await response.write(first)
                async for piece in pieces:
                    await response.write(piece)
                await response.write_eof()
        except BaseException:  # the client must not take what it has for the whole
            if request.transport is not None:
                request.transport.abort()
            raise
    return response


def _format(request: web.Request) -> tuple[str, bool]:
    """The format, and whether CSV is wanted raw. Raises `RequestError`."""
    unknown = sorted(set(request.query) - {"format", "csv"})
    if unknown:
        raise RequestError(
            f"There is no parameter {unknown[0]!r}: format and csv are the only ones.", code="unknown_key"
        )
    format_ = _single(request, "format") if "format" in request.query else "json"
    kind = _single(request, "csv") if "csv" in request.query else "safe"
    if kind not in CSV_KINDS:
        raise RequestError(f"csv is one of {', '.join(CSV_KINDS)}.", code="bad_format")
    return format_, kind == "raw"


def _single(request: web.Request, name: str) -> str:
    values = request.query.getall(name, [])
    if len(values) > 1:
        raise RequestError(f"The parameter {name!r} is given more than once.", code="bad_request")
    return values[0] if values else ""
