"""Erasures that are killed: the next start goes on with them, and nothing is half done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from analytics_server.rollups.registry import DERIVED_TABLES
from tests.faults.conftest import daily_work_done, make_place
from tests.faults.trap import RENAMES, trap
from tests.privacy.erasing import SETTINGS, assert_erased, filled
from tests.privacy.people import ANNA, certificate, erased
from tests.server import Client, RunningServer, wait_for

__all__ = ["make_place"]

pytestmark = pytest.mark.timeout(400)
"""Each starts a server or two, and waits until ClickHouse has deleted its old files."""


DELIVERED = {"events", *(table.name for table in DERIVED_TABLES)}
PHASES = ("collect", "delete", "rollups", "builds", "letters", "archive", "files", "close")
BRIEF = 3
"""Phases that may be over before the kill comes: the one after it is killed then."""


async def test_killed_in_every_phase_it_is_gone_on_with_after_each_start(tmp_path: Path) -> None:
    with RunningServer(tmp_path, SETTINGS) as server:
        traffic = await filled(server, 6)
        body = {"user_id": ANNA, "confirm": True}
        killed: list[str] = []
        while not killed or killed[-1] != PHASES[-1]:
            left, before = PHASES[PHASES.index(killed[-1]) + 1 :] if killed else PHASES, len(server.log)
            async with Client(server) as client:
                asking = [] if killed else [asyncio.create_task(client.call("POST", "/api/v1/privacy/erase", body))]

                async def reached(left: tuple[str, ...] = left, before: int = before) -> list[str]:
                    return [phase for phase in (*left, "done") if f"phase={phase}" in server.log[before:]]

                seen = await wait_for(reached, 60, f"one of the phases {left}")
                server.kill()
                await asyncio.gather(*asking, return_exceptions=True)
            server.restart()
            if "done" in seen:
                break
            killed.append(seen[-1])
        assert len(killed) >= len(PHASES) - BRIEF, killed
        async with Client(server) as client:
            listed = (await client.call("GET", "/api/v1/privacy/erasures")).json["erasures"]
            assert len(listed) == 1
            found = await certificate(client, listed[0]["id"])
            assert found["removed"]["events"] == len(traffic.of(ANNA))
        await assert_erased(server, traffic)


@pytest.mark.parametrize("nth", [8, 10])
async def test_killed_while_the_log_is_delivered_it_is_gone_on_with(tmp_path: Path, nth: int) -> None:
    """The engine's first commits are the erasure, whom it is about and its cut-off; then what the log holds is
    delivered, which are ten commits and more."""
    with RunningServer(tmp_path, SETTINGS) as server:
        traffic = await filled(server, 8)
        assert server.terminate() == 0
    server = RunningServer(tmp_path, SETTINGS | {"ingest_flush_interval_ms": "600000"})
    with server:
        async with Client(server) as client:
            await daily_work_done(client)
            await traffic.send(client, 30)
            assert await client.metric("wal_segments") == 1
        before, body = len(server.log), {"user_id": ANNA, "confirm": True}
        async with Client(server) as client, trap(server.pid, tmp_path, RENAMES, nth=nth) as sprung:
            await asyncio.gather(client.call("POST", "/api/v1/privacy/erase", body), return_exceptions=True)
        await asyncio.to_thread(server.wait)
        committed, prevented = sprung.commits(server.data_dir / "clickhouse")
        assert committed.count("erasures") == 2
        assert prevented in DELIVERED, (committed, prevented)
        assert "phase=" not in server.log[before:]
        server.restart()
        async with Client(server) as client:
            listed = (await client.call("GET", "/api/v1/privacy/erasures")).json["erasures"]
            found = await certificate(client, listed[0]["id"])
            assert found["removed"]["events"] == len(traffic.of(ANNA))
        await assert_erased(server, traffic)


@pytest.mark.parametrize("nth", [1, 5, 12])
async def test_killed_at_a_commit_of_the_engine_it_is_gone_on_with(tmp_path: Path, nth: int) -> None:
    with RunningServer(tmp_path, SETTINGS) as server:
        traffic = await filled(server, 7)
        body = {"user_id": ANNA, "confirm": True}
        async with Client(server) as client, trap(server.pid, tmp_path, RENAMES, nth=nth):
            await asyncio.gather(client.call("POST", "/api/v1/privacy/erase", body), return_exceptions=True)
        await asyncio.to_thread(server.wait)
        server.restart()
        async with Client(server) as client:
            found = await erased(client, ANNA)
            assert found["removed"]["events"] == len(traffic.of(ANNA))
        await assert_erased(server, traffic)
