"""The interface at the root of the port: for clients that know no path, and beside the dashboard."""

from __future__ import annotations

from pathlib import Path

import clickhouse_connect
import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.app import Server
from analytics_server.config import ClickhouseApiSection, Config
from analytics_server.http.declaration import Reply as Declared
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.pages import page
from tests.clickhouse_api.conftest import ALL, ONE, Asking, Reply, serve
from tests.clickhouse_api.test_requests import COUNT, UNAUTHENTICATED, basic
from tests.e2e.conftest import running
from tests.server import Client
from tests.sql.conftest import SqlClient
from tests.sql.world import FOREIGN, MINE
from tests.whole import complete_server

KEY = {"Authorization": basic(ONE)}
HOME, SCRIPT = "the dashboard", "the script"


def pages() -> list[Endpoint]:
    async def show(request: web.Request) -> web.StreamResponse:
        return web.Response(text=HOME)

    return [page("GET", "/", show, "The page", Declared(about="The page."))]


async def at_root(asking: Asking, text: str = "", *, method: str = "POST", **params: str) -> Reply:
    return await asking.send(text, params, KEY, method=method, path="/")


async def test_a_statement_is_answered_as_at_its_path(asking: Asking) -> None:
    there = await asking.ask(COUNT)
    assert (await at_root(asking, COUNT)).body == there.body
    assert (await at_root(asking, method="GET", query=COUNT)).body == there.body
    assert (await at_root(asking, "FORMAT TSV", query=COUNT.removesuffix("FORMAT TSV"))).body == there.body
    assert (await at_root(asking, COUNT, database=FOREIGN)).code == "497"
    assert (await at_root(asking, "DROP TABLE events")).code == "392"
    assert (await at_root(asking)).code == "62"


async def test_audit_entries_tell_the_root_from_the_path(asking: Asking) -> None:
    await at_root(asking, COUNT)
    await at_root(asking, method="GET", query=COUNT)
    await at_root(asking, "DROP TABLE events")
    assert [(each.operation, each.outcome, each.site_id) for each in asking.noted] == [
        ("clickhouse_post_root", "ok", MINE),
        ("clickhouse_get_root", "ok", MINE),
        ("clickhouse_post_root", "sql_not_allowed", MINE),
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nobody_asks_without_a_token_or_from_a_foreign_page(asking: Asking, method: str) -> None:
    params = {"query": "SELECT 1"} if method == "GET" else {}
    for headers in UNAUTHENTICATED:
        reply = await asking.send("SELECT 1", params, headers, method=method, path="/")
        assert (reply.status, reply.code) == (401, "516")
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        reply = await asking.send("SELECT 1", params, {**KEY, **headers}, method=method, path="/")
        assert (reply.status, reply.code) == (403, "497")


async def test_a_browser_at_the_root_is_not_asked_for_a_password(asking: Asking) -> None:
    """It would send it to all pages of the server, whose sign-in it would hide."""
    params = {"query": "SELECT 1"}
    for path, headers, scheme in (
        ("/", {}, "Basic"),
        ("/", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, "Bearer"),
        ("/clickhouse/", {"Sec-Fetch-Site": "none"}, "Basic"),
    ):
        reply = await asking.send("", params, headers, method="GET", path=path)
        assert (reply.status, reply.headers["WWW-Authenticate"].split()[0]) == (401, scheme)


async def test_the_page_at_the_root_stays(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> None:
    asking = await serve(aiohttp_client, sql_client.service, others=pages())
    for params, headers in (({}, {}), ({}, KEY), ({"database": "analytics"}, KEY), ({"Query": "SELECT 1"}, {})):
        reply = await asking.send("", params, headers, method="GET", path="/")
        assert (reply.status, reply.text) == (200, HOME)
    for params in ({}, {"query": "SELECT 1"}):
        assert (await asking.send("", params, KEY, method="HEAD", path="/")).status == 200
    assert (await at_root(asking, method="GET", query="SELECT 1")).text == "1\n"
    assert (await at_root(asking, method="GET", query="")).code == "62"
    assert [each.operation for each in asking.noted] == ["clickhouse_get_root"] * 2


async def test_without_a_page_the_root_is_a_sign_of_life(asking: Asking) -> None:
    for path in ("/", "/ping"):
        for method, text in (("GET", "Ok.\n"), ("HEAD", "")):
            reply = await asking.send("", {}, {}, method=method, path=path)
            assert (reply.status, reply.text) == (200, text)


async def test_it_can_be_turned_off(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> None:
    asking = await serve(aiohttp_client, sql_client.service, others=pages(), at_root=False)
    assert (await at_root(asking, COUNT)).status == 405
    assert (await at_root(asking, method="GET", query=COUNT)).text == HOME
    assert (await asking.send("", {}, {}, method="GET", path="/ping")).status == 404
    assert (await asking.ask(COUNT, token=ALL)).status == 200


async def test_a_script_of_that_name_stays(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> None:
    async def show(request: web.Request) -> web.StreamResponse:
        return web.Response(text=SCRIPT)

    asking = await serve(aiohttp_client, sql_client.service, others=[page("GET", "/ping", show, "The script")])
    assert (await asking.send("", {}, {}, method="GET", path="/ping")).text == SCRIPT
    assert (await at_root(asking, "SELECT 1")).text == "1\n"


def test_an_endpoint_stands_once_and_the_page_is_described() -> None:
    found = {endpoint.name: endpoint for endpoint in complete_server().endpoints()}
    assert "show_root" not in found
    root = found["clickhouse_get_root"]
    assert root.otherwise is not None
    assert {reply.status for reply in root.replies} == {200, 302}
    off = Server(Config(clickhouse_api=ClickhouseApiSection(at_root=False))).endpoints()
    assert [each.name for each in off if each.path in ("/", "/ping")] == ["show_root"]


async def test_a_client_connects_by_host_and_port(tmp_path: Path) -> None:
    settings = {"clickhouse_api_path": "/deep/elsewhere", "tracker_collect_path": "/ping"}
    with running(tmp_path, settings) as server:
        async with Client(server) as browser:
            sent = {"site": "one.example", "name": "pageview", "url": "https://one.example/"}
            assert (await browser.send([sent], path="/ping")).json["accepted"] == 1
            await browser.flushed()
            home = await browser.request("GET", "/")
            assert (home.status, home.headers["Location"]) == (302, "dashboard")
            described = await browser.request("POST", "/", b"SELECT 1", {"Authorization": ""})
            assert described.status == 401
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=server.port, username="anyone", password=server.token
        )
        assert client.ping()
        assert client.query("SELECT site_id, count() FROM events GROUP BY site_id").result_rows == [("one.example", 1)]
        client.close()
