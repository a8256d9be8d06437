"""After a crash with a backlog that ClickHouse can't take yet, sessions go on and repeated ids count once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
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
