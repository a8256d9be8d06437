"""What every page and API answer tells browsers about security: from the table of endpoints, asked for real."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest

from analytics_server.http.endpoint import Endpoint
from tests.e2e.conftest import running
from tests.server import Client, Reply, RunningServer
from tests.whole import complete_server

ENDPOINTS = complete_server().endpoints()
LOADED_BY_OTHERS = {"get_script", "get_pixel"}
"""The tracker and the pixel, which any site loads. Beacons' answers are read by any site too."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("headers"), {"server_demo": "true"}) as server:
        yield server


def is_page(endpoint: Endpoint) -> bool:
    kinds = {kind for reply in endpoint.replies for kind in reply.formats}
    return endpoint.tag == "pages" or "text/html" in kinds or endpoint.otherwise is not None


def policy_of(reply: Reply) -> dict[str, str]:
    directives = [one.strip().partition(" ") for one in reply.headers["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in directives}


def assert_secure(reply: Reply) -> None:
    """What holds for pages and errors alike. A page that others may frame names them."""
    policy = policy_of(reply)
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert {"form-action", "frame-ancestors"} <= set(policy)
    for value in policy.values():
        assert not re.search(r"'unsafe-|\*|https?:|data:|'nonce-", value), value
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] in ("no-referrer", "same-origin", "strict-origin-when-cross-origin")
    assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def ask(client: Client, endpoint: Endpoint, token: str) -> Reply:
    path = re.sub(r"\{[^}]+\}", "x", endpoint.path)
    return await client.request(endpoint.method, path, headers={"Authorization": f"Bearer {token}"})


async def test_every_page_and_redirect_forbids_what_it_does_not_need(server: RunningServer) -> None:
    pages = [one for one in ENDPOINTS if is_page(one)]
    assert {"/", "/dashboard", "/demo/welcome"} <= {one.path for one in pages}
    async with Client(server) as client:
        for endpoint in pages:
            reply = await ask(client, endpoint, server.token)
            assert reply.status < 500, endpoint.path
            assert_secure(reply)


async def test_pages_hold_no_inline_script_or_style(server: RunningServer) -> None:
    inline = re.compile(rb"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=|javascript:", re.IGNORECASE)
    async with Client(server) as client:
        for endpoint in (one for one in ENDPOINTS if is_page(one) and one.method == "GET"):
            reply = await ask(client, endpoint, server.token)
            if reply.headers.get("Content-Type", "").startswith("text/html"):
                assert not inline.findall(reply.body), endpoint.path


async def test_every_answer_of_the_api_and_every_error_is_secure(server: RunningServer) -> None:
    async with Client(server) as client:
        for endpoint in ENDPOINTS:
            if is_page(endpoint) or endpoint.tag == "collect" or endpoint.method == "OPTIONS":
                continue
            if endpoint.name in ("get_openapi", "assign_variant"):  # public, and read by any origin
                continue
            for token in (server.token, "ast_unknown"):
                reply = await ask(client, endpoint, token)
                if endpoint.name != "watch_live":
                    assert reply.status != 500, endpoint.path
                if reply.body:
                    assert_secure(reply)
        for path in ("/nothing", "/api/v1/nothing", "/dashboard/static/0/x.js", "/" * 100):
            reply = await client.get(path)
            assert reply.status == 404
            assert_secure(reply)


async def test_what_other_sites_load_stays_loadable(server: RunningServer) -> None:
    async with Client(server) as client:
        for endpoint in (one for one in ENDPOINTS if one.name in LOADED_BY_OTHERS):
            reply = await client.get(f"{endpoint.path}?site=example.com&url=https://example.com/")
            assert reply.status == 200
            assert reply.headers.get("Cross-Origin-Resource-Policy", "cross-origin") == "cross-origin"
        beacon = {"site": "example.com", "name": "pageview", "url": "https://example.com/"}
        reply = await client.send(msgspec.json.encode(beacon))
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (202, "*")
