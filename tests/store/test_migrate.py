"""Migrations: in order, once, and never on a database they don't belong to."""

from __future__ import annotations

import msgspec
import pytest

from analytics_server.errors import StoreError
from analytics_server.store import Store, migrate
from analytics_server.store.migrate import Migration, MigrationError, render, schema_migrations, statements

CREATE_ONE = Migration(
    number=1, name="create_one", text="-- why\nCREATE TABLE one (a UInt8) ENGINE = ${ENGINE:MergeTree}\nORDER BY a;\n"
)
CREATE_TWO = Migration(
    number=2,
    name="create_two",
    text="CREATE TABLE two ${ON_CLUSTER} (a UInt8) ENGINE = ${ENGINE:ReplacingMergeTree(a)}\nORDER BY a;\n"
    "INSERT INTO two VALUES (1);\n",
)


async def tables(store: Store) -> list[object]:
    answer = await store.query("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name")
    return [name for (name,) in answer.rows if name != "schema_migrations"]


async def test_applies_each_file_once(empty_store: Store) -> None:
    first = await migrate(empty_store)
    assert first == schema_migrations()
    before = await tables(empty_store)
    assert {"events", "sessions", "sessions_from_events", "traffic", "traffic_from_events"} <= set(before)
    assert await migrate(empty_store) == []
    assert await tables(empty_store) == before


async def test_records_name_and_checksum(empty_store: Store) -> None:
    await migrate(empty_store)
    answer = await empty_store.query("SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY number")
    assert answer.rows == [(made.number, made.name, made.checksum) for made in schema_migrations()]


async def test_goes_on_from_an_older_state(empty_store: Store) -> None:
    await migrate(empty_store, migrations=[CREATE_ONE])
    assert await tables(empty_store) == ["one"]
    assert await migrate(empty_store, migrations=[CREATE_ONE, CREATE_TWO]) == [CREATE_TWO]
    assert await tables(empty_store) == ["one", "two"]
    assert (await empty_store.query("SELECT a FROM two")).rows == [(1,)]


async def test_refuses_a_file_changed_after_it_was_applied(empty_store: Store) -> None:
    await migrate(empty_store, migrations=[CREATE_ONE])
    edited = msgspec.structs.replace(CREATE_ONE, text=CREATE_ONE.text + "-- harmless\n")
    with pytest.raises(MigrationError, match=r"0001_create_one\.sql was changed"):
        await migrate(empty_store, migrations=[edited, CREATE_TWO])
    assert await tables(empty_store) == ["one"]


async def test_refuses_a_database_newer_than_the_program(empty_store: Store) -> None:
    await migrate(empty_store, migrations=[CREATE_ONE, CREATE_TWO])
    with pytest.raises(MigrationError, match="newer program"):
        await migrate(empty_store, migrations=[CREATE_ONE])


async def test_a_failed_file_is_not_recorded(empty_store: Store) -> None:
    broken = msgspec.structs.replace(CREATE_TWO, text="CREATE TABLE two (a NoType) ENGINE = MergeTree ORDER BY a;\n")
    with pytest.raises(StoreError):
        await migrate(empty_store, migrations=[CREATE_ONE, broken])
    assert await migrate(empty_store, migrations=[CREATE_ONE, CREATE_TWO]) == [CREATE_TWO]


def test_a_checksum_depends_on_the_text_alone() -> None:
    renamed = msgspec.structs.replace(CREATE_ONE, name="other")
    assert renamed.checksum == CREATE_ONE.checksum != CREATE_TWO.checksum


def test_fills_in_the_engines_of_a_cluster() -> None:
    text = render(CREATE_TWO.text, "west")
    assert "two ON CLUSTER `west` (" in text
    assert "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}', a)" in text


def test_splits_a_file_into_statements() -> None:
    assert list(statements("-- a;\nSELECT 1;\n\nSELECT ';'\n  -- b\n, 2;\n")) == ["SELECT 1", "SELECT ';'\n, 2"]


@pytest.mark.parametrize("cluster", ["", "west"])
def test_leaves_no_placeholder_in_any_file(cluster: str) -> None:
    for migration in schema_migrations():
        assert "${" not in render(migration.text, cluster)
