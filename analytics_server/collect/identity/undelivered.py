"""Recovery from the write-ahead log: what its segments say that ClickHouse does not have yet.

Read before the first beacon is accepted, so it must be fast: ten million events in some ten
seconds. Newest first, and only what can still matter: event ids within the window, sessions that may go
on, of each site its share while there is room. Of a row only the first few values are decoded; of
segments too old for either only the site. One segment at a time is in memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import msgspec

from analytics_server.batch_ids import created_ms
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import PASSIVE_S, Sessions, is_own
from analytics_server.config import CollectSection
from analytics_server.fair_shares import SiteShares
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import Sealed, SegmentError
from analytics_server.model import COLUMN_INDEX, COLUMN_NAMES, PASSIVE_LATE, SESSION_ATTRIBUTES, Attributes

log = logging.getLogger(__name__)

PROGRESS_S = 5.0
"""Between two lines about a long reading."""


class _Head(msgspec.Struct, array_like=True, gc=False):
    """The first values of a row: the others need no decoding."""

    site_id: str
    ts: int
    name: msgspec.Raw
    event_id: bytes
    session_id: str
    session_start: int
    visitor_id: int
    passive: int


class _Site(msgspec.Struct, array_like=True, gc=False):
    site_id: str


_decode_heads = msgspec.msgpack.Decoder(list[_Head]).decode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_sites = msgspec.msgpack.Decoder(list[_Site]).decode
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.msgpack.Decoder(list[object]).decode

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)

SessionKey = tuple[str, str]


@dataclass(slots=True)
class _Part:
    """What the log knows of one session; times in microseconds since 1970.

    `first_us` and `visitor_ids` are kept up to date for a server's own only: a client's is found by its id.
    """

    opened_us: int
    first_us: int
    last_us: int
    visitor_id: int
    """Of its newest event."""
    visitor_ids: set[int] | None
    attributes: Attributes = ()

    def widen(self, row: _Head) -> None:
        """Take in an earlier row."""
        if row.ts < self.first_us:
            self.first_us = row.ts
        elif row.ts > self.last_us and row.passive < PASSIVE_LATE:
            self.last_us = row.ts
        if self.visitor_ids is not None:
            self.visitor_ids.add(row.visitor_id)


@dataclass(slots=True)
class _Wanted:
    """What of a segment's rows can still matter."""

    ids: bool
    own_sessions: bool
    client_sessions: bool


