"""Rows of builds that nothing refers to are deleted after some hours, and no others; a failure holds nothing up."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import StoreRetryable
from analytics_server.rollups.build_ids import first_build_id
from analytics_server.rollups.builds import ORPHAN_S, sweep_builds
from analytics_server.rollups.registry import DERIVED_TABLES, DerivedTable
from analytics_server.store import ResultSet, Store, make_store

NOW_S = 1_764_000_000.0
DAY = date(2025, 11, 20)
VALID, ORPHAN = (first_build_id(NOW_S - ORPHAN_S - 60) + number for number in range(2))
YOUNG = first_build_id(NOW_S - ORPHAN_S + 60)
FORMER_ORPHAN, FORMER_YOUNG = (int((NOW_S - ORPHAN_S + since) * 1000) << 12 for since in (-60, 60))
"""As an earlier version made them, which may be building beside this one."""
TABLES = [table for table in DERIVED_TABLES if table.builds]


async def insert(store: Store, table: str, builds: Sequence[int]) -> None:
    columns: list[list[object]] = [["a.example"] * len(builds), [DAY] * len(builds), list(builds)]
    await store.insert(table, ("site_id", "day", "build_id"), columns)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_only_old_builds_that_are_not_valid_are_deleted(embedded_tables: Path, table: DerivedTable) -> None:
    store = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_tables}", threads=1)))
    await store.open()
    try:
        await insert(store, table.name, (VALID, ORPHAN, YOUNG, FORMER_ORPHAN, FORMER_YOUNG))
        await insert(store, table.builds, (VALID,))
        await sweep_builds(store, table, NOW_S)
        rows = (await store.query(f"SELECT build_id FROM {table.name} ORDER BY build_id")).rows
        assert rows == [(FORMER_YOUNG,), (VALID,), (YOUNG,)]
    finally:
        await store.close()


class Failing:
    """A store that answers so many queries, and then none."""

    def __init__(self, answers: int) -> None:
        self._answers: Iterator[int] = iter(range(answers))

    async def catch_up(self, tables: Sequence[str]) -> None:
        pass

    async def query(self, sql: str, *_: object, **__: object) -> ResultSet:
        if next(self._answers, None) is None:
            raise StoreRetryable("away")
        return ResultSet(columns=(), rows=[(ORPHAN,)])


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_a_store_that_is_away_is_told_and_nothing_else(
    table: DerivedTable, answers: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await sweep_builds(Failing(answers), table, NOW_S)  # type: ignore[arg-type]
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "old builds not deleted, will try again")
    ]
