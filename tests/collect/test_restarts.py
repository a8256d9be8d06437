"""Any stream of events over any number of restarts makes the sessions of the definitions.

What a restart reads back lies in ClickHouse and in segments of the log: how much in which is part of each example.
The tables and the segments are real; only the process stays the same one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from analytics_server.batch_ids import new_batch_id
from analytics_server.collect.identity.restore import restore_sessions
from analytics_server.collect.identity.undelivered import Undelivered
from analytics_server.config import ClickhouseSection, Config
from analytics_server.ingest.flush.batch import INSERT_COLUMNS, to_columns
from analytics_server.model import Row
from analytics_server.store import Store, make_store, migrate
from tests.collect.identity.test_undelivered import write_segment
from tests.collect.session_oracle import Sent, expected
from tests.collect.test_passive import DAY, HOUR, MINUTE, NAMES, SITE, URL
from tests.collect.world import NOON, World, answered

STEPS_S = (1, 40, 20 * MINUTE, 29 * MINUTE, 31 * MINUTE, 2 * HOUR, 9 * HOUR)
PEOPLE, TABS = 3, ("", "", "", "tab", "session-123456789", "s0123456789abcdef")

events = st.tuples(
    st.sampled_from(STEPS_S),
    st.integers(0, PEOPLE - 1),
    st.sampled_from(NAMES),
    st.sampled_from(TABS),
    st.sampled_from(("", "one", "two")),
)
lives = st.lists(
    st.tuples(st.lists(events, max_size=12), st.integers(0, 12)),
    min_size=2,
    max_size=4,
)
"""What happens between two restarts, and how many of the newest events only the log has when the process ends."""


@pytest.fixture
async def store(embedded_path: Path) -> AsyncIterator[Store]:
    made = make_store(
        Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="restarts", threads=1))
    )
    await made.open()
    await migrate(made)
    yield made
    await made.command("DROP DATABASE restarts")
    await made.close()


class Servers:
    """One server after the other on the same tables and the same log."""

    def __init__(self, store: Store, directory: Path) -> None:
        self._store = store
        self._directory = directory
        self._last_batch_id = 0
        self.stored: list[dict[str, Any]] = []
        self.world = self._new_world(NOON)

    def _new_world(self, now: float) -> World:
        world = World(client_session_timeout_s=100 * DAY, first_session=len(self.stored) + 1)
        world.now = now
        return world

    async def restart(self, undelivered: int) -> None:
        """Die; the newest `undelivered` rows, of this and earlier lives, are in the log alone."""
        rows, now = list(self.world.wal.rows), self.world.now
        self.stored += self.world.events
        kept = min(undelivered, len(rows))
        delivered, rest = rows[: len(rows) - kept], rows[len(rows) - kept :]
        if delivered:
            await self._deliver(delivered, now)
        self.world = self._new_world(now)
        left = [write_segment(self._directory, self._next_batch_id(now), [rest])] if rest else []
        reading = Undelivered(self.world.duplicates, self.world.settings, self.world.clock)
        reading.read(left)
        await restore_sessions(self.world.sessions, self._store, now, self.world.settings)
        reading.apply(self.world.sessions)
        if rest:
            await self._deliver(rest, now)

    async def _deliver(self, rows: list[Row], now: float) -> None:
        await self._store.insert("events", INSERT_COLUMNS, to_columns(rows, self._next_batch_id(now)))

    def _next_batch_id(self, now: float) -> int:
        self._last_batch_id = new_batch_id(now, self._last_batch_id)
        return self._last_batch_id


@given(lives)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_stream_over_restarts_makes_the_sessions_of_the_definitions(
    store: Store, chosen: list[tuple[list[tuple[int, int, str, str, str]], int]]
) -> None:
    for table in ("events", "sessions"):
        await store.command(f"TRUNCATE TABLE {table}")
    directory = Path(tempfile.mkdtemp())
    servers = Servers(store, directory)
    stream: list[Sent] = []
    dropped = 0
    for life, undelivered in chosen:
        for step_s, person, name, tab, campaign in life:
            world = servers.world
            world.now += step_s
            world.sessions.expire()
            sent = Sent(
                at=int(world.now), person=person, name=name, session_id=tab and f"{tab}{person}", campaign=campaign
            )
            stream.append(sent)
            beacon: dict[str, Any] = {
                "site": SITE,
                "name": name,
                "url": f"{URL}?utm_campaign={campaign}" if campaign else URL,
                "experiment": {"id": "e", "variant": "v"},
            }
            if sent.session_id:
                beacon["session_id"] = sent.session_id
            answer = answered(await world.send(beacon, address=f"192.0.2.{person}"))
            dropped += answer.get("dropped", {}).get("no_session", 0)
        await servers.restart(undelivered)
    shutil.rmtree(directory)

    right, right_dropped = expected(stream, servers.world.settings.session_timeout_s)
    found: dict[str, list[dict[str, Any]]] = {}
    for event in servers.stored:
        found.setdefault(event["session_id"], []).append(event)
    assert [[(event["name"], event["ts"] // 1_000_000) for event in group] for group in found.values()] == [
        session.events for session in right
    ]
    assert [{event["utm_campaign"] for event in group} for group in found.values()] == [
        {session.campaign} for session in right
    ]
    assert all(len({event["visitor_id"] for event in group}) == 1 for group in found.values())
    assert dropped == right_dropped
