"""Over HTTP: the token first, then the body, the right to the site, the query."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.errors import AnalyticsError
from analytics_server.http.answer import error_response
from analytics_server.sql.routes import endpoints
from tests.http.authorizer import routes_for_a_reader
from tests.sql.conftest import SqlClient
from tests.sql.world import FOREIGN, MINE

Client = TestClient[web.Request, web.Application]
TOKEN = {"Authorization": "Bearer good"}


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except AnalyticsError as error:
        response = error_response(error)
    return response


@pytest.fixture
async def client(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> Client:
    app = web.Application(middlewares=[errors])
    app.add_routes(routes_for_a_reader(endpoints(sql_client.service), MINE, "nowhere.example"))
    return await aiohttp_client(app)


def body(**changes: object) -> bytes:
    return msgspec.json.encode({"site_id": MINE, "query": "SELECT count() FROM events", **changes})


async def post(client: Client, data: bytes, query: str = "", headers: dict[str, str] = TOKEN) -> tuple[int, Any]:
    async with client.post(f"/api/v1/sql{query}", data=data, headers=headers) as response:
        content = await response.read()
        return response.status, msgspec.json.decode(content) if "json" in response.content_type else content


async def test_answers_in_each_format(client: Client) -> None:
    status, answer = await post(client, body())
    assert (status, set(answer), set(answer["meta"])) == (
        200,
        {"columns", "rows", "meta"},
        {"rows_read", "bytes_read", "elapsed_ms", "truncated"},
    )
    async with client.post("/api/v1/sql?format=csv", data=body(), headers=TOKEN) as response:
        assert response.content_type == "text/csv"
        assert response.headers["X-Row-Limit"] == "1000"
        assert (await response.text()).startswith('"count()"\n')


@pytest.mark.parametrize(
    ("data", "query", "headers", "status", "code"),
    [
        (b"{", "", {}, 401, "unauthorized"),
        (b"{", "", TOKEN, 400, "bad_json"),
        (b'{"site_id":"mine.example","query":"\\ud800"}', "", TOKEN, 400, ""),
        (b"[" * 100_000, "", TOKEN, 400, ""),
        (b" " * 262_145, "", TOKEN, 413, "too_large"),
        (body(site_id=FOREIGN), "", TOKEN, 403, "forbidden"),
        (body(site_id=" SECRET.example"), "", TOKEN, 403, "forbidden"),
        (body(site_id="nowhere.example"), "", TOKEN, 404, "unknown_site"),
        (body(more=1), "", TOKEN, 400, "unknown_key"),
        (body(query=5), "", TOKEN, 400, "bad_request"),
        (body(query=""), "", TOKEN, 400, "bad_sql"),
        (body(query="DROP TABLE events"), "", TOKEN, 400, "sql_not_allowed"),
        (body(query="SELECT nothing FROM events"), "", TOKEN, 400, "unknown_column"),
        (body(query="SELECT {a:UInt8}", params={"a": "x"}), "", TOKEN, 400, "bad_parameter"),
        (body(params=[1]), "", TOKEN, 400, "bad_request"),
        (body(), "?format=xml", TOKEN, 400, "bad_format"),
        (body(), "?format=csv&format=json", TOKEN, 400, "bad_request"),
        (body(), "?fromat=csv", TOKEN, 400, "unknown_key"),
    ],
)
async def test_refusals_have_their_status_and_code(
    client: Client, data: bytes, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    found, answer = await post(client, data, query, headers)
    assert found == status, answer
    assert answer["error"]["code"] == code or not code


async def test_schema_describes_what_can_be_asked(client: Client, sql_client: SqlClient) -> None:
    async with client.get("/api/v1/schema", params={"site_id": MINE}, headers=TOKEN) as response:
        schema = await response.json()
    assert [table["name"] for table in schema["tables"]] == ["events", "sessions"]
    for table in schema["tables"]:
        described = await sql_client.ask(f"SELECT * FROM {table['name']} LIMIT 1")
        shown = [{"name": column["name"], "type": column["type"]} for column in table["columns"]]
        assert shown == described["columns"]
        assert all(column["about"].endswith(".") for column in table["columns"])
    names = {function["name"] for family in schema["functions"] for function in family["functions"]}
    assert {"count", "toDate", "windowFunnel", "arrayMap"} <= names
    assert schema["limits"]["rows"] == 1_000
    async with client.get("/api/v1/schema", params={"site_id": FOREIGN}, headers=TOKEN) as response:
        assert response.status == 403
    async with client.get("/api/v1/schema", params={"site_id": "nowhere.example"}, headers=TOKEN) as response:
        assert response.status == 404
    async with client.get("/api/v1/schema") as response:
        assert response.status == 401


async def test_csv_is_for_people_unless_it_is_asked_for_raw(client: Client) -> None:
    asked = body(query="SELECT '=1' AS t")
    for query, cell in (("?format=csv", b"'=1"), ("?format=csv&csv=safe", b"'=1"), ("?format=csv&csv=raw", b"=1")):
        assert await post(client, asked, query) == (200, b'"t"\n"' + cell + b'"\n')
    for query, code in (("?format=csv&csv=x", "bad_format"), ("?csv=raw&csv=raw", "bad_request")):
        status, answer = await post(client, asked, query)
        assert (status, answer["error"]["code"]) == (400, code)
