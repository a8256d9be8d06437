"""Fault 17: the last segment is cut at every byte. The server starts, and only the torn frame is gone."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from analytics_server.batch_ids import created_ms
from analytics_server.config import IngestSection
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.recovery import recover
from analytics_server.model import COLUMN_INDEX, Row
from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.ingest.rows import GROUPS, row
from tests.server import Client, RunningServer

EVENT_ID = COLUMN_INDEX["event_id"]
TITLE = COLUMN_INDEX["title"]
FRAMES = [[row(title="a"), row(title="b")], [row(title="c")], [row(title="d")] * 3]


def written(directory: Path, groups: list[list[Row]]) -> Path:
    """A WAL segment with one frame per group."""
    wal = Wal(
        directory,
        IngestSection(flush_interval_ms=3_600_000, ack="os", historic_after_days=36_500),
        IngestMetrics(CollectorRegistry()),
        on_sealed=lambda sealed: None,
        on_broken=pytest.fail,
    )

    async def write() -> None:
        wal.open()
        wal.start()
        for group in groups:
            await wal.durable(group)
        await wal.close()

    asyncio.run(write())
    return max(directory.glob("*.wal"))


def values(path: Path, column: int) -> list[object]:
    columns = segment.header_of(path).columns
    return [row[column] for _, payload in segment.frames(path) for row in segment.rows_of(payload, columns)]


def recovered(path: Path) -> list[object]:
    """The titles that a start finds; asserts that it saw no damage and left no torn byte.

    Cut within its head it can be no segment that was being created: it is kept and counted.
    """
    metrics = IngestMetrics(CollectorRegistry())
    head_bytes = len(segment.head_bytes(int(path.stem), created_ms(int(path.stem))))
    if path.stat().st_size < head_bytes:
        cut = path.read_bytes()
        assert recover(path.parent, metrics) == []
        kept = path.parent / "quarantine" / path.name
        assert kept.read_bytes() == cut
        assert metrics.wal_errors.labels("quarantined_segment")._value.get() == 1
        shutil.rmtree(kept.parent)
        return []
    found = recover(path.parent, metrics)
    assert [sealed.path for sealed in found] == ([path] if path.exists() else [])
    kinds = ("damaged_frame", "quarantined_segment", "torn_tail")
    assert all(metrics.wal_errors.labels(kind)._value.get() == 0 for kind in kinds)
    assert not (path.parent / "quarantine").exists()
    if not found:
        return []
    assert (segment.scan(path).torn_bytes, found[0].size) == (0, path.stat().st_size)
    titles = values(path, TITLE)
    assert found[0].events == len(titles)
    return titles


def test_fault_17_cut_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # thousands of them, and no power goes here
    path = written(tmp_path, FRAMES)
    whole = path.read_bytes()
    ends = [end for end, _ in segment.frames(path)]

    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = [row[TITLE] for end, group in zip(ends, FRAMES, strict=True) for row in group if end <= size]
        assert recovered(path) == kept, size


@given(groups=GROUPS, data=st.data())
def test_fault_17_whatever_the_rows_are(
    groups: list[list[Row]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("wal")
    path = written(directory, groups)
    whole = path.read_bytes()
    ends = [end for end, _ in segment.frames(path)]
    size = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:size])

    assert recovered(path) == [
        row[TITLE] for end, group in zip(ends, groups, strict=True) for row in group if end <= size
    ]
    shutil.rmtree(directory)


async def test_fault_17_a_server_starts_and_delivers_the_whole_frames(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "3600000"})
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    load = Load(server)
    async with load:
        await load.until_acknowledged(200)
        server.kill()
    (path,) = (server.data_dir / "wal").glob("*.wal")
    scan = segment.scan(path)
    *_, (start, _), (end, _) = segment.frames(path)
    with path.open("rb+") as file:
        file.truncate((start + end) // 2)
    kept = {str(UUID(bytes=bytes(value))) for value in values(path, EVENT_ID)}  # type: ignore[call-overload]
    assert 0 < len(kept) < scan.rows

    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        await client.flushed()
        assert await client.metric('wal_errors_total{kind="damaged_frame"}') == 0
    assert server.terminate() == 0
    counts = await assert_every_event_stored_once_everywhere(server, kept, load.sent)
    assert counts.events.keys() == kept
