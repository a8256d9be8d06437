"""JSON answers: one encoding, and headers that keep caches from storing what only the caller may see."""

from __future__ import annotations

import msgspec
from aiohttp import web


def json_response(value: object, *, status: int = 200) -> web.Response:
    """The value as JSON that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
