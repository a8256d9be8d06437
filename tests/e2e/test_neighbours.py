"""What one site is sent never makes another wait, lose an event, or be counted wrongly."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import uuid4

from tests.server import Client, RunningServer, wait_for

MONTHS = [f"{2000 + number // 12}-{number % 12 + 1:02d}-15T12:00:00Z" for number in range(6 * 12)]


def of_many_years(site: str) -> list[dict[str, object]]:
    """An event per month, in no order."""
    events: list[dict[str, object]] = [
        {"site": site, "name": "x", "timestamp": month, "event_id": str(uuid4())} for month in MONTHS
    ]
    random.Random(7).shuffle(events)
    return events


async def test_an_import_of_many_years_holds_nobody_up_and_lands_once_through_a_kill(tmp_path: Path, site: str) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"})
    with server:
        async with Client(server) as client:
            batches = [of_many_years("import.example") for _ in range(2)]
            for number, batch in enumerate(batches, 1):
                assert (await client.send(batch, trusted=True)).json["accepted"] == len(MONTHS)
                await client.send({"site": site, "name": "x"})
                await wait_for(lambda number=number: _has(client, site, number), 30.0)  # type: ignore[misc]
                assert await client.metric("wal_segments") > 0  # the import is still on its way
        server.kill()
        server.restart()
        async with Client(server) as client:
            for batch in batches:  # a sender that has got no answer sends again
                assert (await client.send(batch, trusted=True)).json["accepted"] == len(MONTHS)
            await client.send({"site": site, "name": "x"})
            await client.flushed(100.0)
            assert await client.count("import.example") == 2 * len(MONTHS)
            assert await client.count(site) == 3
            days = await client.query("import.example", ["events"], ["time:month"])
            assert sorted(days.values()) == [(2,)] * len(MONTHS)
        assert server.terminate() == 0


async def _has(client: Client, site: str, events: int) -> bool:
    return await client.count(site) == events


async def test_floods_for_one_site_leave_anothers_session_and_deduplication_as_they_were(
    tmp_path: Path, site: str
) -> None:
    settings = {"collect_max_sessions": "500", "collect_max_duplicate_ids": "500", "ingest_flush_interval_ms": "100"}
    with RunningServer(tmp_path, settings) as server:
        async with Client(server) as client:
            first = {
                "site": site,
                "name": "pageview",
                "url": f"https://{site}/?utm_source=news",
                "session_id": "tab",
                "event_id": str(uuid4()),
            }
            await client.send(first)
            await _flood(client)
        server.kill()  # what is read back is shared out, too
        server.restart()
        async with Client(server) as client:
            await _flood(client)
            await client.send(first)
            await client.send({**first, "url": f"https://{site}/next", "event_id": str(uuid4())})
            await client.kept(site, 2)
            assert await client.query(site, ["visits"], ["visit:utm_source"]) == {("news",): (1,)}
        assert server.terminate() == 0


async def _flood(client: Client) -> None:
    for _ in range(3):
        flood = [
            {"site": "flood.example", "name": "x", "session_id": uuid4().hex, "event_id": str(uuid4())}
            for _ in range(700)
        ]
        assert (await client.send(flood)).json["accepted"] == 700
