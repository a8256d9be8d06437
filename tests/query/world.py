"""A small world of events with everything that makes counting hard.

Several sites in different time zones around the days on which summer time begins and
ends; sessions over midnight and over month ends, events that arrive late, events with
equal times, visitors that are not kept, empty and non-ASCII values. All of it from one
seed, as rows of `events` and as plain objects for the oracle.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypedDict

from analytics_server.model import COLUMNS, SESSION_ATTRIBUTES, STANDARD_EVENTS, Site

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SITES = (
    Site(site_id="utc.example", timezone="UTC"),
    Site(site_id="berlin.example", timezone="Europe/Berlin"),
    Site(site_id="new-york.example", timezone="America/New_York"),
    Site(site_id="kolkata.example", timezone="Asia/Kolkata"),
)
EMPTY_SITE = Site(site_id="empty.example", timezone="Europe/Berlin")

CENTRES = tuple(
    datetime.fromisoformat(text).replace(tzinfo=UTC)
    for text in ("2025-03-30T01:00", "2025-03-09T07:00", "2025-10-26T01:00", "2025-11-02T06:00", "2025-02-01T00:00")
)
"""Changes of the clock in Berlin and New York, and the end of a month."""

PATHS = ("/", "/preise/für-alle", "/blog/a", "/blog/a/b", "/%", "", "/日本語?q=1", "/a'b\\c")
HOSTS = ("example.com", "www.example.com", "")
PASSIVE = ("scroll", "engagement", "web_vital")
NAMES = ("pageview", "pageview", "pageview", "click", "scroll", "engagement", "Anmeldung ✓", "exposure", "not_found")
ELEMENTS = ("", "signup", "größer")
PLANS = ("pro", "free", "", "Überall", "pro/jährlich")
TITLES = ("", "Start", "Über uns", "ΣΊΣΥΦΟΣ", "İstanbul", "Cafe\u0301 STRASSE")
SOURCES = ("Google", "Direct", "Bing", "näher.de")
SOURCE_NAMES = {"GOOGLE": "Google", "google-ads": "Google", "www.bing.com": "Bing", "NÄHER.de": "näher.de"}
"""What filters may name sources by."""
COUNTRY_NAMES = {"DE": "Germany", "US": "United States"}
ATTRIBUTES: dict[str, tuple[str, ...]] = {name: ("", f"{name} A", f"{name} ß") for name in SESSION_ATTRIBUTES} | {
    "source": SOURCES,
    "channel": ("Direct", "Referral", "Organic Search"),
    "country": ("DE", "US", "", "EU"),
    "browser": ("Firefox", "Chrome", "Safari"),
}


CURRENCIES = ("EUR", "USD", "JPY")
TRADERS = ("utc.example", "new-york.example")
"""Sites that sell in several currencies."""


class Measures(TypedDict):
    """What else is measured on an event."""

    scroll_depth: int
    engagement_ms: int
    revenue: Decimal
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; times in microseconds since 1970."""

    site_id: str
    at: int
    name: str
    session_id: str
    opened_at: int
    visitor_id: int
    hostname: str
    path: str
    title: str
    element_id: str
    experiment: str
    variant: str
    props: dict[str, str]
    passive: int = 0
    interactive: bool = True
    attributes: dict[str, str] = field(default_factory=dict)
    scroll_depth: int = 0
    engagement_ms: int = 0
    revenue: Decimal = Decimal(0)
    currency: str = ""

    def row(self, random_: random.Random) -> tuple[object, ...]:
        """The values of `model.COLUMNS` and the batch, as ingest would insert them."""
        known: dict[str, object] = {
            "site_id": self.site_id,
            "ts": moment(self.at),
            "name": self.name,
            "event_id": uuid.UUID(int=random_.getrandbits(128)),
            "session_id": self.session_id,
            "session_start": moment(self.opened_at),
            "visitor_id": self.visitor_id,
            "passive": self.passive,
            "interactive": int(self.interactive),
            "hostname": self.hostname,
            "path": self.path,
            "title": self.title,
            "element_id": self.element_id,
            "experiment": self.experiment,
            "variant": self.variant,
            "props": self.props,
            "scroll_depth": self.scroll_depth,
            "engagement_ms": self.engagement_ms,
            "revenue_amount": self.revenue,
            "revenue_currency": self.currency,
            **self.attributes,
        }
        return tuple(known.get(column.name, column.default) for column in COLUMNS)


LOOKING: list[Any] = [
    [
        "or",
        [
            ["and", [["contains", "event:name", ["scroll", "gag"]], ["is", "event:hostname", ["example.com"]]]],
            ["not", ["or", [["is_not", "event:page", ["/"]], ["lt", "event:scroll_depth", [30]]]]],
            ["is", "event:props:plan", ["pro"]],
        ],
    ],
    ["is_not", "visit:browser", ["Safari"]],
]
"""A goal that some passive events reach, by their names or how far was scrolled, and others do not."""

