"""The way of an event: named steps in order, from a decoded beacon to an anonymised row.

    check → site → limits → privacy signal → bot → url → time → duplicate → visitor → session → row

Each step either lets the event go on, drops it (a `DropReason`: accepted, counted, not
kept) or rejects it (a `Rejection`: the client is told). A fault in a side field is mended,
or the field left out, with a warning. Steps that read only the
request (signal, bot, place, agent) run once per request. What a session's first event
brought is worked out only when a session begins; later events reuse it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import count

import msgspec

from analytics_server.access.sites import Sites, valid_site_id
from analytics_server.collect.address import bare, network_of
from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.agent import AgentParser
from analytics_server.collect.enrich.bot import BotDetector
from analytics_server.collect.enrich.first_touch import FirstTouch
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.collect.enrich.privacy_signal import privacy_signal
from analytics_server.collect.enrich.referrer import ReferrerClassifier
from analytics_server.collect.enrich.url import CleanUrl, UrlCleaner
from analytics_server.collect.enrich.values import DetailReader, Reject, identifier, storable
from analytics_server.collect.formats.beacon import Beacon, Rejection, parse_event_id, parse_timestamp
from analytics_server.collect.formats.warnings import WarningCode, Warnings
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import Session, Sessions
from analytics_server.collect.identity.visitor import DAY_S, VisitorHasher
from analytics_server.collect.limits import RateLimiter
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.model import Row, Site

DAY_MS = DAY_S * 1000
OLDEST_MS = 946_684_800_000
"""2000-01-01: the earliest time an import may carry."""
SESSION_ID_CHARS = 64
USER_ID_CHARS = 256
Note = Callable[[str, str, int, str], None]
"""Site as it was sent, reason, number of events, and what there is to say beyond the reason."""
_NO_PAGE = CleanUrl("", "", {})


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
        self.event_ids: list[tuple[str, bytes]] = []
        self.repeated: list[tuple[str, bytes]] = []
        self.losses = 0
        self.clamped = 0
        self.limited = 0
        self.unknown_sites = 0

    def drop(self, reason: DropReason, events: int = 1) -> None:
        self.dropped[reason.value] = self.dropped.get(reason.value, 0) + events


class Parts(msgspec.Struct, frozen=True):
    """The parts the steps are made of."""

    sites: Sites
    urls: UrlCleaner
    bots: BotDetector
    agents: AgentParser
    geo: GeoLocator
    referrers: ReferrerClassifier
    visitors: VisitorHasher
    sessions: Sessions
    duplicates: Duplicates
    site_limiter: RateLimiter
    new_sites: RateLimiter
    """By the sender's network: how many sites its first events may make."""


class Run:
    """One request's events on their way through the steps, in order of their times."""

    __slots__ = (
        *("at", "events", "now_ms", "origin", "outcome", "page", "people"),
        *("text", "title", "trusted", "url", "visitors"),
    )

    def __init__(self, origin: Origin, now_ms: int, most_warnings: int) -> None:
        self.outcome = Outcome(most_warnings)
        self.origin = origin
        self.trusted = origin.trusted
        self.now_ms = now_ms
        self.events: list[tuple[int | None, int, Beacon]] = []
        self.at = 0
        self.url = ""
        self.page = _NO_PAGE
        self.title: str | None = None
        self.text = ""
        """The last event's, and what is kept of them: those that follow are often on the same page."""
        self.people: set[str] = set()
        """User agents that are no bots."""
        self.visitors: dict[tuple[str, str, str, int], int] = {}
        """Visitor ids by what they are made of, which is forgotten with the request."""


