"""7. ClickHouse killed in the middle of an insert: the invariant holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import pytest

from tests.clickhouse_front.faults import Fault
from tests.faults.conftest import MakePlace, Place
from tests.faults.trap import trap
from tests.server import Client, wait_for

PACE_S = 0.02
"""Between the beacons of a load: what counts is that inserts go on, not how many wait."""

WRITES = ("fdatasync", "fsync")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_while_an_insert_is_under_way(remote: Place, when: Literal["before", "after"]) -> None:
    await remote.start("a.example")
    async with Client(remote.server) as client:
        remote.front.faults.add(Fault(kind="stall", statement="insert", contains="events", when=when))
        assert await remote.send(client, "a.example", 50) == 202
        await asyncio.to_thread(remote.front.faults.wait_stalled)
        assert await remote.send(client, "b.example", 30) == 202
        await asyncio.to_thread(remote.front.kill)
        assert await remote.send(client, "a.example", 20) == 202
        await asyncio.to_thread(remote.front.start)
    await remote.assert_every_event_stored_once(101)


async def test_killed_while_it_writes_a_part(place: Place, tmp_path: Path) -> None:
    """Files of the new part are written and synced, the part is not yet there."""
    await place.start("a.example")
    async with Client(place.server) as client:
        await place.settled(client)
        async with trap(place.engine_pid, tmp_path, WRITES, nth=3):
            assert await place.send(client, "a.example", 50) == 202
        await place.restart_what_was_killed()
    await place.assert_every_event_stored_once(51)


async def inserts(place: Place) -> int:
    """Inserts into `events` since ClickHouse was started."""
    report = await asyncio.to_thread(place.front.faults.report)
    return len(report.inserted.get("events", ()))


async def test_killed_again_and_again_under_load(make_place: MakePlace) -> None:
    remote = make_place("server", ingest_flush_interval_ms="300")
    await remote.start("a.example")
    sending = True

    async def load(client: Client, site: str) -> None:
        while sending:
            assert await remote.send(client, site, 20) == 202
            await asyncio.sleep(PACE_S)

    async with Client(remote.server) as client:
        workers = [asyncio.create_task(load(client, site)) for site in ("a.example", "b.example")]
        for _ in range(2):
            seen = await inserts(remote)

            async def two_more(seen: int = seen) -> bool:
                return await inserts(remote) >= seen + 2

            await wait_for(two_more, 30, "two more inserts")
            await remote.restart_what_was_killed()
        sending = False
        await asyncio.gather(*workers)
    await remote.assert_every_event_stored_once(len(remote.acknowledged))
