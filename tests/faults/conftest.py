"""A server and its ClickHouse, both to be killed: one process, or two, of which the second is the front.

Faults that sit in the connection to ClickHouse need the front; all others run on both
backends. Everything here ends what it started, also when a test fails.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.clickhouse import ClickHouseFront
from tests.faults.event_counts import EventCounts, assert_every_event_stored_once_everywhere
from tests.server import Client, RunningServer, wait_for

SETTINGS = {
    "ingest_flush_interval_ms": "100",
    "ingest_retry_max_s": "0.5",
    "ingest_wal_min_free_mb": "0",
    "clickhouse_connect_timeout_s": "2",
}
PROMPTLY_S = 60.0
SHIPPED = {"activity", "openings", "sessions", "traffic"}
DAILY = ("audit-retention", "expiry")
LONG_AGO = {"timestamp": "2015-06-30T12:00:00Z", "user_id": "u"}

_numbers = itertools.count(1)


async def daily_work_done(client: Client) -> None:
    """Until the work that a server does once a day, at first at its start, is through.

    While it may remove rows, vanished parts of the tables concerned are no loss.
    """

    async def worked() -> bool:
        metrics = (await client.call("GET", "/metrics")).body.decode()
        return all(re.search(rf'^daily_work_total{{[^}}]*work="{work}"}} [1-9]', metrics, re.M) for work in DAILY)

    await wait_for(worked, 75, "the daily work")


class Place:
    """One server on one ClickHouse, with what was sent to it."""

    def __init__(self, directory: Path, front: ClickHouseFront | None, settings: dict[str, str]) -> None:
        self._front = front
        self.database = f"faults_{next(_numbers)}" if front else "analytics"
        where = {"clickhouse_url": front.url, "clickhouse_database": self.database} if front else {}
        self.server = RunningServer(directory, {**SETTINGS, **where, **settings})
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()

    @property
    def kind(self) -> str:
        return "server" if self._front else "embedded"

    @property
    def front(self) -> ClickHouseFront:
        assert self._front is not None, "the embedded engine has no front"
        return self._front

    @property
    def engine_dir(self) -> Path:
        return self._front.path / "engine" if self._front else self.server.data_dir / "clickhouse"

    @property
    def engine_pid(self) -> int:
        """The process that the engine runs in."""
        return self._front.pid if self._front else self.server.pid

    async def start(self, *sites: str) -> None:
        """Start the server, and let it know these sites, so that the next inserts are those into `events` alone."""
        await asyncio.to_thread(self.server.start)
        async with Client(self.server) as client:
            for site in sites:
                await self.send(client, site, 1)
            await client.flushed()

    async def restart_what_was_killed(self) -> None:
        """After the engine's process was killed: bury it, and start it again on the same data."""
        if self._front:
            await asyncio.to_thread(self._front.kill)
            await asyncio.to_thread(self._front.start)
        else:
            await asyncio.to_thread(self.server.wait)
            await asyncio.to_thread(self.server.restart)

    async def settled(self, client: Client) -> None:
        """Until what a server writes beside the events is written: the audit log, and at the start leases.

        The next parts that the engine commits are then those of a batch.
        """

        await daily_work_done(client)
        # A change is answered when its entry is written, and with it all entries before.
        site = {"site_id": f"settled-{next(_numbers)}"}
        assert (await client.call("POST", "/api/v1/sites", site)).status == 201

    async def send(self, client: Client, site: str, events: int, *, old: int = 0, **fields: Any) -> int:
        """One beacon of so many events in three sessions; remembers what was sent and acknowledged.

        The first `old` of them happened in another month. Returns the status.
        """
        ids = [str(uuid4()) for _ in range(events)]
        self.sent.update(ids)
        reply = await client.send(
            [
                {
                    "site": site,
                    "name": ("pageview", "signup")[number % 2],
                    "url": f"https://{site}/{number % 7}",
                    "event_id": event_id,
                    "session_id": f"{site}-{number % 3}{'-old' * (number < old)}",
                    **({"user_id": f"user-{number % 3}"} if number % 3 < 2 else {}),
                    **(LONG_AGO if number < old else {}),
                    **fields,
                }
                for number, event_id in enumerate(ids)
            ],
            trusted=old > 0,
        )
        if reply.status == 202:
            assert reply.json["accepted"] == events, reply.body
            self.acknowledged.update(ids)
        return reply.status

    async def assert_every_event_stored_once(self, events: int) -> EventCounts:
        """All is delivered; then the server is stopped, and everything agrees, with exactly so many events."""
        async with Client(self.server) as client:
            await client.flushed(PROMPTLY_S)
        assert await asyncio.to_thread(self.server.terminate) == 0
        assert not list((self.server.data_dir / "wal").glob("*.wal"))
        assert not list((self.server.data_dir / "dead-letters").glob("*"))
        where: RunningServer | str = self._front.url if self._front else self.server
        counts = await assert_every_event_stored_once_everywhere(
            where, self.acknowledged, self.sent, database=self.database
        )
        assert len(counts.events) == events
        assert counts.rollups.keys() >= SHIPPED
        return counts


MakePlace = Callable[..., Place]


@pytest.fixture
def make_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakePlace]:
    """`make_place("embedded" or "server", **settings)`; the server is killed when the test is over."""
    made: list[Place] = []

    def make(kind: str, **settings: str) -> Place:
        front = request.getfixturevalue("clickhouse_front") if kind == "server" else None
        made.append(Place(tmp_path / str(len(made)), front, settings))
        return made[-1]

    yield make
    for place in made:
        place.server.kill()


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest, make_place: MakePlace) -> Place:
    """A place with the usual settings, on either backend; nothing runs yet but the front."""
    return make_place(str(request.param))


@pytest.fixture
def remote(make_place: MakePlace) -> Place:
    """A place whose ClickHouse is a server of its own."""
    return make_place("server")
