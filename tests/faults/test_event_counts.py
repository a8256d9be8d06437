"""The event counts find every kind of damage: a check that can't fail proves nothing."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.ingest.flush.batch import INSERT_COLUMNS, to_columns
from analytics_server.store import Store, make_store, migrate
from tests.faults.event_counts import assert_every_event_stored_once_everywhere, assert_stored_once, read_counts
from tests.ingest.rows import NOVEMBER_US, row

IDS = [str(UUID(int=number)) for number in range(1, 31)]
ROLLUPS = {"activity": 6, "sessions": 3, "traffic": 2, "openings": 1}


async def fill(store: Store) -> None:
    """Three sessions with two kinds of events, in two batches that share their keys; one session has two visitors."""
    for batch_id, ids in ((1, IDS[:20]), (2, IDS[20:])):
        rows = [
            row(
                event_id=UUID(event_id).bytes,
                session_id=f"s{index % 3}",
                ts=NOVEMBER_US + index * 1_000_000,
                name=("pageview", "click")[index % 2],
                visitor_id=index % 3 + (batch_id == 2) * 100,
                user_id=("", "ann", "bo")[index % 3],
                path=f"/{index}",
            )
            for index, event_id in enumerate(ids)
        ]
        columns = to_columns(rows, batch_id)
        await store.insert("events", INSERT_COLUMNS, columns)


@pytest.fixture
async def store(clickhouse_url: str) -> AsyncIterator[Store]:
    made = make_store(Config(clickhouse=ClickhouseSection(url=clickhouse_url, threads=1)))
    await made.open()
    await migrate(made)
    for table in ("events", *ROLLUPS):
        await made.command(f"TRUNCATE TABLE {table}")
    await fill(made)
    yield made
    await made.close()


def split(url: str) -> tuple[str, str]:
    server, _, database = url.rpartition("/")
    return server, database


async def test_counts_in_order_agree(store: Store, clickhouse_url: str) -> None:
    server, database = split(clickhouse_url)
    counts = await assert_every_event_stored_once_everywhere(server, IDS, IDS, database=database)
    assert counts.events == dict.fromkeys(IDS, 1)
    assert counts.rollups == ROLLUPS


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO openings SELECT site_id, bucket, 1 FROM openings LIMIT 1",
        "INSERT INTO openings SELECT 'ghost.example', bucket, 0 FROM openings LIMIT 1",
        "INSERT INTO traffic SELECT site_id, bucket, name, events, active, visitors FROM traffic LIMIT 1",
        "INSERT INTO traffic SELECT site_id, bucket, name, 0, 0, "
        "arrayReduce('uniqIfState', [toUInt64(77)], [toUInt8(1)]) FROM traffic LIMIT 1",
        "INSERT INTO sessions SELECT * REPLACE(0 AS pageviews, 0 AS events, 0 AS active_events, 0 AS interactions, "
        "'elsewhere' AS source) FROM sessions LIMIT 1",
        "INSERT INTO sessions SELECT * REPLACE(0 AS pageviews, 0 AS events, 0 AS active_events, 0 AS interactions, "
        "addYears(ended_at, 1) AS ended_at) FROM sessions LIMIT 1",
        "INSERT INTO sessions SELECT * REPLACE(0 AS pageviews, 0 AS events, 0 AS active_events, 0 AS interactions, "
        "[toUInt64(9)] AS visitor_ids) FROM sessions LIMIT 1",
        "INSERT INTO sessions SELECT * REPLACE(0 AS pageviews, 0 AS events, 0 AS active_events, "
        "toUInt64(-1) AS interactions) FROM sessions LIMIT 1",
        "ALTER TABLE traffic DELETE WHERE name = 'click' SETTINGS mutations_sync = 2",
        "INSERT INTO activity SELECT * REPLACE(0 AS events, toDateTime(0, 'UTC') AS first_at) FROM activity LIMIT 1",
        "ALTER TABLE activity DELETE WHERE name = 'click' SETTINGS mutations_sync = 2",
        "TRUNCATE TABLE sessions",
    ],
)
async def test_a_damaged_rollup_is_found(store: Store, clickhouse_url: str, damage: str) -> None:
    await store.command(damage)
    server, database = split(clickhouse_url)
    table = re.search(r"activity|sessions|traffic|openings", damage)
    assert table is not None
    with pytest.raises(AssertionError, match=f"rollups differ from events:\n{table[0]}"):
        await assert_every_event_stored_once_everywhere(server, IDS, IDS, database=database)


async def test_a_repeated_idempotent_state_is_no_damage(store: Store, clickhouse_url: str) -> None:
    await store.command(
        "INSERT INTO sessions SELECT * REPLACE(0 AS pageviews, 0 AS events, 0 AS active_events, 0 AS interactions)"
        " FROM sessions"
    )
    server, database = split(clickhouse_url)
    await assert_every_event_stored_once_everywhere(server, IDS, IDS, database=database)


async def test_lost_doubled_and_unknown_events_are_found(store: Store, clickhouse_url: str) -> None:
    counts = read_counts(*split(clickhouse_url))
    with pytest.raises(AssertionError, match="1 of 31 acknowledged events are lost"):
        assert_stored_once(counts, [*IDS, str(uuid4())])
    with pytest.raises(AssertionError, match="1 events are stored that were not sent"):
        assert_stored_once(counts, IDS[1:], IDS[1:])
    assert_stored_once(counts, IDS[1:], IDS)
    await store.command("INSERT INTO events SELECT * FROM events LIMIT 1")
    with pytest.raises(AssertionError, match="1 of 30 events are stored more than once"):
        assert_stored_once(read_counts(*split(clickhouse_url)), IDS, IDS)


FILL = """
import asyncio, sys
from analytics_server.config import ClickhouseSection, Config
from analytics_server.store import make_store, migrate
from tests.faults.test_event_counts import fill

async def main():
    store = make_store(Config(clickhouse=ClickhouseSection(url=sys.argv[1])))
    await store.open()
    await migrate(store)
    await fill(store)
    for damage in sys.argv[2:]:
        await store.command(damage)
    await store.close()

asyncio.run(main())
"""


async def test_the_directory_of_a_stopped_engine_is_read_too(tmp_path: Path) -> None:
    url = f"chdb://{tmp_path}/engine"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", FILL, url, "TRUNCATE TABLE openings")
    assert await asyncio.wait_for(process.wait(), 60) == 0
    counts = await asyncio.to_thread(read_counts, url)
    assert counts.events == dict.fromkeys(IDS, 1)
    assert [line.partition(" ")[0] for line in counts.wrong] == ["openings"]
