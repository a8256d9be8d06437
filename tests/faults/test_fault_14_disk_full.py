"""Fault 14: the log's disk is full. 503 and no false 2xx; it goes on by itself when there is room again.

The log lies on a file system of its own of a few megabytes, really full. Where none can
be mounted, strace says for a while that it is, and the shared-memory file system
stands in for the low-water mark.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.faults.strace import Injection, attached
from tests.server import Client, RunningServer, wait_for

MEGABYTE = 1_048_576
SIZE = 4 * MEGABYTE
SHARED = Path("/dev/shm")
LOW_WATER = MEGABYTE
IN_VAIN = 5


class Disk:
    """Where the log lies: what `fill` takes, `empty` gives back. `is_own` false: it is shared with others."""

    def __init__(self, directory: Path, *, is_own: bool) -> None:
        self.directory = directory
        self.is_own = is_own
        self._filler = directory / "filler"

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.directory).free

    def fill(self, left: int) -> None:
        """Take all room but `left` bytes."""
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free - left)

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        yield Disk(directory, is_own=True)
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        return
    directory = SHARED / f"wal-{uuid4().hex}"
    directory.mkdir()
    yield Disk(directory, is_own=False)
    shutil.rmtree(directory)


async def test_fault_14_on_a_full_disk_nothing_is_accepted_that_is_not_kept(
    tmp_path: Path, disk: Disk, request: pytest.FixtureRequest
) -> None:
    wal_dir = disk.directory / "wal"
    server = RunningServer(
        tmp_path / "server",
        {
            "ingest_wal_dir": str(wal_dir),
            "ingest_wal_min_free_mb": "0",
            "ingest_flush_interval_ms": "10000",  # a new segment, or room where one was, would be no full disk
        },
    )
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    load, later = Load(server, workers=4), Load(server, workers=4)
    async with Client(server) as client:
        async with load:
            await load.until_acknowledged(50)
            with ExitStack() as faults:
                if disk.is_own:
                    disk.fill(left=0)
                else:
                    faults.enter_context(no_space_left(server, wal_dir, tmp_path))
                before = load.statuses.get(503, 0)
                await wait_for(lambda: refused(load, before + IN_VAIN), what="a refusal")
                await wait_for(lambda: failed(client, IN_VAIN), what="failed writes")
        # The load's own answer: one event more may still find room in the last page of a full disk.
        reply = load.refusal
        assert reply is not None
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "5"
        assert "No space left on device" in reply.json["error"]["message"]
        assert (await client.get("/healthz")).status == 200
        disk.empty()
        async with later:
            await later.until_acknowledged(100)
        assert set(later.statuses) == {202}, "room came back, but not the log"
        await client.flushed()
    assert server.terminate() == 0

    assert set(load.statuses) == {202, 503}
    counts = await assert_every_event_stored_once_everywhere(
        server, load.acknowledged | later.acknowledged, load.sent | later.sent
    )
    assert counts.events.keys() == load.acknowledged | later.acknowledged, "a refused event is there"


async def refused(load: Load, times: int) -> bool:
    return load.statuses.get(503, 0) >= times


async def failed(client: Client, times: int) -> bool:
    """Did so many writes find no room? One write may be of several requests."""
    return await client.metric('wal_errors_total{kind="disk_full"}') >= times


def no_space_left(server: RunningServer, wal_dir: Path, scratch: Path) -> ExitStack:
    """Every write to the log's open segment fails."""
    faults = ExitStack()
    segment = max(wal_dir.glob("*.wal"))
    faults.enter_context(
        attached(server.pid, [Injection("writev", "error=ENOSPC", "1+")], scratch / "trace", [segment])
    )
    return faults


async def test_fault_14_below_the_low_water_mark_the_log_refuses_early_and_says_so(
    tmp_path: Path, disk: Disk, request: pytest.FixtureRequest
) -> None:
    least = LOW_WATER if disk.is_own else disk.free - 64 * MEGABYTE
    server = RunningServer(
        tmp_path / "server",
        {
            "ingest_wal_dir": str(disk.directory / "wal"),
            "ingest_wal_min_free_mb": str(-(-least // MEGABYTE)),
            "ingest_flush_interval_ms": "100",
        },
    )
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    site = "low.example"
    sent = 0
    async with Client(server) as client:

        async def send() -> int:
            nonlocal sent
            reply = await client.send({"site": site, "name": "x"})
            sent += reply.status == 202
            return reply.status

        async def is_refused() -> bool:
            return await send() == 503

        async def is_ready() -> bool:
            return (await client.get("/readyz")).status == 200

        assert await send() == 202
        disk.fill(left=least - 512 * 1024)
        await wait_for(is_refused, what="a refusal")
        reply = await client.send({"site": site, "name": "x"})
        readiness = await client.get("/readyz")
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert "wal_min_free_mb" in reply.json["error"]["message"]
        assert readiness.status == 503
        assert "wal_min_free_mb" in readiness.json["reason"]
        disk.empty()
        await wait_for(is_ready, what="readiness")
        assert await send() == 202
        await client.kept(site, sent)
    assert server.terminate() == 0


async def test_fault_14_a_start_on_a_nearly_full_disk_refuses_from_the_first_beacon_on(
    tmp_path: Path, disk: Disk, request: pytest.FixtureRequest
) -> None:
    server = RunningServer(
        tmp_path / "server",
        {"ingest_wal_dir": str(disk.directory / "wal"), "ingest_wal_min_free_mb": str(disk.free // MEGABYTE + 64)},
    )
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        reply = await client.send({"site": "low.example", "name": "x"})
    server.kill()

    assert reply.status == 503
