"""The registry of derived tables, held against the database that the schema makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.rollups.materialized_views import read_views
from analytics_server.rollups.registry import (
    DERIVED_TABLES,
    SHIPPED_ROLLUPS,
    DerivedTable,
    ErasureMethod,
    Filling,
    derived_tables,
)
from analytics_server.store import Store, make_store

NOT_DERIVED = {
    *("schema_migrations", "sites", "tokens", "salts", "saved", "events", "funnel_fills", "drops", "definitions"),
    *("backfills", "archive_roots"),
    *("people", "person_sessions", "credential_uses", "audit", "leases"),
    *("privacy_keys", "opt_outs", "erasures", "erasure_subjects", "erasure_keys"),
}
"""`funnel_fills` says how far the tables of saved funnels are filled, `drops` counts what never became an event,
`definitions` says since when events are taken by which definitions: they hold nothing of events. `erasure_keys` says
what an erasure under way touches, and is emptied at its end."""

LATER_VIEWS = (
    "CREATE TABLE by_user (site_id LowCardinality(String), day Date, user_id String, "
    "events SimpleAggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree "
    "PARTITION BY toYYYYMM(day) ORDER BY (site_id, day, user_id)",
    "CREATE MATERIALIZED VIEW by_user_from_events TO by_user AS SELECT e.site_id AS site_id, toDate(e.ts) AS day, "
    "e.user_id AS user_id, count() AS events FROM events AS e GROUP BY site_id, day, user_id",
    "CREATE TABLE funnel_1_a (site_id LowCardinality(String), ts DateTime64(6, 'UTC'), subject UInt64, number UInt8, "
    "user_id SimpleAggregateFunction(max, String)) ENGINE = AggregatingMergeTree "
    "PARTITION BY toYYYYMM(ts) ORDER BY (site_id, ts, subject, number)",
    "CREATE MATERIALIZED VIEW funnel_1_a_from_events TO funnel_1_a AS SELECT e.site_id AS site_id, e.ts AS ts, "
    "e.visitor_id AS subject, toUInt8(1) AS number, max(e.user_id) AS user_id FROM events AS e "
    "GROUP BY site_id, ts, subject, number",
)


@pytest.fixture
async def store(embedded_tables: Path) -> AsyncIterator[Store]:
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_tables}", threads=1)))
    await made.open()
    yield made
    await made.close()


async def test_every_table_is_declared_or_holds_nothing_of_events(store: Store) -> None:
    answer = await store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine != 'MaterializedView'"
    )
    declared = {name for table in DERIVED_TABLES for name in (table.name, table.builds) if name and not table.is_family}

    assert {str(name) for (name,) in answer.rows} == declared | NOT_DERIVED


async def test_what_is_declared_is_as_the_schema_makes_it(store: Store) -> None:
    tables = await store.query("SELECT name, partition_key FROM system.tables WHERE database = currentDatabase()")
    columns = await store.query("SELECT table, name FROM system.columns WHERE database = currentDatabase()")
    partitions = {str(name): str(key) for name, key in tables.rows}
    there = {(str(table), str(name)) for table, name in columns.rows}

    for table in (table for table in DERIVED_TABLES if not table.is_family):
        assert partitions[table.name] == f"toYYYYMM({table.time})"
        assert (table.name, "site_id") in there
        assert table.person is None or (table.name, table.person) in there
        assert not table.builds or {(table.builds, "site_id"), (table.builds, "day")} <= there
        assert table.outlives_events == ((table.builds, "kept") in there)


async def test_views_fill_exactly_the_tables_that_are_declared_so(store: Store) -> None:
    views = await read_views(store)

    assert not views.unfit
    assert sorted(rollup.target for rollup in views.rollups) == sorted(SHIPPED_ROLLUPS)
    times = {table.name: table.time for table in DERIVED_TABLES}
    assert all(rollup.by_month and rollup.time == times[rollup.target] for rollup in views.rollups)


async def test_views_that_were_added_later_are_among_the_derived_tables(store: Store) -> None:
    for statement in LATER_VIEWS:
        await store.command(statement)
    *shipped, added, facts = derived_tables(await read_views(store))

    assert shipped == [table for table in DERIVED_TABLES if not table.is_family]
    assert added == DerivedTable(name="by_user", filling=Filling.VIEW, time="day", person="user_id")
    assert facts == DerivedTable(name="funnel_1_a", filling=Filling.VIEW, time="ts", person="user_id")


@pytest.mark.parametrize("table", DERIVED_TABLES, ids=lambda table: table.name)
def test_every_table_says_how_it_is_cut(table: DerivedTable) -> None:
    assert (table.of_person is None) == (table.erasure is not ErasureMethod.DELETE_ROWS)
    assert bool(table.builds) == (table.filling is Filling.BUILD)
    assert not table.builds or table.invalidate("1").startswith(f"ALTER TABLE {table.builds} DELETE WHERE 1 ")
