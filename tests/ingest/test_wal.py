"""The log: durable before it is acknowledged, bounded, and honest when the disk is not."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sys
import threading
from collections import namedtuple
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from analytics_server.config import IngestSection
from analytics_server.errors import WalError
from analytics_server.ingest import segment, wal
from analytics_server.ingest import wal as wal_module
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.segment import Sealed, new_batch_id
from analytics_server.ingest.sync import Syncer, ThreadSyncer, make_syncer
from analytics_server.ingest.wal import Wal
from analytics_server.model import COLUMN_NAMES, Row
from tests.ingest.rows import row
from tests.server import wait_for

NEVER = IngestSection(flush_interval_ms=3_600_000)


Before = Callable[[int], Awaitable[None]]
"""Runs before each sync of a descriptor."""


class Watched:
    """The syncer that the server uses, and something before each of its syncs."""

    def __init__(self, inner: Syncer, before: Before) -> None:
        self._inner = inner
        self._before = before
        self.close = inner.close

    def sync(self, fd: int) -> asyncio.Future[None]:
        async def sync() -> None:
            await self._before(fd)
            await self._inner.sync(fd)

        return asyncio.ensure_future(sync())


async def nothing(fd: int) -> None:
    pass


class Log:
    """A log on a directory, with what it reported."""

    def __init__(self, directory: Path, settings: IngestSection, before_sync: Before = nothing) -> None:
        self.directory = directory
        self.sealed: list[Sealed] = []
        self.broken: list[str] = []
        self.durable: list[Row] = []
        self.metrics = IngestMetrics(CollectorRegistry())
        self.before_sync = before_sync
        self.wal = Wal(
            directory,
            settings,
            self.metrics,
            on_sealed=self.sealed.append,
            on_broken=self.broken.append,
            on_durable=self.durable.extend,
            syncer=lambda loop, probe: Watched(make_syncer(loop, probe), self._before_sync),
        )

    async def _before_sync(self, fd: int) -> None:
        await self.before_sync(fd)

    @property
    def paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.wal"))

    @property
    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    def titles(self) -> list[str]:
        """What stands in all segments on disk, oldest first."""
        index = COLUMN_NAMES.index("title")
        return [
            str(row[index])
            for path in self.paths
            for _, payload in segment.frames(path)
            for row in segment.rows_of(payload)
        ]


@asynccontextmanager
async def logging_to(directory: Path, before_sync: Before = nothing, **changes: object) -> AsyncIterator[Log]:
    made = Log(directory, msgspec.structs.replace(NEVER, **changes), before_sync)
    made.wal.open()
    made.wal.start()
    try:
        yield made
    finally:
        await made.wal.close()


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
    assert again.wal.bytes_on_disk == again.bytes_on_disk


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


# ---- a disk that fails -----------------------------------------------------

Write = Callable[[int, list[bytes]], int]


def failing_writes(monkeypatch: pytest.MonkeyPatch, number: int, written: int) -> None:
    """The next `writev` puts only `written` bytes down; after it the disk is full for one call."""
    real: Write = os.writev
    failures = 0

    def writev(fd: int, pieces: list[bytes]) -> int:
        nonlocal failures
        failures += 1
        if failures <= number:
            os.write(fd, b"".join(pieces)[:written])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, pieces)

    monkeypatch.setattr(os, "writev", writev)


@pytest.mark.parametrize("written", [0, 1, 10, 100])
async def test_a_full_disk_is_a_refusal_and_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    async with logging_to(tmp_path) as log:
        await log.wal.durable([row(title="before")])
        failing_writes(monkeypatch, 2, written)
        for _ in range(2):
            with pytest.raises(WalError, match="No space left"):
                await log.wal.durable([row(title="lost")])
        await log.wal.durable([row(title="after")])

        assert log.titles() == ["before", "after"]
        assert log.broken == []
        assert log.metrics.wal_errors.labels("disk_full")._value.get() == 2
        (path,) = log.paths
        assert segment.scan(path).damaged_bytes == segment.scan(path).torn_bytes == 0


async def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "writev", lambda fd, pieces: os.write(fd, b"".join(pieces)[:7]))
    async with logging_to(tmp_path) as log:
        await log.wal.durable([row(title="a"), row(title="b")])

        assert log.titles() == ["a", "b"]


async def test_a_nearly_full_disk_is_refused_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 1_048_576
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(free))
    async with logging_to(tmp_path, wal_min_free_mb=2) as log:

        async def refused() -> bool:
            if not log.wal.refusal():
                await log.wal.durable([row()])
            return bool(log.wal.refusal())

        async def taken() -> bool:
            return not log.wal.refusal()

        await wait_for(refused)
        assert "wal_min_free_mb" in log.wal.refusal()
        free = 4 * 1_048_576
        await wait_for(taken)
        await log.wal.durable([row(title="after")])

        assert log.titles()[-1] == "after"


async def test_a_failed_sync_fails_its_group_and_ends_the_log(tmp_path: Path) -> None:
    async with logging_to(tmp_path) as log:
        await log.wal.durable([row(title="before")])

        async def fail(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        log.before_sync = fail
        group = [log.wal.durable([row(title="lost")]) for _ in range(3)]
        results = await asyncio.gather(*group, return_exceptions=True)
        log.before_sync = nothing  # the disk is well again: it must not be believed

        assert all(isinstance(result, WalError) and result.status == 503 for result in results)
        assert len(log.broken) == 1
        assert "can't be trusted" in log.wal.refusal()
        with pytest.raises(WalError, match="can't be trusted"):
            log.wal.append([row()], lambda error: None)
        assert log.titles() == ["before"]


async def test_after_a_failed_sync_what_already_waits_is_refused_without_another_try(tmp_path: Path) -> None:
    syncs = 0
    began, release = asyncio.Event(), asyncio.Event()

    async def fail(fd: int) -> None:
        nonlocal syncs
        syncs += 1
        began.set()
        await release.wait()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with logging_to(tmp_path, fail) as log:
        first = log.wal.durable([row(title="lost")])
        await began.wait()
        waiting = [log.wal.durable([row(title="waiting")]), log.wal.durable([])]
        release.set()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)

        assert [isinstance(result, WalError) for result in results] == [True, True, True]
        assert (syncs, len(log.broken), log.titles()) == (1, 1, [])


@pytest.mark.parametrize(("number", "breaks"), [(errno.ENOSPC, False), (errno.EMFILE, False), (errno.EIO, True)])
async def test_a_segment_that_can_not_be_opened_fails_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, breaks: bool
) -> None:
    """The file can't be created, or, when it `breaks` the log, its name can't be made durable."""
    real: dict[str, Callable[..., object]] = {"open": os.open, "fsync": os.fsync}
    failing = True

    def fail(name: str, *arguments: object) -> object:
        if failing and (name == "fsync" or str(arguments[0]).endswith(".wal")):
            raise OSError(number, os.strerror(number))
        return real[name](*arguments)

    async with logging_to(tmp_path) as log:
        monkeypatch.setattr(os, "fsync" if breaks else "open", partial(fail, "fsync" if breaks else "open"))
        for _ in range(2):
            with pytest.raises(WalError):
                await log.wal.durable([row(title="lost")])
        failing = False

        assert log.paths == []
        assert bool(log.broken) == breaks
        if not breaks:
            await log.wal.durable([row(title="after")])
            assert log.titles() == ["after"]
    assert len(log.sealed) == (not breaks)


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


async def test_a_disk_that_does_not_say_how_full_it_is_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    async with logging_to(tmp_path) as log:
        await log.wal.durable([row(title="first")])
        monkeypatch.setattr(shutil, "disk_usage", lambda path: released.wait(30))
        log.wal._looked_at = 0.0
        for number in range(5):
            await asyncio.wait_for(log.wal.durable([row(title=str(number))]), 20)
        hung = log.wal._looking
        assert hung is not None
        assert not hung.done()
        monkeypatch.undo()
        released.set()

    assert len(log.titles()) == 6


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


def test_batch_ids_grow_with_time_and_fit_into_63_bits() -> None:
    now = 1_762_000_000.0
    ids = [new_batch_id(now + number) for number in range(1_000)]

    assert ids == sorted(set(ids))
    assert all(0 < batch_id < 1 << 63 for batch_id in (*ids, new_batch_id(4_102_444_800.0)))


async def test_after_a_slow_sync_the_write_is_a_thread_s_until_the_disk_is_fast_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[str] = []
    write = os.writev

    def noting(fd: int, pieces: list[bytes]) -> int:
        writers.append(threading.current_thread().name.partition("_")[0])
        return write(fd, pieces)

    async def slow(fd: int) -> None:
        await asyncio.sleep(wal.SLOW_DISK_S * 1.5)

    monkeypatch.setattr(os, "writev", noting)
    async with logging_to(tmp_path, slow) as log:
        await log.wal.durable([row(title="a")])
        log.before_sync = nothing
        await log.wal.durable([row(title="b")])
        await log.wal.durable([row(title="c")])

        assert log.titles() == ["a", "b", "c"]
    assert writers[:2] == ["MainThread", "wal"]
