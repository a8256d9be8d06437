"""One server with a site that has some events, and its own document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.http.openapi.document import Document
from tests.server import Client, RunningServer

SITE = "example.com"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("openapi")) as server:
        asyncio.run(fill(server))
        yield server


async def fill(server: RunningServer) -> None:
    """Three visitors of the site that the examples speak of."""
    events = [
        {
            "site": SITE,
            "name": name,
            "url": f"https://{SITE}{path}",
            "session_id": f"s{number}",
            "user_id": f"u{number}",
            "revenue": {"amount": 12.5, "currency": "EUR"} if name == "purchase" else None,
            "experiment": {"id": "cta", "variant": "ab"[number % 2]} if name == "exposure" else None,
            "props": {"plan": "pro"},
        }
        for number in range(3)
        for name, path in (("pageview", "/a"), ("exposure", "/a"), ("signup", "/b"), ("purchase", "/b"))
    ]
    async with Client(server) as client:
        assert (await client.send(events)).json["accepted"] == len(events)
        await client.flushed()


@pytest_asyncio.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


@pytest_asyncio.fixture
async def document(client: Client) -> Document:
    """What the running server says of itself."""
    reply = await client.get("/openapi.json")
    assert reply.status == 200
    return Document(reply.json)
