"""`GET /openapi.json`: the document of all endpoints, made at the first request and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from analytics_server import __version__
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.openapi.document import Json, build_document, check
from analytics_server.http.security.headers import SECURITY_HEADERS


def with_document(endpoints: Sequence[Endpoint], *, url: str, components: Mapping[str, Json]) -> list[Endpoint]:
    """The endpoints and one more, which answers with the document of them all.

    Raises `ValueError` for endpoints that can't stand in one document, so that a wrong one is found at the start.
    """
    made: list[bytes] = []
    every = list(endpoints)

    async def show(request: web.Request) -> web.Response:
        if not made:
            made.append(msgspec.json.encode(build_document(every, version=__version__, url=url, components=components)))
        return web.Response(
            body=made[0],
            content_type="application/json",
            headers={
                **SECURITY_HEADERS,
                "Cross-Origin-Resource-Policy": "cross-origin",
                "Access-Control-Allow-Origin": "*",
                "Cache-Control": "no-cache",
            },
        )

    every.append(
        Endpoint(
            method="GET",
            path="/openapi.json",
            name="get_openapi",
            summary="This document",
            tag="operations",
            action=PUBLIC,
            serve=show,
            replies=(Reply(about="OpenAPI 3.1.", type=dict[str, Any]),),
        )
    )
    check(every)
    return every