GOALS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "Signed up": ({"event": "Anmeldung ✓", "currency": "EUR"}, [["is", "event:name", ["Anmeldung ✓"]]]),
    "Read the blog": (
        {"page": "/blog/**"},
        [["is", "event:name", ["pageview"]], ["matches_wildcard", "event:page", ["/blog/**"]]],
    ),
    "Clicked as a pro": (
        {"event": "click", "filters": [["is", "event:props:plan", ["pro"]]], "currency": "JPY"},
        [["is", "event:name", ["click"]], ["is", "event:props:plan", ["pro"]]],
    ),
    "Scrolled the blog": (
        {"page": "/blog/*", "scroll_depth": 75},
        [["gte", "event:scroll_depth", [75]], ["matches_wildcard", "event:page", ["/blog/*"]]],
    ),
    "Landed at the front": ({"filters": [["is", "visit:entry_page", ["/"]]]}, [["is", "visit:entry_page", ["/"]]]),
    "Anything after a click": (
        {"filters": [["has_done", ["is", "event:name", ["click"]]]]},
        [["has_done", ["is", "event:name", ["click"]]]],
    ),
    "On the blog": ({"filters": [["contains", "event:page", ["blog"]]]}, [["contains", "event:page", ["blog"]]]),
    "Engaged or looked around": ({"filters": LOOKING}, LOOKING),
    "No page view": (
        {"filters": [["not", ["is", "event:name", ["pageview"]]], ["is", "event:hostname", ["example.com"]]]},
        [["is_not", "event:name", ["pageview"]], ["is", "event:hostname", ["example.com"]]],
    ),
}
"""Saved goals of every site: what is saved, and the same as plain filters."""

SEGMENTS: dict[str, list[Any]] = {
    "Germans": [["is", "visit:country", ["DE"]]],
    "Bloggers": [["contains", "event:page", ["blog"]], ["is_not", "event:props:plan", ["free"]]],
    "Readers": [["has_done", ["contains", "event:page", ["blog"]]], ["is_not", "visit:browser", ["Chrome"]]],
}


def moment(at: int) -> datetime:
    """Microseconds since 1970 as an aware time, exactly."""
    return EPOCH + timedelta(microseconds=at)


def micros(when: datetime) -> int:
    """An aware time as microseconds since 1970, exactly."""
    return (when - EPOCH) // timedelta(microseconds=1)


def make_world(seed: int, sessions: int) -> list[Event]:
    """All events, in the order in which they arrive."""
    random_ = random.Random(seed)
    events: list[Event] = []
    for site in SITES:
        for number in range(sessions):
            events += _make_session(random_, site.site_id, f"{'s' if number % 5 else 'sé'}{number % 300}")
    random_.shuffle(events)
    return events


def _make_session(random_: random.Random, site_id: str, session_id: str) -> list[Event]:
    centre = micros(random_.choice(CENTRES))
    first = centre + int(random_.gauss(0, 30 * 3600)) * 1_000_000 + random_.choice((0, 0, 1, 999_999))
    if random_.random() < 0.3:  # on the quarter, so that edges of ranges are hit exactly
        first -= first % 900_000_000
    attributes = {name: random_.choice(values) for name, values in ATTRIBUTES.items()}
    person = random_.randrange(60)
    of_before = random_.random() < 0.1  # taken by a version that knew no passive events, and new visitors at midnight
    times = [first]
    for _ in range(random_.choice((0, 0, 0, 1, 2, 3, 5, 9))):
        gap = random_.choice((0, 1, 7, 40, 300, 1700, 5000, 40_000))
        times.append(times[-1] + gap * 1_000_000)
    if random_.random() < 0.15:  # arrives after the session was opened, happened before
        times.append(first - random_.choice((1, 600, 36_000)) * 1_000_000)
    return [
        Event(
            site_id=site_id,
            at=at,
            name=(name := random_.choice(NAMES)),
            passive=random_.choice((1, 1, 2)) if name in PASSIVE and not of_before else 0,
            interactive=name in STANDARD_EVENTS or random_.random() < 0.6,
            session_id=session_id,
            opened_at=first,
            visitor_id=_visitor(person, at if of_before or random_.random() < 0.02 else first),
            hostname=random_.choice(HOSTS),
            path=random_.choice(PATHS),
            title=random_.choice(TITLES),
            element_id=random_.choice(ELEMENTS),
            experiment=random_.choice(("", "cta")),
            variant=random_.choice(("a", "b")),
            props={"plan": random_.choice(PLANS)} if random_.random() < 0.5 else {"größe": "1"},
            attributes=attributes,
            **_measures(random_, site_id),
        )
        for at in times
    ]


def _measures(random_: random.Random, site_id: str) -> Measures:
    """How far was scrolled, how long was read, what was paid: mostly nothing. Two sites sell in one currency only."""
    paid = random_.random() < 0.2
    return Measures(
        scroll_depth=random_.choice((0, 0, 1, 30, 75, 100)),
        engagement_ms=random_.choice((0, 0, 1, 900, 12_345, 600_000)),
        revenue=Decimal(random_.choice((0, 1, 125_000, 99_999, -50_000, 10_000_001))) / 10_000 if paid else Decimal(0),
        currency=random_.choice(CURRENCIES if site_id in TRADERS else CURRENCIES[:1]) if paid else "",
    )


def _visitor(person: int, at: int) -> int:
    """A hash of one UTC day; one person in twenty is not kept."""
    if person % 20 == 0:
        return 0
    return random.Random(person * 1_000_003 + at // 86_400_000_000).getrandbits(64) or 1
