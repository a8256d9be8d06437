"""Streamed answers of any length, sent piece by piece.

The status is sent with the first piece: until then every fault becomes an error answer. A fault after that cuts the
connection, so that no half answer looks whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from aiohttp import web

from analytics_server.http.security.headers import SECURITY_HEADERS

NO_STORE = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
"""Headers of answers that no proxy or cache may store."""


async def send_pieces(
    request: web.Request,
    pieces: AsyncGenerator[bytes, None],
    headers: Mapping[str, str],
    *,
    within_s: float | None = None,
) -> web.StreamResponse:
    """Send what comes, and close the generator. `within_s`: how long the sending may take; None for no limit.

    Raises what the generator raises before its first piece.
    """
    async with aclosing(pieces):
        first = await anext(pieces, b"")
        response = web.StreamResponse(headers={**NO_STORE, **headers})
        try:
            async with asyncio.timeout(within_s):
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
