"""Real Chromium for tests, driven by Playwright's async API.

Fixtures run on the session's event loop, so a test module that uses them says
`pytestmark = pytest.mark.asyncio(loop_scope="session")`, and the `conftest.py`
beside it re-exports them: `from tests.browser import browser, context, page`.
The fixtures `chromium` and `headless_shell` of the root `conftest.py` find the binaries, or skip.

The headless shell is Chromium's engine without the program around it, and takes a third of the processor time. Tests
of a visitor's way through the whole product, and of what only the whole program has, take `whole_browser`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
"""A visitor's: headless Chromium's own would be dropped as a bot's."""

TIMEOUT_MS = 45_000
expect.set_options(timeout=TIMEOUT_MS)

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A context's own setting does not reach the beacons that outlive their page.
    f"--user-agent={USER_AGENT}",
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(headless_shell: str) -> AsyncIterator[Browser]:
    """One browser for all tests."""
    async with launched(headless_shell) as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_browser(chromium: str) -> AsyncIterator[Browser]:
    """The whole program, as visitors have it: with a back/forward cache."""
    async with launched(chromium) as browser:
        yield browser


@asynccontextmanager
async def launched(path: str) -> AsyncIterator[Browser]:
    """A browser, until the end of the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path,
            args=list(ARGUMENTS),
            ignore_default_args=["--disable-back-forward-cache"],
            timeout=60_000,
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A fresh profile that looks like a visitor's: nothing is shared between tests."""
    context = await new_context(browser)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """One tab of the fresh profile."""
    return await context.new_page()


async def new_context(browser: Browser, user_agent: str = USER_AGENT) -> BrowserContext:
    """A profile with an ordinary visitor's user agent, a desktop's screen and British English."""
    context = await browser.new_context(
        user_agent=user_agent,
        locale="en-GB",
        viewport={"width": 1280, "height": 800},
        screen={"width": 1440, "height": 900},
    )
    context.set_default_timeout(TIMEOUT_MS)
    return context
