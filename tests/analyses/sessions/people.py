"""People who come back, for weeks: sites full of everything that makes following them hard, and filters in Python.

Several time zones over both changes of the clock, a month's and a year's end. Sessions at local midnight to the
microsecond, others over midnight and over days, events that arrive late, equal times, session ids that are used
again, users with many sessions, users who sign in halfway or change, and events without a user.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from analytics_server.model import COLUMN_NAMES, COLUMNS, SESSION_ATTRIBUTES, Site
from analytics_server.store import Store
from tests.query.world import micros, moment

NOW = datetime(2026, 1, 4, 23, 30, tzinfo=UTC)
"""A Sunday evening: in some zones the week is over, in others not."""

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Europe/London", "Pacific/Auckland")
SITES = tuple(Site(site_id=f"people-{n}.example", timezone=zone) for n, zone in enumerate((*ZONES, *ZONES)))
FIRST_DAY = date(2025, 9, 22)
DAYS = 108
SECOND = 1_000_000
DAY_US = 86_400 * SECOND

USERS = ("u1", "ü 2", "U1", "user-4@example.com", "日本", "u1 ", "7", "e'8\\")
NAMES = ("pageview", "pageview", "pageview", "click", "Anmeldung ✓", "scroll", "(other)")
PATHS = ("/", "/a", "/a/b", "/preise/für-alle", "", "(other)", "/a'b\\c")
PLANS = ("pro", "", "größer")
SOURCES = ("Google", "Direct", "näher.de")
IDS = ("s/1", "s 2", "sé3", "..", "s%5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; times in microseconds since 1970. `number`: makes its event_id."""

    site_id: str
    at: int
    name: str
    path: str
    plan: str
    session_id: str
    opened_at: int
    visitor_id: int
    user_id: str
    source: str
    number: int

    @property
    def key(self) -> tuple[int, str]:
        """The session it belongs to."""
        return self.opened_at, self.session_id

    @property
    def is_passive(self) -> bool:
        return self.name == "scroll"

    @property
    def event_id(self) -> uuid.UUID:
        return uuid.UUID(int=self.number)

    def row(self) -> tuple[object, ...]:
        known: dict[str, object] = dict.fromkeys(SESSION_ATTRIBUTES, "") | {
            "site_id": self.site_id,
            "ts": moment(self.at),
            "name": self.name,
            "event_id": self.event_id,
            "session_id": self.session_id,
            "session_start": moment(self.opened_at),
            "visitor_id": self.visitor_id,
            "passive": int(self.is_passive),
            "user_id": self.user_id,
            "path": self.path,
            "source": self.source,
            "props": {"plan": self.plan} if self.plan else {},
        }
        return tuple(known.get(column.name, column.default) for column in COLUMNS)


def make_people(seed: int, sessions: int) -> list[Event]:
    """All events of all sites, in the order in which they arrive."""
    random_ = random.Random(seed)
    events: list[Event] = []
    for site in SITES:
        known: set[tuple[int, str]] = set()
        for _ in range(sessions):
            found = _session(random_, site, len(events))
            if found[0].key not in known:  # the same id at the same time is the same session
                events += found
                known.add(found[0].key)
    random_.shuffle(events)
    return events


def _session(random_: random.Random, site: Site, number: int) -> list[Event]:
    day = FIRST_DAY + timedelta(days=random_.randrange(DAYS))
    if random_.random() < 0.3:  # days on which weeks and months begin
        day = random_.choice((day - timedelta(days=day.weekday()), day.replace(day=1)))
    midnight = micros(datetime.combine(day, time(), ZoneInfo(site.timezone)).astimezone(UTC))
    opened = midnight + random_.choice((-SECOND, -1, 0, 1, random_.randrange(DAY_US)))
    times = [opened]
    for _ in range(random_.choice((0, 0, 1, 2, 3, 6))):
        gap = random_.choice((0, 0, 1, 40 * SECOND, 1_700 * SECOND, 11 * 3_600 * SECOND, 30 * 3_600 * SECOND))
        times.append(times[-1] + gap)
    if random_.random() < 0.2:  # happened before the session was opened, arrives later
        times.append(opened - random_.choice((1, 600 * SECOND, 20 * 3_600 * SECOND)))
    who, session_id, source = random_.choice(USERS), random_.choice(IDS), random_.choice(SOURCES)
    # No user, one from the start or from some event on, or two on the same device.
    users = random_.choice((("",), (who,), (who,), ("", who), (who, random_.choice(USERS))))
    person = random_.randrange(9)
    path = random_.choice(PATHS)
    found: list[Event] = []
    for place, at in enumerate(times):
        path = random_.choice((path, *PATHS))
        # The id is of the day, and that of before while the session goes on.
        goes_on = place and 0 <= at - times[place - 1] <= 1_800 * SECOND and found[-1].visitor_id
        visitor = found[-1].visitor_id if goes_on else 0 if person == 0 else (person << 40) + at // DAY_US + 1
        found.append(
            Event(
                site_id=site.site_id,
                at=at,
                name=random_.choice(NAMES),
                path=path,
                plan=random_.choice(PLANS),
                session_id=session_id,
                opened_at=opened,
                visitor_id=visitor,
                user_id=users[min(place, len(users) - 1)],
                source=source,
                number=number + place + 1,
            )
        )
    return found


