"""The way of an event: named steps in order, from a decoded beacon to an anonymised row.

    check → site → limits → privacy signal → bot → url → time → duplicate → visitor → session → row

Each step either lets the event go on, drops it (a `DropReason`: accepted, counted, not
kept) or rejects it (a `Rejection`: the client is told). Steps that read only the
request (signal, bot, place, agent) run once per request. What a session's first event
brought is worked out only when a session begins; later events reuse it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count

import msgspec

from analytics_server.access.sites import Sites, valid_site_id
from analytics_server.collect.agent import AgentParser
from analytics_server.collect.bot import BotDetector
from analytics_server.collect.campaign import NO_CAMPAIGN, campaign
from analytics_server.collect.channel import channel, source
from analytics_server.collect.drops import DropReason
from analytics_server.collect.duplicates import Duplicates
from analytics_server.collect.geo import GeoLocator
from analytics_server.collect.limits import RateLimiter
from analytics_server.collect.payload import Beacon, Rejection, parse_event_id, parse_timestamp
from analytics_server.collect.referrer import DIRECT, SPAM, ReferrerClassifier
from analytics_server.collect.session import Attributes, Session, Sessions
from analytics_server.collect.signal import privacy_signal
from analytics_server.collect.url import CleanUrl, UrlCleaner
from analytics_server.collect.values import DetailReader, Reject, identifier, language_of, screen_of, storable
from analytics_server.collect.visitor import DAY_S, VisitorHasher
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.model import Row

DAY_MS = DAY_S * 1000
OLDEST_MS = 946_684_800_000
"""2000-01-01: the earliest time an import may carry."""
SESSION_ID_CHARS = 64
USER_ID_CHARS = 256


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


class Outcome:
    """What became of a request's events."""

    __slots__ = (
        *("clamped", "dropped", "event_ids", "limited", "losses"),
        *("rejected", "repeated", "rows", "unknown_sites"),
    )

    def __init__(self) -> None:
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


