"""The flusher outlives whatever happens to it, and what it can't deliver is kept and counted."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from analytics_server.config import IngestSection
from analytics_server.errors import StoreAmbiguous, StoreFatal, StoreRetryable
from analytics_server.ingest.flush import delivery, delivery_queue
from analytics_server.ingest.flush.batch import Batch, read
from analytics_server.ingest.flush.dead_letters import read_all
from analytics_server.ingest.flush.delivery_queue import MOST_FAILURES
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.ingest.flush.in_doubt import DIRECTORY
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.model import COLUMN_INDEX, COLUMNS, Row
from analytics_server.store.protocol import Encoded, Store
from tests.ingest.fake_store import FakeStore
from tests.server import wait_for

NOVEMBER_US = 1_762_000_000_000_000
DECEMBER_US = 1_765_000_000_000_000
SETTINGS = IngestSection(flush_interval_ms=60_000, retry_max_s=0.001, historic_after_days=36_500)


def row(ts_us: int = NOVEMBER_US, title: str = "") -> Row:
    values = [column.default for column in COLUMNS]
    values[COLUMN_INDEX["site_id"]] = "a.example"
    values[COLUMN_INDEX["ts"]] = ts_us
    values[COLUMN_INDEX["event_id"]] = bytes(16)
    values[COLUMN_INDEX["title"]] = title
    return tuple(values)


class Ingest:
    """A log and a flusher on a directory, with a fake store behind them."""

    def __init__(self, directory: Path) -> None:
        self.store = FakeStore()
        self.metrics = IngestMetrics(CollectorRegistry())
        self.letters = directory / "dead-letters"
        self.flusher = Flusher(
            cast(Store, self.store),
            SETTINGS,
            self.metrics,
            self.letters,
            insert_timeout_s=5.0,
            jitter=random.Random(1),
        )
        self.wal = Wal(
            directory / "wal",
            SETTINGS,
            self.metrics,
            on_sealed=self.flusher.add,
            on_broken=lambda reason: pytest.fail(reason),
        )

    async def deliver(self, *rows: Row) -> None:
        """Write, seal, and wait until the queue is empty."""
        await self.wal.durable(list(rows))
        sealed = asyncio.Event()
        add = self.flusher.add

        def added(segment: Sealed) -> None:
            add(segment)
            sealed.set()

        self.wal._on_sealed = added
        self.wal.seal_soon()
        await asyncio.wait_for(sealed.wait(), 5.0)
        assert await self.flusher.drain(10.0)

    @property
    def dead_letters(self) -> float:
        return float(self.metrics.dead_letter_events._value.get())

    @property
    def segments(self) -> list[Path]:
        return sorted((self.letters.parent / "wal").glob("*.wal"))


@asynccontextmanager
async def ingesting(directory: Path) -> AsyncIterator[Ingest]:
    made = Ingest(directory)
    task = made.flusher.start(made.wal, made.wal.open())
    made.wal.start()
    try:
        yield made
        assert not task.done()
    finally:
        await made.wal.stop()
        await made.flusher.close()
        await made.wal.close()


async def test_goes_on_after_a_failure_nobody_planned_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("a row"), OSError(28, "No space left on device")])
    finish = delivery_queue._finish

    def failing(wal: Wal, sealed: Sealed, batch: Batch) -> None:
        if failure := next(failures, None):
            raise failure
        finish(wal, sealed, batch)

    monkeypatch.setattr(delivery_queue, "_finish", failing)
    async with ingesting(tmp_path) as ingest:
        await ingest.deliver(row(), row())
        assert ingest.store.kept == {202511: 2}
        assert ingest.store.calls == ["insert", "end", "count", "end", "count"]
        assert ingest.segments == []
        assert ingest.dead_letters == 0


async def test_a_segment_that_always_fails_is_kept_aside_and_the_next_one_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def failing(sealed: Sealed) -> Batch:
        nonlocal calls
        calls += 1
        if calls <= MOST_FAILURES:
            raise ValueError("visitor 12345")
        return read(sealed)

    monkeypatch.setattr(delivery, "read", failing)
    async with ingesting(tmp_path) as ingest:
        with caplog.at_level(logging.ERROR):
            await ingest.deliver(row(), row(), row())
        assert ingest.dead_letters == 3
        (found,) = read_all(ingest.letters)
        assert (found.letter.kind, found.letter.reason, found.letter.events) == ("segment", "failed", 3)
        assert "12345" not in caplog.text
        await ingest.deliver(row())
        assert ingest.store.kept == {202511: 1}
        assert ingest.segments == []


async def test_a_refusal_that_no_row_explains_sets_aside_what_is_missing(tmp_path: Path) -> None:
    def refuse(month: int) -> None:
        if month == 202511:
            raise StoreFatal("incorrect data", engine_code=117)

    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = refuse
        await ingest.deliver(row(), row(DECEMBER_US), row(DECEMBER_US))
        assert ingest.store.kept == {202512: 2}
        assert ingest.dead_letters == 1
        (found,) = read_all(ingest.letters)
        assert (found.letter.kind, found.letter.reason, found.letter.events) == ("segment", "refused", 1)
        assert found.letter.causes[0].engine_code == 117


async def test_a_store_that_is_not_as_it_should_be_costs_no_event(tmp_path: Path) -> None:
    failures = iter([StoreFatal("no such table", engine_code=60), StoreFatal("the engine can't be opened")])

    def refuse(month: int) -> None:
        if failure := next(failures, None):
            raise failure

    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = refuse
        await ingest.deliver(row())
        assert ingest.store.kept == {202511: 1}
        assert ingest.dead_letters == 0


async def test_waits_for_the_end_of_an_insert_in_doubt_before_it_counts(tmp_path: Path) -> None:
    failures = iter([StoreAmbiguous("connection reset")])

    def lose(month: int) -> None:
        if failure := next(failures, None):
            ingest.store.kept[month] = 1
            raise failure

    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = lose
        await ingest.deliver(row())
        assert ingest.store.calls == ["insert", "end", "count"]
        assert ingest.store.kept == {202511: 1}


async def test_what_the_disk_has_lost_is_counted_and_the_rest_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(sealed: Sealed) -> Batch:
        sealed.rows = None
        whole = sealed.path.read_bytes()
        sealed.path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        return read(sealed)

    monkeypatch.setattr(delivery, "read", damaged)
    async with ingesting(tmp_path) as ingest:
        await ingest.wal.durable([row()])
        await ingest.deliver(row(), row())
        assert ingest.store.kept == {202511: 1}
        assert ingest.dead_letters == 2
        (found,) = read_all(ingest.letters)
        assert (found.letter.reason, found.letter.events, found.letter.batch_events) == ("damaged", 2, 3)


async def test_waits_for_a_store_that_is_away_before_a_batch_can_be_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics_server.ingest.flush.delivery_queue.FIRST_PAUSE_S", 0.0001)
    async with ingesting(tmp_path) as ingest:
        encode, away = ingest.store.encode, iter(range(25))

        async def failing(*arguments: Any, **named: Any) -> Encoded:
            if next(away, None) is not None:
                raise StoreRetryable("Connection refused.")
            return await encode(*arguments, **named)

        monkeypatch.setattr(ingest.store, "encode", failing)
        await ingest.deliver(row())

        assert ingest.store.kept == {202511: 1}
        assert ingest.dead_letters == 0
        assert ingest.segments == []


async def test_a_batch_in_doubt_is_remembered_until_its_rollups_agree_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answers = False

    async def reconcile(batch_id: int) -> None:
        asked.append(batch_id)
        if not answers:
            raise StoreRetryable("The rollups can't be compared while other servers are inserting.")

    def lose_the_answer(month: int) -> None:
        ingest.store.fail = lambda month: None
        ingest.store.kept[month] = 1
        raise StoreAmbiguous("The connection was closed.")

    doubts = tmp_path / "wal" / DIRECTORY
    async with ingesting(tmp_path) as ingest:
        monkeypatch.setattr(ingest.flusher._reconciliation.reconciler, "reconcile", reconcile)
        ingest.store.fail = lose_the_answer
        await ingest.deliver(row())
        await ingest.deliver(row())  # the next one is not held up
        assert ingest.segments == []
        (remembered,) = [int(path.name) for path in doubts.iterdir()]

    answers = True
    async with ingesting(tmp_path) as ingest:
        monkeypatch.setattr(ingest.flusher._reconciliation.reconciler, "reconcile", reconcile)

        async def settled() -> bool:
            return not list(doubts.iterdir())

        await wait_for(settled)
    assert set(asked) == {remembered}
