"""Good traffic: every way in that a beacon has, events with and without ids, repeats, several sites, sessions.

Workers send at a moderate pace and keep the ledger. They go on while the server is away:
what was not acknowledged and has an id is sent again, as a client would.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID

import aiohttp
import msgspec

from tests.server import Client, Reply, RunningServer
from tests.soak.ledger import Event, Ledger

SITES = tuple(f"site-{number}.soak.example" for number in range(5))
NAMES = ("pageview", "pageview", "click", "form", "outbound", "signup", "not_found")
PASSIVE_NAMES = ("scroll", "engagement", "web_vital")
"""Taken only behind an active event of their session."""
MARK_PATH = "/m/"
AWAY_S = 0.2
OLD_MONTHS = ("2024-02", "2025-11")
ROBOT = {"User-Agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}


@dataclass(slots=True, kw_only=True)
class Shot:
    """One request and the events in it, by their index; None stands for one that must be rejected."""

    path: str = "/track"
    events: Sequence[Event | None] = ()
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False
    dropped: bool = False
    """Must be dropped whole."""


class Traffic:
    """So many workers that together send about `events_per_s`."""

    def __init__(
        self, server: RunningServer, ledger: Ledger, rng: random.Random, *, events_per_s: float, workers: int = 8
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._rng = rng
        self._pause_s = workers / events_per_s
        self._workers = workers
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set."""
        workers = [asyncio.create_task(self._work()) for _ in range(self._workers)]
        await stop.wait()
        self._stopping = True
        await asyncio.gather(*workers)

    async def _work(self) -> None:
        async with Client(self._server) as client:
            while not self._stopping:
                started = time.monotonic()
                shot = self._shot()
                answered = await self._fire(client, shot)
                due = started + self._pause_s * max(1, len(shot.events)) * self._rng.uniform(0.5, 1.5)
                await asyncio.sleep(max(0.0 if answered else AWAY_S, due - time.monotonic()))

    async def _fire(self, client: Client, shot: Shot) -> bool:
        ledger = self._ledger
        events = [event for event in shot.events if event is not None]
        for event in events:
            ledger.send(event)
            if shot.dropped:
                ledger.unwanted.add(event.mark)
        ledger.requests += 1
        try:
            if shot.path.startswith("/track/pixel"):
                reply = await client.get(shot.path, headers=shot.headers)
            else:
                reply = await client.send(shot.body, path=shot.path, headers=shot.headers, trusted=shot.trusted)
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            ledger.unanswered += 1
            self._failed(shot, events)
            return False
        ledger.statuses[reply.status] += 1
        if reply.status in (200, 202):
            self._answered(shot, events, reply)
            return True
        self._failed(shot, events)
        if reply.status not in (429, 503):
            ledger.wonder(f"{shot.path}: {reply.status} {reply.body[:200]!r}")
        elif "Retry-After" not in reply.headers:
            ledger.wonder(f"{shot.path}: {reply.status} without Retry-After")
        return False

    def _answered(self, shot: Shot, events: list[Event], reply: Reply) -> None:
        ledger = self._ledger
        if reply.status == 200:  # the pixel's image
            ledger.accept(events[0])
            return
        answer = reply.json
        rejected = {index for index, _ in reply.rejected}
        expected = {index for index, event in enumerate(shot.events) if event is None}
        kept = 0 if shot.dropped else len(events)
        if rejected != expected or answer["accepted"] != kept:
            ledger.wonder(f"{shot.path}: {len(shot.events)} events, {sorted(expected)} bad: {reply.body[:200]!r}")
            return
        if not shot.dropped:
            for event in events:
                ledger.accept(event)

    def _failed(self, shot: Shot, events: list[Event]) -> None:
        if not shot.dropped:
            for event in events:
                self._ledger.fail(event)

    # ---- requests ------------------------------------------------------

    def _shot(self) -> Shot:
        kinds: tuple[tuple[Callable[[], Shot], int], ...] = (
            (self._single, 40),
            (self._batch, 14),
            (self._repeats, 12),
            (self._pixel, 6),
            (self._view, 6),
            (self._interaction, 4),
            (self._client_batch, 4),
            (self._packed, 4),
            (self._import, 3),
            (self._dropped, 6),
        )
        make = self._rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        return make()

    def event(self, *, with_id: bool | None = None, **fields: object) -> Event:
        """A new event; `with_id` None leaves it to chance."""
        rng = self._rng
        mark = f"m{rng.getrandbits(64):016x}"
        site = rng.choice(SITES)
        body: dict[str, object] = {"site": site, "name": rng.choice(NAMES), "url": f"https://{site}{MARK_PATH}{mark}"}
        event_id = ""
        if rng.random() < 0.5 if with_id is None else with_id:
            event_id = body["event_id"] = str(UUID(int=rng.getrandbits(128), version=4))
        if rng.random() < 0.6:
            body["session_id"] = f"tab-{rng.randrange(200)}"
        elif rng.random() < 0.2:
            body["timestamp"] = rng.choice(("1900-01-01", "9999-12-31T23:59:59Z", 0, -1e15))
        if rng.random() < 0.3:
            body["referrer"] = rng.choice(("https://www.bing.com/", "https://news.example/a", "javascript:alert(1)"))
        if rng.random() < 0.2:
            body["title"] = rng.choice(("Grüße", "a\u0000b\r\nc", "\u202e", "t" * 2_000))
        if rng.random() < 0.2:
            body["props"] = {"plan": "pro", "n": rng.randrange(9), "ok": True}
        body.update(fields)
        return Event(mark, event_id, body)

    def _headers(self) -> dict[str, str]:
        """A visitor's address; one in five takes the slower way in, which the framework answers."""
        address = f"203.0.113.{self._rng.randrange(200)}"
        return {"X-Forwarded-For": address} | ({"Proxy-Connection": "keep-alive"} if self._rng.random() < 0.2 else {})

    def _json(self, value: object, events: Sequence[Event | None], **more: object) -> Shot:
        return Shot(events=events, body=msgspec.json.encode(value), headers=self._headers(), **more)  # type: ignore[arg-type]

    def _single(self) -> Shot:
        event = self.event()
        return self._json(event.body, [event])

    def _batch(self) -> Shot:
        """Some of the batches hold one event twice, some a bad one among the good."""
        events: list[Event | None] = [self.event() for _ in range(self._rng.randint(2, 30))]
        if self._rng.random() < 0.3:
            page = self.event(session_id=f"read-{self._rng.randrange(200)}", timestamp=None)
            same = {key: page.body[key] for key in ("site", "session_id")}
            events += [page, self.event(with_id=False, name=self._rng.choice(PASSIVE_NAMES), timestamp=None, **same)]
        if self._rng.random() < 0.3:
            twin = self.event(with_id=True)
            events += [twin, twin]
        bodies = [event.body for event in events if event is not None]
        if self._rng.random() < 0.3:
            at = self._rng.randrange(len(events))
            events.insert(at, None)
            bodies.insert(at, {"site": SITES[0], "name": "x", "url": "data:text/html,x"})
        return self._json(bodies if self._rng.random() < 0.5 else {"events": bodies}, events)

    def _repeats(self) -> Shot:
        events = self._ledger.repeats(self._rng, self._rng.randint(1, 20)) or [self.event()]
        return self._json([event.body for event in events], events)

    def _packed(self) -> Shot:
        events = [self.event() for _ in range(self._rng.randint(1, 20))]
        body = gzip.compress(msgspec.json.encode([event.body for event in events]))
        return Shot(events=events, body=body, headers={**self._headers(), "Content-Encoding": "gzip"})

    def _pixel(self) -> Shot:
        event = self.event()
        keys = ("site", "url", "name", "event_id", "session_id")
        query = {key: str(event.body[key]) for key in keys if key in event.body}
        return Shot(path="/track/pixel.gif?" + urlencode(query), events=[event], headers=self._headers())

    def _view(self) -> Shot:
        event = self.event()
        return self._json(_as_view(event), [event], path="/track/view")

    def _interaction(self) -> Shot:
        event = self.event()
        return self._json(_as_interaction(event), [event], path="/track/interaction")

    def _client_batch(self) -> Shot:
        events = [self.event() for _ in range(self._rng.randint(1, 10))]
        bodies = [
            {"kind": "view", **_as_view(event)} if number % 2 else {"kind": "interaction", **_as_interaction(event)}
            for number, event in enumerate(events)
        ]
        return self._json({"events": bodies}, events, path="/track/batch")

    def _import(self) -> Shot:
        """A server's own events, over several months: a batch of many partitions."""
        events = [
            self.event(
                with_id=True,
                session_id=None,
                timestamp=f"{self._rng.choice(OLD_MONTHS)}-{self._rng.randint(1, 28):02d}T12:00:00Z",
                user_id=f"user-{self._rng.randrange(50)}",
            )
            for _ in range(self._rng.randint(1, 30))
        ]
        return self._json([event.body for event in events], events, trusted=True)

    def _dropped(self) -> Shot:
        events = [self.event(with_id=False) for _ in range(self._rng.randint(1, 5))]
        shot = self._json([event.body for event in events], events, dropped=True)
        shot.headers = {**shot.headers, **self._rng.choice(({"DNT": "1"}, {"Sec-GPC": "1"}, ROBOT))}
        return shot


def _as_view(event: Event) -> dict[str, object]:
    """The same event as the client SDK's page view."""
    body = event.body
    names = {"site": "appName", "url": "pageUrl", "title": "pageTitle", "referrer": "referrer"}
    names |= {"session_id": "sessionId", "event_id": "eventId", "timestamp": "timestamp"}
    return {names[key]: value for key, value in body.items() if key in names}


def _as_interaction(event: Event) -> dict[str, object]:
    body = event.body
    names = {"site": "appName", "session_id": "sessionId", "event_id": "eventId"}
    told: dict[str, object] = {names[key]: value for key, value in body.items() if key in names}
    return {**told, "type": "click", "data": {"elementId": "buy", "pageUrl": body["url"]}}
