"""Merges stand still while a backlog is delivered, never for longer, and never beyond a number of parts."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.ingest.flush import merges
from analytics_server.ingest.flush.merges import (
    FEW_ADDED,
    FEW_PARTS,
    HOLD_FROM,
    MOST_ADDED,
    MOST_PARTS,
    RELEASE_AT,
    TABLES,
    Merges,
)
from analytics_server.rollups.materialized_views import read_views
from analytics_server.store import Store, make_store, migrate
from analytics_server.store.protocol import Parameters, ResultSet


class Parts:
    """A store that has so many parts, and keeps what it is told."""

    def __init__(self) -> None:
        self.parts = 0
        self.together = 0
        self.told: list[str] = []
        self.fails = False
        self.was_told = asyncio.Event()

    async def query(self, sql: str, parameters: Parameters) -> ResultSet:
        return ResultSet(columns=("parts", "together"), rows=[(self.parts, self.together)])

    async def command(self, sql: str) -> None:
        if self.fails:
            raise StoreRetryable("away")
        self.told.append(sql)
        self.was_told.set()


class Held:
    """A backlog and its merges; `look` returns what was told: "STOP", "START" or nothing."""

    def __init__(self) -> None:
        self.waiting = 0
        self.store = Parts()
        self.merges = Merges(cast(Store, self.store), lambda: self.waiting)

    async def look(self, waiting: int, parts: int = 0, together: int = 0) -> str:
        self.waiting, self.store.parts, self.store.together = waiting, parts, together
        self.store.told.clear()
        await self.merges.look()
        if not self.store.told:
            return ""
        what = self.store.told[0].split()[1]
        assert self.store.told == [f"SYSTEM {what} MERGES {table}" for table in TABLES]
        return what


async def test_merges_are_held_from_a_number_of_segments_on_and_go_on_when_few_are_left() -> None:
    held = Held()
    assert await held.look(HOLD_FROM - 1) == ""
    assert await held.look(HOLD_FROM) == "STOP"
    assert await held.look(HOLD_FROM) == ""
    assert await held.look(RELEASE_AT + 1) == ""
    assert await held.look(RELEASE_AT) == "START"
    assert await held.look(RELEASE_AT) == ""
    assert await held.look(HOLD_FROM) == "STOP"


async def test_merges_go_on_when_there_are_many_parts_and_stand_still_again_when_there_are_few() -> None:
    held = Held()
    assert await held.look(1_000, FEW_PARTS + 1) == ""
    assert await held.look(1_000, FEW_PARTS) == "STOP"
    assert await held.look(1_000, MOST_PARTS - 1) == ""
    assert await held.look(1_000, MOST_PARTS) == "START"
    assert await held.look(1_000, FEW_PARTS + 1) == ""
    assert await held.look(1_000, FEW_PARTS) == "STOP"


async def test_parts_of_many_months_are_bounded_together_whatever_there_was_before() -> None:
    held, before = Held(), 20_000
    assert await held.look(1_000, 1, before) == "STOP"
    assert await held.look(1_000, 1, before + MOST_ADDED - 1) == ""
    assert await held.look(1_000, 1, before + MOST_ADDED) == "START"
    assert await held.look(1_000, 1, before + FEW_ADDED + 1) == ""
    assert await held.look(1_000, 1, before + FEW_ADDED) == "STOP"
    assert await held.look(0, 1, before + FEW_ADDED) == "START"
    assert await held.look(0, 1, 2 * before) == ""
    assert await held.look(1_000, 1, 2 * before) == "STOP"  # another backlog


async def test_a_release_that_fails_is_tried_again() -> None:
    held = Held()
    assert await held.look(HOLD_FROM) == "STOP"
    held.store.fails = True
    with pytest.raises(StoreRetryable):
        await held.look(0)
    held.store.fails = False
    assert await held.look(0) == "START"


async def test_a_hold_that_fails_half_way_is_released() -> None:
    held = Held()
    held.store.fails = True
    with pytest.raises(StoreRetryable):
        await held.look(HOLD_FROM)
    held.store.fails = False
    assert await held.look(0) == "START"


async def test_a_failure_does_not_end_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merges, "LOOK_S", 0.001)
    held = Held()
    held.waiting, held.store.fails = HOLD_FROM, True
    task = asyncio.create_task(held.merges.run())
    await asyncio.sleep(0.02)
    held.waiting, held.store.fails = 0, False
    async with asyncio.timeout(5.0):
        await held.store.was_told.wait()
    assert held.store.told[0] == f"SYSTEM START MERGES {TABLES[0]}"
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def store(embedded_path: Path) -> AsyncIterator[Store]:
    database = f"merges_{uuid.uuid4().hex[:12]}"
    config = msgspec.structs.replace(
        Config(), clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database=database, threads=1)
    )
    made = make_store(config)
    await made.open()
    await migrate(made)
    yield made
    await made.command(f"DROP DATABASE {database}")
    await made.close()


async def test_the_tables_are_those_that_every_batch_goes_to(store: Store) -> None:
    assert {rollup.target for rollup in (await read_views(store)).rollups} | {"events"} == set(TABLES)


async def test_the_engine_obeys(store: Store) -> None:
    waiting = HOLD_FROM
    merges = Merges(store, lambda: waiting)
    await merges.look()
    for number in range(12):
        await store.insert("traffic", ("site_id", "bucket"), [["a.example"], [number * 3600]])
    with pytest.raises(StoreError):  # which merges at once, unless it may not
        await store.command("OPTIMIZE TABLE traffic FINAL")
    assert await _parts(store) == 12
    waiting = 0
    await merges.look()
    await store.command("OPTIMIZE TABLE traffic FINAL")
    assert await _parts(store) == 1


async def _parts(store: Store) -> int:
    answer = await store.query(
        "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'traffic'"
    )
    return int(str(answer.rows[0][0]))
