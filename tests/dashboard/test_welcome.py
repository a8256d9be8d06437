"""The page of a site without visits says what came and was not counted, and what to do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser import USER_AGENT, new_context
from tests.dashboard.conftest import dashboard_page
from tests.server import Client, RunningServer
from tests.tracker.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEADLESS = USER_AGENT.replace("Chrome/", "HeadlessChrome/")


@pytest.fixture(scope="module")
def empty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Without any site: the first event that counts makes one."""
    with RunningServer(tmp_path_factory.mktemp("empty"), {"ingest_flush_interval_ms": "100"}) as server:
        yield server


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Sites have to be created by hand."""
    with RunningServer(tmp_path_factory.mktemp("strict"), {"sites_create_unknown": "false"}) as server:
        yield server


@asynccontextmanager
async def welcome(browser: Browser, server: RunningServer, site: str = "") -> AsyncIterator[Page]:
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={site}#token={server.token}")
        await expect(page.get_by_role("region", name="Getting started")).to_be_visible()
        yield page


async def visit(browser: Browser, server: RunningServer, site: str, user_agent: str = HEADLESS) -> None:
    """Open a page with the tracker, and wait for the answer to its pageview."""
    context = await new_context(browser, user_agent)
    page = await context.new_page()
    tag = f'<script defer src="{server.url}/a.js" data-site="{site}"></script>'
    async with Site() as place:
        address = place.add_raw("/hello", f"<!doctype html><title>Hello</title>{tag}")
        async with page.expect_response(lambda answer: answer.url == f"{server.url}/track"):
            await page.goto(address)
        await context.close()


async def test_a_headless_browser_s_first_visit_is_explained(
    whole_browser: Browser, empty_server: RunningServer
) -> None:
    async with welcome(whole_browser, empty_server) as page:
        dropped = page.locator(".begin .dropped")
        await expect(dropped).to_be_hidden()
        await visit(whole_browser, empty_server, "new.example")
        await expect(dropped).to_contain_text("A visit for the site “new.example” came and was not counted.")
        await expect(dropped).to_contain_text("It looks automated")
        await expect(dropped).to_contain_text("Open the page in an ordinary browser window.")
        await expect(page.locator(".begin .waiting")).to_contain_text("Waiting for the first visit that counts")
        await visit(whole_browser, empty_server, "new.example", USER_AGENT)
        await expect(page.get_by_role("region", name="Overview")).to_be_visible()


async def test_a_site_that_exists_hears_of_it_at_once(whole_browser: Browser, strict_server: RunningServer) -> None:
    async with Client(strict_server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": "mine.example", "allowed_hosts": ["mine.example"]})
        async with welcome(whole_browser, strict_server, "mine.example") as page:
            dropped = page.locator(".begin .dropped")
            await visit(whole_browser, strict_server, "mine.example")
            await expect(dropped).to_contain_text("A visit came and was not counted. It looks automated")
            await visit(whole_browser, strict_server, "mine.example", USER_AGENT)
            await expect(dropped).to_contain_text("host '127.0.0.1' is not among the site's allowed hosts")
            await expect(dropped).to_contain_text("allowed_hosts")
            await visit(whole_browser, strict_server, "mien.example", USER_AGENT)
            await expect(dropped).to_contain_text("A visit for the site “mien.example” came and was refused.")
            await expect(dropped).to_contain_text("Is its name spelled right in data-site?")


@pytest.mark.parametrize(
    ("headers", "said"), [({"DNT": "1"}, "asked not to be tracked"), ({"Sec-GPC": "1"}, "Global Privacy Control")]
)
async def test_a_visit_with_a_privacy_signal_is_explained(
    whole_browser: Browser, strict_server: RunningServer, headers: dict[str, str], said: str
) -> None:
    site = f"{next(iter(headers)).lower()}.example"
    async with Client(strict_server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": site})
        await client.send({"site": site, "name": "pageview", "url": f"https://{site}/"}, headers=headers)
        async with welcome(whole_browser, strict_server, site) as page:
            await expect(page.locator(".begin .dropped")).to_contain_text(said)


async def test_a_token_of_one_site_does_not_hear_of_others(strict_server: RunningServer) -> None:
    async with Client(strict_server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": "one.example"})
        await client.send({"site": "secret-plan.example", "name": "pageview", "url": "https://x.example/"})
        made = (await client.call("POST", "/api/v1/tokens", {"role": "read", "sites": ["one.example"]})).json
        limited = await client.call("GET", "/api/v1/sites", token=made["token"])
        everything = await client.call("GET", "/api/v1/sites")
        assert limited.json["drops"] == []
        assert "secret-plan.example" in {drop["site_id"] for drop in everything.json["drops"]}
