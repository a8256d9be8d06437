"""Rows are deleted by whole data parts where no other row is in them, else by a mutation; no other row goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.rollups.mutations import delete_rows
from analytics_server.store import Store, make_store

TABLE = "CREATE TABLE things (month UInt32, number UInt32) ENGINE = MergeTree PARTITION BY month ORDER BY number"
OLD = "'mark' != '' AND number < 100"


@pytest.fixture
async def store(embedded_tables: Path) -> AsyncIterator[Store]:
    """A table of three parts: all old, some old, none."""
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_tables}", threads=1)))
    await made.open()
    await made.command(TABLE)
    for month, first in ((1, 0), (2, 95), (3, 200)):
        await made.insert("things", ("month", "number"), [[month] * 10, list(range(first, first + 10))])
    yield made
    await made.close()


async def numbers(store: Store) -> list[int]:
    return [int(str(row[0])) for row in (await store.query("SELECT number FROM things ORDER BY number")).rows]


async def mutated(store: Store) -> int:
    answer = await store.query("SELECT count() FROM system.mutations WHERE database = currentDatabase()")
    return int(str(answer.rows[0][0]))


async def test_whole_parts_are_dropped_and_only_the_others_are_rewritten(store: Store) -> None:
    await delete_rows(store, "things", f"{OLD} AND month != 2", marker="mark")
    assert (await numbers(store), await mutated(store)) == ([*range(95, 105), *range(200, 210)], 0)

    await delete_rows(store, "things", OLD, marker="mark")
    assert (await numbers(store), await mutated(store)) == ([*range(100, 105), *range(200, 210)], 1)

    await delete_rows(store, "things", OLD, marker="mark")
    assert await mutated(store) == 1


@pytest.mark.parametrize("is_merged", [False, True])
async def test_what_arrives_in_the_partition_meanwhile_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_merged: bool
) -> None:
    def arriving(command: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def run(sql: str, *arguments: Any) -> None:
            if "DROP PART" in sql:
                await store.insert("things", ("month", "number"), [[1], [500]])
                if is_merged:
                    await command("OPTIMIZE TABLE things PARTITION 1 FINAL")
            await command(sql, *arguments)

        return run

    monkeypatch.setattr(store, "command", arriving(store.command))
    await delete_rows(store, "things", OLD, marker="mark")

    assert await numbers(store) == [*range(100, 105), *range(200, 210), 500]
