"""Events of past months: recent ones never wait for them, and each is stored once, whatever fails on the way."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from analytics_server.batch_ids import is_historic
from analytics_server.errors import StoreAmbiguous, StoreError, StoreFatal, StoreRetryable, WalError
from analytics_server.ingest.flush.batch import month_of
from analytics_server.ingest.flush.delivery import MONTHS_AT_ONCE
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.recovery import recover
from analytics_server.model import Row
from analytics_server.store.protocol import Store
from tests.ingest.fake_store import POISON, FakeStore
from tests.ingest.logs import NEVER, Log, logging_to, nothing
from tests.ingest.rows import row
from tests.server import wait_for

DAYS_31 = 31
MONTH_US = 30 * 86_400_000_000
SETTINGS = msgspec.structs.replace(NEVER, historic_after_days=DAYS_31, retry_max_s=0.001)


class MonthStore(FakeStore):
    """Keeps rows by the month that their title names; `break_at` stores a part of an insert and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.by_month: Counter[int] = Counter()
        self.order: list[int] = []
        self.break_at: list[tuple[int, StoreError]] = []
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()

    def stored(self, batch_id: int, month: int) -> int:
        return self.by_month[month]

    async def insert_encoded(self, table: str, encoded: Any, **named: Any) -> None:
        titles = [piece.decode() for piece in encoded.pieces]
        if self.hold is not None and table == "events" and len(titles) > 1:
            self.held.set()
            await self.hold.wait()
        await super().insert_encoded(table, encoded, **named)

    def keep(self, batch_id: int, month: int, titles: list[str]) -> None:
        months = sorted({int(title.split()[0]) for title in titles}, reverse=True)
        failure = None
        if self.break_at and len(months) > 1:
            stored, failure = self.break_at.pop(0)
            months = months[:stored]
        self.order += months
        for title in titles:
            if int(title.split()[0]) in months:
                self.by_month[int(title.split()[0])] += 1
        if failure is not None:
            raise failure


class AllStore(MonthStore):
    """Has nothing of what an earlier run sent."""

    def stored(self, batch_id: int, month: int) -> int:
        return 0


def at(now_us: int, months_ago: int, title: str = "") -> Row:
    ts = now_us - months_ago * MONTH_US
    return row(ts=ts, title=f"{month_of(row(ts=ts))} {title}".strip())


def years(log: Log, months: int = 60) -> list[Row]:
    """Old rows, unsorted, two of each month at least."""
    now_us = int(log.wal._clock() * 1e6)
    rows = [at(now_us, ago) for ago in range(2, months) for _ in range(2)]
    random.Random(1).shuffle(rows)
    return sorted(rows, key=lambda one: one[1])  # type: ignore[arg-type, return-value]  # as the pipeline does


def recent(log: Log) -> Row:
    return at(int(log.wal._clock() * 1e6), 0)


def flusher(log: Log, store: MonthStore) -> Flusher:
    made = Flusher(
        cast(Store, store),
        SETTINGS,
        log.metrics,
        log.directory.parent / "dead-letters",
        insert_timeout_s=5.0,
        jitter=random.Random(1),
    )
    log.wal._on_sealed = made.add
    return made


def expected(rows: list[Row]) -> Counter[int]:
    return Counter(month_of(one) for one in rows)


def dead(log: Log) -> float:
    return float(log.metrics.dead_letter_events._value.get())


# ---- the log ---------------------------------------------------------------


@pytest.mark.parametrize(("days", "segments"), [(30.9, 1), (31.1, 2)])
async def test_an_event_is_of_the_past_from_so_many_days_on(tmp_path: Path, days: float, segments: int) -> None:
    async with logging_to(tmp_path, historic_after_days=DAYS_31) as log:
        now_us = int(log.wal._clock() * 1e6)
        await log.wal.durable([row(ts=now_us - int(days * 86_400e6)), row(ts=now_us)])

        assert len(log.paths) == segments
        assert len(log.durable) == (2 if segments == 1 else 1)
        assert sorted(is_historic(int(path.stem)) for path in log.paths) == [False, True][:segments]