class Pipeline:
    """Turns decoded events into rows. `clock` gives seconds since 1970."""

    def __init__(
        self,
        parts: Parts,
        settings: CollectSection,
        limits: LimitsSection,
        clock: Callable[[], float],
        note: Note = lambda site, reason, events, message: None,
    ) -> None:
        """`note` hears of each event that is dropped (but for duplicates, which are counted once) or rejected."""
        self._parts = parts
        self._settings = settings
        self._limits = limits
        self._clock = clock
        self._note = note
        self._details = DetailReader(parts.urls, limits, mask=settings.mask_emails)
        self._touch = FirstTouch(parts.urls, parts.referrers, parts.agents, parts.geo)
        self._next_id = count(int.from_bytes(os.urandom(9), "big")).__next__

    def run(self, beacons: list[tuple[int, Beacon]], origin: Origin) -> Outcome:
        """All events of one request; order of the rows is order of time."""
        run = self.begin(beacons, origin)
        self.go_on(run, len(run.events))
        return run.outcome

    def begin(self, beacons: list[tuple[int, Beacon]], origin: Origin) -> Run:
        """The steps that read only the request; then `go_on` with its events, if any are left."""
        run = Run(origin, int(self._clock() * 1000), self._limits.warnings)
        settings = self._settings
        signal = privacy_signal(
            origin.dnt, origin.gpc, respect_dnt=settings.respect_dnt, respect_gpc=settings.respect_gpc
        )
        if signal is not None:
            self._drop_all(signal, beacons, run)
            return run
        if settings.drop_bots and not origin.trusted:
            reason = self._parts.bots.is_bot(
                origin.user_agent, sec_purpose=origin.sec_purpose, purpose=origin.purpose, x_moz=origin.x_moz
            )
            if reason is not None:
                self._drop_all(reason, beacons, run)
                return run
        run.events = [(self._time_or_none(beacon, index, run), index, beacon) for index, beacon in beacons]
        if len(beacons) > 1:
            run.events.sort(key=_by_time)
        return run

    def go_on(self, run: Run, most: int) -> None:
        """Take the next events, at most so many, through all steps.

        Each event is done as a whole: between two calls other requests may be taken.
        """
        start, run.at = run.at, run.at + most
        for ts_ms, index, beacon in run.events[start : run.at]:
            try:
                self._steps(beacon, ts_ms, run, index)
            except Reject as rejection:
                run.outcome.rejected.append(Rejection(index, rejection.code, rejection.message))
                self._note(beacon.site, rejection.code, 1, rejection.message)

    def _steps(self, beacon: Beacon, ts_ms: int | None, run: Run, index: int) -> None:
        parts, outcome, origin = self._parts, run.outcome, run.origin
        outcome.index = index
        # check: shapes are right already, now the values
        name = beacon.name
        if len(name) > self._limits.name_chars or not storable(name):
            raise Reject("bad_name", f"name must be at most {self._limits.name_chars} printable characters.")
        session_id, user_id = beacon.session_id or "", beacon.user_id or ""
        if session_id:
            session_id = identifier("session_id", session_id, SESSION_ID_CHARS, outcome)
        if user_id:
            user_id = identifier("user_id", user_id, USER_ID_CHARS, outcome)
        if ts_ms is None:
            raise Reject("bad_timestamp", "timestamp must be ISO 8601 or an epoch number, since the year 2000.")
        # site
        site = parts.sites.get(beacon.site) or self._site(beacon.site, run)
        site_id = site.site_id
        # limits
        if not parts.site_limiter.allow(site_id):
            outcome.limited += 1
            raise Reject("too_many_requests", f"The site {site_id!r} sends more events than it may. Try again later.")
        # bot, for a server that tells its visitor's user agent
        user_agent = origin.user_agent
        if run.trusted and beacon.user_agent is not None:
            user_agent = beacon.user_agent
            if user_agent not in run.people and self._settings.drop_bots:
                if (reason := parts.bots.is_bot(user_agent)) is not None:
                    self._drop(reason, site_id, outcome)
                    return
                run.people.add(user_agent)
        # url
        page = run.page if run.url and run.url == beacon.url else self._page(beacon.url, name, run)
        if (
            site.allowed_hosts
            and page.hostname not in site.allowed_hosts
            and (page.hostname or not run.trusted)  # a server's own event needs no page
        ):
            about = f"The page's host {page.hostname!r} is not among the site's allowed hosts." if page.hostname else ""
            self._drop(DropReason.HOSTNAME, site_id, outcome, about)
            return
        details = self._details.read(beacon, name, outcome)
        # duplicate: counted once, but the client did nothing wrong
        event_id = parse_event_id(beacon.event_id) if beacon.event_id is not None else None
        if event_id is None:
            if beacon.event_id is not None:
                outcome.warn("event_id", WarningCode.LEFT_OUT)
            event_id = self._new_event_id(run.now_ms)
        else:
            key = (site_id, event_id)
            if parts.duplicates.seen(key):
                outcome.drop(DropReason.DUPLICATE)
                outcome.repeated.append(key)
                return
            outcome.event_ids.append(key)
        # visitor
        address = origin.address
        if run.trusted and beacon.ip:
            address = bare(beacon.ip) or beacon.ip
        person = beacon.user_id or ""  # also one that is too long to be stored: nobody else's
        by_user = run.trusted and person and beacon.ip is None and beacon.user_agent is None
        day = ts_ms // DAY_MS
        if by_user:
            visitor_id = parts.visitors.identify_user(site_id, person, day)
        else:
            visitor_id = self._visitor(site_id, address, user_agent, day, run)
        # session, with what its first event brought
        session = parts.sessions.of_client(site_id, session_id) if session_id else None
        if session is None and not session_id:
            session = parts.sessions.of_visitor(site_id, visitor_id, ts_ms)
            if session is None and not by_user and ts_ms % DAY_MS < self._settings.session_timeout_s * 1000:
                session = self._over_midnight(site_id, address, user_agent, visitor_id, ts_ms)
        if session is None:
            attributes = self._touch.read(beacon, page, address, user_agent, origin.language)
            if attributes is None:
                self._drop(DropReason.SPAM_REFERRER, site_id, outcome)
                return
            if session_id:
                session = parts.sessions.open_client(site_id, session_id, ts_ms, attributes)
            else:
                session = parts.sessions.open_visitor(site_id, visitor_id, ts_ms, attributes)
            ts_us = ts_ms * 1000
        else:
            ts_us = session.place(ts_ms)
        # row, in the order of model.COLUMNS
        if beacon.title != run.title:
            run.title, run.text = beacon.title, self._details.text(beacon.title, self._limits.title_chars)
        head = (site_id, ts_us, name, event_id, session.session_id, session.start_us, visitor_id, user_id)
        outcome.rows.append((*head, page.hostname, page.path, run.text, *session.attributes, *details))

    def _drop(self, reason: DropReason, site_id: str, outcome: Outcome, about: str = "") -> None:
        outcome.drop(reason)
        self._note(site_id, reason.value, 1, about)

    def _drop_all(self, reason: DropReason, beacons: list[tuple[int, Beacon]], run: Run) -> None:
        """For what the request as a whole says."""
        run.outcome.drop(reason, len(beacons))
        for site, events in Counter(beacon.site for _, beacon in beacons).items():
            self._note(site, reason.value, events, "")

    def _site(self, text: str, run: Run) -> Site:
        """The site of an event that names none that is known as it is spelt."""
        site_id = valid_site_id(text)
        if not site_id:
            raise Reject("bad_site", "site must be a name such as example.com, at most 128 characters.")
        sites, sender = self._parts.sites, network_of(run.origin.address)
        if not run.trusted and sites.may_create(site_id) and not self._parts.new_sites.allow(sender):
            run.outcome.limited += 1
            raise Reject("too_many_requests", "This address has sent events of too many new sites. Try again later.")
        site = sites.get_or_create(site_id)
        if site is None:
            run.outcome.unknown_sites += 1
            raise Reject("unknown_site", f"The site {site_id!r} does not exist on this server.")
        return site

    def _time_or_none(self, beacon: Beacon, index: int, run: Run) -> int | None:
        """The event's time in epoch milliseconds; a public one too far off is clamped and counted."""
        now_ms = run.now_ms
        if beacon.timestamp is None and beacon.sent_at is None:
            return now_ms
        ts_ms = now_ms if beacon.timestamp is None else parse_timestamp(beacon.timestamp)
        if ts_ms is None:
            return None
        if beacon.sent_at is not None:
            ts_ms = self._corrected(ts_ms, beacon, index, run)
        latest = now_ms + self._settings.max_future_s * 1000
        if run.trusted:
            earliest = OLDEST_MS
            if ts_ms < earliest:
                return None
        else:
            earliest = now_ms - self._settings.max_past_s * 1000
        clamped = min(max(ts_ms, earliest), latest)
        if clamped != ts_ms:
            run.outcome.clamped += 1
        return clamped

    def _corrected(self, ts_ms: int, beacon: Beacon, index: int, run: Run) -> int:
        """The time by this server's clock: `timestamp` and `sent_at` are off by the same."""
        sent_ms = parse_timestamp(beacon.sent_at) if beacon.sent_at is not None else None
        if sent_ms is not None:
            if beacon.timestamp is None:
                return ts_ms
            corrected_ms = run.now_ms - max(0, sent_ms - ts_ms)
            if corrected_ms >= OLDEST_MS:
                return corrected_ms
        run.outcome.index = index
        run.outcome.warn("sent_at", WarningCode.LEFT_OUT)
        return ts_ms

    def _page(self, url: str | None, name: str, run: Run) -> CleanUrl:
        if not url:
            if name == "pageview":
                raise Reject("missing_url", "A pageview needs a url.")
            return _NO_PAGE
        page = self._parts.urls.clean(url)
        if page is None:
            raise Reject(
                "bad_url",
                f"url must be an absolute http or https address of at most {self._limits.url_chars} characters.",
            )
        run.url, run.page = url, page
        return page

    def _new_event_id(self, now_ms: int) -> bytes:
        # UUID version 7: milliseconds, then a counter that starts at random in each process
        number = self._next_id() & _COUNTER_MASK
        high = now_ms << 16 | 0x7000 | number >> 62
        return (high << 64 | 1 << 63 | number & _LOW_MASK).to_bytes(16, "big")

    def _visitor(self, site_id: str, address: str, user_agent: str, day: int, run: Run) -> int:
        identify = self._parts.visitors.identify
        if len(run.events) == 1:  # nothing to remember it for
            return identify(site_id, address, user_agent, day)
        who = (site_id, address, user_agent, day)
        known = run.visitors.get(who)
        if known is None:
            known = run.visitors[who] = identify(*who)
        return known

    def _over_midnight(
        self, site_id: str, address: str, user_agent: str, visitor_id: int, ts_ms: int
    ) -> Session | None:
        """Just after midnight UTC the visitor has a new id: the session goes on under both."""
        before = self._parts.visitors.identify(site_id, address, user_agent, ts_ms // DAY_MS - 1)
        session = self._parts.sessions.of_visitor(site_id, before, ts_ms)
        if session is not None and visitor_id:
            self._parts.sessions.attach(site_id, visitor_id, session)
        return session


_COUNTER_MASK = (1 << 74) - 1
_LOW_MASK = (1 << 62) - 1


def _by_time(item: tuple[int | None, int, Beacon]) -> int:
    return item[0] or 0
