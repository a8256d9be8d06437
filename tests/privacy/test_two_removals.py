"""Processes on one ClickHouse that take out rows, or make rollups again, at the same moment; and one that is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import msgspec
import pytest

from analytics_server.batch_ids import first_batch_id
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.erasing import SETTINGS
from tests.privacy.people import ANNA, FIRST, SITES, Traffic, certificate, exported
from tests.server import Client, RunningServer, wait_for

pytestmark = pytest.mark.timeout(400)
KEPT_DAYS = (datetime.now(UTC) - FIRST).days - 1
"""Of what the traffic has, some is older."""
EARLIER = first_batch_id(1_790_007_200.0) - first_batch_id(1_790_000_000.0)
"""Two hours, in ids of batches."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    front = ClickHouseFront(tmp_path_factory.mktemp("clickhouse"))
    front.start()
    yield front
    front.stop()


def a_server(front: ClickHouseFront, directory: Path, database: str) -> RunningServer:
    return RunningServer(directory, {**SETTINGS, "clickhouse_url": front.url, "clickhouse_database": database})


async def ask(front: ClickHouseFront, database: str, sql: str) -> list[Any]:
    def asked() -> list[Any]:
        client: Any = clickhouse_connect.get_client(dsn=front.url, database=database)
        try:
            return list(client.query(sql).result_rows)
        finally:
            client.close()

    return await asyncio.to_thread(asked)


async def statements_more(front: ClickHouseFront, count: int) -> None:
    """Until ClickHouse has been asked so much more, as by a server that waits for a turn."""
    before = (await asyncio.to_thread(front.faults.report)).statements

    async def asked() -> bool:
        return (await asyncio.to_thread(front.faults.report)).statements >= before + count

    await wait_for(asked, 60, f"{count} statements")


async def holders(front: ClickHouseFront, database: str, name: str) -> set[str]:
    live = (
        "SELECT holder FROM (SELECT claim, any(holder) AS holder, argMax(ends_at, step) AS ends FROM leases"
        f" WHERE name = '{name}' GROUP BY claim) WHERE ends > now64(6, 'UTC')"
    )
    return {str(row[0]) for row in await ask(front, database, live)}


async def test_an_erasure_an_expiry_and_a_backfill_of_three_processes_take_turns(
    tmp_path: Path, front: ClickHouseFront
) -> None:
    database = "turns"
    erasing, filling = (a_server(front, tmp_path / name, database) for name in ("erasing", "filling"))
    traffic = Traffic(3)
    with erasing:
        async with Client(erasing) as client:
            for site in SITES:
                body = {"site_id": site, "retention_days": KEPT_DAYS}
                assert (await client.call("POST", "/api/v1/sites", body)).status == 201
            await traffic.send(client, 200)
            await client.flushed()
            # The same once more, as it had arrived earlier: expiry leaves what arrived within the hour.
            earlier = f"SELECT * REPLACE (batch_id - {EARLIER} AS batch_id, generateUUIDv4() AS event_id) FROM events"
            await asyncio.to_thread(command, front, database, f"INSERT INTO events {earlier}")
            count = "SELECT count() FROM events"
            front.faults.add(Fault(kind="stall", statement="select", contains="count() FROM events", when="before"))
            begun = await client.call("POST", "/api/v1/privacy/erase", {"user_id": ANNA, "confirm": True})
            assert begun.status in (200, 202), begun.body
            await asyncio.to_thread(front.faults.wait_stalled)
            assert await holders(front, database, "removal") == {str(erasing.data_dir)}
            before = await ask(front, database, count)

            pending = "INSERT INTO backfills (name, is_done, at) SELECT 'hosts_of_sessions', 0, now64(6, 'UTC')"
            await asyncio.to_thread(command, front, database, pending)
            with filling:  # which expires what is too old at its start

                async def both_wait() -> bool:
                    found = await holders(front, database, "expiry")
                    return bool(found) and "a backfill begins" in filling.log

                await wait_for(both_wait, 60, "expiry and backfill")
                await statements_more(front, 20)
                assert await holders(front, database, "removal") == {str(erasing.data_dir)}
                assert await ask(front, database, count) == before
                assert "a backfill is done" not in filling.log

                front.faults.release()
                await certificate(client, begun.json["id"])

                async def is_done() -> bool:
                    return (
                        filling.log.count("expired data removed") == len(SITES) and "a backfill is done" in filling.log
                    )

                await wait_for(is_done, 120, "expiry and backfill")
                assert await exported(client, ANNA) == []
                assert filling.terminate() == 0
        assert erasing.terminate() == 0
    others = {event["event_id"] for event in traffic.events} - traffic.of(ANNA)
    kept = {str(row[0]) for row in await ask(front, database, "SELECT event_id FROM events")}
    assert others <= kept
    entries = "SELECT entry FROM audit WHERE action = 'expire'"
    told = [msgspec.json.decode(text) for (text,) in await ask(front, database, entries)]
    assert {one["site_id"] for one in told} == set(SITES)
    (cut,) = {one["details"]["before"] for one in told}
    arrived = f"batch_id < {first_batch_id(time.time() - 3_600)}"
    left = f"SELECT countIf(toDate(ts) < '{cut}'), count() FROM events WHERE {arrived}"
    too_old, young = (await ask(front, database, left))[0]
    assert (too_old, young > 0) == (0, True)
    await assert_every_event_stored_once_everywhere(front.url, kept, database=database)


def command(front: ClickHouseFront, database: str, sql: str) -> None:
    client: Any = clickhouse_connect.get_client(dsn=front.url, database=database)
    try:
        client.command(sql)
    finally:
        client.close()


async def test_a_removal_that_is_killed_before_it_is_marked_as_done_is_told_all_the_same(
    tmp_path: Path, front: ClickHouseFront
) -> None:
    database, site = "told", SITES[0]
    with a_server(front, tmp_path, database) as server:
        traffic = Traffic(4)
        async with Client(server) as client:
            for one in SITES:
                assert (await client.call("POST", "/api/v1/sites", {"site_id": one})).status == 201
            await traffic.send(client, 40)
            await client.flushed()
            assert (await client.call("DELETE", f"/api/v1/sites/{site}?data=erase")).status == 204

            async def is_under_way() -> bool:
                return "data is being removed" in server.log

            await wait_for(is_under_way, 60, "the beginning of the removal")
            front.faults.add(Fault(kind="stall", statement="insert", contains="sites", when="before"))
            await asyncio.to_thread(front.faults.wait_stalled, 1, 90.0)
            server.kill()
    front.faults.clear()
    rows = await ask(front, database, "SELECT entry FROM audit WHERE action = 'erase_site' ORDER BY sequence")
    told = [msgspec.json.decode(text)["details"] for (text,) in rows]
    assert [one["state"] for one in told] == ["begun", "done"]
    assert int(told[1]["events"]) == len([event for event in traffic.events if event["site"] == site])