async def test_both_parts_of_a_request_are_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    synced: set[int] = set()
    async with logging_to(tmp_path, historic_after_days=DAYS_31) as log:

        async def before(fd: int) -> None:
            synced.add(fd)

        log.before_sync = before
        written = years(log)
        await log.wal.durable([*written, recent(log)])

        assert len(synced) == 2
        assert len(log.titles()) == len(written) + 1


async def test_when_the_second_part_can_not_be_written_nothing_of_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with logging_to(tmp_path, historic_after_days=DAYS_31) as log:
        await log.wal.durable([*years(log), recent(log)])
        before = log.titles()
        writev, calls = os.writev, 0

        def failing(fd: int, pieces: list[bytes]) -> int:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise OSError(28, "No space left on device")
            return writev(fd, pieces)

        with monkeypatch.context() as patch:
            patch.setattr(os, "writev", failing)
            with pytest.raises(WalError, match="No space left"):
                await log.wal.durable([*years(log), recent(log)])
        assert log.titles() == before
        await log.wal.durable([*years(log), recent(log)])
        assert len(log.titles()) == 2 * len(before)
        assert log.broken == []


async def test_when_the_second_sync_fails_nothing_of_the_group_stays(tmp_path: Path) -> None:
    async with logging_to(tmp_path, historic_after_days=DAYS_31) as log:
        await log.wal.durable([*years(log), recent(log)])
        before, syncs = log.titles(), 0

        async def failing(fd: int) -> None:
            nonlocal syncs
            syncs += 1
            if syncs == 2:
                raise OSError(5, "Input/output error")

        log.before_sync = failing
        with pytest.raises(WalError, match="can't be trusted"):
            await log.wal.durable([*years(log), recent(log)])
        assert log.titles() == before
        assert len(log.broken) == 1


async def test_both_segments_that_were_open_may_have_a_torn_tail(tmp_path: Path) -> None:
    async with logging_to(tmp_path, historic_after_days=DAYS_31) as log:
        for _ in range(2):
            await log.wal.durable([*years(log), recent(log)])
            log.wal.seal_soon()
            await wait_for(_sealed(log, 2))
            log.sealed.clear()
    paths = log.paths
    assert len(paths) == 4
    for path in paths[2:]:
        path.write_bytes(path.read_bytes() + b"\x40\x00\x00")
    found = recover(tmp_path, log.metrics)

    assert [one.path for one in found] == paths
    assert not (tmp_path / "quarantine").exists()
    paths[0].write_bytes(paths[0].read_bytes() + b"\x40\x00\x00")
    recover(tmp_path, log.metrics)
    assert [path.name for path in (tmp_path / "quarantine").iterdir()] == [paths[0].name]


def _sealed(log: Log, count: int) -> Any:
    async def enough() -> bool:
        return len(log.sealed) >= count

    return enough


async def test_the_past_may_take_a_part_of_the_log_only(tmp_path: Path) -> None:
    async with logging_to(tmp_path, historic_after_days=DAYS_31, historic_wal_max_mb=1) as log:
        now_us = int(log.wal._clock() * 1e6)
        old = [at(now_us, 12, "x" * 300_000)]
        for _ in range(4):
            await log.wal.durable(old)
        with pytest.raises(WalError, match="historic_wal_max_mb"):
            await log.wal.durable(old)
        assert log.wal.refusal() == ""
        await log.wal.durable([recent(log)])
        with pytest.raises(WalError, match="historic_wal_max_mb"):
            await log.wal.durable([*old, recent(log)])
        log.wal.seal_soon()
        await wait_for(_sealed(log, 2))
        for sealed in log.sealed:
            log.wal.delete(sealed)
        await log.wal.durable(old)


async def test_a_segment_of_the_past_grows_while_the_one_before_is_on_its_way(tmp_path: Path) -> None:
    async with logging_to(tmp_path, historic_after_days=DAYS_31, flush_interval_ms=20) as log:
        await log.wal.durable(years(log))
        await wait_for(_sealed(log, 1))
        for _ in range(3):
            await log.wal.durable([*years(log), recent(log)])
            await wait_for(_sealed(log, 2))
        assert [sealed.historic for sealed in log.sealed].count(True) == 1
        log.wal.delete(next(sealed for sealed in log.sealed if sealed.historic))

        async def another() -> bool:
            return [sealed.historic for sealed in log.sealed].count(True) == 2

        await wait_for(another)
        assert max(sealed.events for sealed in log.sealed) == 3 * len(years(log))


