"""Exactly once: whatever the store did before it failed, in the end the batch is there once.

A real engine can't be told to commit and then fail, so the store here is a fake. What a
real one does is in tests/store, tests/e2e and test_rollups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from analytics_server.batch_ids import created_ms
from analytics_server.errors import StoreAmbiguous, StoreError, StoreFatal, StoreRetryable, StoreTimeout
from tests.ingest.flush.test_flusher_life import DECEMBER_US, NOVEMBER_US, Ingest, ingesting
from tests.ingest.rows import row

FAILURES: list[StoreError] = [
    StoreAmbiguous("connection reset"),
    StoreRetryable("too many parts", engine_code=252),
    StoreTimeout("no answer"),
    StoreFatal("no such table", engine_code=60),
]
NOVEMBER, DECEMBER = 202511, 202512


def failing(ingest: Ingest, failures: Iterable[tuple[StoreError, int]]) -> Callable[[int], None]:
    """A store that fails so often, each time having stored so many rows before."""
    waiting = iter(failures)

    def fail(month: int) -> None:
        if found := next(waiting, None):
            failure, stored = found
            ingest.store.kept[month] = ingest.store.kept.get(month, 0) + stored
            raise failure

    return fail


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_what_was_stored_before_the_failure_is_not_sent_again(tmp_path: Path, failure: StoreError) -> None:
    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = failing(ingest, [(failure, 3)])
        await ingest.deliver(row(), row(), row())

        assert ingest.store.kept == {NOVEMBER: 3}
        assert ingest.store.calls.count("insert") == 1
        assert ingest.segments == []


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_what_was_not_stored_is_sent_again(tmp_path: Path, failure: StoreError) -> None:
    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = failing(ingest, [(failure, 0)] * 3)
        await ingest.deliver(row(), row())

        assert ingest.store.kept == {NOVEMBER: 2}
        assert ingest.store.calls == ["insert", *["end", "count", "insert"] * 3]
        assert ingest.dead_letters == 0


async def test_a_part_of_a_batch_is_never_guessed_at(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = failing(ingest, [(StoreAmbiguous("reset"), 2)])
        await ingest.deliver(row(), row(), row())

        assert ingest.store.calls.count("insert") == 1
        assert len(list(ingest.letters.glob("*.wal"))) == 1
        assert ingest.segments == []
        await ingest.deliver(row())  # the next batch goes on
        assert ingest.store.kept == {NOVEMBER: 3}


async def test_each_month_is_an_insert_of_its_own_and_only_the_failed_one_is_repeated(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        failures = iter([StoreAmbiguous("reset")])

        def fail(month: int) -> None:
            if month == DECEMBER and (failure := next(failures, None)):
                raise failure

        ingest.store.fail = fail
        await ingest.deliver(row(), row(ts=DECEMBER_US), row())

        assert ingest.store.kept == {NOVEMBER: 2, DECEMBER: 1}
        assert ingest.store.calls == ["insert", "end", "count", "insert", "insert"]


async def test_an_insert_that_is_refused_once_and_whose_rows_are_well_is_sent_again(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = failing(ingest, [(StoreFatal("type mismatch", engine_code=53), 0)])
        await ingest.deliver(row(), row())

        assert ingest.store.calls == ["insert", "end", "count", "probe", "insert"]
        assert ingest.store.kept == {NOVEMBER: 2}
        assert ingest.dead_letters == 0


async def test_a_refusal_after_the_rows_were_stored_is_not_believed(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        ingest.store.fail = failing(ingest, [(StoreFatal("a view failed", engine_code=53), 2)])
        await ingest.deliver(row(), row())

        assert ingest.store.calls == ["insert", "end", "count"]
        assert ingest.store.kept == {NOVEMBER: 2}


async def test_a_clean_flush_asks_nothing(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        await ingest.deliver(row(), row(ts=DECEMBER_US))

        assert ingest.store.calls == ["insert", "insert"]
        assert ingest.store.commands == []


@pytest.mark.parametrize(("stored", "inserts"), [(2, 0), (0, 1)])
async def test_a_segment_of_an_earlier_run_is_verified_before_it_is_sent(
    tmp_path: Path, stored: int, inserts: int
) -> None:
    earlier = Ingest(tmp_path)
    earlier.wal.open()
    earlier.wal.start()
    await earlier.wal.durable([row(), row()])
    await earlier.wal.close()

    later = Ingest(tmp_path)
    later.store.kept = {NOVEMBER: stored} if stored else {}
    left_over = later.wal.open()
    later.flusher.start(later.wal, left_over)
    assert await later.flusher.drain(10)
    await later.flusher.close()
    await later.wal.close()

    assert later.store.kept == {NOVEMBER: 2}
    assert later.store.calls == ["end", "count"] + ["insert"] * inserts
    assert later.segments == []


async def test_stopping_while_the_store_is_away_keeps_the_segment(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    ingest.flusher.start(ingest.wal, ingest.wal.open())
    ingest.wal.start()
    ingest.store.fail = failing(ingest, [(StoreRetryable("refused"), 0)] * 1_000_000)
    await ingest.wal.durable([row()])
    await ingest.wal.stop()

    assert not await ingest.flusher.drain(0.05)
    await ingest.flusher.close()
    await ingest.wal.close()
    assert len(ingest.segments) == 1
    assert not any(ingest.store.kept.values())
    assert not ingest.flusher.store_is_up


async def test_the_age_of_what_waits_is_known(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    assert ingest.flusher.oldest_age_s(NOVEMBER_US / 1e6) == 0
    ingest.wal.open()
    ingest.wal.start()
    await ingest.wal.durable([row()])
    await ingest.wal.close()
    again = Ingest(tmp_path)
    (sealed,) = again.wal.open()
    again.flusher.add(sealed)

    begun = created_ms(sealed.batch_id) / 1000
    assert again.flusher.oldest_age_s(begun + 90) == pytest.approx(90, abs=0.01)
    assert again.flusher.waiting == 1
    await again.wal.close()