class Undelivered:
    """Fills `duplicates`, and collects sessions and sites. `clock` gives seconds since 1970."""

    def __init__(self, duplicates: Duplicates, settings: CollectSection, clock: Callable[[], float]) -> None:
        self._duplicates = duplicates
        self._settings = settings
        self._clock = clock
        self._parts: dict[SessionKey, _Part] = {}
        self._of_site: dict[str, list[SessionKey]] = {}
        """The keys of `_parts` by site, the newest first."""
        self._shares = SiteShares()
        self._texts: dict[str, str] = {}
        self.sites: set[str] = set()
        self.stop = False
        """Set it to break off a long reading."""

    def read(self, segments: Sequence[Sealed]) -> None:
        """Remember the event ids, and collect the rest; `segments` oldest first. Blocking.

        Read ClickHouse after this, so that nothing is missed that is delivered meanwhile, and settle the ids.
        """
        now = self._clock()
        progress = _Progress(segments)
        before = {True: now, False: now}  # historic ones and others are open side by side
        for sealed in reversed(segments):
            self._read_segment(sealed, self._wanted(now - before[sealed.historic]))
            if self.stop:
                return
            created_s = created_ms(sealed.batch_id) / 1000
            before[sealed.historic] = created_s  # an older segment of the kind took nothing after that
            progress.tell(sealed)

    def apply(self, sessions: Sessions) -> int:
        """Add the sessions to those restored from ClickHouse, the newest last; returns how many."""
        for (site_id, session_id), part in reversed(self._parts.items()):
            times = (part.opened_us, part.first_us, part.last_us)
            others = sorted(part.visitor_ids - {part.visitor_id}) if part.visitor_ids is not None else ()
            sessions.restore(site_id, session_id, [part.visitor_id, *others], times, part.attributes)
        applied = len(self._parts)
        self._parts.clear()
        self._of_site.clear()
        self._shares = SiteShares()
        self._texts.clear()
        return applied

    def _wanted(self, age_s: float) -> _Wanted:
        """`age_s`: of the newest event that a segment may hold, by its arrival."""
        settings = self._settings
        return _Wanted(
            ids=age_s <= settings.duplicate_window_s and self._duplicates.restorable > 0,
            own_sessions=age_s <= max(settings.session_timeout_s, PASSIVE_S),
            client_sessions=age_s <= settings.client_session_timeout_s,
        )

    def _read_segment(self, sealed: Sealed, wanted: _Wanted) -> None:
        try:
            columns = segment.read_head(sealed.path).header.columns
            payloads = [payload for _, payload in segment.frames(sealed.path)]
        except (OSError, SegmentError):  # the flusher meets the same and says so
            return
        while payloads and not self.stop:
            payload = payloads.pop()
            if columns != COLUMN_NAMES:
                payload = _cleaned(payload, columns)
            try:
                self._read_frame(payload, wanted)
            except _UNREADABLE:
                self._read_frame(_cleaned(payload, COLUMN_NAMES), wanted)

    def _read_frame(self, payload: bytes, wanted: _Wanted) -> None:
        """Raises one of `_UNREADABLE` before anything is remembered of it."""
        ids, sessions = wanted.ids, wanted.own_sessions or wanted.client_sessions
        if not (ids or sessions):
            self.sites.update({row.site_id for row in _decode_sites(payload)})
            return
        rows = _decode_heads(payload)
        rows.reverse()
        self.sites.update({row.site_id for row in rows})
        if ids:
            self._duplicates.restore([(row.site_id, row.event_id) for row in rows])
        if sessions:
            self._add_sessions(rows, payload, wanted)

    def _add_sessions(self, rows: list[_Head], payload: bytes, wanted: _Wanted) -> None:
        """Newest row first: those used last are kept, and past the capacity the site with most loses its oldest."""
        parts, shares, most = self._parts, self._shares, self._settings.max_sessions
        begun: list[tuple[int, SessionKey]] = []
        for at, row in enumerate(rows, 1):
            key = (row.site_id, row.session_id)
            part = parts.get(key)
            if part is not None:
                part.widen(row)
            elif shares.total < most or shares.held(row.site_id) < shares.most:
                own = is_own(row.session_id)
                if wanted.own_sessions if own else wanted.client_sessions:
                    first_us = min(row.session_start, row.ts)
                    last_us = row.ts if row.passive < PASSIVE_LATE else row.session_start
                    visitor_ids = {row.visitor_id} if own else None
                    parts[key] = _Part(row.session_start, first_us, last_us, row.visitor_id, visitor_ids)
                    begun.append((-at, key))
                    self._count_new(key)
        if begun:
            raw = _split(payload)
            for at, key in begun:
                if key in parts:
                    parts[key].attributes = self._attributes(raw[at])

    def _count_new(self, key: SessionKey) -> None:
        shares, site_id = self._shares, key[0]
        self._of_site.setdefault(site_id, []).append(key)
        shares.add(site_id)
        if shares.total > self._settings.max_sessions:
            giving = shares.largest()
            del self._parts[self._of_site[giving].pop()]
            shares.remove(giving)

    def _attributes(self, raw: msgspec.Raw) -> Attributes:
        """What a session's first event brought; equal texts are kept once."""
        row = _decode_row(raw)
        if len(row) != len(COLUMN_NAMES):
            return _NO_ATTRIBUTES
        values: tuple[str, ...] = _pick(row)
        if set(map(type, values)) != {str}:
            return _NO_ATTRIBUTES
        return tuple(map(self._texts.setdefault, values, values))


class _Progress:
    """Tells the log now and then how far a long reading is."""

    __slots__ = ("_done", "_events", "_segments", "_started", "_told_at")

    def __init__(self, segments: Sequence[Sealed]) -> None:
        self._segments = len(segments)
        self._events = sum(sealed.events for sealed in segments)
        self._done = 0
        self._started = self._told_at = time.monotonic()

    def tell(self, sealed: Sealed) -> None:
        """One segment more was read."""
        self._segments -= 1
        self._done += sealed.events
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S:
            self._told_at = now
            log.info(
                "reading what the log still holds",
                extra={
                    "segments_left": self._segments,
                    "events_left": self._events - self._done,
                    "events_per_s": round(self._done / (now - self._started)),
                },
            )


def _cleaned(payload: bytes, columns: tuple[str, ...]) -> bytes:
    """The rows of a frame in today's order, without those that nothing can be read of: delivery will refuse them."""
    try:
        rows = segment.rows_of(payload, columns)
    except (*_UNREADABLE, IndexError):
        return segment.array_head(0)
    readable = list(filter(_is_readable, map(msgspec.msgpack.encode, rows)))
    return b"".join([segment.array_head(len(readable)), *readable])


def _is_readable(row: bytes) -> bool:
    try:
        _decode_head(row)
    except _UNREADABLE:
        return False
    return True


_pick = itemgetter(*(COLUMN_INDEX[name] for name in SESSION_ATTRIBUTES))
_NO_ATTRIBUTES = ("",) * len(SESSION_ATTRIBUTES)
