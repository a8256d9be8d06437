"""`GET /openapi.json`: the document, made at the first request and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from analytics_server.http.openapi.operation import Operation, Reply

PATH = "/openapi.json"

OPERATION = Operation(
    method="GET",
    path=PATH,
    name="get_openapi",
    summary="This document",
    tag="operations",
    replies=(Reply(about="OpenAPI 3.1.", type=dict[str, Any]),),
)


def routes(describe: Callable[[], dict[str, Any]]) -> list[web.RouteDef]:
    """The route. `describe` makes the document and is called once."""
    made: list[bytes] = []

    async def show(request: web.Request) -> web.Response:
        if not made:
            made.append(msgspec.json.encode(describe()))
        return web.Response(
            body=made[0],
            content_type="application/json",
            headers={"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"},
        )

    return [web.get(PATH, show)]
