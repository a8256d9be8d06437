"""One server with measured traffic, the browser, and a signed-in dashboard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser import browser, new_context, whole_browser
from tests.dashboard.traffic import SITE, Traffic, measured
from tests.server import Client, RunningServer

__all__ = ["browser", "dashboard", "server", "traffic", "whole_browser"]


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"ingest_flush_interval_ms": "100", "server_demo": "true"}
    with RunningServer(tmp_path_factory.mktemp("dashboard"), settings) as server:
        yield server
        assert server.terminate() == 0


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def traffic(server: RunningServer) -> Traffic:
    """What the server has measured of `SITE` before any test looks at it."""
    traffic = Traffic()
    async with Client(server) as client:
        reply = await client.send({"events": traffic.events}, trusted=True)
        assert reply.json == {"accepted": len(traffic.events), "dropped": {}, "rejected": []}
        await measured(client, SITE, len(traffic.events))
    return traffic


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(browser: Browser, server: RunningServer, traffic: Traffic) -> AsyncIterator[Page]:
    """The report of `SITE`, signed in by the link's fragment and completely loaded."""
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={SITE}#token={server.token}")
        await page.get_by_role("button", name="Google: ").wait_for()
        yield page


@asynccontextmanager
async def dashboard_page(browser: Browser, *, width: int = 1280, height: int = 800) -> AsyncIterator[Page]:
    """A tab in a fresh profile; anything that breaks in the page fails the test at its end."""
    context = await new_context(browser)
    page = await context.new_page()
    await page.set_viewport_size({"width": width, "height": height})
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda message: broken.append(message.text) if "Content Security" in message.text else None)
    yield page
    await context.close()
    assert broken == []