async def insert_people(store: Store, events: Sequence[Event], batches: int = 3) -> None:
    """In several batches, so that users and sessions lie in several parts."""
    for number in range(batches):
        rows = [event.row() for event in events[number::batches]]
        columns = [list(column) for column in zip(*rows, strict=True)]
        await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [number] * len(rows)])


class Directory:
    """The sites of these people."""

    def get(self, site_id: str) -> Site | None:
        return next((site for site in SITES if site.site_id == site_id), None)


class Past:
    """The events of one site, its sessions, and what filters mean, in plain Python."""

    def __init__(self, events: Sequence[Event], site: Site) -> None:
        self.zone = ZoneInfo(site.timezone)
        self.events = [event for event in events if event.site_id == site.site_id]
        self.sessions: dict[tuple[int, str], list[Event]] = defaultdict(list)
        for event in self.events:
            self.sessions[event.key].append(event)

    def local(self, at: int) -> datetime:
        return moment(at).astimezone(self.zone)

    def views(self, key: tuple[int, str]) -> list[tuple[int, str]]:
        """Time and path of the session's page views, in order."""
        return sorted((event.at, event.path) for event in self.sessions[key] if event.name == "pageview")

    def value(self, dimension: str, event: Event) -> str:
        match dimension:
            case "event:name":
                return event.name
            case "event:page":
                return event.path
            case "event:props:plan":
                return event.plan
            case "visit:source":
                return event.source
            case "visit:entry_page":
                views = self.views(event.key)
                return views[0][1] if views else ""
            case "visit:exit_page":
                views = self.views(event.key)
                return views[-1][1] if views else ""
        raise AssertionError(dimension)

    def holds(self, item: Any, event: Event) -> bool:
        """Does a filter hold of an event?"""
        match item:
            case ["and", inner]:
                return all(self.holds(one, event) for one in inner)
            case ["or", inner]:
                return any(self.holds(one, event) for one in inner)
            case ["not", inner]:
                return not self.holds(inner, event)
            case ["has_done", inner]:
                return any(self.holds(inner, other) for other in self.sessions[event.key])
            case ["has_not_done", inner]:
                return not any(self.holds(inner, other) for other in self.sessions[event.key])
            case ["sequence", steps]:
                return self.in_order(steps, self.sessions[event.key], after=-1)
            case ["is", dimension, values]:
                return self.value(dimension, event) in values
            case ["is_not", dimension, values]:
                return self.value(dimension, event) not in values
            case ["contains", dimension, values]:
                return any(text in self.value(dimension, event) for text in values)
        raise AssertionError(item)

    def in_order(self, steps: Sequence[Any], events: Sequence[Event], after: int) -> bool:
        """Does an event later than `after` meet the first step, one later than that the second, and so on?"""
        return not steps or any(
            event.at > after and self.holds(steps[0], event) and self.in_order(steps[1:], events, event.at)
            for event in events
        )

    def chosen(self, start: datetime, end: datetime, filters: Sequence[Any]) -> list[tuple[int, str]]:
        """The sessions that begin in the range and have an event in it that passes the filters."""
        first, after = micros(start), micros(end)
        return [
            key
            for key, events in self.sessions.items()
            if first <= min(event.at for event in events) < after
            and any(first <= e.at < after and all(self.holds(one, e) for one in filters) for e in events)
        ]
