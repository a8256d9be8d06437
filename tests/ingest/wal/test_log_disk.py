"""The log is honest when its disk is full, slow, or fails."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from analytics_server.errors import WalError
from analytics_server.ingest.wal import open_segment, segment
from tests.ingest.logs import logging_to, nothing
from tests.ingest.rows import row
from tests.server import wait_for

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
        if failing and (name == "fsync" or str(arguments[0]).endswith(".new")):
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


async def test_after_a_slow_sync_the_write_is_a_thread_s_until_the_disk_is_fast_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[str] = []
    write = os.writev

    def noting(fd: int, pieces: list[bytes]) -> int:
        writers.append(threading.current_thread().name.partition("_")[0])
        return write(fd, pieces)

    async def slow(fd: int) -> None:
        await asyncio.sleep(open_segment.SLOW_DISK_S * 1.5)

    monkeypatch.setattr(os, "writev", noting)
    async with logging_to(tmp_path, slow) as log:
        await log.wal.durable([row(title="a")])
        log.before_sync = nothing
        await log.wal.durable([row(title="b")])
        await log.wal.durable([row(title="c")])

        assert log.titles() == ["a", "b", "c"]
    assert writers[:2] == ["MainThread", "wal"]
