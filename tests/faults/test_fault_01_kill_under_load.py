"""Fault 1: `kill -9` under load, repeatedly. After a restart each event is stored once, in events and every rollup."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Literal

import pytest

from tests.clickhouse import ClickHouseFront
from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.server import Client, RunningServer

KILLS = 3


@pytest.mark.parametrize(("backend", "ack"), [("embedded", "fsync"), ("server", "os")])
async def test_fault_01_killed_under_load(
    backend: Literal["embedded", "server"],
    ack: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    settings = {"ingest_flush_interval_ms": "50", "ingest_ack": ack}
    if backend == "server":
        front: ClickHouseFront = request.getfixturevalue("clickhouse_front")
        settings |= {"clickhouse_url": front.url, "clickhouse_database": f"kills_{ack}"}
    moments = random.Random(f"{backend} {ack}")
    server = RunningServer(tmp_path, settings)
    request.addfinalizer(server.kill)
    load = Load(server)
    for _ in range(KILLS):
        await asyncio.to_thread(server.start)
        async with load:
            await load.until_acknowledged(len(load.acknowledged) + moments.randint(100, 900))
            server.kill()
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.flushed()
    assert server.terminate() == 0

    counts = await assert_every_event_stored_once_everywhere(server, load.acknowledged, load.sent)
    assert len(counts.events) >= KILLS * 100
    assert not list((server.data_dir / "dead-letters").glob("*"))
    assert not list((server.data_dir / "wal" / "quarantine").glob("*"))
