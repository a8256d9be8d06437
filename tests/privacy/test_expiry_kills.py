"""Purges whose process is killed half way: the next one completes them. What is too old is gone, the rest is there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from analytics_server.store.lease import TABLE as LEASES
from tests import preloaded
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.e2e.conftest import assert_clean
from tests.faults.conftest import daily_work_done
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.erasing import SETTINGS
from tests.privacy.people import SITES, Traffic
from tests.privacy.test_expiry import STATEMENTS
from tests.privacy.test_kept_totals import opened
from tests.privacy.test_site_removal import put_beside, rows_beside
from tests.privacy.test_two_removals import EARLIER, KEPT_DAYS, a_server, ask, command
from tests.server import Client, RunningServer

pytestmark = pytest.mark.timeout(400)

PHASES = ("collect", "delete", "rollups", "builds")
DONE = "expired data removed"
COPIES = (
    f"INSERT INTO events SELECT * REPLACE (batch_id - {EARLIER} AS batch_id, generateUUIDv4() AS event_id) FROM events"
)
"""The same events once more, as they had arrived hours earlier: a purge leaves alone what arrived within the hour."""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    front = ClickHouseFront(tmp_path_factory.mktemp("clickhouse"))
    front.start()
    yield front
    front.stop()


async def fill(server: RunningServer, seed: int) -> None:
    """Two sites with events on both sides of the cut, all of which arrived within the hour."""
    async with Client(server) as client:
        for site in SITES:
            body = {"site_id": site, "retention_days": KEPT_DAYS}
            assert (await client.call("POST", "/api/v1/sites", body)).status == 201
        await Traffic(seed).send(client, 150)
        await client.flushed()


def cut() -> date:
    return datetime.now(UTC).date() - timedelta(days=KEPT_DAYS)


def too_old(originals: int) -> str:
    """Which events are to go: of those that did not arrive within the hour."""
    return f"(ts < toDateTime('{cut()} 00:00:00', 'UTC') AND batch_id < {originals})"


ORIGINALS = "SELECT min(batch_id) FROM events"
"""Before the copies are made."""


async def test_a_purge_is_killed_at_each_of_its_statements_and_completed_by_the_next(
    tmp_path: Path, front: ClickHouseFront
) -> None:
    """A process of the command; ClickHouse carries out nothing of the statement (`before`), or all of it (`after`)."""
    database = "killed_purges"
    server = a_server(front, tmp_path, database)
    with server:
        await fill(server, 3)
        assert server.terminate() == 0
    ((first,),) = await ask(front, database, ORIGINALS)
    await asyncio.to_thread(command, front, database, COPIES)
    gone = await ask(front, database, f"SELECT site_id, count() FROM events WHERE {too_old(first)} GROUP BY site_id")
    kept = {
        str(id_) for (id_,) in await ask(front, database, f"SELECT event_id FROM events WHERE NOT {too_old(first)}")
    }
    assert {site for site, _ in gone} == set(SITES)

    for statement in STATEMENTS:
        for when in ("before", "after"):
            front.faults.add(Fault(kind="stall", statement="any", contains=statement, when=when))
            process = preloaded.start(
                "analytics_server", ["expire"], stderr=subprocess.DEVNULL, env=server.environment()
            )
            try:
                await asyncio.to_thread(front.faults.wait_stalled)
                assert process.poll() is None
            finally:
                process.kill()
                process.wait(60)
                assert process.stdout is not None
                process.stdout.close()
            if when == "before":
                ended = f"KILL QUERY WHERE query LIKE '%{statement}%' SYNC"
                await asyncio.to_thread(command, front, database, ended)
            front.faults.clear()
            left = await ask(front, database, "SELECT count() FROM erasure_keys")
            assert (left == [(0,)]) == ((statement, when) in ((STATEMENTS[0], "before"), (STATEMENTS[-1], "after")))
            # Its leases end within a minute.
            await asyncio.to_thread(command, front, database, f"TRUNCATE TABLE {LEASES}")
    done = server.command("expire", "--json")

    assert (done.returncode, msgspec.json.decode(done.stdout)) == (0, []), done.stderr
    assert {str(id_) for (id_,) in await ask(front, database, "SELECT event_id FROM events")} == kept
    assert await ask(front, database, "SELECT count() FROM erasure_keys") == [(0,)]
    rows = await ask(front, database, "SELECT entry FROM audit WHERE action = 'expire'")
    told = [msgspec.json.decode(text) for (text,) in rows]
    assert {(one["site_id"], one["details"]["before"], one["details"]["events"]) for one in told} == {
        (site, str(cut()), str(count)) for site, count in gone
    }
    await assert_every_event_stored_once_everywhere(front.url, kept, kept, database=database)


async def test_a_server_that_is_killed_in_every_phase_of_a_purge_completes_it_after_its_starts(tmp_path: Path) -> None:
    """With ClickHouse in process, which dies with the server: deletions are broken off where they are."""
    server = RunningServer(tmp_path, SETTINGS)
    with server:
        await fill(server, 5)
        assert server.terminate() == 0
    put_beside(server.data_dir)
    async with opened(server) as store:
        ((first,),) = (await store.query(ORIGINALS)).rows
        await store.command(COPIES)
        where = too_old(int(str(first)))
        gone = (await store.query(f"SELECT site_id, count() FROM events WHERE {where} GROUP BY site_id")).rows
        kept = {str(id_) for (id_,) in (await store.query(f"SELECT event_id FROM events WHERE NOT {where}")).rows}
    expected = {str(site): int(str(count)) for site, count in gone}
    assert expected.keys() == set(SITES)

    killed: list[str] = []
    with server:
        while True:
            left, before = PHASES[PHASES.index(killed[-1]) + 1 :] if killed else PHASES, len(server.log)
            if killed:
                server.restart()

            seen = await asyncio.to_thread(reached, server, (*left, DONE), before)
            server.kill()
            if seen[-1] == DONE:
                break
            killed.append(seen[-1])
        assert len(killed) >= 2, server.log
        server.restart()
        async with Client(server) as client:
            await daily_work_done(client)
            reply = await client.call("GET", "/api/v1/privacy/audit?limit=1000")
            told = [entry for entry in reply.json["entries"] if entry["action"] == "expire" and entry["site_id"]]
        assert server.terminate() == 0

    events = Counter[str]()
    for entry in told:  # that of the letters is made in front of them, and has no events
        if entry["details"].get("state") != "begun":
            assert entry["details"]["events"] == str(expected[entry["site_id"]])
            events[entry["site_id"]] += 1
    assert events.keys() == set(SITES), told
    for folder in ("dead-letters", "wal/quarantine"):
        assert rows_beside(server.data_dir / folder) == []
    await assert_every_event_stored_once_everywhere(server, kept, kept)
    assert "data of ClickHouse is lost" not in server.log
    assert_clean(server.log)


def reached(server: RunningServer, phases: Sequence[str], before: int) -> list[str]:
    """Which of the phases, or the end, the log has come to: at once, as some take a few milliseconds. Blocking."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if seen := [phase for phase in phases if is_in(server.log[before:], phase)]:
            return seen
        time.sleep(0.002)
    raise AssertionError(f"none of the phases {phases}: {server.log[before:]}")


def is_in(log: str, phase: str) -> bool:
    """Has a log said that a purge is in the phase, or at its end?"""
    return re.search(DONE if phase == DONE else rf"expiry goes on .*\b{phase}\b", log) is not None
