"""What a migration leaves to be worked out: on data of before, beside new events, after a death in the middle."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import StoreFatal, StoreRetryable, StoreTimeout
from analytics_server.rollups import backfill
from analytics_server.rollups.backfill import Backfill
from analytics_server.rollups.comparison import Calendar, differences
from analytics_server.rollups.materialized_views import read_views
from analytics_server.store import Store, make_store, migrate
from analytics_server.store.migrate import schema_migrations
from tests.server import wait_for

SESSIONS = 60
ENOUGH = 4
BEFORE = (
    "INSERT INTO events (site_id, ts, name, session_id, session_start, visitor_id, hostname, path) "
    "SELECT 'a.example', toDateTime64('2026-01-01 10:00:00', 6, 'UTC') + toIntervalDay(intDiv(number, 3))"
    " + toIntervalMinute(number % 3), if(number % 3 = 2, 'click', 'pageview'), toString(intDiv(number, 3)), "
    "toDateTime64('2026-01-01 10:00:00', 6, 'UTC') + toIntervalDay(intDiv(number, 3)), 1 + intDiv(number, 3), "
    f"if(number % 3 = 0, 'a.example', 'b.example'), '/' FROM numbers({3 * SESSIONS})"
)
AFTERWARDS = (
    "INSERT INTO events (site_id, ts, name, session_id, session_start, visitor_id, passive) "
    "SELECT 'a.example', toDateTime64('2026-01-01 22:00:00', 6, 'UTC'), 'engagement', '0', "
    "toDateTime64('2026-01-01 10:00:00', 6, 'UTC'), 999, 2"
)
FIGURES = (
    "SELECT count(), sum(events), sum(active_events), sum(pageviews), "
    "countIf(tupleElement(entry_host, 'host') = 'a.example'), countIf(tupleElement(exit_host, 'host') = 'b.example'), "
    "max(length(visitor_ids)), countIf(kept_open_at != ended_at) FROM sessions FINAL"
)
PENDING = "SELECT name FROM backfills GROUP BY name HAVING max(is_done) = 0"


@pytest.fixture
async def store(embedded_path: Path) -> AsyncIterator[Store]:
    """A database of the version before, with events."""
    made = make_store(
        Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="backfill", threads=1))
    )
    await made.open()
    yield made
    await made.command("DROP DATABASE backfill")
    await made.close()


async def figures(store: Store) -> tuple[int, ...]:
    return cast(tuple[int, ...], (await store.query(FIGURES)).rows[0])


async def test_sessions_of_before_get_their_hosts_beside_the_traffic(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PIECE_EVENTS", 10)
    await migrate(store, migrations=schema_migrations()[:9])
    await store.command(BEFORE)
    await migrate(store)
    assert (await store.query(PENDING)).rows == [("hosts_of_sessions",)]
    assert await figures(store) == (SESSIONS, 3 * SESSIONS, 3 * SESSIONS, 2 * SESSIONS, 0, 0, 1, 0)
    await store.command(AFTERWARDS)

    def make() -> Backfill:
        return Backfill(store, must_wait=lambda: False)

    async def is_waiting() -> bool:
        return bool(removing._waiters)

    async def some_are_done() -> bool:
        return (await figures(store))[4] > 0

    async def is_over() -> bool:
        return not again.warning()

    work, again, removing = make(), make(), asyncio.Lock()
    assert not work.warning()
    await work.load()
    assert "entry_page_hostname" in work.warning()
    async with removing:  # an erasure is under way
        killed = asyncio.create_task(work.run(lambda: removing))
        await wait_for(is_waiting, what="the first piece")
        assert (await figures(store))[4] == 0
    await wait_for(some_are_done, what="a piece")
    killed.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await killed
    assert (await store.query(PENDING)).rows, "it died before the end"

    await again.load()
    running = asyncio.create_task(again.run(lambda: removing))
    await wait_for(is_over, what="the end")
    running.cancel()

    whole = (SESSIONS, 3 * SESSIONS + 1, 3 * SESSIONS, 2 * SESSIONS, SESSIONS, SESSIONS, 1, 1)
    assert await figures(store) == whole
    (rollup,) = (one for one in (await read_views(store)).rollups if one.target == "sessions")
    for piece in (await Calendar.read(store, [rollup])).pieces():
        assert await differences(store, rollup, piece) == []
    assert (await store.query(PENDING)).rows == []
    await migrate(store)
    await again.load()
    assert not again.warning()


class Slow:
    """The store, but a piece takes too long in fewer than four slices, and one of them fails once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.slices: list[tuple[int, int]] = []
        self.has_failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def command(self, sql: str, parameters: dict[str, Any] | None = None) -> None:
        if parameters and "slice" in parameters:
            self.slices.append((parameters["slices"], parameters["slice"]))
            if parameters["slices"] < ENOUGH:
                raise StoreTimeout("too long")
            if not self.has_failed and date(2026, 3, 1) in parameters["days"]:
                self.has_failed = True
                raise StoreRetryable("away")
        await self._store.command(sql, parameters)


async def test_days_are_cut_by_sessions_and_done_once_whatever_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "RETRY_S", 0.001)
    monkeypatch.setattr(backfill, "PAUSE_S", 0.001)
    await migrate(store, migrations=schema_migrations()[:9])
    await store.command(BEFORE)
    await migrate(store)
    slow = Slow(store)
    busy = iter([True, True, False])
    work = Backfill(cast(Store, slow), must_wait=lambda: next(busy, False))
    await work.load()
    running = asyncio.create_task(work.run(asyncio.Lock))

    async def is_over() -> bool:
        return not work.warning()

    await wait_for(is_over, what="the end")
    running.cancel()
    assert (await figures(store))[3:6] == (2 * SESSIONS, SESSIONS, SESSIONS)
    assert next(busy, None) is None, "it waited for what was more urgent"
    january, february, march = ([(ENOUGH, number) for number in range(ENOUGH)] for _ in range(3))
    assert slow.slices == [(1, 0), (2, 0), *january, *february, (ENOUGH, 0), *march]


async def test_a_new_database_has_nothing_to_work_out(store: Store) -> None:
    await migrate(store)
    work = Backfill(store, must_wait=lambda: False)
    await work.load()
    assert (await store.query("SELECT count() FROM backfills")).rows == [(0,)]
    assert not work.warning()


async def test_it_is_not_done_while_the_view_is_missing(store: Store) -> None:
    await migrate(store, migrations=schema_migrations()[:9])
    await store.command(BEFORE)
    await migrate(store)
    (rollup,) = (one for one in (await read_views(store)).rollups if one.target == "sessions")
    await store.command(f"DROP VIEW {rollup.view} SYNC")
    with pytest.raises(StoreFatal, match="doctor"):
        await Backfill(store, must_wait=lambda: False)._fill(asyncio.Lock)
    assert (await store.query(PENDING)).rows
