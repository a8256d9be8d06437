"""Two sites: `mine.example`, which asks, and `secret.example`, of which nothing may ever be seen.

Their events lie interleaved in the same parts and granules, so that whatever is read before
the site is looked at is there to be leaked. Every text and number of the foreign site
carries a mark.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from analytics_server.model import COLUMN_NAMES, COLUMNS, SESSION_ATTRIBUTES, Site
from analytics_server.store import Store

MINE = "mine.example"
FOREIGN = "secret.example"
SITES = {name: Site(site_id=name, timezone="Europe/Berlin") for name in (MINE, FOREIGN, "it's.example")}

MARK = "CANARY"
MARK_NUMBER = 7_431_985_206_317_000
START = datetime(2026, 10, 30, 21, tzinfo=UTC)
PATHS = ("/", "/pricing", "/blog/a", "/blog/b?page=2", "/für-alle", "")
SOURCES = ("Google", "Bing", "", "News")
COUNTRIES = ("DE", "FR", "US")
PASSIVE = ("pageview", "scroll", "engagement", "web_vital", "exposure", "not_found")


@dataclass(frozen=True, slots=True)
class Event:
    """A row of events by column."""

    values: dict[str, object]

    def __getattr__(self, name: str) -> object:
        return self.values[name]

    def text(self, name: str) -> str:
        return str(self.values[name])

    def number(self, name: str) -> int:
        value = self.values[name]
        assert isinstance(value, int)
        return value

    @property
    def ts(self) -> datetime:
        value = self.values["ts"]
        assert isinstance(value, datetime)
        return value

    @property
    def props(self) -> dict[str, str]:
        value = self.values["props"]
        assert isinstance(value, dict)
        return value


@dataclass(slots=True)
class Session:
    """A session as its events tell it."""

    session_id: str
    events: list[Event] = field(default_factory=list)

    @property
    def views(self) -> list[Event]:
        return sorted((e for e in self.events if e.text("name") == "pageview"), key=lambda e: e.ts)

    @property
    def started_at(self) -> datetime:
        return min(event.ts for event in self.events)

    @property
    def duration_s(self) -> float:
        return (max(event.ts for event in self.events) - self.started_at).total_seconds()

    @property
    def is_bounce(self) -> int:
        return int(len(self.views) == 1 and all(event.text("name") in PASSIVE for event in self.events))

    @property
    def entry_page(self) -> str:
        return self.views[0].text("path") if self.views else ""

    @property
    def exit_page(self) -> str:
        return self.views[-1].text("path") if self.views else ""

    def text(self, name: str) -> str:
        return self.events[0].text(name)


def make_events(site_id: str, seed: int, sessions: int) -> list[Event]:
    """Events of one site, in order of time within each session."""
    rand = random.Random(seed)
    events: list[Event] = []
    for number in range(sessions):
        start = START + timedelta(seconds=rand.randrange(6 * 86_400), microseconds=rand.randrange(1_000_000))
        session = {name: f"{name} {number % 3}" for name in SESSION_ATTRIBUTES} | {
            "source": SOURCES[number % 4],
            "country": COUNTRIES[number % 3],
            "device": ("Desktop", "Mobile")[number % 2],
        }
        at = start
        for step in range(rand.randint(1, 6)):
            name = rand.choice(("pageview", "pageview", "pageview", "click", "scroll", "Signup ✓", "purchase"))
            values: dict[str, object] = {column.name: column.default for column in COLUMNS} | session
            values |= {
                "site_id": site_id,
                "ts": at,
                "name": name,
                "event_id": uuid.UUID(int=rand.getrandbits(128)),
                "session_id": f"s{seed}-{number}",
                "session_start": start,
                "visitor_id": seed * 1_000 + number // 2,
                "user_id": f"user{number % 7}" if number % 3 == 0 else "",
                "hostname": "www.example.com",
                "path": rand.choice(PATHS),
                "title": f"Title {step}",
                "scroll_depth": rand.randrange(101),
                "engagement_ms": rand.randrange(60_000),
                "revenue_amount": Decimal(rand.randrange(1, 100_000)) / 100 if name == "purchase" else Decimal(0),
                "revenue_currency": "EUR" if name == "purchase" else "",
                "props": {"plan": rand.choice(("pro", "free")), "größe": str(step)} if rand.random() < 0.6 else {},
            }
            events.append(Event(values))
            at += timedelta(seconds=rand.randrange(1, 400), microseconds=rand.randrange(1_000_000))
    return events


def make_foreign(sessions: int) -> list[Event]:
    """The same for the foreign site, all values marked."""
    marked = []
    for number, event in enumerate(make_events(FOREIGN, 2, sessions)):
        values = dict(event.values)
        for name, value in values.items():
            if name in ("site_id", "name", "session_start"):
                continue
            if isinstance(value, str):
                values[name] = f"{value} {MARK} {number % 40}"
        values["name"] = event.text("name") if number % 3 else f"event {MARK}"
        values["visitor_id"] = MARK_NUMBER + number
        values["engagement_ms"] = 743_198_520 + number
        values["scroll_depth"] = 200
        values["revenue_amount"] = Decimal(743_198_520) + number
        values["props"] = {f"{MARK} key": f"{MARK} value", "plan": f"{MARK} plan"}
        marked.append(Event(values))
    return marked


@dataclass(frozen=True, slots=True)
class World:
    """What is stored of the site that asks."""

    events: list[Event]

    @property
    def sessions(self) -> list[Session]:
        found: dict[str, Session] = {}
        for event in self.events:
            found.setdefault(event.text("session_id"), Session(event.text("session_id"))).events.append(event)
        return list(found.values())

    def by(self, *names: str) -> dict[tuple[str, ...], list[Event]]:
        """Events by the values of columns."""
        groups: dict[tuple[str, ...], list[Event]] = defaultdict(list)
        for event in self.events:
            groups[tuple(event.text(name) for name in names)].append(event)
        return dict(groups)


def make_world() -> tuple[World, list[Event]]:
    """The site's own world, and the foreign site's events."""
    return World(make_events(MINE, 1, 90)), make_foreign(90)


async def insert_world(store: Store, world: World, foreign: list[Event]) -> None:
    """Both sites' rows in three batches, mixed."""
    rows = [*world.events, *foreign]
    random.Random(5).shuffle(rows)
    for number in range(3):
        batch = rows[number::3]
        columns = [[event.values[name] for event in batch] for name in COLUMN_NAMES]
        await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [number] * len(batch)])
    secret = f"{MARK} token"
    now = [datetime(2026, 11, 1, tzinfo=UTC)]
    await store.insert("tokens", ("token_hash", "document", "deleted", "updated_at"), [[secret], [secret], [0], now])
    await store.insert("salts", ("day", "salt", "created_at"), [[now[0].date()], [secret], now])
    await store.insert(
        "saved",
        ("kind", "site_id", "id", "document", "deleted", "updated_at"),
        [["query"], [FOREIGN], [secret], [secret], [0], now],
    )
