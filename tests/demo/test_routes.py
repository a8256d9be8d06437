"""The demo site without a browser: every link leads somewhere, nothing needs an exception from a strict policy."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urljoin, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from analytics_server.demo.routes import DEMO_SITE_ID, endpoints
from analytics_server.http.body import BODY_TIMEOUT_S, MOST_BYTES
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.serving import wrap
from tests.http.authorizer import public_routes

ELSEWHERE = {"/dashboard", "/a.js"}
DEAD = "/demo/careers"

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    app = web.Application()
    app.add_routes(public_routes(endpoints("/a.js")))
    return await aiohttp_client(app)


async def crawl(client: Client) -> dict[str, tuple[int, str]]:
    """Every page that links lead to from the start, with status and text."""
    found: dict[str, tuple[int, str]] = {}
    waiting = ["/demo"]
    while waiting:
        path = waiting.pop()
        if path in found or path in ELSEWHERE:
            continue
        answer = await client.get(path)
        kind = answer.content_type
        text = await answer.text() if kind == "text/html" else ""
        found[path] = (answer.status, text)
        for link in re.findall(r'(?:href|src|action)="([^"]+)"', text):
            if not urlsplit(link).netloc and not link.startswith("#"):
                waiting.append(urljoin(path, link))
    return found


async def test_every_link_leads_somewhere_but_the_one_that_is_meant_dead(client: Client) -> None:
    found = await crawl(client)
    assert {path for path, (status, _) in found.items() if status != 200} == {DEAD}
    assert found[DEAD][0] == 404
    assert len([path for path in found if path.startswith("/demo/products/")]) == 6


async def test_every_page_has_the_tracker_and_no_inline_or_foreign_code(client: Client) -> None:
    for path, (_, text) in (await crawl(client)).items():
        if not text:
            continue
        assert f'<script defer src="/a.js" data-site="{DEMO_SITE_ID}"' in text, path
        assert "{{" not in text, path
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text), path
        assert not re.search(r'(?:<script|<link|<img|<iframe)[^>]*(?:src|href)="(?:https?:)?//', text), path


async def test_pages_carry_a_strict_policy(client: Client) -> None:
    policy = (await client.get("/demo")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_unknown_page_is_404_and_marked(client: Client) -> None:
    answer = await client.get("/demo/nowhere/at/all")
    assert answer.status == 404
    assert 'data-status="404"' in await answer.text()


@pytest.mark.parametrize("path", ["/demo", "/demo/app", "/demo/static/site.css", "/demo/downloads/brew-guide.pdf"])
async def test_what_the_browser_has_is_not_sent_again(client: Client, path: str) -> None:
    tag = (await client.get(path)).headers["ETag"]
    for told in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(path, headers={"If-None-Match": told})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status == 200
    assert (await client.get(DEAD, headers={"If-None-Match": "*"})).status == 404


async def test_deep_link_into_the_app_serves_the_app(client: Client) -> None:
    answer = await client.get("/demo/app/recipes/pour-over")
    assert answer.status == 200
    assert 'id="view"' in await answer.text()


async def test_signup_passes_on_the_plan_and_nothing_else(client: Client) -> None:
    form = {"name": "Jo", "email": "jo@shop.example", "plan": "office"}
    answer = await client.post("/demo/signup", data=form, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/demo/welcome?plan=office")


@pytest.mark.parametrize("plan", ["", "x&y=<z>", "jo@shop.example"])
async def test_signup_with_an_unknown_plan_takes_the_usual_one(client: Client, plan: str) -> None:
    answer = await client.post("/demo/signup", data={"plan": plan}, allow_redirects=False)
    assert answer.headers["Location"] == "/demo/welcome?plan=household"


async def test_a_large_form_is_refused(aiohttp_client: AiohttpClient) -> None:
    app = web.Application()
    app.add_routes(wrap(public_routes(endpoints("/a.js")), HttpMetrics()))
    answer = await (await aiohttp_client(app)).post("/demo/signup", data={"name": "x" * MOST_BYTES})
    assert answer.status == 413


async def test_a_form_that_stalls_is_given_up(aiohttp_client: AiohttpClient) -> None:
    app = web.Application()
    app.add_routes(wrap(public_routes(endpoints("/a.js")), HttpMetrics()))
    app[BODY_TIMEOUT_S] = 0.05
    client = await aiohttp_client(app)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /demo/signup HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n")
    writer.write(b"Content-Type: application/x-www-form-urlencoded\r\n\r\nplan=")
    status = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert b" 408 " in status


async def test_signup_reads_no_files(client: Client) -> None:
    answer = await client.post("/demo/signup", json={"plan": "office"}, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/demo/welcome?plan=household")


async def test_slash_after_demo_leads_to_the_start(client: Client) -> None:
    answer = await client.get("/demo/", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (308, "/demo")


async def test_tracker_may_have_another_path(aiohttp_client: AiohttpClient) -> None:
    app = web.Application()
    app.add_routes(public_routes(endpoints("/js/stats.js")))
    text = await (await (await aiohttp_client(app)).get("/demo")).text()
    assert '<script defer src="/js/stats.js"' in text
