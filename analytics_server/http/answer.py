"""JSON answers and errors: one encoding, and headers that keep caches from storing what only the caller may see."""

from __future__ import annotations

import msgspec
from aiohttp import web

from analytics_server.errors import AnalyticsError
from analytics_server.http.security.headers import SECURITY_HEADERS

_HEADERS = {**SECURITY_HEADERS, "Cache-Control": "no-store"}


def json_response(value: object, *, status: int = 200) -> web.Response:
    """The value as JSON that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers=_HEADERS,
    )


def error_response(error: AnalyticsError) -> web.Response:
    """The error as JSON, with the headers that its status asks for."""
    headers = dict(_HEADERS)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        body=msgspec.json.encode({"error": {"code": error.code, "message": error.message}}),
        status=error.status,
        content_type="application/json",
        headers=headers,
    )
