"""One server for all of these tests: a site with pages, funnels, users, an experiment and hostile texts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.mcp.assistant import HOSTILE_PATH, HOSTILE_TITLE, PAGES, SITE, Event
from tests.server import Client, RunningServer


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("mcp")) as server:
        asyncio.run(fill(server))
        yield server


@pytest_asyncio.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


async def fill(server: RunningServer) -> None:
    async with Client(server) as client:
        for site in (SITE, "foreign.example"):
            made = await client.call("POST", "/api/v1/sites", {"site_id": site})
            assert made.status == 201, made.body
        sent = await client.send(list(events()), trusted=True)
        assert sent.json["rejected"] == [], sent.body
        await client.flushed()


def events() -> Iterator[Event]:
    """Yesterday's sessions: one for each page, every third of which signs up, by users in two variants."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
    for number in range(PAGES):
        own: Event = {
            "site": SITE,
            "session_id": f"s{number}",
            "user_id": f"u{number % 30}",
            "ip": f"192.0.2.{number % 250}",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        }

        def at(seconds: int, event: Event, own: Event = own, start: int = number) -> Event:
            return own | event | {"timestamp": (noon + timedelta(seconds=10 * start + seconds)).isoformat()}

        path = HOSTILE_PATH if number == 0 else f"/p{number}"
        title = HOSTILE_TITLE if number == 0 else f"Page {number}"
        yield at(0, {"name": "pageview", "url": f"https://{SITE}{path}", "title": title})
        variant = {"id": "cta", "variant": "ab"[number % 2]}
        yield at(1, {"name": "exposure", "url": f"https://{SITE}{path}", "experiment": variant})
        if number % 3 == 0:
            yield at(5, {"name": "signup", "url": f"https://{SITE}{path}"})
