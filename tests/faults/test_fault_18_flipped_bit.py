"""Fault 18: one bit of a segment is flipped. A copy is kept, it is counted, all other frames are delivered."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.recovery import recover
from tests.clickhouse import ClickHouseFront
from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.faults.test_fault_17_torn_tail import EVENT_ID, TITLE, values, written
from tests.ingest.rows import row
from tests.server import Client, RunningServer, wait_for

OLDER = [[row(title="a ݝ")], [row(title="b")] * 2, [row(title="c")], [row(title="d")]]
NEWER = [[row(title="newer")]]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, bytes]:
    """A log of two segments, and the older one's bytes."""
    directory = tmp_path_factory.mktemp("wal")
    older = written(directory, OLDER)
    newer = written(directory, NEWER)
    return older, newer, older.read_bytes()


def survives(log: tuple[Path, Path, bytes], position: int, bit: int) -> None:
    """Asserts all that the fault's line promises, for one bit."""
    older, newer, whole = log
    kept = older.parent / "quarantine" / older.name
    kept.unlink(missing_ok=True)
    broken = bytearray(whole)
    broken[position] ^= 1 << bit
    older.unlink(missing_ok=True)  # the copy of the case before may be a link to it
    older.write_bytes(whole)
    ends = [end for end, _ in segment.frames(older)]
    head = len(segment.read_head(older).content)
    older.write_bytes(broken)
    hit = None if position < head else next(number for number, end in enumerate(ends) if position < end)
    metrics = IngestMetrics(CollectorRegistry())

    found = recover(older.parent, metrics)

    expected = [str(row[TITLE]) for number, group in enumerate(OLDER) if number != hit for row in group]
    assert [sealed.path for sealed in found] == [older, newer]
    assert (values(older, TITLE), found[0].events) == (expected, len(expected))
    assert values(newer, TITLE) == ["newer"]
    assert f"{found[0].batch_id:020d}" == older.stem
    assert metrics.wal_errors.labels("damaged_frame")._value.get() == 1
    assert kept.read_bytes() == bytes(broken)


def test_fault_18_a_flip_in_every_byte(log: tuple[Path, Path, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # thousands of them, and no power goes here
    chance = random.Random(18)
    for position in range(len(log[2])):
        survives(log, position, chance.randrange(8))


def test_fault_18_a_flip_in_every_byte_of_the_newest_segments_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last frame may be one that was never acknowledged: that is counted apart, and cut off once it is kept."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    path = written(tmp_path, OLDER)
    whole = path.read_bytes()
    ends = [end for end, _ in segment.frames(path)]
    chance = random.Random(19)
    for position in range(len(segment.read_head(path).content), len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 1 << chance.randrange(8)
        path.unlink()  # the copy of the case before may be a link to it
        path.write_bytes(broken)
        hit = next(number for number, end in enumerate(ends) if position < end)
        metrics = IngestMetrics(CollectorRegistry())

        (found,) = recover(tmp_path, metrics)

        expected = [str(row[TITLE]) for number, group in enumerate(OLDER) if number != hit for row in group]
        assert (values(path, TITLE), found.events) == (expected, len(expected))
        kept = tmp_path / "quarantine" / path.name
        assert kept.read_bytes() == bytes(broken), position
        kept.unlink()
        counted = {kind: metrics.wal_errors.labels(kind)._value.get() for kind in ("torn_tail", "damaged_frame")}
        last = hit == len(OLDER) - 1
        assert counted == {"torn_tail": int(last), "damaged_frame": int(not last)}


@settings(max_examples=300)
@given(data=st.data())
def test_fault_18_a_flip_of_any_bit(data: st.DataObject, log: tuple[Path, Path, bytes]) -> None:
    survives(log, data.draw(st.integers(0, len(log[2]) - 1)), data.draw(st.integers(0, 7)))


@pytest.mark.parametrize("where", ["head", "frame"])
async def test_fault_18_a_server_delivers_all_other_frames(
    where: str, tmp_path: Path, clickhouse_front: ClickHouseFront, request: pytest.FixtureRequest
) -> None:
    """ClickHouse is away, so that segments wait in the log."""
    server = RunningServer(
        tmp_path,
        {
            "clickhouse_url": clickhouse_front.url,
            "clickhouse_database": f"flipped_{where}",
            "ingest_batch_events": "50",
            "ingest_flush_interval_ms": "3600000",
        },
    )
    request.addfinalizer(server.kill)
    wal_dir = server.data_dir / "wal"
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(clickhouse_front.kill)
    load = Load(server)

    async def three() -> bool:
        return len(list(wal_dir.glob("*.wal"))) >= 3

    async with load:
        await wait_for(three)
        server.kill()
    older = min(wal_dir.glob("*.wal"))
    acknowledged = ids_of(wal_dir)
    assert load.acknowledged <= acknowledged
    lost = damage(older, where)

    await asyncio.to_thread(clickhouse_front.start)
    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        await client.flushed()
        assert await client.metric('wal_errors_total{kind="damaged_frame"}') == 1
    assert server.terminate() == 0
    assert [path.name for path in (wal_dir / "quarantine").iterdir()] == [older.name]
    counts = await assert_every_event_stored_once_everywhere(server, load.acknowledged - lost, load.sent)
    assert counts.events.keys() == acknowledged - lost
    assert bool(lost) == (where == "frame")


def ids_of(wal_dir: Path) -> set[str]:
    found: set[str] = set()
    for path in wal_dir.glob("*.wal"):
        with suppress(segment.TornHead):  # it was being created when the server was killed
            found.update(_text(value) for value in values(path, EVENT_ID))
    return found


def damage(path: Path, where: str) -> set[str]:
    """Flip a bit; returns the ids of the events that this costs."""
    whole = bytearray(path.read_bytes())
    _, (end, payload), *_ = segment.frames(path)
    position = 30 if where == "head" else end - len(payload) // 2
    before = [_text(value) for value in values(path, EVENT_ID)]
    whole[position] ^= 16
    path.write_bytes(whole)
    return set(before) - {_text(value) for value in values(path, EVENT_ID)}


def _text(value: object) -> str:
    assert isinstance(value, bytes)
    return str(UUID(bytes=value))
