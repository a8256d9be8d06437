"""Closed-day totals: which questions they answer, and which days of a range they hold.

`day_totals` keeps plain numbers per (local day, dimension, value). They are exact and add
up over days, so a question over whole local days with one breakdown at most is their
sum. A day counts as held only while the numbers of events it was built from equal those
that `traffic` and `openings` show now; nothing else says when a day has changed, and
nothing can forget to say it. Days without events need no totals. Builds that are kept
longer than their events (`kept`) count in any case.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_server.query.dimensions import DIMENSIONS, PAGE, Dimension, Scope, find_dimension
from analytics_server.query.language.conditions import Match, SavedFilter, matches
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange, local_days, midnight
from analytics_server.query.metrics import Metric
from analytics_server.query.parameters import show_moment
from analytics_server.store.protocol import Store

VERSION = 2
"""Rises when the meaning of a number in `day_totals` changes: builds of other versions are not read."""

ENTRY_PAGE = "visit:entry_page"
WHOLE_DAY = ""
"""The dimension under which a day's totals without breakdown are kept."""

MAX_DAYS = 400
"""How far back totals are built: a year to compare with the year before, and a margin."""

MAX_RESTS = 3
"""A range is cut into so many pieces besides its totals at most, as each costs a subquery."""

CACHE_S = 1.0
CACHE_ENTRIES = 256
DAY = timedelta(days=1)

_OWN = tuple(dimension for dimension in DIMENSIONS if dimension.kept_as == dimension.name)
EVENT_DIMENSIONS = tuple(dimension for dimension in _OWN if dimension.scope is Scope.EVENT)
SESSION_DIMENSIONS = tuple(dimension for dimension in _OWN if dimension.scope is Scope.SESSION)
METRICS = frozenset(
    {"visitors", "pageviews", "events", "sessions", "bounce_rate", "session_duration", "views_per_session"}
)
"""Metrics that `day_totals` has the numbers for."""

_SURVEY = """
WITH
    (
        SELECT (min(o.opened_from), max(o.opened_to)) FROM day_builds AS o FINAL
        WHERE o.site_id = {site:String} AND o.day >= {first:Date} AND o.day <= {last:Date}
    ) AS opened
SELECT
    if(b.timezone = {tz:String} AND b.version = {version:UInt16}, if(b.kept = 1, 'kept', 'build'),
        if(b.kept = 1, 'sealed', 'other')),
    b.day, b.events, b.build_id, b.opened_from, b.opened_to, b.opened_events
FROM day_builds AS b FINAL
WHERE b.site_id = {site:String} AND b.day >= {first:Date} AND b.day <= {last:Date}
UNION ALL
SELECT 'traffic', toDate(t.bucket, {tz:String}) AS day, sum(t.events), toUInt64(0), day, day, toUInt64(0)
FROM traffic AS t
WHERE t.site_id = {site:String} AND t.bucket >= {start:DateTime64(6, 'UTC')} AND t.bucket < {end:DateTime64(6, 'UTC')}
GROUP BY day
UNION ALL
SELECT 'openings', toDate(n.bucket, {tz:String}) AS day, sum(n.events), toUInt64(0), day, day, toUInt64(0)
FROM openings AS n
WHERE n.site_id = {site:String}
    AND n.bucket >= toDateTime(opened.1, 'UTC') - INTERVAL 1 DAY
    AND n.bucket < toDateTime(opened.2, 'UTC') + INTERVAL 2 DAY
GROUP BY day
"""


@dataclass(frozen=True, slots=True)
class Days:
    """What is known of the local days of a period: their events, and the builds that still hold.

    `stale`: builds whose day has changed since; `others`: those of another time zone or version. `kept`: days of
    `builds` whose events are expired, or about to be. `sealed`: the same of another time zone or version: they are not
    read, and can't be made again.
    """

    first: date
    last: date
    events: dict[date, int]
    builds: dict[date, int]
    stale: dict[date, int]
    others: dict[date, int]
    kept: frozenset[date] = frozenset()
    sealed: frozenset[date] = frozenset()

    def hold(self, day: date) -> bool:
        """Is everything of that day known from its build, or is it known to be empty?"""
        return self.first <= day <= self.last and (day in self.builds or not self.events.get(day))


@dataclass(frozen=True, slots=True)
class Coverage:
    """A range divided: the builds to add up with their days (oldest first), and what must be read elsewhere."""

    builds: tuple[int, ...]
    days: tuple[date, ...]
    rests: tuple[TimeRange, ...]


def kept_dimension(question: Question) -> str | None:
    """The dimension of `day_totals` that can answer the question; None if none can.

    Filters may speak of the breakdown's own dimension. Without a breakdown one value of one
    dimension may be chosen: several could share a visitor, who would count twice.
    """
    if question.counts_passive or question.interval not in (None, "day", "week", "month"):
        return None
    plain = [dimension for dimension in question.dimensions if dimension.scope is not Scope.TIME]
    filtered = {match.dimension.kept_as for match in matches(question.where)}
    if len(plain) == 1:
        name = plain[0].kept_as
        return name if name and filtered <= {name} else None
    if plain:
        return None
    if not filtered:
        return WHOLE_DAY
    match tuple(
        condition.condition if isinstance(condition, SavedFilter) else condition for condition in question.where
    ):
        case (Match(method="is", negated=False, case_sensitive=True, spellings=(_,)) as only,):
            return only.dimension.kept_as or None
    return None


def is_kept(metric: Metric, dimension: str) -> bool:
    """Does `day_totals` hold this metric for that dimension? Sessions by event dimensions it doesn't."""
    if metric.name not in METRICS:
        return False
    return metric.scope is Scope.EVENT or dimension == WHOLE_DAY or find_dimension(dimension).scope is Scope.SESSION


