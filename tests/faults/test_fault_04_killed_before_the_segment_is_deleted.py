"""4. Killed after ClickHouse said yes, before the segment is deleted.

Verification finds n, nothing is sent twice.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.conftest import MakePlace
from tests.faults.trap import trap
from tests.server import Client

UNLINKS = ("unlink", "unlinkat")


@pytest.mark.parametrize("kind", ["embedded", "server"])
async def test_a_batch_that_is_there_is_not_sent_again(make_place: MakePlace, kind: str, tmp_path: Path) -> None:
    place = make_place(kind, ingest_flush_interval_ms="1500")
    await place.start("a.example")
    async with Client(place.server) as client:
        assert await place.send(client, "a.example", 50) == 202
        (segment,) = (place.server.data_dir / "wal").glob("*.wal")
        async with trap(place.server.pid, tmp_path, UNLINKS, paths=[segment]) as sprung:
            pass
        assert any("unlink" in call and segment.name in call for call in sprung.calls)
        assert segment.exists()
    await asyncio.to_thread(place.server.wait)
    if place.kind == "server":
        assert len(place.front.faults.report().inserted["events"]) == 2
        place.front.faults.clear()

    await asyncio.to_thread(place.server.restart)
    async with Client(place.server) as client:
        await client.flushed()
        assert await client.metric("flush_ambiguous_total") == 1
        assert await client.metric('flush_attempts_total{outcome="ok"}') == 0
    if place.kind == "server":
        assert "events" not in place.front.faults.report().inserted
    await place.assert_every_event_stored_once(51)
