"""Runs one request's events through the steps, and keeps what became of them.

Constraint: a `Run`, an `Outcome` and an `EventContext` are made for each request, thousands of times a second: plain
slots, and no container before it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.url import CleanUrl
from analytics_server.collect.formats.beacon import Beacon, Rejection
from analytics_server.collect.formats.warnings import Warnings
from analytics_server.collect.identity.duplicates import EventKey
from analytics_server.collect.identity.session import Session
from analytics_server.model import Row, Site

NO_PAGE = CleanUrl("", "", {})
NOTHING_DECIDED: Mapping[str, bool] = {}


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
    hints: Mapping[str, str] | None = None
    """The request's headers, if there are client hints among them."""
    by_script: bool = False
    """Did a program in the visitor's browser send it? Not of the pixel, nor of a server with a token."""


class Outcome(Warnings):
    """What became of a request's events."""

    __slots__ = (
        *("clamped", "dropped", "event_ids", "limited", "losses"),
        *("rejected", "repeated", "rows", "unknown_sites", "wait_s"),
    )

    def __init__(self, most_warnings: int) -> None:
        self.most = most_warnings
        self.entries = self.counts = self.names = None
        self.rows: list[Row] = []
        self.dropped: dict[str, int] = {}
        self.rejected: list[Rejection] = []
        self.event_ids: list[EventKey] = []
        self.repeated: list[EventKey] = []
        self.losses = self.clamped = self.limited = self.unknown_sites = self.wait_s = 0

    def limit(self, wait_s: int) -> None:
        """Count an event that a rate refuses. `wait_s`: when it may be sent again."""
        self.limited += 1
        self.wait_s = max(self.wait_s, wait_s)

    def drop(self, reason: DropReason, events: int = 1) -> None:
        """Count events that are accepted and not kept."""
        self.dropped[reason.value] = self.dropped.get(reason.value, 0) + events


class EventContext:
    """One event on its way: what is known of it, filled in by each step for the steps after it."""

    __slots__ = (
        *("address", "beacon", "by_user", "details", "event_id", "hashed_address", "index", "name", "page", "session"),
        "session_id",
        *("passive", "site", "site_id", "text", "ts_ms", "ts_us", "user_agent", "user_id", "visitor_id"),
    )

    name: str
    session_id: str
    user_id: str
    site: Site
    site_id: str
    page: CleanUrl
    details: tuple[object, ...]
    text: str
    """The title as it is stored."""
    event_id: bytes
    visitor_id: int
    passive: int
    """As it is stored: `ACTIVE`, `PASSIVE` or `PASSIVE_LATE`."""
    session: Session
    ts_us: int

    def __init__(self, index: int, beacon: Beacon, ts_ms: int | None, origin: Origin) -> None:
        self.index = index
        """Its place in the request."""
        self.beacon = beacon
        self.ts_ms = ts_ms
        """Milliseconds since 1970; None when the time that was sent is none."""
        self.address = origin.address
        self.hashed_address = ""
        """What is hashed in place of the address, where the site's profile has it shortened."""
        self.user_agent = origin.user_agent
        self.by_user = False
        """Is it known by the application's id of a person alone?"""


class Run:
    """One request's events on their way, and what is remembered from one event to the next."""

    __slots__ = (
        *("at", "beacons", "events", "now_ms", "origin", "outcome", "trusted"),
        *("allowed", "hashed", "page", "path_rules", "sender", "text", "title", "url", "user_agents", "visitors"),
    )

    def __init__(self, beacons: list[tuple[int, Beacon]], origin: Origin, now_ms: int, most_warnings: int) -> None:
        self.beacons = beacons
        """As they were decoded, each with its index in the request."""
        self.origin = origin
        self.trusted = origin.trusted
        self.now_ms = now_ms
        self.outcome = Outcome(most_warnings)
        self.events: list[EventContext] = []
        """In order of their times, once the steps of the request are done."""
        self.at = 0
        """So many of `events` are done."""
        # of the last event: those that follow are often on the same page and of the same visitor
        self.url = ""
        self.page = NO_PAGE
        self.title: str | None = None
        self.text = ""
        self.sender: EventContext | None = None
        """Of a trusted server, when it told an address."""
        self.hashed: EventContext | None = None
        """The one whose visitor id was made of address and user agent."""
        # of all events so far
        self.allowed: Mapping[str, bool] = NOTHING_DECIDED
        """By site, where a rate is limited: are this request's events taken?"""
        self.user_agents: set[str] | None = None
        """Those that are no bots, when a server tells its visitors' own."""
        self.visitors: dict[tuple[str, str, str, int], int] | None = None
        """Visitor ids by what they are made of, which is forgotten with the request."""
        self.path_rules: dict[tuple[object, str], str] = {}
        """The rule that excludes a path, or "": by the rules and the path."""


def tells_visitor(event: EventContext, run: Run) -> bool:
    """Is the address the visitor's? A server that tells none shows its own, which says nothing of who is there."""
    return not run.trusted or bool(event.beacon.ip)
