"""Sends an answer as ClickHouse would: its headers, its compression, and a fault in the middle as a text at the end.

A client may want its answer held back until it is whole: then a fault is the status, as before the first piece. Else a
fault behind the first piece is written behind what was sent, marked as ClickHouse marks it, and the connection is
closed without the end of the body: no client takes what it has for the whole.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from aiohttp import web

from analytics_server.clickhouse.catalog import DISPLAY_NAME
from analytics_server.clickhouse.compression import gzipped, in_blocks
from analytics_server.clickhouse.failures import TAG_BYTES, TAG_HEADER, failure_behind_rows
from analytics_server.clickhouse.formats import FORMATS, ROWS_WITH_TYPES, begins_a_row
from analytics_server.clickhouse.held import HeldAnswer
from analytics_server.clickhouse.request.question import ClickHouseQuery
from analytics_server.errors import AnalyticsError, StoreTimeout
from analytics_server.http.audit import AuditTrail, outcome_of
from analytics_server.http.streams.pieces import NO_STORE

DROPPED_HEADER = "X-ClickHouse-Dropped-Settings"
MOST_DROPPED_CHARS = 1_000
LOOK_S = 0.5
"""How often it is looked whether the client is still there."""

_UNTOLD = ("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read")
"""Numbers of the summary that are 0: exact ones of rows read would tell of other sites' rows."""


def headers_of(query: ClickHouseQuery, rows: int, *, has_row: bool = False) -> dict[str, str]:
    """The headers of an answer that is no error. `has_row`: is it known that it holds one?"""
    dropped = ", ".join(
        name for name in dict.fromkeys(query.settings.dropped) if name.isascii() and name.isidentifier()
    )
    return {
        **NO_STORE,
        "Content-Type": FORMATS[query.format],
        "X-ClickHouse-Summary": _summary(has_row),
        "X-ClickHouse-Query-Id": query.query_id,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Format": query.format,
        "X-ClickHouse-Server-Display-Name": DISPLAY_NAME,
        "X-Row-Limit": str(rows),
        **({DROPPED_HEADER: dropped[:MOST_DROPPED_CHARS]} if dropped else {}),
    }


def _summary(has_row: bool) -> str:
    """`X-ClickHouse-Summary`, which clients want to be there.

    Where `result_rows` is 0 the driver for Java reads no row of the answer to its first question, and gives up for want
    of a version.
    """
    return json.dumps({**dict.fromkeys(_UNTOLD, "0"), "result_rows": str(int(has_row)), "elapsed_ns": "0"})


async def send_answer(
    request: web.Request,
    query: ClickHouseQuery,
    pieces: AsyncGenerator[bytes],
    trail: AuditTrail,
    held: HeldAnswer,
    *,
    rows: int,
    within_s: float,
) -> web.StreamResponse:
    """Send the pieces and close the generator. Raises what it raises before anything is sent; a later fault is the
    trail's outcome."""
    broken: list[AnalyticsError] = []
    tag = secrets.token_hex(TAG_BYTES // 2)
    told = _told(pieces, broken, tag)
    async with aclosing(told):
        first = await _first(request, told)  # the settings that the text drops are known from here on
        try:
            async with asyncio.timeout(within_s):
                while query.format == ROWS_WITH_TYPES and not begins_a_row(first):
                    if not (more := await _first(request, told)):
                        break
                    first += more
        except TimeoutError:
            raise StoreTimeout("The answer's first row did not come in time.") from None
        begin = [first]
        if query.is_whole:
            await _hold(request, told, begin, held, within_s)
        if broken:  # nothing was sent yet
            raise broken[0]
        headers = headers_of(query, rows, has_row=query.format == ROWS_WITH_TYPES and begins_a_row(first))
        headers[TAG_HEADER] = tag
        rest = _from(begin, told)
        if query.wants_blocks:
            rest = in_blocks(rest)
        if query.wants_gzip:
            headers["Content-Encoding"] = "gzip"
            rest = gzipped(rest)
        response = web.StreamResponse(headers=headers)
        try:
            async with asyncio.timeout(within_s), aclosing(rest):
                await response.prepare(request)
                async for piece in rest:
                    await response.write(piece)
                if not broken:
                    await response.write_eof()
        except BaseException:
            if request.transport is not None:
                request.transport.abort()
            raise
        if broken:
            trail.outcome = outcome_of(broken[0])
            if request.transport is not None:
                request.transport.close()
    return response


async def _first(request: web.Request, pieces: AsyncGenerator[bytes]) -> bytes:
    """The first piece. A client that goes away while it is waited for ends the query: `ConnectionResetError`."""
    first = asyncio.ensure_future(anext(pieces, b""))
    try:
        while not first.done():
            await asyncio.wait({first}, timeout=LOOK_S)
            if request.transport is None and not first.done():
                raise ConnectionResetError("The client has gone.")
    finally:
        if not first.done():
            first.cancel()
            await asyncio.wait({first})
    return first.result()


async def _told(pieces: AsyncGenerator[bytes], broken: list[AnalyticsError], tag: str) -> AsyncGenerator[bytes]:
    """The pieces, and a fault behind the first one as text."""
    sent = False
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                yield piece
                sent = True
        except AnalyticsError as error:
            if not sent:
                raise
            broken.append(error)
    if broken:
        yield failure_behind_rows(broken[0], tag)


async def _hold(
    request: web.Request, told: AsyncGenerator[bytes], pieces: list[bytes], held: HeldAnswer, within_s: float
) -> None:
    """Add the pieces that are still to come, as long as there is room."""
    try:
        async with asyncio.timeout(within_s):
            while pieces[-1] and held.has_room(pieces[-1]):
                pieces.append(await _first(request, told))
    except TimeoutError:
        raise StoreTimeout("The whole answer did not come in time.") from None


async def _from(begin: Sequence[bytes], rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    for piece in begin:
        yield piece
    async for piece in rest:
        yield piece
