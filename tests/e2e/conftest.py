"""One server process with the default settings for all modules that need no other: its engine takes seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.browser import context, page
from tests.browser import whole_browser as browser
from tests.browsers.fixtures import firefox, visitor, webkit
from tests.server import Client, RunningServer

__all__ = ["browser", "client", "context", "firefox", "page", "server", "site", "visitor", "webkit"]


@contextmanager
def running(directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningServer]:
    """A server for the tests of a module: it must end in order, and its log must be clean."""
    with RunningServer(directory, {"ingest_flush_interval_ms": "100", **(settings or {})}) as server:
        yield server
        assert server.terminate() == 0
    assert_clean(server.log)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The server with defaults; a module with other settings overrides this fixture."""
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest_asyncio.fixture(params=["fast", "framework"])
async def client(server: RunningServer, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A visitor whose plain beacons the fast front answers, and one whose beacons all go through aiohttp.

    Both must get the same answers, so every test that asks for a client runs twice.
    """
    # The header means nothing to a server; the fast front leaves whatever it doesn't know well to aiohttp.
    headers = {} if request.param == "fast" else {"Proxy-Connection": "keep-alive"}
    async with Client(server, headers=headers) as client:
        yield client


@pytest.fixture
def site() -> str:
    """A site that no other test uses: counts are exact."""
    return f"site-{uuid4().hex[:12]}.example"


def assert_clean(log: str) -> None:
    """No crash and nothing that identifies a visitor."""
    for never in ("Traceback", "crashed", "Error handling request", "Mozilla/5.0", "ast_", "Unclosed", "Warning"):
        assert never not in log, log
