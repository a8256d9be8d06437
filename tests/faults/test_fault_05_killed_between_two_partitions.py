"""5. Killed between the commits of two partitions: only the missing partition is sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.clickhouse_front.faults import Fault
from tests.faults.conftest import SHIPPED, MakePlace, Place
from tests.faults.trap import RENAMES, trap
from tests.server import Client

SITE = "a.example"
ONE_BATCH = {"ingest_historic_after_days": "36500"}
"""Both months are of one segment, else the first may be gone before the second is sent."""
TABLES = 1 + len(SHIPPED)
"""`events` and the targets of its views: so many parts are committed per month."""


async def test_clickhouse_killed_before_the_second_month(remote: Place) -> None:
    await remote.start(SITE)
    faults = remote.front.faults
    async with Client(remote.server) as client:
        faults.clear()
        faults.add(Fault(kind="slow", statement="insert", contains="events"))  # the first month passes
        faults.add(Fault(kind="stall", statement="insert", contains="events"))
        assert await remote.send(client, SITE, 50, old=20) == 202
        assert len((await asyncio.to_thread(faults.wait_stalled)).inserted["events"]) == 2
        await remote.restart_what_was_killed()
        await client.flushed()
    assert len(faults.report().inserted["events"]) == 1
    await remote.assert_every_event_stored_once(51)


async def test_the_process_killed_before_the_second_month(make_place: MakePlace, tmp_path: Path) -> None:
    place = make_place("embedded", **ONE_BATCH)
    await place.start(SITE)
    async with Client(place.server) as client:
        await place.settled(client)
        async with trap(place.engine_pid, tmp_path, RENAMES, nth=TABLES + 1) as sprung:
            assert await place.send(client, SITE, 50, old=20) == 202
        committed, missed = sprung.commits(place.engine_dir)
        assert (committed[0], len(committed), missed) == ("events", TABLES, "events")
        await place.restart_what_was_killed()
        await client.flushed()
        assert await client.metric("flush_ambiguous_total") == 2
        assert await client.metric('flush_attempts_total{outcome="ok"}') == 1
    await place.assert_every_event_stored_once(51)
