"""One request's events on their way through the steps, and what became of them.

Constraint: one `Run` and one `Outcome` are made for each request, thousands of times a second. The fields of a
`Run` are grouped by life: those of the request, those remembered from one event to the next, and those of the
event that is under way, which each step fills in for the steps after it.
"""

from __future__ import annotations

import msgspec

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.url import CleanUrl
from analytics_server.collect.formats.beacon import Beacon, Rejection
from analytics_server.collect.formats.warnings import Warnings
from analytics_server.collect.identity.duplicates import EventKey
from analytics_server.collect.identity.session import Session
from analytics_server.model import Row, Site

NO_PAGE = CleanUrl("", "", {})


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What the request itself says: used to enrich, then forgotten."""

    address: str
    user_agent: str
    dnt: str | None = None
    gpc: str | None = None
    sec_purpose: str | None = None
    purpose: str | None = None
    x_moz: str | None = None
    language: str = ""
    trusted: bool = False


class Outcome(Warnings):
    """What became of a request's events."""

    __slots__ = (
        *("clamped", "dropped", "event_ids", "limited", "losses"),
        *("rejected", "repeated", "rows", "unknown_sites"),
    )

    def __init__(self, most_warnings: int) -> None:
        self.most = most_warnings
        self.entries = self.counts = None
        self.rows: list[Row] = []
        self.dropped: dict[str, int] = {}
        self.rejected: list[Rejection] = []
        self.event_ids: list[EventKey] = []
        self.repeated: list[EventKey] = []
        self.losses = self.clamped = self.limited = self.unknown_sites = 0

    def drop(self, reason: DropReason, events: int = 1) -> None:
        """Count events that are accepted and not kept."""
        self.dropped[reason.value] = self.dropped.get(reason.value, 0) + events


class Run:
    """One request's events, in order of their times once the steps of the request are done."""

    __slots__ = (
        *("at", "beacons", "events", "now_ms", "origin", "outcome", "trusted"),
        *("page", "text", "title", "url", "user_agents", "visitors"),
        *("address", "beacon", "by_user", "day", "details", "event_id", "name"),
        *("session", "session_id", "site", "site_id", "ts_ms", "ts_us", "user_agent", "user_id", "visitor_id"),
    )

    # of the event under way
    beacon: Beacon
    name: str
    ts_ms: int | None
    session_id: str
    user_id: str
    site: Site
    site_id: str
    details: tuple[object, ...]
    event_id: bytes
    day: int
    visitor_id: int
    session: Session
    ts_us: int

    def __init__(self, beacons: list[tuple[int, Beacon]], origin: Origin, now_ms: int, most_warnings: int) -> None:
        self.beacons = beacons
        """As they were decoded, each with its index in the request."""
        self.origin = origin
        self.trusted = origin.trusted
        self.now_ms = now_ms
        self.outcome = Outcome(most_warnings)
        self.events: list[tuple[int | None, int, Beacon]] = []
        """Time (None: it is none), index and event; in order of time."""
        self.at = 0
        """So many of `events` are done."""
        # whose events they are: of a trusted server's, each event may say so itself
        self.address = origin.address
        self.user_agent = origin.user_agent
        self.by_user = False
        """By the application's id of a person alone."""
        # remembered from one event to the next: those that follow are often on the same page
        self.url = ""
        self.page = NO_PAGE
        self.title: str | None = None
        self.text = ""
        """What is stored of `title`."""
        self.user_agents: set[str] | None = None
        """Those that are no bots, when a server tells its visitors' own."""
        self.visitors: dict[tuple[str, str, str, int], int] | None = None
        """Visitor ids by what they are made of, which is forgotten with the request."""
