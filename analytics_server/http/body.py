"""A request's body, read within bounds of size and of time, whatever it promises.

Used by everything that takes JSON; beacons have a reader of their own (`collect/routes.py`), with the same time limit.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from analytics_server.errors import TooLarge, TooSlow

BODY_TIMEOUT_S = web.AppKey("body_timeout_s", float)
"""Where an application keeps its limit; without one there is `DEFAULT_S`."""

DEFAULT_S = 30.0


async def read_within(request: web.Request, most: int, too_large: str) -> bytes:
    """The whole body. Raises `TooLarge` with that message, or `TooSlow`."""
    seconds = request.app.get(BODY_TIMEOUT_S, DEFAULT_S)
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                size += len(piece)
                if size > most:
                    raise TooLarge(too_large)
                pieces.append(piece)
    except TimeoutError as error:
        raise too_slow(seconds) from error
    return b"".join(pieces)


def too_slow(seconds: float) -> TooSlow:
    return TooSlow(f"The body did not arrive within {seconds:g} s.")
