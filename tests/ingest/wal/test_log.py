"""The log: durable before it is acknowledged, bounded, and in order."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from analytics_server.errors import WalError
from analytics_server.ingest.wal import log as wal_module
from analytics_server.ingest.wal.sync import ThreadSyncer
from tests.ingest.logs import NEVER, Log, Watched, logging_to, nothing
from tests.ingest.rows import row
from tests.server import wait_for


async def test_a_row_is_on_disk_and_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    synced: list[int] = []

    async def noting(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)

    async with logging_to(tmp_path, noting) as log:
        await log.wal.durable([row(title="a")])

        assert log.titles() == ["a"]
        assert synced == [log.bytes_on_disk]


async def test_acknowledging_by_the_page_cache_does_not_sync(tmp_path: Path) -> None:
    async def fail(fd: int) -> None:
        pytest.fail("synced")

    async with logging_to(tmp_path, fail, ack="os") as log:
        await log.wal.durable([row(title="a")])

        assert log.titles() == ["a"]


async def test_what_arrives_during_a_sync_shares_the_next_one(tmp_path: Path) -> None:
    syncs = 0
    first_began, all_sent = asyncio.Event(), asyncio.Event()

    async def counting(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        first_began.set()
        await all_sent.wait()

    async with logging_to(tmp_path, counting) as log:
        first = log.wal.durable([row(title="first")])
        await first_began.wait()
        rest = [log.wal.durable([row(title=str(number))]) for number in range(100)]
        all_sent.set()
        await asyncio.gather(first, *rest)

        assert syncs == 2
        assert log.titles() == ["first", *map(str, range(100))]


async def test_durable_rows_are_told_before_those_who_wait_for_them(tmp_path: Path) -> None:
    heard: list[int] = []
    async with logging_to(tmp_path) as log:
        done = asyncio.Event()

        def waiter(error: str) -> None:
            heard.append(len(log.durable))
            done.set()

        log.wal.append([row(), row()], waiter)
        await done.wait()

    assert heard == [2]


async def test_waiters_are_called_in_order(tmp_path: Path) -> None:
    called: list[int] = []
    async with logging_to(tmp_path) as log:
        for number in range(50):
            log.wal.append([row()] if number % 3 else [], lambda error, number=number: called.append(number))  # type: ignore[misc]
        await log.wal.durable([])

    assert called == list(range(50))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"batch_events": 10}, "events"), ({"batch_mb": 1}, "bytes"), ({"flush_interval_ms": 1}, "age")],
)
async def test_a_segment_is_sealed_by_events_bytes_or_age(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    rows = [row(title="t" * 500) for _ in range(10 if reason == "events" else 2_500)]
    async with logging_to(tmp_path, nothing, **changes) as log:
        await log.wal.durable(rows)

        async def sealed() -> bool:
            return bool(log.sealed)

        await wait_for(sealed)
        assert (log.sealed[0].events, log.sealed[0].verify_first) == (len(rows), False)
        await log.wal.durable([row()])
    assert len({sealed.batch_id for sealed in log.sealed}) == 2


async def test_closing_seals_what_is_open_and_refuses_the_rest(tmp_path: Path) -> None:
    async with logging_to(tmp_path) as log:
        await log.wal.durable([row(title="a")])
        pending = log.wal.durable([row(title="b")])
    await pending
    await asyncio.sleep(0)

    assert [sealed.events for sealed in log.sealed] == [2]
    assert log.titles() == ["a", "b"]
    with pytest.raises(WalError, match="stopping"):
        log.wal.append([row()], lambda error: None)


async def test_an_empty_log_leaves_no_file(tmp_path: Path) -> None:
    async with logging_to(tmp_path) as log:
        pass

    assert log.paths == []


async def test_left_over_segments_come_back_oldest_first_to_be_verified(tmp_path: Path) -> None:
    for title in ("a", "b"):
        async with logging_to(tmp_path) as log:
            await log.wal.durable([row(title=title)])
    again = Log(tmp_path, NEVER)
    found = again.wal.open()
    await again.wal.close()

    assert again.titles() == ["a", "b"]
    assert [sealed.path for sealed in found] == again.paths
    assert all(sealed.verify_first and sealed.rows is None and sealed.events == 1 for sealed in found)
    (gauge,) = again.metrics.wal_bytes.collect()
    assert [sample.value for sample in gauge.samples] == [again.bytes_on_disk]


async def test_too_many_pending_events_are_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def slow(fd: int) -> None:
        began.set()
        await release.wait()

    async with logging_to(tmp_path, slow, pending_events=5) as log:
        first = log.wal.durable([row()])
        await began.wait()
        second = log.wal.durable([row()] * 5)
        with pytest.raises(WalError, match="Too many events"):
            log.wal.durable([row()])
        release.set()
        await asyncio.gather(first, second)

        assert len(log.titles()) == 6


async def test_one_group_larger_than_the_limit_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    async with logging_to(tmp_path, pending_events=5) as log:
        await log.wal.durable([row()] * 50)

        assert len(log.titles()) == 50


async def test_at_its_size_limit_the_log_refuses_until_a_segment_is_delivered(tmp_path: Path) -> None:
    async with logging_to(tmp_path, wal_max_mb=1, batch_mb=1) as log:
        await log.wal.durable([row(title="t" * 500) for _ in range(2_500)])
        with pytest.raises(WalError, match="wal_max_mb"):
            log.wal.append([row()], lambda error: None)
        assert "wal_max_mb" in log.wal.refusal()

        async def sealed() -> bool:
            return bool(log.sealed)

        await wait_for(sealed)
        log.wal.delete(log.sealed[0])

        assert log.wal.refusal() == ""
        await log.wal.durable([row(title="after")])
        assert log.titles() == ["after"]


async def test_a_frame_too_large_to_be_read_back_is_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "MAX_GROUP_BYTES", 1_000)
    monkeypatch.setattr(wal_module, "MOST_BYTES", 2_000)
    async with logging_to(tmp_path) as log:
        await log.wal.durable([row(title="x" * 1_500)])
        with pytest.raises(WalError, match="too large"):
            log.wal.durable([row(title="x" * 2_500)])

        assert len(log.titles()) == 1


async def test_while_the_pending_group_is_full_the_log_refuses(tmp_path: Path) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def slow(fd: int) -> None:
        began.set()
        await release.wait()

    async with logging_to(tmp_path, slow, pending_events=5) as log:
        first = log.wal.durable([row()])
        await began.wait()
        second = log.wal.durable([row()] * 5)
        assert "Too many events" in log.wal.refusal()
        release.set()
        await asyncio.gather(first, second)

        assert log.wal.refusal() == ""


async def test_the_log_does_not_keep_what_it_has_written(tmp_path: Path) -> None:
    async with logging_to(tmp_path, memory_events=0) as log:
        one = row(title="a")
        references = sys.getrefcount(one)
        await log.wal.durable([one])
        log.durable.clear()
        await asyncio.sleep(0)

        assert sys.getrefcount(one) == references


async def test_a_committer_that_is_cancelled_answers_everyone(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def hang(fd: int) -> None:
        began.set()
        await asyncio.Event().wait()

    async with logging_to(tmp_path, hang) as log:
        waiting = [log.wal.durable([row()])]
        await began.wait()
        waiting.append(log.wal.durable([row()]))
        assert log.wal._committer is not None
        log.wal._committer.cancel()
        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert all(isinstance(result, WalError) for result in results)
        assert len(log.broken) == 1
        with pytest.raises(WalError):
            log.wal.append([row()], lambda error: None)


@pytest.mark.parametrize("way", ["thread", "kernel"])
async def test_stopping_waits_for_the_sync_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    async def slow(fd: int) -> None:
        began.set()
        await release.wait()

    log = Log(tmp_path, NEVER, slow)
    if way == "thread":
        monkeypatch.setattr(log.wal, "_make_syncer", lambda loop, probe: Watched(ThreadSyncer(loop), log._before_sync))
    log.wal.open()
    log.wal.start()
    pending = log.wal.durable([row(title="a")])
    await began.wait()
    stopping = asyncio.ensure_future(log.wal.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not stopping.done()
    assert "stopping" in log.wal.refusal()
    release.set()
    await pending
    await stopping

    assert [sealed.events for sealed in log.sealed] == [1]


async def test_segments_keep_their_order_when_the_clock_is_set_back(tmp_path: Path) -> None:
    for title, now in (("a", 1_762_000_000.0), ("b", 1_761_000_000.0)):
        log = Log(tmp_path, NEVER)
        log.wal._clock = lambda now=now: now  # type: ignore[misc]
        log.wal.open()
        log.wal.start()
        await log.wal.durable([row(title=title)])
        log.wal.seal_soon()
        await log.wal.durable([])
        await log.wal.durable([row(title=title * 2)])
        await log.wal.close()

    assert log.titles() == ["a", "aa", "b", "bb"]
