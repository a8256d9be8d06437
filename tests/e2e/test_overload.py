"""More than a server can bear: 503 for what is too much, 429 for a site that is too loud, and memory stays bounded."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.e2e.conftest import assert_clean
from tests.e2e.load import SITE, Flood
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.server import Client, RunningServer

TOO_MUCH = 5
HELD_S = 6.0
BATCH = 20
ONE_GROUP = str(BATCH)
"""Of the 24 batches that wait, one at a time is taken: ten times too much was measured, whatever the machine."""
SMALL = {
    "clickhouse_database": "overload",
    "ingest_flush_interval_ms": "200",
    "ingest_pending_events": ONE_GROUP,
    "ingest_memory_events": "2000",
    "ingest_batch_events": "5000",
    "collect_max_sessions": "2000",
    "collect_max_duplicate_ids": "4000",
}
"""Every queue small: what grows all the same is unbounded."""
GROWTH_MB = 25
"""Measured: 4 to 10. With every refused event's session kept (collect.max_sessions without bound) it was 60 to 90; the
refused events themselves would be 200."""
SITE_RATE, BATCH = 50, 20
LOUD_S = 2.0


def resident_mb(server: RunningServer) -> float:
    """The most memory the process has ever held, MB."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel does not say")


async def test_memory_stays_bounded_at_five_times_the_bearable_load(
    clickhouse_front: ClickHouseFront, tmp_path: Path
) -> None:
    """ClickHouse stands still meanwhile: the backlog lies on disk, not in memory."""
    server = RunningServer(tmp_path, {**SMALL, "clickhouse_url": clickhouse_front.url})
    await asyncio.to_thread(server.start)
    flood = Flood(server, clients=24, events=BATCH, long=50)
    clickhouse_front.faults.add(Fault(kind="stall", statement="insert", contains="INTO events", times=0))
    async with flood:
        await flood.until(accepted=500, refused=500)
        settled_mb = resident_mb(server)
        until = time.monotonic() + HELD_S
        while time.monotonic() < until:
            await flood.until(accepted=flood.accepted + 1, refused=flood.refused + 1)
        held_mb = resident_mb(server)
    clickhouse_front.faults.clear()
    async with Client(server) as client:
        await client.flushed()
    assert await asyncio.to_thread(server.terminate) == 0
    assert flood.refused > TOO_MUCH * flood.accepted, "the load was bearable: the test proves nothing"
    assert flood.statuses == {202, 503}
    assert not flood.without_retry_after
    assert held_mb - settled_mb < GROWTH_MB
    await assert_every_event_stored_once_everywhere(
        clickhouse_front.url, flood.acknowledged, flood.sent, database=SMALL["clickhouse_database"]
    )
    assert_clean(server.log)


async def test_a_loud_site_is_told_429_and_a_quiet_one_is_served(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "200", "limits_site_events_per_s": str(SITE_RATE)})
    await asyncio.to_thread(server.start)
    flood = Flood(server, clients=8, events=BATCH)
    quiet = []
    started = time.monotonic()
    async with flood, Client(server) as client:
        while time.monotonic() - started < LOUD_S or flood.refused <= 2 * TOO_MUCH * flood.accepted:
            await asyncio.sleep(2 / SITE_RATE)  # or a fast machine makes the quiet one too loud
            quiet.append(await client.send({"site": "quiet.example", "name": "x"}))
            await flood.until(accepted=1, refused=flood.refused + 20)
    took_s = time.monotonic() - started
    async with Client(server) as client:
        await client.flushed()
        assert await client.count("quiet.example") == len(quiet)
        assert await client.count(SITE) == flood.accepted == len(flood.acknowledged)
    assert await asyncio.to_thread(server.terminate) == 0

    assert {reply.status for reply in quiet} == {202}
    assert flood.statuses == {202, 429}
    assert not flood.without_retry_after
    assert flood.accepted <= SITE_RATE * (2 + took_s) + BATCH  # two seconds' worth and a request may come at once
    assert flood.refused > TOO_MUCH * flood.accepted
    assert_clean(server.log)