async def test_a_segment_of_the_past_is_not_open_for_long_whatever_waits(tmp_path: Path) -> None:
    """Its batch id is of the time when it was opened: by that, a start finds the event ids that came lately."""
    async with logging_to(tmp_path, historic_after_days=DAYS_31, flush_interval_ms=20) as log:
        await log.wal.durable(years(log))
        await wait_for(_sealed(log, 1))
        await log.wal.durable(years(log))
        opened, clock = len(log.paths), log.wal._clock
        log.wal._clock = lambda: clock() + segment.MOST_OPEN_S
        await wait_for(_sealed(log, 2))
        assert opened == 2


# ---- the delivery ----------------------------------------------------------


async def test_recent_events_do_not_wait_for_an_import(tmp_path: Path) -> None:
    store = MonthStore()
    store.hold = asyncio.Event()
    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        flush = flusher(log, store)
        flush.start(log.wal, [])
        rows = years(log)
        await log.wal.durable(rows)
        log.wal.seal_soon()
        await store.held.wait()  # the first insert of the import is under way
        await log.wal.durable([recent(log)])
        log.wal.seal_soon()

        async def in_line() -> bool:
            return bool(flush._recent._delivery._insert_lock._waiters)

        await wait_for(in_line)
        store.hold.set()
        month = month_of(recent(log))

        async def here() -> bool:
            return store.by_month[month] == 1

        await wait_for(here)
        assert store.order.index(month) <= MONTHS_AT_ONCE * 2  # one insert, or the next, was before it
        assert await flush.drain(10.0)
        assert store.by_month == expected([*rows, recent(log)])
        assert store.calls.count("insert") == -(-len(expected(rows)) // MONTHS_AT_ONCE) + 1
        await flush.close()


@pytest.mark.parametrize("failure", [StoreAmbiguous("reset"), StoreFatal("no such table", engine_code=60)])
@pytest.mark.parametrize("stored", [0, 1, MONTHS_AT_ONCE - 1, MONTHS_AT_ONCE])
async def test_months_of_a_failed_insert_are_verified_one_by_one(
    tmp_path: Path, failure: StoreError, stored: int
) -> None:
    store = MonthStore()
    store.break_at = [(stored, failure)]
    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        flush = flusher(log, store)
        flush.start(log.wal, [])
        rows = years(log)
        await log.wal.durable(rows)
        log.wal.seal_soon()

        async def all_here() -> bool:
            return store.by_month == expected(rows) and not log.paths

        await wait_for(all_here)
        assert dead(log) == 0
        await flush.close()


@pytest.mark.parametrize("months", [1, 13, 30])
async def test_after_a_restart_only_what_is_missing_is_sent(tmp_path: Path, months: int) -> None:
    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        rows = years(log)
        await log.wal.durable(rows)
    store, wanted = MonthStore(), expected(rows)
    there = sorted(wanted, reverse=True)[:months]
    store.by_month.update({month: wanted[month] for month in there})
    later = Log(tmp_path / "wal", SETTINGS, nothing)
    left_over = later.wal.open()
    flush = flusher(later, store)
    flush.start(later.wal, left_over)
    assert await flush.drain(20.0)
    await flush.close()
    await later.wal.close()

    assert store.by_month == wanted
    assert not set(store.order) & set(there)
    assert dead(later) == 0


async def test_a_month_that_is_partly_there_is_set_aside_and_never_guessed(tmp_path: Path) -> None:
    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        rows = years(log)
        await log.wal.durable(rows)
    store, wanted = MonthStore(), expected(rows)
    store.by_month[sorted(wanted)[-1]] = 1
    later = Log(tmp_path / "wal", SETTINGS, nothing)
    left_over = later.wal.open()
    flush = flusher(later, store)
    flush.start(later.wal, left_over)
    assert await flush.drain(20.0)
    await flush.close()
    await later.wal.close()

    assert store.order == []
    assert dead(later) == len(rows) - 1


async def test_a_row_that_is_refused_costs_no_other_month(tmp_path: Path) -> None:
    store = MonthStore()
    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        flush = flusher(log, store)
        flush.start(log.wal, [])
        rows, now_us = years(log), int(log.wal._clock() * 1e6)
        poison = row(ts=now_us - 20 * MONTH_US, title=POISON)
        await log.wal.durable([poison, *rows])
        log.wal.seal_soon()

        async def all_here() -> bool:
            return store.by_month == expected(rows) and not log.paths

        await wait_for(all_here)
        assert dead(log) == 1
        await flush.close()


async def test_a_segment_of_many_months_from_an_older_program_is_passed_on(tmp_path: Path) -> None:
    """As it was written before recent and past events had segments of their own."""
    async with logging_to(tmp_path / "wal") as log:
        rows = years(log)
        await log.wal.durable([*rows, recent(log)])
        assert len(log.paths) == 1
    store = MonthStore()
    later = Log(tmp_path / "wal", SETTINGS, nothing)
    left_over = later.wal.open()
    flush = flusher(later, store)
    flush.start(later.wal, left_over)
    assert await flush.drain(20.0)
    await flush.close()
    await later.wal.close()

    assert store.by_month == expected([*rows, recent(log)])
    assert store.order[0] == month_of(recent(log))
    assert later.paths == []


async def test_the_first_batch_of_each_kind_may_have_been_under_way_when_the_last_run_ended(tmp_path: Path) -> None:
    """Its views may have committed without it. Of the others none was sent, and a comparison of each takes long."""
    async with logging_to(tmp_path / "wal") as log:  # of an older program
        for _ in range(2):
            await log.wal.durable([*years(log), recent(log)])
            log.wal.seal_soon()
            await wait_for(_sealed(log, 1))
            log.sealed.clear()
    passed_on = len(log.paths)
    for _ in range(2):
        async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
            await log.wal.durable([*years(log), recent(log)])
    later = Log(tmp_path / "wal", SETTINGS, nothing)
    left_over = later.wal.open()
    flush = flusher(later, AllStore())
    compared: list[int] = []

    async def reconcile(batch_id: int) -> None:
        compared.append(batch_id)

    flush._reconciliation.reconciler.reconcile = reconcile  # type: ignore[method-assign]
    flush.start(later.wal, left_over)
    assert await flush.drain(20.0)
    await flush.close()
    await later.wal.close()

    kept = left_over[passed_on:]
    first_historic = next(sealed for sealed in kept if sealed.historic)
    first_recent = next(sealed for sealed in kept if not sealed.historic)
    assert sorted(compared) == [left_over[0].batch_id, *sorted([first_recent.batch_id, first_historic.batch_id])]
    assert later.paths == []


async def test_a_batch_of_the_past_in_doubt_is_compared_again_although_nothing_recent_comes(tmp_path: Path) -> None:
    store = MonthStore()
    store.break_at = [(1, StoreAmbiguous("reset"))]
    compared = asyncio.Queue[int]()

    async def reconcile(batch_id: int) -> None:
        compared.put_nowait(batch_id)
        if store.calls.count("compared") == 0:
            store.calls.append("compared")
            raise StoreRetryable("other servers are inserting")

    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        flush = flusher(log, store)
        flush._reconciliation.reconciler.reconcile = reconcile  # type: ignore[method-assign]
        flush.start(log.wal, [])
        await log.wal.durable(years(log))
        log.wal.seal_soon()
        async with asyncio.timeout(10.0):
            assert await compared.get() == await compared.get()
        await flush.close()


async def test_a_stop_comes_between_two_inserts_of_an_import(tmp_path: Path) -> None:
    store = MonthStore()
    store.hold = asyncio.Event()
    async with logging_to(tmp_path / "wal", historic_after_days=DAYS_31) as log:
        flush = flusher(log, store)
        flush.start(log.wal, [])
        await log.wal.durable(years(log))
        log.wal.seal_soon()
        await store.held.wait()
        closing = asyncio.create_task(flush.close())
        await asyncio.sleep(0)
        store.hold.set()
        await closing

        assert store.calls.count("insert") == 1
        assert len(log.paths) == 1
