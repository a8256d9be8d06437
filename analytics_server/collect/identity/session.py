"""Open sessions, in memory: which session an event belongs to, and its first touch.

A session from the client lives as long as the client names it. Without one, the
server opens a session per visitor and closes it after `timeout_s` without an event. A passive
event (it only tells more about a page view) still finds it `PASSIVE_S` long, and doesn't open it again.
What the first event brought (source, campaign, country, device …) is fixed then and
written on every event of the session: first touch needs no join later. Bounded: when the
memory is full the least recently used session of the site that holds most goes first, so
that what one site is sent never ends the sessions of another. After a restart the sessions
that may still go on are read back from ClickHouse.
"""

from __future__ import annotations

import random
import re
from collections import OrderedDict
from collections.abc import Callable

from analytics_server.fair_shares import SiteShares
from analytics_server.model import Attributes

MILLION = 1_000_000
MAX_PER_VISITOR = 4
SERVER_MARK = "s"
CLIENT_MARK = "c"
OWN_ID = "^s[0-9a-f]{16}$"
"""What a session id of the server looks like, as a regular expression; no client's id looks so (`foreign_id`)."""
DAY_US = 86_400 * MILLION

PASSIVE_S = 86_400
"""So long after its last event a session takes passive ones."""

_random_bits = random.getrandbits


class Session:
    """One open session. Times are microseconds since 1970, UTC; `last_us` is the last event that kept it open."""

    __slots__ = ("attributes", "first_us", "last_us", "seen_at", "session_id", "start_us", "visitor_id")

    def __init__(
        self, session_id: str, start_us: int, attributes: Attributes, seen_at: float, visitor_id: int = 0
    ) -> None:
        self.visitor_id = visitor_id
        """Of the day on which the session was opened, the one seen last; 0 if none is kept."""
        self.session_id = session_id
        self.start_us = start_us
        self.first_us = start_us
        self.last_us = start_us
        self.attributes = attributes
        self.seen_at = seen_at

    def place(self, ts_ms: int) -> int:
        """The event's time in microseconds: within one millisecond events keep the order they came in."""
        ts_us, last_us = ts_ms * 1000, self.last_us
        if last_us // 1000 == ts_ms:
            ts_us = last_us if last_us == ts_us + 999 else last_us + 1
        if ts_us > last_us:
            self.last_us = ts_us
        elif ts_us < self.first_us:
            self.first_us = ts_us
        return ts_us

    def visitor_of(self, visitor_id: int, ts_ms: int) -> int:
        """The visitor of an active event: over midnight UTC, when hashes change, the session keeps its own."""
        if visitor_id == self.visitor_id or not visitor_id:
            return visitor_id
        if self.visitor_id and ts_ms * 1000 // DAY_US != self.start_us // DAY_US:
            return self.visitor_id
        self.visitor_id = visitor_id
        return visitor_id

    def widen(self, other: Session) -> None:
        """Take in the times of another part of the same session."""
        self.first_us = min(self.first_us, other.first_us)
        self.last_us = max(self.last_us, other.last_us)


class _SiteSessions:
    """One site's open sessions, the least recently used first."""

    __slots__ = ("by_client", "by_visitor")

    def __init__(self) -> None:
        self.by_client: OrderedDict[str, Session] = OrderedDict()
        self.by_visitor: OrderedDict[int, list[Session]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.by_client) + len(self.by_visitor)

    def pop_oldest(self) -> None:
        """Forget one, of the kind there are more of."""
        if len(self.by_client) > len(self.by_visitor):
            self.by_client.popitem(last=False)
        else:
            self.by_visitor.popitem(last=False)


