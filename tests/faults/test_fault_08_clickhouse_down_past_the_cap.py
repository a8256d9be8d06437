"""8. ClickHouse down past the WAL's cap: 2xx until the cap, then 503 + Retry-After; everything drains afterwards."""

from __future__ import annotations

import asyncio

from tests.faults.conftest import MakePlace
from tests.server import Client

CAP_MB = 1
TITLE = "x" * 500
GROUP_BYTES = 100 * 1_500
"""What the log may grow beyond its cap: the group that reached it. Here that is one beacon."""


async def test_accepted_until_the_cap_refused_above_it_and_all_drained(make_place: MakePlace) -> None:
    place = make_place("server", ingest_wal_max_mb=str(CAP_MB))
    await place.start("a.example")
    async with Client(place.server) as client:
        await asyncio.to_thread(place.front.kill)
        statuses = []
        while (status := await place.send(client, "a.example", 100, title=TITLE)) == 202:
            statuses.append(status)
            assert len(statuses) < 200, "the cap has no effect"
        assert status == 503
        refused = await client.send({"site": "a.example", "name": "x", "title": TITLE})
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) >= 1
        on_disk = await client.metric("wal_bytes")
        assert 0 <= on_disk - CAP_MB * 1_048_576 < GROUP_BYTES, "2xx until the cap, and not past it"
        assert (await client.get("/readyz")).status == 503

        await asyncio.to_thread(place.front.start)
        await client.flushed()
        assert (await client.get("/readyz")).status == 200
        assert await place.send(client, "a.example", 10) == 202
    await place.assert_every_event_stored_once(1 + 100 * len(statuses) + 10)
