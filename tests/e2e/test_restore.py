"""After a crash with a backlog that ClickHouse can't take yet, sessions go on and repeated ids count once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from analytics_server.app import LONG_BACKLOG_EVENTS
from analytics_server.batch_ids import created_ms, new_batch_id
from analytics_server.ingest.wal import segment
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.ingest.rows import row
from tests.server import Client, RunningServer

SITE = "restore.example"
NO_INSERTS = Fault(
    kind="error", statement="insert", contains="INSERT INTO `events`", error="MEMORY_LIMIT_EXCEEDED", times=0
)


async def test_what_only_the_log_knows_is_known_after_a_kill(tmp_path: Path, clickhouse_front: ClickHouseFront) -> None:
    server = RunningServer(
        tmp_path, {"clickhouse_url": f"{clickhouse_front.url}/restore", "ingest_flush_interval_ms": "50"}
    )
    ids = [str(uuid4()) for _ in range(30)]
    delivered, waiting = ids[:10], ids[10:]
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.send([{"site": SITE, "name": "x", "event_id": event_id} for event_id in delivered])
        await client.flushed()
        await asyncio.to_thread(clickhouse_front.faults.add, NO_INSERTS)
        for event_id in waiting:  # a segment each, or few
            await client.send({"site": SITE, "name": "x", "event_id": event_id})
        own = {"site": SITE, "name": "x", "session_id": "one-tab", "url": "https://restore.example/?utm_source=news"}
        await client.send({**own, "event_id": str(uuid4())})
    server.kill()

    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        for event_id in ids:
            again = await client.send({"site": SITE, "name": "x", "event_id": event_id})
            assert again.status == 202
        await client.send({"site": SITE, "name": "x", "session_id": "one-tab", "url": "https://restore.example/later"})
        await client.send({"site": SITE, "name": "x"})  # by the browser's session of the server's own
        await asyncio.to_thread(clickhouse_front.faults.clear)
        await client.flushed()
        total = await client.count(SITE)
        sessions = await client.count(SITE, "sessions")
        tagged = await client.query(SITE, ["events"], ["visit:utm_source"])
    assert server.terminate() == 0

    assert (total, sessions) == (30 + 1 + 2, 2)
    assert tagged[("news",)] == (2,)


async def test_a_site_whose_row_was_never_written_is_there_after_the_restart(
    tmp_path: Path, clickhouse_front: ClickHouseFront
) -> None:
    server = RunningServer(tmp_path, {"clickhouse_url": f"{clickhouse_front.url}/restore_site"})
    refuse = Fault(kind="error", statement="insert", error="MEMORY_LIMIT_EXCEEDED", times=0)
    await asyncio.to_thread(server.start)
    await asyncio.to_thread(clickhouse_front.faults.add, refuse)
    async with Client(server) as client:
        reply = await client.send({"site": "new.example", "name": "x"})
    server.kill()
    await asyncio.to_thread(clickhouse_front.faults.clear)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.flushed()
        kept = await client.count("new.example")
    assert server.terminate() == 0

    assert (reply.status, kept) == (202, 1)


async def test_an_imported_session_of_long_ago_goes_on_after_a_restart(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    tab = {"site": SITE, "name": "x", "session_id": "imported"}
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        first = {**tab, "url": "https://restore.example/?utm_source=news", "timestamp": "2025-03-01T10:00:00Z"}
        await client.send(first, trusted=True)
        await client.flushed()
    server.kill()

    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        second = {**tab, "url": "https://restore.example/later", "timestamp": "2025-03-01T10:05:00Z"}
        await client.send(second, trusted=True)
        await client.flushed()
        sessions = await client.query(SITE, ["sessions", "events"], ["visit:utm_source"])
    assert server.terminate() == 0

    assert sessions == {("news",): (1, 2)}


async def test_a_long_backlog_is_delivered_beside_the_traffic_and_no_repeat_of_it_counts(tmp_path: Path) -> None:
    """As an outage leaves it: more than is waited for at the start."""
    server = RunningServer(tmp_path)
    backlog = await asyncio.to_thread(fill, server.data_dir / "wal", LONG_BACKLOG_EVENTS + 30_000, 10_000)
    sampled = backlog[:: len(backlog) // 300]
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        assert await client.metric("wal_segments") > 0
        repeats = await client.send([{"site": SITE, "name": "x", "event_id": str(id_)} for id_ in sampled])
        goes_on = await client.send({"site": SITE, "name": "new", "session_id": "tab-7"})
        await client.flushed()
        counts = [await client.count(SITE, metric) for metric in ("events", "sessions")]
    assert server.terminate() == 0

    assert (repeats.status, repeats.json["accepted"], repeats.json["dropped"]) == (202, len(sampled), {})
    assert goes_on.status == 202
    assert counts == [len(backlog) + 1, SESSIONS]
    assert "read what the log still holds" in server.log


async def test_ids_delivered_since_are_known_although_an_old_segment_is_in_the_log(tmp_path: Path) -> None:
    """As `dead-letters retry` leaves it, when it is broken off: the segment keeps the batch's id."""
    server = RunningServer(tmp_path)
    ids = [str(uuid4()) for _ in range(20)]
    beacon = [{"site": SITE, "name": "x", "event_id": id_} for id_ in ids]
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.send(beacon)
        await client.flushed()
    assert server.terminate() == 0

    await asyncio.to_thread(fill, server.data_dir / "wal", 3, 3, age_s=3 * 86_400)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        again = await client.send(beacon)
        await client.flushed()
        counted = await client.count(SITE)
    assert server.terminate() == 0

    assert again.status == 202
    assert counted == len(ids) + 3


SESSIONS = 50


def fill(directory: Path, events: int, per_segment: int, *, age_s: float = 60.0) -> list[UUID]:
    """WAL segments of so many events in SESSIONS sessions; their ids, oldest first."""
    directory.mkdir(parents=True, exist_ok=True)
    now = time.time() - age_s + 60
    ids = [uuid4() for _ in range(events)]
    batch_id = 0
    for start in range(0, events, per_segment):
        batch_id = new_batch_id(now - 60, batch_id)
        rows = [
            msgspec.msgpack.encode(
                row(
                    site_id=SITE,
                    ts=int((now - 60) * 1e6) + number,
                    event_id=ids[number].bytes,
                    session_id=f"tab-{number % SESSIONS}",
                    session_start=int((now - 60) * 1e6) + number % SESSIONS,
                )
            )
            for number in range(start, min(start + per_segment, events))
        ]
        payload = [segment.array_head(len(rows)), *rows]
        pieces = [segment.head_bytes(batch_id, created_ms(batch_id)), segment.frame_head(1, payload), *payload]
        (directory / f"{batch_id:020d}{segment.SUFFIX}").write_bytes(b"".join(pieces))
    return ids
