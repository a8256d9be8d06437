"""The browser and the site that the tracker's tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.browser import browser, context, page
from tests.browsers.fixtures import engine
from tests.tracker.site import Site

__all__ = ["browser", "context", "engine", "page", "site"]


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with Site() as site:
        yield site
