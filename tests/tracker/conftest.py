"""The browser and the site that the tracker's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.browser import browser, context, new_context, page, whole_browser
from tests.browsers.fixtures import engine
from tests.tracker.site import Site

__all__ = ["browser", "context", "engine", "page", "site", "whole_browser", "whole_page"]


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with Site() as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def whole_page(whole_browser: Browser) -> AsyncIterator[Page]:
    """A tab of the whole program."""
    context = await new_context(whole_browser)
    yield await context.new_page()
    await context.close()
