"""A server with everything enabled, not started: what its routes and its description are held to."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from analytics_server.app import Server
from analytics_server.config import Config, ServerSection
from analytics_server.http.declaration import plain_path


def complete_server() -> Server:
    """Its endpoints are all that there can be."""
    return Server(Config(server=ServerSection(demo=True)))


def route_paths() -> list[str]:
    """Every path that it answers."""
    return sorted({plain_path(one.path) for one in complete_server().endpoints()})


async def api_description() -> dict[str, Any]:
    """What `GET /openapi.json` answers, as a client reads it."""
    (described,) = [one for one in complete_server().endpoints() if one.name == "get_openapi"]
    assert described.serve is not None
    answer = await described.serve(make_mocked_request("GET", described.path))
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    found: dict[str, Any] = msgspec.json.decode(answer.body)
    return found
