"""Load on a real server, with a record of what was sent and what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import aiohttp

from tests.server import Client, Reply, RunningServer, stored

SITE = "load.example"
EVENTS = "SELECT toString(event_id), session_id FROM events WHERE site_id = 'load.example'"
SESSIONS = "SELECT session_id, sum(events), sum(pageviews), uniqExact(opened_at) FROM sessions GROUP BY session_id"
TRAFFIC = "SELECT name, sum(events) FROM traffic GROUP BY name"
OPENINGS = "SELECT sum(events) FROM openings"


class Load:
    """Workers that send beacons until told to stop; each names its events and its session."""

    def __init__(self, server: RunningServer, workers: int = 8, events: int = 5, session: str = "session") -> None:
        self._server = server
        self._session = session
        self._workers = workers
        self._events = events
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.statuses: dict[int, int] = {}
        self.refusal: Reply | None = None
        """The last answer that was no 202."""
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._stopping = False
        self._tasks = [asyncio.create_task(self._work(f"{self._session}-{number}")) for number in range(self._workers)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)

    async def until_acknowledged(self, events: int) -> None:
        """Wait until so many events were acknowledged in all."""
        async with asyncio.timeout(60):
            while len(self.acknowledged) < events:
                self._changed.clear()
                await self._changed.wait()

    async def _work(self, session: str) -> None:
        while not self._stopping:
            async with Client(self._server) as client:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                    while not self._stopping:
                        await self._send(client, session)
                return  # the server went away: the next round of load begins anew

    async def _send(self, client: Client, session: str) -> None:
        ids = [str(uuid4()) for _ in range(self._events)]
        batch: list[dict[str, Any]] = [
            {
                "site": SITE,
                "name": "pageview" if number % 2 == 0 else "signup",
                "url": f"https://{SITE}/{number}",
                "event_id": event_id,
                "session_id": session,
            }
            for number, event_id in enumerate(ids)
        ]
        self.sent.update(ids)
        reply = await client.send(batch)
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        if reply.status == 202:
            assert reply.json["accepted"] == len(ids), reply.body
            self.acknowledged.update(ids)
            self._changed.set()
        else:
            self.refusal = reply


class Flood:
    """Clients that send batch after batch, whatever they are told: many times what the server can bear."""

    def __init__(self, server: RunningServer, *, clients: int, events: int, long: int = 1) -> None:
        """`long` × 36 characters is the length of each event's path."""
        self._server = server
        self._long = long
        self._clients = clients
        self._events = events
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.accepted = self.refused = self.unanswered = 0
        """Events by what became of them; partly refused batches count in both."""
        self.statuses: set[int] = set()
        self.without_retry_after = 0
        self._changed = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._stopping = False
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)

    @property
    def offered(self) -> int:
        return self.accepted + self.refused

    async def until(self, *, accepted: int, refused: int) -> None:
        """Wait until so many events were accepted and so many refused."""
        async with asyncio.timeout(60):
            while self.accepted < accepted or self.refused < refused:
                self._changed.clear()
                await self._changed.wait()

    async def _work(self) -> None:
        async with Client(self._server) as client:
            while not self._stopping:
                try:
                    await self._send(client)
                except (aiohttp.ClientConnectorError, ConnectionRefusedError):
                    return  # the server has ended
                except (aiohttp.ClientError, TimeoutError, ConnectionError):
                    self.unanswered += self._events

    async def _send(self, client: Client) -> None:
        session = uuid4().hex  # all in sessions of their own: what a server keeps of them is bounded too
        ids = [str(uuid4()) for _ in range(self._events)]
        self.sent.update(ids)
        events = [
            {
                "site": SITE,
                "name": "x",
                "url": f"https://{SITE}/{event_id * self._long}",
                "event_id": event_id,
                "session_id": f"{session}{number}",
            }
            for number, event_id in enumerate(ids)
        ]
        reply = await client.send(events)
        self.statuses.add(reply.status)
        self._changed.set()
        if reply.status == 202:
            refused = {index for index, code in reply.rejected if code == "too_many_requests"}
            assert reply.json["accepted"] == len(ids) - len(refused), reply.body
            self.acknowledged.update(event_id for index, event_id in enumerate(ids) if index not in refused)
            self.accepted += len(ids) - len(refused)
            self.refused += len(refused)
        else:
            self.refused += len(ids)
            self.without_retry_after += "Retry-After" not in reply.headers


def assert_every_event_stored_once(server: RunningServer, load: Load) -> None:
    """On a stopped server: every acknowledged event once, no other twice, and both rollups agree with the events."""
    events, sessions, traffic, openings = stored(server.data_dir, EVENTS, SESSIONS, TRAFFIC, OPENINGS)
    kept = [event_id for event_id, _ in events]
    assert len(kept) == len(set(kept)), "an event is there twice"
    assert load.acknowledged <= set(kept), f"{len(load.acknowledged - set(kept))} acknowledged events are lost"
    assert set(kept) <= load.sent
    by_session: dict[str, int] = {}
    for _, session in events:
        by_session[session] = by_session.get(session, 0) + 1
    assert {session: count for session, count, *_ in sessions} == by_session
    assert sum(count for _, count in traffic) == len(kept)
    assert openings == [[len(kept)]]
    assert sum(pageviews for _, _, pageviews, _ in sessions) == dict(traffic)["pageview"]
    assert {opened for *_, opened in sessions} == {1}, "a session has two rows"
    assert not list((server.data_dir / "dead-letters").glob("*"))
