"""A real server with a few events, on both engines, which real clients ask."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clickhouse import drop_database
from tests.clickhouse_api.questions import MOMENTS, SITES, TITLE
from tests.e2e.conftest import running
from tests.server import Client, RunningServer


@pytest.fixture(scope="module", params=["embedded", "server"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One whose time limit the tests meet."""
    with filled(request, tmp_path_factory.mktemp("clickhouse_api"), time_limit_s=5) as server:
        yield server


@contextmanager
def filled(request: pytest.FixtureRequest, directory: Path, *, time_limit_s: int) -> Iterator[RunningServer]:
    """A server with three page views, which are one session, of each of two sites. `request` names the engine."""

    async def fill(server: RunningServer) -> None:
        async with Client(server) as client:
            for site in SITES:
                views = [view(site, n) for n in range(3)]
                reply = await client.send(views, trusted=True)
                assert reply.json["accepted"] == 3, reply.body
            await client.flushed()

    settings = {"sql_timeout_s": str(time_limit_s)}
    if request.param == "server":
        url = request.getfixturevalue("clickhouse_server")
        database = f"clients_{uuid.uuid4().hex[:12]}"
        settings |= {"clickhouse_url": url, "clickhouse_database": database}
    with running(directory, settings) as server:
        asyncio.run(fill(server))
        yield server
    if request.param == "server":
        drop_database(url, database)


def view(site: str, n: int) -> dict[str, Any]:
    """One of its page views."""
    return {
        "site": site,
        "name": "pageview",
        "url": f"https://{site}/{n}",
        "title": TITLE,
        "timestamp": MOMENTS[n],
        "user_id": "someone",
        "props": {"plan": "größer", "seats": n},
        "revenue": {"amount": f"{n}.25", "currency": "EUR"},
    }
