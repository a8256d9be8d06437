"""A request's body: read within bounds of size and of time, whatever it promises, and decoded.

Used by everything that takes JSON; beacons have a reader of their own (`collect/routes.py`), with the same time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from analytics_server.errors import RequestError, TooLarge, TooSlow

BODY_TIMEOUT_S = web.AppKey("body_timeout_s", float)
"""Where an application keeps its limit; without one there is `DEFAULT_S`."""

DEFAULT_S = 30.0
MOST_BYTES = 65_536


def decode_json(body: bytes, kind: Any) -> Any:
    """The body as a value of the type. Raises `RequestError` (bad_body)."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"The body can't be read: {error}.", code="bad_body") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How bodies are read: at most so many bytes, and decoded by `decode`, which raises `RequestError`.

    `too_large` is the message for a larger one. `if_empty` is decoded in place of an empty body.
    """

    most_bytes: int = MOST_BYTES
    too_large: str = f"The body may have {MOST_BYTES} bytes."
    decode: Callable[[bytes, Any], Any] = decode_json
    if_empty: bytes = b""


SMALL_BODY = BodyLimits()
"""For settings and the like."""


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
    """The error for a body that did not arrive in time."""
    return TooSlow(f"The body did not arrive within {seconds:g} s.")