def entries_are_kept(metric: Metric, question: Question) -> bool:
    """Can `bounce_rate` of pages be added up by entry page? (`sql/tables` leaves out later entries.)

    Of a question that `kept_dimension` has accepted: its filters speak of event:page alone then.
    """
    return metric.name == "bounce_rate" and (PAGE in question.dimensions or question.filters.names_page)


def cover(range_: TimeRange, days: Days) -> Coverage | None:
    """Divide a range into held days and the rest; None if no day of it is held."""
    held: list[date] = []
    rests: list[tuple[datetime, datetime]] = []
    for day, start, end, whole in _local_days(range_):
        if whole and days.hold(day):
            held.append(day)
        elif rests and rests[-1][1] == start:
            rests[-1] = (rests[-1][0], end)
        else:
            rests.append((start, end))
    if len(rests) > MAX_RESTS:
        rests[MAX_RESTS - 1 :] = [(rests[MAX_RESTS - 1][0], rests[-1][1])]
    used = [
        day
        for day in held
        if day in days.builds and not any(start <= midnight(day, range_.zone) < end for start, end in rests)
    ]
    if not used:
        return None
    pieces = tuple(TimeRange(start, end, range_.zone) for start, end in rests)
    return Coverage(tuple(days.builds[day] for day in used), tuple(used), pieces)


class DayReader:
    """Says which days of a site are held; asks once a second at most, however many queries want to know."""

    def __init__(self, store: Store, *, cache_s: float = CACHE_S) -> None:
        self._store = store
        self._cache_s = cache_s
        self._known: dict[tuple[str, str, date, date], tuple[float, Days]] = {}
        self._asking: dict[tuple[str, str, date, date], asyncio.Task[Days]] = {}

    async def coverage(self, site_id: str, range_: TimeRange, now: datetime, *, timeout_s: float) -> Coverage | None:
        """How much of a range the totals hold. Raises a store error."""
        today = now.astimezone(range_.zone).date()
        found = [day for day, _, _, whole in _local_days(range_) if whole and day < today]
        if not found:
            return None
        key = (site_id, range_.zone.key, found[0], found[-1])
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < self._cache_s:
            return cover(range_, known[1])
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, range_, timeout_s), name="day-totals")
            self._asking[key] = task
        # A caller that is cancelled must not take the answer from the others.
        return cover(range_, await asyncio.shield(task))

    async def _ask(self, key: tuple[str, str, date, date], range_: TimeRange, timeout_s: float) -> Days:
        began = time.monotonic()
        try:
            days = await survey(self._store, key[0], range_, key[2], key[3], timeout_s=timeout_s, tenant=key[0])
        finally:
            del self._asking[key]
        if len(self._known) >= CACHE_ENTRIES:
            self._known.clear()
        self._known[key] = (began, days)
        return days


async def survey(
    store: Store, site_id: str, range_: TimeRange, first: date, last: date, *, timeout_s: float, tenant: str = ""
) -> Days:
    """What is known of the days from `first` to `last` in the zone of the range. Raises a store error.

    `tenant`: the site, where it is one of its own questions.
    """
    zone = range_.zone
    answer = await store.query(
        _SURVEY,
        {
            "site": site_id,
            "tz": zone.key,
            "version": VERSION,
            "first": first.isoformat(),
            "last": last.isoformat(),
            "start": show_moment(midnight(first, zone)),
            "end": show_moment(midnight(last + DAY, zone)),
        },
        settings={"do_not_merge_across_partitions_select_final": 0},
        timeout_s=timeout_s,
        tenant=tenant,
    )
    events: dict[date, int] = {}
    opened: dict[date, int] = {}
    others: dict[date, int] = {}
    builds: dict[date, int] = {}
    sealed: set[date] = set()
    found: list[tuple[date, int, int, date, date, int]] = []
    for kind, day, count, *rest in answer.rows:
        if kind == "traffic":
            events[day] = count  # type: ignore[index, assignment]
        elif kind == "openings":
            opened[day] = count  # type: ignore[index, assignment]
        elif kind == "sealed":
            sealed.add(day)  # type: ignore[arg-type]
        elif kind == "other":
            others[day] = rest[0]  # type: ignore[index, assignment]
        elif kind == "kept":
            builds[day] = rest[0]  # type: ignore[index, assignment]
        else:
            found.append((day, count, *rest))  # type: ignore[arg-type]
    kept = frozenset(builds)
    stale: dict[date, int] = {}
    for day, count, build_id, opened_from, opened_to, opened_events in found:
        now_opened = sum(opened.get(opened_from + n * DAY, 0) for n in range((opened_to - opened_from).days + 1))
        holds = events.get(day, 0) == count and now_opened == opened_events
        (builds if holds else stale)[day] = build_id
    return Days(first, last, events, builds, stale, others, kept, frozenset(sealed))


def totals_expression(dimension: Dimension) -> str:
    """A dimension of a question over `day_totals`, as the registry writes expressions."""
    match dimension.interval:
        case None:
            return dimension.totals
        case "week":
            return "toMonday(t.day)"
        case "month":
            return "toStartOfMonth(t.day)"
    return "t.day"


def _local_days(range_: TimeRange) -> Sequence[tuple[date, datetime, datetime, bool]]:
    """The local days a range touches: day, the part of it inside the range, and whether that is all of it."""
    found = []
    for day, start, end in local_days(range_):
        inside = (max(start, range_.start), min(end, range_.end))
        if inside[0] < inside[1]:
            found.append((day, *inside, inside == (start, end)))
    return found
