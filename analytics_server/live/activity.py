"""What one site's visitors did in the last half hour, in bounded memory.

Owns the counters behind one live snapshot. Constraint: nothing a client sends makes
it grow past its cap. When more visitors come than may be kept, it keeps every second
one, then every fourth, … (visitor ids are uniform hashes, so their low bits choose a
fair sample) and multiplies what it reports: exact up to the cap, within about one per
cent above it. After a peak has passed the sample is widened again, and the wider one
is reported once it has filled a whole window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from analytics_server.live.ranking import MAX_LABEL_CHARS, WINDOW_MINUTES, Ranking

PRESENCE_US = 300_000_000
MAX_EVENT_NAMES = 200

EventCounts = dict[str, int]
Presence = tuple[int, int, str, str]
"""A visitor's newest event: time, minute, source, country."""


class SiteActivity:
    """Counters of one site. Minutes are whole minutes since the epoch, times microseconds."""

    __slots__ = (
        "_count_mask",
        "_event_names",
        "_events",
        "_grow",
        "_keep_mask",
        "_pageviews",
        "_widened_at",
        "cap",
        "countries",
        "events_seen",
        "minute",
        "pages",
        "present",
        "sources",
    )

    def __init__(self, minute: int, cap: int, grow: Callable[[], None] = lambda: None) -> None:
        """`grow` is called when the cap is reached: it may raise it."""
        self.minute = minute
        self.cap = cap
        self._grow = grow
        self.events_seen = 0
        self.present: dict[int, Presence] = {}
        self.pages = Ranking()
        self.sources = Ranking()
        self.countries = Ranking()
        self._pageviews: deque[int] = deque([0] * WINDOW_MINUTES, maxlen=WINDOW_MINUTES)
        self._events: deque[EventCounts] = deque(({} for _ in range(WINDOW_MINUTES)), maxlen=WINDOW_MINUTES)
        self._event_names: EventCounts = {}
        self._keep_mask = 0
        self._count_mask = 0
        self._widened_at = 0

    def record(  # the hot path: one plain call instead of an object per event
        self,
        minute: int,
        ts: int,
        name: str,
        is_pageview: bool,
        visitor: int,
        path: str,
        source: str,
        country: str,
        count: int = 1,
    ) -> None:
        """Count one event (or `count` equal ones) of a minute inside the window."""
        age = self.minute - minute
        self.events_seen += count
        if is_pageview:
            self._pageviews[-1 - age] += count
        events = self._events[-1 - age]
        if name in events:
            events[name] += count
        else:
            self._count_new_name(events, name, count)
        if not visitor or visitor & self._keep_mask:
            return
        last = self.present.get(visitor)
        if last is None or last[1] != minute or last[2] != source or last[3] != country:
            if source:
                self.sources.add(visitor, source, minute)
            if country:
                self.countries.add(visitor, country, minute)
            if self.sources.size > self.cap or self.countries.size > self.cap:
                self._narrow()
        if last is None or ts > last[0]:
            self.present[visitor] = (ts, minute, source, country)
        if is_pageview:
            self.pages.add(visitor, path, minute)
        if (is_pageview or last is None) and (self.pages.size > self.cap or len(self.present) > self.cap):
            self._narrow()

    def _count_new_name(self, events: EventCounts, name: str, count: int) -> None:
        if name not in self._event_names:
            if len(self._event_names) >= MAX_EVENT_NAMES or len(name) > MAX_LABEL_CHARS:
                return
            self._event_names[name] = 0
        self._event_names[name] += 1
        events[name] = count

    def advance(self, minute: int, since_us: int) -> bool:
        """Move the window to end with `minute`; False when nothing is left in it."""
        steps = min(minute - self.minute, WINDOW_MINUTES)
        for _ in range(steps):
            for name in self._events[0]:
                self._event_names[name] -= 1
                if not self._event_names[name]:
                    del self._event_names[name]
            self._events.append({})
            self._pageviews.append(0)
        self.minute = minute
        for ranking in self._rankings():
            ranking.expire(minute - WINDOW_MINUTES)
        self.present = {visitor: last for visitor, last in self.present.items() if last[0] >= since_us}
        self._widen()
        return bool(self._event_names) or any(self._pageviews)

    def _rankings(self) -> tuple[Ranking, Ranking, Ranking]:
        return self.pages, self.sources, self.countries

    def wanted(self) -> int:
        """How much it should be able to keep: twice what it has, or what lets it count all again after a peak."""
        return self._kept() * (4 * (self._keep_mask + 1) if self._keep_mask else 2)

    def _kept(self) -> int:
        return max(len(self.present), *(ranking.size for ranking in self._rankings()))

    def _narrow(self) -> None:
        if self._kept() > self.cap:
            self._grow()
        while self._kept() > self.cap:
            self._keep_mask = self._keep_mask * 2 + 1
            self._count_mask = max(self._count_mask, self._keep_mask)
            self._resample()

    def _resample(self) -> None:
        mask = self._keep_mask
        self.present = {visitor: last for visitor, last in self.present.items() if not visitor & mask}
        for ranking in self._rankings():
            ranking.keep_only(mask, self._count_mask)

    def _widen(self) -> None:
        """Each minute: keep more visitors if there is room, count them a window later."""
        self._narrow()
        if self._count_mask != self._keep_mask:
            if self.minute - self._widened_at >= WINDOW_MINUTES:
                self._count_mask = self._keep_mask
                self._resample()
            return
        kept = self._kept()
        while self._keep_mask and kept * 4 <= self.cap:
            self._keep_mask >>= 1
            kept *= 2
            self._widened_at = self.minute
        for ranking in self._rankings():
            ranking.keep_mask = self._keep_mask

    def visitors(self, since_us: int) -> int:
        """Distinct visitors seen at or after `since_us`."""
        mask = self._count_mask
        return sum(last[0] >= since_us and not visitor & mask for visitor, last in self.present.items()) * (mask + 1)

    def pageviews(self) -> list[int]:
        """Pageviews per minute, oldest first; the last minute is still running."""
        return list(self._pageviews)

    def event_counts(self, limit: int) -> list[tuple[str, int]]:
        """The most frequent event names of the window."""
        totals: EventCounts = {}
        for events in self._events:
            for name, count in events.items():
                totals[name] = totals.get(name, 0) + count
        return sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:limit]