class Sessions:
    """The open sessions of all sites; `clock` is the arrival time in seconds."""

    def __init__(
        self,
        *,
        timeout_s: int,
        client_timeout_s: int,
        capacity: int,
        clock: Callable[[], float],
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self._timeout_us = timeout_s * MILLION
        self._kept_s = max(timeout_s, PASSIVE_S)
        self._client_timeout_s = client_timeout_s
        self._capacity = capacity
        self._clock = clock
        self._new_id = new_id or new_session_id
        self._sites: dict[str, _SiteSessions] = {}
        self.restored_until_us = 0
        """Until then an active event may go on with a session that a former run opened, perhaps the day before."""
        self._shares = SiteShares()
        self._latest: tuple[str, int, Session] | None = None
        """Site, visitor and session of the last event, while it is the visitor's only one and the most recently used:
        the next event is often of the same visitor."""

    def __len__(self) -> int:
        return self._shares.total

    def of_client(self, site_id: str, session_id: str) -> Session | None:
        """The open session of that id, or None."""
        site = self._sites.get(site_id)
        if site is None:
            return None
        session = site.by_client.get(session_id)
        if session is not None:
            site.by_client.move_to_end(session_id)
            session.seen_at = self._clock()
        return session

    def of_visitor(self, site_id: str, visitor_id: int, ts_ms: int) -> Session | None:
        """The visitor's session that is open at that time, or None."""
        latest = self._latest
        if latest is not None and latest[1] == visitor_id and latest[0] == site_id:
            session, ts_us, timeout_us = latest[2], ts_ms * 1000, self._timeout_us
            if session.first_us - timeout_us <= ts_us <= session.last_us + timeout_us:
                session.seen_at = self._clock()
                return session
        return self._find(site_id, visitor_id, ts_ms, self._timeout_us)

    def before_passive(self, site_id: str, visitor_id: int, ts_ms: int) -> Session | None:
        """The visitor's latest session before a passive event that finds none open, or None."""
        return self._find(site_id, visitor_id, ts_ms, PASSIVE_S * MILLION)

    def _find(self, site_id: str, visitor_id: int, ts_ms: int, after_us: int) -> Session | None:
        site = self._sites.get(site_id)
        if site is None:
            return None
        by_visitor = site.by_visitor
        sessions = by_visitor.get(visitor_id)
        if sessions is None:
            return None
        ts_us, timeout_us = ts_ms * 1000, self._timeout_us
        for session in reversed(sessions):
            if session.first_us - timeout_us <= ts_us <= session.last_us + after_us:
                by_visitor.move_to_end(visitor_id)
                session.seen_at = self._clock()
                self._latest = (site_id, visitor_id, session) if len(sessions) == 1 else None
                return session
        return None

    def open_client(
        self, site_id: str, session_id: str, ts_ms: int, attributes: Attributes, visitor_id: int = 0
    ) -> Session:
        """Begin the session that the client named."""
        session = Session(session_id, ts_ms * 1000, attributes, self._clock(), visitor_id)
        self._put_client(site_id, session_id, session)
        return session

    def open_visitor(self, site_id: str, visitor_id: int, ts_ms: int, attributes: Attributes) -> Session:
        """Begin a session of the server's own; without a visitor (0) no later event can join it."""
        session = Session(self._new_id(), ts_ms * 1000, attributes, self._clock(), visitor_id)
        if visitor_id:
            self.attach(site_id, visitor_id, session)
        return session

    def attach(self, site_id: str, visitor_id: int, session: Session) -> None:
        """Let a visitor's id lead to a session (also the new day's id, at midnight)."""
        site = self._sites.get(site_id)
        if site is None:
            site = self._site(site_id)
        by_visitor = site.by_visitor
        sessions = by_visitor.get(visitor_id)
        if sessions is None:
            by_visitor[visitor_id] = [session]
            self._latest = (site_id, visitor_id, session)
            self._count_new(site_id)
            return
        self._latest = None
        sessions.append(session)
        sessions.sort(key=_by_time)
        del sessions[:-MAX_PER_VISITOR]
        by_visitor.move_to_end(visitor_id)

    def restore(
        self,
        site_id: str,
        session_id: str,
        visitor_ids: list[int],
        times_us: tuple[int, int, int],
        attributes: Attributes,
    ) -> None:
        """Take back a session that a former run opened; `times_us`: opened, first event, and last that kept it open.

        `visitor_ids`: the first is the session's own. One that was taken back before grows by these times.
        """
        own = next(iter(visitor_ids), 0)
        session = Session(session_id, times_us[0], attributes, self._clock(), own)
        session.first_us, session.last_us = times_us[1], times_us[2]
        self.restored_until_us = max(self.restored_until_us, times_us[2] + self._timeout_us)
        if is_own(session_id):
            for visitor_id in visitor_ids:
                if not visitor_id:
                    continue
                by_visitor = self._site(site_id).by_visitor
                known = by_visitor.get(visitor_id, ())
                same = next((one for one in known if one.session_id == session_id), None)
                if same is None:
                    self.attach(site_id, visitor_id, session)
                else:
                    same.widen(session)
                    same.visitor_id = own or same.visitor_id
                    by_visitor.move_to_end(visitor_id)
                    self._latest = None
            return
        by_client = self._site(site_id).by_client
        same = by_client.get(session_id)
        if same is None:
            self._put_client(site_id, session_id, session)
        else:
            same.widen(session)
            same.visitor_id = own or same.visitor_id
            by_client.move_to_end(session_id)

    def expire(self) -> int:
        """Forget sessions that can't go on; returns how many. Call it now and then."""
        self._latest = None
        now = self._clock()
        before = len(self)
        for site_id, site in list(self._sites.items()):
            size = len(site)
            while site.by_client:
                session_id, session = next(iter(site.by_client.items()))
                if now - session.seen_at <= self._client_timeout_s:
                    break
                del site.by_client[session_id]
            while site.by_visitor:
                visitor_id, sessions = next(iter(site.by_visitor.items()))
                if now - max(session.seen_at for session in sessions) <= self._kept_s:
                    break
                del site.by_visitor[visitor_id]
            if len(site) < size:
                self._shares.remove(site_id, size - len(site))
            if not len(site):
                del self._sites[site_id]
        return before - len(self)

    def _site(self, site_id: str) -> _SiteSessions:
        site = self._sites.get(site_id)
        if site is None:
            site = self._sites[site_id] = _SiteSessions()
        return site

    def _put_client(self, site_id: str, session_id: str, session: Session) -> None:
        by_client = self._site(site_id).by_client
        known = session_id in by_client
        by_client[session_id] = session
        if not known:
            self._count_new(site_id)

    def _count_new(self, site_id: str) -> None:
        """One entry more; past the capacity the site that holds most loses one."""
        shares = self._shares
        shares.add(site_id)
        while shares.total > self._capacity:
            self._latest = None
            giving = shares.largest()
            self._sites[giving].pop_oldest()
            shares.remove(giving)


_matches_own = re.compile(OWN_ID.removesuffix("$")).fullmatch


def new_session_id() -> str:
    """17 characters: a mark that the server made it, and 64 random bits (no secret: unique is enough)."""
    return SERVER_MARK + _random_bits(64).to_bytes(8, "big").hex()  # half the time of formatting the number


def is_own(session_id: str) -> bool:
    """Is it an id that `new_session_id` made?"""
    return _matches_own(session_id) is not None


def foreign_id(session_id: str) -> str:
    """A client's id such that it is none of the server's own, whose sessions begin and end by other rules."""
    return f"{CLIENT_MARK}{session_id}" if is_own(session_id) else session_id


def _by_time(session: Session) -> int:
    return session.last_us
