"""The rollups agree with `events` again, on the real engine, whatever a dying process left behind."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.ingest.batch import to_columns
from analytics_server.ingest.rollups import Rollups
from analytics_server.model import Row
from analytics_server.store import Store, make_store, migrate
from tests.ingest.rows import NOVEMBER_US, row

MINUTE_US = 60_000_000
VIEWS = {"sessions_from_events": "sessions", "traffic_from_events": "traffic", "openings_from_events": "openings"}


@pytest.fixture
async def store(embedded_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    database = f"rollups_{abs(hash(request.node.name)) % 10**9}"
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database=database, threads=1)))
    await made.open()
    await migrate(made)
    yield made
    await made.command(f"DROP DATABASE `{database}`")
    await made.close()


def batch(number: int) -> list[Row]:
    """Some events of some sessions, which go on over batches, over a month's end and over midnight."""
    chosen = random.Random(number)
    rows = []
    for index in range(40):
        session = chosen.randrange(6)
        start_us = NOVEMBER_US + session * 5_000 * MINUTE_US
        rows.append(
            row(
                site_id=f"site-{session % 2}",
                session_id=f"s{session}",
                session_start=start_us,
                ts=start_us + (number * 100 + index) * MINUTE_US,
                name=chosen.choice(["pageview", "click", "engagement"]),
                path=f"/{chosen.randrange(5)}",
                visitor_id=session + 1 + (number % 2) * 100,
                event_id=chosen.randbytes(16),
            )
        )
    return rows


async def insert(store: Store, number: int) -> None:
    names, columns = to_columns(batch(number), number)
    await store.insert("events", names, columns)


async def rows_of(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return (await store.query(sql)).rows


async def state(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """What the rollups say, one row per key, whatever parts it lies in."""
    return {
        "sessions": await rows_of(
            store,
            "SELECT site_id, session_id, opened_at, started_at, ended_at, arraySort(visitor_ids), pageviews, events, "
            "interactions, entry, exit FROM sessions FINAL ORDER BY site_id, session_id, opened_at",
        ),
        "traffic": await rows_of(
            store,
            "SELECT site_id, bucket, name, sum(events), uniqIfMerge(visitors) FROM traffic "
            "GROUP BY site_id, bucket, name ORDER BY site_id, bucket, name",
        ),
        "openings": await rows_of(
            store, "SELECT site_id, bucket, sum(events) FROM openings GROUP BY site_id, bucket ORDER BY site_id, bucket"
        ),
    }


async def definitions(store: Store) -> dict[str, str]:
    found = await rows_of(
        store,
        "SELECT name, create_table_query FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView'",
    )
    return {str(name): str(create) for name, create in found}


async def test_every_view_over_events_is_known(store: Store) -> None:
    rollups = Rollups(store, timeout_s=30)
    await insert(store, 1)
    await rollups.reconcile(1)

    assert {name: rollup.target for name, rollup in zip(sorted(VIEWS), rollups._known or (), strict=True)} == VIEWS


@pytest.mark.parametrize("missing", [[name] for name in VIEWS] + [list(VIEWS)], ids=lambda names: "+".join(names))
async def test_a_rollup_that_missed_a_batch_gets_it(store: Store, missing: list[str]) -> None:
    for number in (1, 2, 3):
        await insert(store, number)
    expected = await state(store)
    for target in VIEWS.values():
        await store.command(f"TRUNCATE TABLE {target}")
    await store.command("TRUNCATE TABLE events")

    creates = await definitions(store)
    await insert(store, 1)
    for name in missing:  # as if the process had died between the commits
        await store.command(f"DROP VIEW {name} SYNC")
    await insert(store, 2)
    for name in missing:
        await store.command(creates[name])
    await insert(store, 3)
    assert await state(store) != expected
    await Rollups(store, timeout_s=30).reconcile(2)

    assert await state(store) == expected


async def test_a_rollup_that_has_a_batch_twice_loses_one(store: Store) -> None:
    for number in (1, 2):
        await insert(store, number)
    expected = await state(store)
    # The views had committed, `events` had not, and the batch was sent again.
    await store.command("ALTER TABLE events DELETE WHERE batch_id = 2 SETTINGS mutations_sync = 2")
    await insert(store, 2)
    doubled = await state(store)
    await Rollups(store, timeout_s=30).reconcile(2)

    assert doubled != expected
    assert await state(store) == expected


async def test_doing_it_again_changes_nothing(store: Store) -> None:
    for number in (1, 2):
        await insert(store, number)
    expected = await state(store)
    rollups = Rollups(store, timeout_s=30)
    for _ in range(3):
        await rollups.reconcile(1)
        await rollups.reconcile(2)

    assert await state(store) == expected
    assert await rows_of(store, "SELECT count() FROM events") == [(80,)]


async def test_a_batch_that_is_not_there_changes_nothing(store: Store) -> None:
    await insert(store, 1)
    expected = await state(store)

    await Rollups(store, timeout_s=30).reconcile(999)

    assert await state(store) == expected
