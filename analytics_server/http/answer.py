"""JSON answers and errors: one encoding, and headers that keep caches from storing what only the caller may see."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

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


def error_response(error: AnalyticsError, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    """The error as JSON, with the headers that its status asks for, and others, which come before the usual ones."""
    headers = {**_HEADERS, **headers}
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
