"""The built package, and a site whose pages use it in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser import context, page
from tests.browser import whole_browser as browser
from tests.browsers.fixtures import engine
from tests.server import RunningServer
from tests.tracker.site import Site
from tests.web.workspace import WEB, run

__all__ = ["browser", "built", "context", "engine", "modules", "page", "site"]


@pytest.fixture(scope="session")
def built() -> Path:
    """The package's folder, built. For one file of tests: a build replaces what another worker may be reading."""
    run("client/build/package.mjs")
    return WEB / "client"


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's modules, built into a folder of this worker's own."""
    folder = tmp_path_factory.mktemp("client")
    run("client/build/package.mjs", str(folder))
    (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")  # as the package has it
    return folder


@pytest_asyncio.fixture(loop_scope="session")
async def site(modules: Path) -> AsyncIterator[Site]:
    async with Site() as site:
        site.serve_files(modules)
        yield site


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real server; a test that kills it starts it again."""
    with RunningServer(tmp_path_factory.mktemp("server"), {"ingest_flush_interval_ms": "100"}) as server:
        yield server
