"""Fault 15: a sync fails once. Its group gets 503, the server is not ready and ends with a code; the rest is intact."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client import CollectorRegistry

from analytics_server.app import Server
from analytics_server.config import Config, IngestSection
from analytics_server.errors import WalError
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment, sync
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.sync import KernelSyncer, ThreadSyncer
from analytics_server.model import COLUMN_INDEX
from tests.clickhouse import ClickHouseFront
from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.faults.strace import Injection, under
from tests.ingest.rows import row
from tests.server import Client, RunningServer

EXIT_BROKEN = 3
NO_KERNEL_SYNC = Injection("io_setup", "error=ENOSYS", "1+")


async def test_fault_15_one_failed_fdatasync_ends_the_server_and_loses_nothing(
    tmp_path: Path, clickhouse_front: ClickHouseFront, request: pytest.FixtureRequest
) -> None:
    """The disk is well again after it: that must not be believed.

    A thread syncs here, so that the call can be reached, and no engine in process makes the same call.
    """
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "300", "clickhouse_url": clickhouse_front.url})
    request.addfinalizer(server.kill)
    server.under = under([NO_KERNEL_SYNC, Injection("fdatasync", "error=EIO", "20")], tmp_path / "trace")
    await asyncio.to_thread(server.start)
    server.under = []
    load = Load(server)
    async with Client(server) as client, load:
        while 503 not in load.statuses and len(load.acknowledged) < 10_000:
            before = await _readiness(client)
        after = await _readiness(client)
        code = await asyncio.to_thread(server.wait)

    assert code == EXIT_BROKEN
    assert set(load.statuses) == {202, 503}
    assert after in (503, None), "ready after a group was refused"
    assert before in (200, 503, None)
    failed = [line for line in (tmp_path / "trace").read_text().splitlines() if "EIO" in line]
    assert len(failed) == 1
    assert ".wal>" in failed[0]
    assert "the log can't go on" in server.log

    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        await client.flushed()
        assert (await client.get("/readyz")).status == 200
    assert server.terminate() == 0
    counts = await assert_every_event_stored_once_everywhere(server, load.acknowledged, load.sent)
    assert counts.events.keys() == load.acknowledged, "what was refused came back"


async def _readiness(client: Client) -> int | None:
    try:
        return (await client.get("/readyz")).status
    except (aiohttp.ClientError, ConnectionError):
        return None


async def test_fault_15_a_server_whose_log_is_broken_is_not_ready(tmp_path: Path) -> None:
    config = Config(server=msgspec.structs.replace(Config().server, data_dir=str(tmp_path)))
    server = Server(config)
    request = make_mocked_request("GET", "/readyz")
    before = await server.health.readyz(request)
    server.ingest.wal._break("The write-ahead log can't be trusted any more.")
    after = await server.health.readyz(request)

    assert (before.status, after.status) == (200, 503)
    assert server.ingest.broken.is_set()
    await server.ingest.wal.close()


@pytest.mark.parametrize("way", [KernelSyncer, ThreadSyncer])
async def test_fault_15_whoever_syncs_a_failure_ends_the_log(
    way: type[KernelSyncer | ThreadSyncer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []
    wal = Wal(
        tmp_path,
        IngestSection(flush_interval_ms=3_600_000),
        IngestMetrics(CollectorRegistry()),
        on_sealed=lambda sealed: None,
        on_broken=broken.append,
        syncer=lambda loop, probe: KernelSyncer(loop, probe) if way is KernelSyncer else ThreadSyncer(loop),
    )
    wal.open()
    wal.start()
    await wal.durable([row(title="before")])
    _fail_once(monkeypatch)

    group = [wal.durable([row(title=f"lost {number}")]) for number in range(3)]
    for _ in range(3):  # turns of the loop, until the group is being written
        await asyncio.sleep(0)
    assert wal._under_way.events
    next_group = wal.durable([row(title="after")])
    results = await asyncio.gather(*group, next_group, return_exceptions=True)

    assert all(isinstance(result, WalError) for result in results), results
    assert len(broken) == 1
    assert wal.refusal() == broken[0]
    await wal.close()
    assert _titles(tmp_path) == ["before"]


def _titles(directory: Path) -> list[object]:
    (path,) = directory.glob("*.wal")
    return [row[COLUMN_INDEX["title"]] for _, payload in segment.frames(path) for row in segment.rows_of(payload)]


def _fail_once(monkeypatch: pytest.MonkeyPatch) -> None:
    real_failure, real_sync = sync._failure_of, sync.sync_data
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def failure_of(operation: object) -> OSError | None:
        return failures.pop() if failures else real_failure(operation)  # type: ignore[arg-type]

    def sync_data(fd: int) -> None:
        if failures:
            raise failures.pop()
        real_sync(fd)

    monkeypatch.setattr(sync, "_failure_of", failure_of)
    monkeypatch.setattr(sync, "sync_data", sync_data)
