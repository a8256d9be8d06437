"""Over HTTP: the token first, then the body, then the right to the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.errors import AnalyticsError
from analytics_server.query.engine import QueryService
from analytics_server.query.routes import endpoints
from tests.http.authorizer import routes_for_a_reader
from tests.query.questions import body

Client = TestClient[web.Request, web.Application]
TOKEN = {"Authorization": "Bearer good"}


@web.middleware
async def errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except AnalyticsError as error:
        return web.json_response({"error": {"code": error.code}}, status=error.status)


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, service: QueryService) -> Client:
    app = web.Application(middlewares=[errors])
    app.add_routes(routes_for_a_reader(endpoints(service), "berlin.example", "elsewhere.example"))
    return await aiohttp_client(app)


async def post(client: Client, data: bytes, headers: dict[str, str] = TOKEN) -> tuple[int, Any]:
    async with client.post("/api/v1/query", data=data, headers=headers) as response:
        return response.status, await response.json()


async def test_answers_a_query_as_json(client: Client) -> None:
    status, answer = await post(client, body(date_range=["2025-10-20", "2025-10-31"], dimensions=["visit:country"]))
    assert status == 200
    assert set(answer) == {"results", "meta", "query"}
    assert set(answer["results"][0]) == {"dimensions", "metrics"}
    assert answer["meta"]["table"] == "sessions+events"
    assert "comparison_date_range" not in answer["meta"]


async def test_answers_trends_as_json(client: Client) -> None:
    parameters = {"site_id": "berlin.example", "from": "2025-10-20", "to": "2025-10-21", "interval": "day"}
    async with client.get("/api/v1/trends", params=parameters, headers=TOKEN) as response:
        answer = await response.json()
    assert [row["time"] for row in answer["rows"]] == ["2025-10-20", "2025-10-21"]


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"{", {}, 401, "unauthorized"),
        (b"{", TOKEN, 400, "bad_json"),
        (b" " * 262_145, TOKEN, 413, "too_large"),
        (body(site_id="utc.example"), TOKEN, 403, "forbidden"),
        (body(site_id=" UTC.example"), TOKEN, 403, "forbidden"),
        (body(site_id="elsewhere.example"), TOKEN, 404, "unknown_site"),
        (body(metrics=["bounce_rate"], dimensions=["event:name"]), TOKEN, 400, "unsupported_combination"),
    ],
)
async def test_refusals_have_their_status_and_code(
    client: Client, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert await post(client, data, headers) == (status, {"error": {"code": code}})


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("site_id=berlin.example", {}, 401),
        ("site_id=utc.example", TOKEN, 403),
        ("site_id=berlin.example&site_id=utc.example", TOKEN, 400),
        ("", TOKEN, 400),
    ],
)
async def test_trends_check_the_token_and_the_site(
    client: Client, query: str, headers: dict[str, str], status: int
) -> None:
    async with client.get(f"/api/v1/trends?{query}", headers=headers) as response:
        assert response.status == status
