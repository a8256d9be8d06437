"""One server with two sites, and what is saved with one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.grafana.json_source.asking import EVENTS, OTHER, SITE, ZONE, event
from tests.server import Client, RunningServer


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("json-source")) as server:
        yield server


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        for site in (SITE, OTHER):
            made = await client.call("POST", "/api/v1/sites", {"site_id": site, "timezone": ZONE.key})
            assert made.status == 201
        sent = [event(SITE, *one) for one in EVENTS] + [
            event(OTHER, 4, 12, "Firefox/140.0", "/secret", "pageview", None)
        ]
        reply = await client.send({"events": sent}, trusted=True)
        assert reply.json["accepted"] == len(sent), reply.body
        for path, saved in (
            ("funnels/saved", {"name": "Buying", "steps": [{"name": "pageview"}, {"name": "purchase"}]}),
            ("goals", {"name": "Purchase", "event": "purchase"}),
            ("segments", {"name": "Firefox only", "filters": [["is", "visit:browser", ["Firefox"]]]}),
            ("annotations", {"text": "New prices.", "date": "2025-03-04"}),
            ("annotations", {"text": "Sale.", "date_range": ["2025-03-05", "2025-03-07"]}),
            ("annotations", {"text": "Long ago.", "date_range": ["2024-03-05", "2024-03-07"]}),
        ):
            made = await client.call("POST", f"/api/v1/{path}", {"site_id": SITE, **saved})
            assert made.status == 201, made.body
        await client.flushed()
        yield client


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def own_token(client: Client) -> str:
    """Of a token that covers one site."""
    made = await client.call("POST", "/api/v1/tokens", {"role": "read", "sites": [SITE], "name": "panel"})
    return str(made.json["token"])