class Pipeline:
    """Turns decoded events into rows. `clock` gives seconds since 1970."""

    def __init__(
        self, parts: Parts, settings: CollectSection, limits: LimitsSection, clock: Callable[[], float]
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._limits = limits
        self._clock = clock
        self._details = DetailReader(parts.urls, limits, mask=settings.mask_emails)
        self._next_id = count(int.from_bytes(os.urandom(9), "big")).__next__

    def run(self, beacons: list[tuple[int, Beacon]], origin: Origin) -> Outcome:
        """All events of one request; order of the rows is order of time."""
        outcome = Outcome()
        settings = self._settings
        signal = privacy_signal(
            origin.dnt, origin.gpc, respect_dnt=settings.respect_dnt, respect_gpc=settings.respect_gpc
        )
        if signal is not None:
            outcome.drop(signal, len(beacons))
            return outcome
        if settings.drop_bots and not origin.trusted:
            reason = self._parts.bots.is_bot(
                origin.user_agent, sec_purpose=origin.sec_purpose, purpose=origin.purpose, x_moz=origin.x_moz
            )
            if reason is not None:
                outcome.drop(reason, len(beacons))
                return outcome
        now_ms = int(self._clock() * 1000)
        if len(beacons) == 1:
            index, beacon = beacons[0]
            self._one(index, beacon, self._time_or_none(beacon, now_ms, origin, outcome), origin, now_ms, outcome)
            return outcome
        timed = [(self._time_or_none(beacon, now_ms, origin, outcome), index, beacon) for index, beacon in beacons]
        timed.sort(key=_by_time)
        for ts_ms, index, beacon in timed:
            self._one(index, beacon, ts_ms, origin, now_ms, outcome)
        return outcome

    def _one(
        self, index: int, beacon: Beacon, ts_ms: int | None, origin: Origin, now_ms: int, outcome: Outcome
    ) -> None:
        try:
            self._steps(beacon, ts_ms, origin, now_ms, outcome)
        except Reject as rejection:
            outcome.rejected.append(Rejection(index, rejection.code, rejection.message))

    def _steps(self, beacon: Beacon, ts_ms: int | None, origin: Origin, now_ms: int, outcome: Outcome) -> None:
        parts, limits = self._parts, self._limits
        # check: shapes are right already, now the values
        name = beacon.name
        if len(name) > limits.name_chars or not storable(name):
            raise Reject("bad_name", f"name must be at most {limits.name_chars} printable characters.")
        session_id = identifier("session_id", beacon.session_id, SESSION_ID_CHARS)
        user_id = identifier("user_id", beacon.user_id, USER_ID_CHARS)
        if ts_ms is None:
            raise Reject("bad_timestamp", "timestamp must be ISO 8601 or epoch milliseconds, since the year 2000.")
        # site
        site_id = beacon.site
        site = parts.sites.get(site_id)
        if site is None:
            site_id = valid_site_id(site_id)
            if not site_id:
                raise Reject("bad_site", "site must be a name such as example.com, at most 128 characters.")
            site = parts.sites.get_or_create(site_id)
            if site is None:
                outcome.unknown_sites += 1
                raise Reject("unknown_site", f"The site {site_id!r} does not exist on this server.")
        # limits
        if not parts.site_limiter.allow(site_id):
            outcome.limited += 1
            raise Reject("too_many_requests", f"The site {site_id!r} sends more events than it may. Try again later.")
        # bot, for a server that tells its visitor's user agent
        user_agent = origin.user_agent
        if origin.trusted and beacon.user_agent is not None:
            user_agent = beacon.user_agent
            if self._settings.drop_bots:
                reason = parts.bots.is_bot(user_agent)
                if reason is not None:
                    outcome.drop(reason)
                    return
        # url
        page = self._page(beacon.url, name)
        if (
            site.allowed_hosts
            and page.hostname not in site.allowed_hosts
            and (page.hostname or not origin.trusted)  # a server's own event needs no page
        ):
            outcome.drop(DropReason.HOSTNAME)
            return
        details = self._details.read(beacon, name)
        # duplicate: counted once, but the client did nothing wrong
        event_id = self._event_id(beacon.event_id, now_ms)
        if beacon.event_id is not None:
            if parts.duplicates.seen(site_id, event_id):
                outcome.drop(DropReason.DUPLICATE)
                outcome.repeated.append((site_id, event_id))
                return
            outcome.event_ids.append((site_id, event_id))
        # visitor
        address = origin.address
        day = ts_ms // DAY_MS
        if origin.trusted:
            address = beacon.ip or address
        by_user = origin.trusted and user_id and beacon.ip is None and beacon.user_agent is None
        if by_user:
            visitor_id = parts.visitors.identify_user(site_id, user_id, day)
        else:
            visitor_id = parts.visitors.identify(site_id, address, user_agent, day)
        # session, with what its first event brought
        session = parts.sessions.of_client(site_id, session_id) if session_id else None
        if session is None and not session_id:
            session = parts.sessions.of_visitor(site_id, visitor_id, ts_ms)
            if session is None and not by_user and ts_ms % DAY_MS < self._settings.session_timeout_s * 1000:
                session = self._over_midnight(site_id, address, user_agent, visitor_id, ts_ms)
        if session is None:
            attributes = self._first_touch(beacon, page, address, user_agent, origin)
            if attributes is None:
                outcome.drop(DropReason.SPAM_REFERRER)
                return
            if session_id:
                session = parts.sessions.open_client(site_id, session_id, ts_ms, attributes)
            else:
                session = parts.sessions.open_visitor(site_id, visitor_id, ts_ms, attributes)
            ts_us = ts_ms * 1000
        else:
            ts_us = session.place(ts_ms)
        # row, in the order of model.COLUMNS
        title = beacon.title
        outcome.rows.append(
            (
                site_id,
                ts_us,
                name,
                event_id,
                session.session_id,
                session.start_us,
                visitor_id,
                user_id,
                page.hostname,
                page.path,
                self._details.text(title, limits.title_chars) if title else "",
                *session.attributes,
                *details,
            )
        )

    def _time_or_none(self, beacon: Beacon, now_ms: int, origin: Origin, outcome: Outcome) -> int | None:
        """The event's time in epoch milliseconds; a public one too far off is clamped and counted."""
        if beacon.timestamp is None:
            return now_ms
        ts_ms = parse_timestamp(beacon.timestamp)
        if ts_ms is None:
            return None
        latest = now_ms + self._settings.max_future_s * 1000
        if origin.trusted:
            earliest = OLDEST_MS
            if ts_ms < earliest:
                return None
        else:
            earliest = now_ms - self._settings.max_past_s * 1000
        clamped = min(max(ts_ms, earliest), latest)
        if clamped != ts_ms:
            outcome.clamped += 1
        return clamped

    def _page(self, url: str | None, name: str) -> CleanUrl:
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
        return page

    def _event_id(self, text: str | None, now_ms: int) -> bytes:
        if text is None:
            # UUID version 7: milliseconds, then a counter that starts at random in each process
            number = self._next_id() & _COUNTER_MASK
            high = now_ms << 16 | 0x7000 | number >> 62
            return (high << 64 | 1 << 63 | number & _LOW_MASK).to_bytes(16, "big")
        event_id = parse_event_id(text)
        if event_id is None:
            raise Reject("bad_event_id", "event_id must be a UUID.")
        return event_id

    def _over_midnight(
        self, site_id: str, address: str, user_agent: str, visitor_id: int, ts_ms: int
    ) -> Session | None:
        """Just after midnight UTC the visitor has a new id: the session goes on under both."""
        before = self._parts.visitors.identify(site_id, address, user_agent, ts_ms // DAY_MS - 1)
        session = self._parts.sessions.of_visitor(site_id, before, ts_ms)
        if session is not None and visitor_id:
            self._parts.sessions.attach(site_id, visitor_id, session)
        return session

    def _first_touch(
        self, beacon: Beacon, page: CleanUrl, address: str, user_agent: str, origin: Origin
    ) -> Attributes | None:
        """What the session's first event brings; None when its referrer is spam."""
        parts = self._parts
        tags = campaign(page.query) if page.query else NO_CAMPAIGN
        cleaned = parts.urls.clean_referrer(beacon.referrer) if beacon.referrer else None
        referrer = parts.referrers.classify(cleaned.host, page.hostname) if cleaned is not None else DIRECT
        if referrer.kind == SPAM:
            return None
        if referrer is DIRECT:
            cleaned = None
        name, kind = source(tags, referrer, parts.referrers)
        place = parts.geo.locate(address)
        agent = parts.agents.parse(user_agent)
        screen = beacon.screen
        size = ""
        if screen is not None and screen.width and screen.height:
            size = screen_of(screen.width, screen.height)
        return (
            cleaned.text if cleaned is not None else "",
            name,
            channel(name, kind, tags, cleaned is not None).value,
            tags.utm_source,
            tags.utm_medium,
            tags.utm_campaign,
            tags.utm_content,
            tags.utm_term,
            place.country,
            place.region,
            place.city,
            agent.browser,
            agent.browser_version,
            agent.os,
            agent.os_version,
            agent.device,
            size,
            language_of(beacon.language or origin.language),
        )


_NO_PAGE = CleanUrl("", "", {})
_COUNTER_MASK = (1 << 74) - 1
_LOW_MASK = (1 << 62) - 1


def _by_time(item: tuple[int | None, int, Beacon]) -> int:
    return item[0] or 0
