"""The live hub: the last half hour of every site, fed by each accepted event.

Owns the per-site counters and when their windows move. Constraints: `record` runs on
the beacon's hot path (about a microsecond, no I/O, never raises for any row), and
memory is bounded by `MAX_SITES` and `MAX_PAIRS` whatever is sent: when all is used, those with
most visitors count a sample of them, never those with few; past `MAX_SITES` the one with the fewest events makes
room, so that invented names don't keep a site out. One hub lives in one process: with several
servers behind a load balancer each shows what it took in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from analytics_server.fair_shares import fair_level
from analytics_server.live.activity import PRESENCE_US, SiteActivity
from analytics_server.live.ranking import WINDOW_MINUTES
from analytics_server.model import COLUMN_INDEX, PAGEVIEW, Row

MAX_SITES = 1_000
MAX_PAIRS = 400_000
MAX_PAIRS_OF_SITE = 20_000
MIN_PAIRS_OF_SITE = 256
MAKE_ROOM_S = 1.0
TOP_PAGES = 10
TOP_OTHERS = 10

_MINUTE_US = 60_000_000
_SITE = COLUMN_INDEX["site_id"]
_TS = COLUMN_INDEX["ts"]
_NAME = COLUMN_INDEX["name"]
_VISITOR = COLUMN_INDEX["visitor_id"]
_PATH = COLUMN_INDEX["path"]
_SOURCE = COLUMN_INDEX["source"]
_COUNTRY = COLUMN_INDEX["country"]

Snapshot = dict[str, object]


class SeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """`count` equal events, the newest of them at `ts` (microseconds since the epoch)."""

    site_id: str
    ts: int
    name: str
    visitor_id: int
    path: str
    source: str
    country: str
    count: int = 1


class Hub:
    """Live counters of all sites. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minute = int(clock() // 60)
        self._sites: dict[str, SiteActivity] = {}
        self._made_room_at = -MAKE_ROOM_S

    def record(self, rows: Iterable[Row]) -> None:
        """Count accepted events; one older than the window is ignored."""
        now_minute = int(self._clock() // 60)
        if now_minute != self._minute:
            self._advance(now_minute)
        sites = self._sites
        oldest = now_minute - WINDOW_MINUTES
        for row in rows:
            ts: int = row[_TS]  # type: ignore[assignment]
            minute = ts // _MINUTE_US
            if minute > now_minute:
                minute = now_minute
            elif minute <= oldest:
                continue
            site = sites.get(row[_SITE])  # type: ignore[call-overload]
            if site is None:
                site = self._open(str(row[_SITE]))
                if site is None:
                    continue
            name = row[_NAME]
            site.record(minute, ts, name, name == PAGEVIEW, row[_VISITOR], row[_PATH], row[_SOURCE], row[_COUNTRY])

    def seed(self, rows: Iterable[SeedRow]) -> None:
        """Count what was stored before this process started."""
        now_minute = self._current_minute()
        for row in rows:
            minute = min(row.ts // _MINUTE_US, now_minute)
            if minute <= now_minute - WINDOW_MINUTES:
                continue
            site = self._sites.get(row.site_id) or self._open(row.site_id)
            if site is not None:
                site.record(
                    minute,
                    row.ts,
                    row.name,
                    row.name == PAGEVIEW,
                    row.visitor_id,
                    row.path,
                    row.source,
                    row.country,
                    row.count,
                )

    def snapshot(self, site_id: str) -> Snapshot:
        """What the live view shows of one site; zeros for one without events.

        `visitors` covers the last 5 minutes to the microsecond; everything else the
        current calendar minute and the 29 before it. `events_seen` only ever grows
        while the site stays active: it tells a reader that there is something new.
        """
        minute = self._current_minute()
        now_us = int(self._clock() * 1_000_000)
        site = self._sites.get(site_id) or SiteActivity(minute, 1)
        return {
            "visitors": site.visitors(now_us - PRESENCE_US),
            "pageviews_per_minute": site.pageviews(),
            "pages": [{"path": label, "visitors": n} for label, n in site.pages.top(TOP_PAGES)],
            "sources": [{"source": label, "visitors": n} for label, n in site.sources.top(TOP_OTHERS)],
            "countries": [{"country": label, "visitors": n} for label, n in site.countries.top(TOP_OTHERS)],
            "events": [{"name": name, "count": n} for name, n in site.event_counts(TOP_OTHERS)],
            "events_seen": site.events_seen,
            "at_ms": now_us // 1_000,
        }

    def _current_minute(self) -> int:
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._advance(minute)
        return minute

    def _advance(self, minute: int) -> None:
        """Move every site's window; a clock set back starts the windows afresh."""
        if minute < self._minute:
            self._sites.clear()
        self._minute = minute
        since_us = int(self._clock() * 1_000_000) - PRESENCE_US
        idle = [site_id for site_id, site in self._sites.items() if not site.advance(minute, since_us)]
        for site_id in idle:
            del self._sites[site_id]
        self._share_out()

    def _open(self, site_id: str) -> SiteActivity | None:
        if len(self._sites) >= MAX_SITES and not self._make_room():
            return None
        site = self._sites[site_id] = SiteActivity(self._minute, MIN_PAIRS_OF_SITE, self._share_out)
        return site

    def _make_room(self) -> bool:
        """Give up the site with the fewest events, at most once a second; False when it is too early for another."""
        now = self._clock()
        if 0 <= now - self._made_room_at < MAKE_ROOM_S:
            return False
        self._made_room_at = now
        del self._sites[min(self._sites, key=lambda site_id: self._sites[site_id].events_seen)]
        return True

    def _share_out(self) -> None:
        """Each site may keep what it wants, as far as all of that fits."""
        wanted = {
            site_id: min(MAX_PAIRS_OF_SITE, max(MIN_PAIRS_OF_SITE, site.wanted()))
            for site_id, site in self._sites.items()
        }
        level = fair_level(wanted, MAX_PAIRS)
        for site_id, site in self._sites.items():
            site.cap = min(wanted[site_id], level)
