"""Fixtures for tests in Firefox and WebKit: re-export them in the `conftest.py` beside the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browsers.browser import Browser, Driver
from tests.browsers.firefox import FirefoxDriver
from tests.browsers.webkit import WebKitDriver

DRIVERS: Mapping[str, Callable[[Path], Driver]] = {"firefox": FirefoxDriver, "webkit": WebKitDriver}


@pytest_asyncio.fixture(params=DRIVERS)
async def visitor(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Browser]:
    """A browser with a fresh profile; a test that asks for it runs once in each."""
    async with Browser(DRIVERS[request.param](tmp_path / "browser")) as browser:
        yield browser


@pytest_asyncio.fixture
async def firefox(tmp_path: Path) -> AsyncIterator[Browser]:
    """For what only Firefox does, or what can't be told to WebKit."""
    async with Browser(FirefoxDriver(tmp_path / "browser")) as browser:
        yield browser


@pytest_asyncio.fixture
async def webkit(tmp_path: Path) -> AsyncIterator[Browser]:
    """For what only WebKit does, or what can't be told to Firefox."""
    async with Browser(WebKitDriver(tmp_path / "browser")) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=DRIVERS)
async def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser for all tests of a module, which run once in each: starting one takes seconds."""
    async with Browser(DRIVERS[request.param](tmp_path_factory.mktemp(request.param) / "browser")) as browser:
        yield browser
