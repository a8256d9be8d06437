"""13. A poison row: only it goes to the dead-letter file, with a reason; the rest of its batch lands.

What makes the row poison is a constraint of the table, which the engine itself checks. When
it is gone, the dead letter is put back, and the event is there exactly once too.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest

from analytics_server.ingest.flush.dead_letters import read_all, rows_of
from tests.faults.conftest import MakePlace, Place
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.faults.trap import trap
from tests.server import Client

SITE = "a.example"
POISON = f"https://{SITE}/poison"
ADD = "ALTER TABLE events ADD CONSTRAINT no_poison CHECK path != '/poison'"
DROP = "ALTER TABLE events DROP CONSTRAINT no_poison"
VIOLATED_CONSTRAINT = 469
COMMAND = (
    "import sys, clickhouse_connect as c; c.get_client(dsn=sys.argv[1], database=sys.argv[2]).command(sys.argv[3])"
)


async def alter(place: Place, sql: str) -> None:
    """Change the table; embedded, the server must have ended."""
    if place.kind == "server":
        client: Any = await asyncio.to_thread(
            clickhouse_connect.get_client, dsn=place.front.url, database=place.database
        )
        await asyncio.to_thread(client.command, sql)
        client.close()
        return
    command = [sys.executable, "-c", COMMAND, f"chdb://{place.engine_dir}", place.database, sql]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=60, capture_output=True)


async def dead_letters(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with the server's settings."""
    return await asyncio.to_thread(place.server.command, "dead-letters", *arguments)


async def start_with_constraint(place: Place) -> None:
    """A server on tables that don't take the poison."""
    await place.start(SITE)
    assert await asyncio.to_thread(place.server.terminate) == 0
    await alter(place, ADD)
    await asyncio.to_thread(place.server.restart)


async def send_poisoned(place: Place, client: Client) -> set[str]:
    """Good and bad events, acknowledged into one batch; returns the ids of the bad ones."""
    await place.send(client, SITE, 30)
    good = set(place.acknowledged)
    await place.send(client, SITE, 1, url=POISON)
    await place.send(client, SITE, 1, url=POISON, timestamp="2026-01-15T12:00:00Z")
    bad = place.acknowledged - good
    await place.send(client, SITE, 20)
    await place.send(client, SITE, 3, timestamp="2026-01-15T12:00:00Z")
    return bad


async def assert_stored_without(place: Place, missing: set[str], events: int) -> None:
    where = place.front.url if place.kind == "server" else place.server
    counts = await assert_every_event_stored_once_everywhere(
        where, place.acknowledged - missing, place.sent - missing, database=place.database
    )
    assert len(counts.events) == events


async def test_only_the_poison_is_set_aside_and_can_be_put_back(make_place: MakePlace, kind: str) -> None:
    place = make_place(kind, ingest_flush_interval_ms="1500")
    await start_with_constraint(place)
    async with Client(place.server) as client:
        bad = await send_poisoned(place, client)
        await client.flushed()
        assert await client.metric("dead_letter_events_total") == 2
        refused = await dead_letters(place, "retry", "--all")
        ready = await client.get("/readyz")
    log = place.server.log
    assert await asyncio.to_thread(place.server.terminate) == 0

    assert ready.status == 200
    assert "rows refused" in log
    assert "poison" not in log, "a row's content stands in the log"
    assert refused.returncode == 1
    assert "Another server is using" in refused.stderr
    await assert_stored_without(place, bad, 54)
    (found,) = read_all(place.server.data_dir / "dead-letters")
    assert (found.letter.kind, found.letter.events, found.letter.batch_events) == ("rows", 2, 55)
    assert {cause.engine_code for cause in found.letter.causes} == {VIOLATED_CONSTRAINT}
    assert {row["event_id"] for row in rows_of(found)} == {event.replace("-", "") for event in bad}

    await alter(place, DROP)
    retried = await dead_letters(place, "retry", "--all")
    assert retried.returncode == 0, retried.stderr
    assert not list((place.server.data_dir / "dead-letters").iterdir())
    await assert_stored_without(place, set(), 56)


async def test_killed_after_the_rest_was_stored(make_place: MakePlace, kind: str, tmp_path: Path) -> None:
    place = make_place(kind, ingest_flush_interval_ms="1500")
    await start_with_constraint(place)
    async with Client(place.server) as client:
        bad = await send_poisoned(place, client)
        (segment,) = (place.server.data_dir / "wal").glob("*.wal")
        async with trap(place.server.pid, tmp_path, ("unlink", "unlinkat"), paths=[segment]):
            pass
    await asyncio.to_thread(place.server.wait)
    letters = {path.name: path.read_bytes() for path in (place.server.data_dir / "dead-letters").iterdir()}
    assert len(letters) == 2

    await asyncio.to_thread(place.server.restart)
    async with Client(place.server) as client:
        await client.flushed()
        assert await client.metric('flush_attempts_total{outcome="ok"}') == 0, "something was sent again"
    assert await asyncio.to_thread(place.server.terminate) == 0

    assert {path.name: path.read_bytes() for path in (place.server.data_dir / "dead-letters").iterdir()} == letters
    await assert_stored_without(place, bad, 54)


@pytest.fixture(params=["embedded", "server"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both backends."""
    return str(request.param)
