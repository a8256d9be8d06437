"""12. TOO_MANY_PARTS or MEMORY_LIMIT_EXCEEDED: backoff with jitter, no loss."""

from __future__ import annotations

import asyncio
import itertools
import sys

import pytest

from tests.clickhouse_front.faults import Fault
from tests.faults.conftest import MakePlace, Place
from tests.server import Client, wait_for

ALTER = """
import sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn="chdb://" + sys.argv[1], database="analytics")
client.command("ALTER TABLE events " + sys.argv[2])
"""


@pytest.mark.parametrize("name", ["TOO_MANY_PARTS", "MEMORY_LIMIT_EXCEEDED"])
async def test_refused_inserts_are_tried_again_at_growing_distances(make_place: MakePlace, name: str) -> None:
    place = make_place("server", ingest_retry_max_s="30")
    await place.start("a.example")
    faults = place.front.faults
    async with Client(place.server) as client:
        faults.clear()
        faults.add(Fault(kind="error", error=name, statement="insert", contains="events", times=4))
        assert await place.send(client, "a.example", 50) == 202
        await client.flushed()
        assert await client.metric('flush_attempts_total{outcome="retryable"}') == 4
    times = faults.report().inserted["events"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) == 4
    for gap, at_least in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert gap >= at_least, gaps
    await place.assert_every_event_stored_once(51)


async def test_an_error_after_the_commit_does_not_count_twice(remote: Place) -> None:
    await remote.start("a.example")
    faults = remote.front.faults
    async with Client(remote.server) as client:
        faults.clear()
        faults.add(
            Fault(kind="error", error="MEMORY_LIMIT_EXCEEDED", statement="insert", contains="events", when="after")
        )
        assert await remote.send(client, "a.example", 50) == 202
        await client.flushed()
    assert len(faults.report().inserted["events"]) == 1
    await remote.assert_every_event_stored_once(51)


async def alter_events(place: Place, change: str) -> None:
    """On a stopped server's embedded engine."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ALTER, str(place.engine_dir), change)
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def test_the_embedded_engine_has_too_many_parts(make_place: MakePlace) -> None:
    place = make_place("embedded", clickhouse_start_timeout_s="2", server_shutdown_grace_s="2")
    await place.start("a.example")
    assert await asyncio.to_thread(place.server.terminate) == 0
    await alter_events(place, "MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
    await asyncio.to_thread(place.server.restart)
    async with Client(place.server) as client:
        assert await place.send(client, "a.example", 50) == 202

        async def refused() -> bool:
            return await client.metric('flush_attempts_total{outcome="retryable"}') >= 2

        await wait_for(refused, 40, "two refused inserts")
        assert await client.count("a.example") == 1
        assert (await client.get("/readyz")).status == 200
    assert await asyncio.to_thread(place.server.terminate) == 0
    await alter_events(place, "RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
    await asyncio.to_thread(place.server.restart)
    await place.assert_every_event_stored_once(51)
