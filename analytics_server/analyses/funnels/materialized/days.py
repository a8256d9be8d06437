"""Which days of a saved funnel are kept, and the statement that adds them up.

`funnel_days` holds the best attempts that begin on each local day that is over. A range is divided into such days
and the rest, whose attempts are made of the funnel's facts. A subject with attempts in several parts keeps the best of
them; subjects that can't have any elsewhere are only counted. A build holds while `traffic` and `openings` count as
many events as when it was made, just as for `day_totals` (see there): nothing has to mark a day as changed.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from analytics_server.analyses.funnels.attempts import best_attempts
from analytics_server.analyses.funnels.compile import added_up, bind_range
from analytics_server.analyses.funnels.materialized.facts import Facts, elements_of_facts
from analytics_server.query.answer import whole_number
from analytics_server.query.language.time_range import TimeRange, local_days
from analytics_server.query.sql.select import Query, Select, Statement, Subquery, Table, print_sql, select, union_all
from analytics_server.store.protocol import Store

MAX_REST_PIECES = 4
CACHE_S = 1.0
CACHE_ENTRIES = 256

_BUILDS = """
SELECT
    b.day, b.build_id, toUnixTimestamp(b.since), toUnixTimestamp(b.until), b.events,
    toUnixTimestamp(b.opened_since), toUnixTimestamp(b.opened_until), b.opened_events
FROM funnel_builds AS b FINAL
WHERE b.site_id = {site:String} AND b.definition = {definition:String} AND b.timezone = {tz:String}
    AND b.day >= {first:Date} AND b.day <= {last:Date}
"""
_SETTINGS: dict[str, str | int] = {"do_not_merge_across_partitions_select_final": 0}


@dataclass(frozen=True, slots=True)
class Build:
    """A day's build, and what it rests on."""

    day: date
    build_id: int
    since: int
    until: int
    events: int
    opened_since: int
    opened_until: int
    opened_events: int


class _Sums:
    """How many events there are between two quarters of an hour."""

    def __init__(self, rows: Sequence[Sequence[object]]) -> None:
        self._times = [whole_number(row[0]) for row in rows]
        self._sums = [0, *itertools.accumulate(whole_number(row[1]) for row in rows)]

    def between(self, since: int, until: int) -> int:
        at = bisect.bisect_left(self._times, since), bisect.bisect_left(self._times, until)
        return self._sums[at[1]] - self._sums[at[0]]


async def survey(
    store: Store, facts: Facts, zone: str, first: date, last: date, *, timeout_s: float
) -> dict[date, tuple[Build, bool]]:
    """Of the days from `first` to `last`: the build and whether it still holds. Raises a store error."""
    where: dict[str, object] = {"site": facts.site_id, "definition": facts.definition, "tz": zone}
    found = await store.query(
        _BUILDS,
        where | {"first": first.isoformat(), "last": last.isoformat()},
        settings=_SETTINGS,
        timeout_s=timeout_s,
        tenant=facts.site_id,
    )
    builds = [Build(row[0], *(whole_number(value) for value in row[1:])) for row in found.rows]  # type: ignore[arg-type]
    if not builds:
        return {}

    async def sums(table: str, since: int, until: int) -> _Sums:
        span = {"site": facts.site_id, "since": since, "until": until}
        if since >= until:
            return _Sums([])
        return _Sums(
            (await store.query(print_sql(_quarters(table)), span, timeout_s=timeout_s, tenant=facts.site_id)).rows
        )

    events, opened = await asyncio.gather(
        sums("traffic", min(one.since for one in builds), max(one.until for one in builds)),
        sums("openings", min(one.opened_since for one in builds), max(one.opened_until for one in builds)),
    )
    return {
        one.day: (
            one,
            events.between(one.since, one.until) == one.events
            and opened.between(one.opened_since, one.opened_until) == one.opened_events,
        )
        for one in builds
    }


def _quarters(table: str) -> Select:
    """How many events a table counts in each quarter of an hour between `since` and `until`, seconds since 1970."""
    return Select(
        columns=("toUnixTimestamp(t.bucket) AS at", "sum(t.events)"),
        source=Table(table, "t"),
        where=(
            "t.site_id = {site:String}",
            "t.bucket >= toDateTime({since:Int64}, 'UTC')",
            "t.bucket < toDateTime({until:Int64}, 'UTC')",
        ),
        group_by=("at",),
        order_by=("at",),
    )


@dataclass(frozen=True, slots=True)
class Division:
    """A range as builds to add up and pieces to work out."""

    builds: tuple[int, ...]
    rest: tuple[TimeRange, ...]


def divide(range_: TimeRange, held: dict[date, int]) -> Division:
    """Divide a range into days that are held and the rest."""
    builds: list[tuple[datetime, datetime, int]] = []
    rest: list[tuple[datetime, datetime]] = []
    for day, start, end in local_days(range_):
        inside = max(start, range_.start), min(end, range_.end)
        if inside == (start, end) and day in held:
            builds.append((start, end, held[day]))
        elif inside[0] < inside[1]:
            if rest and rest[-1][1] == inside[0]:
                rest[-1] = (rest[-1][0], inside[1])
            else:
                rest.append(inside)
    if len(rest) > MAX_REST_PIECES:
        rest[MAX_REST_PIECES - 1 :] = [(rest[MAX_REST_PIECES - 1][0], rest[-1][1])]
    used = [build for since, until, build in builds if not any(a <= since and until <= b for a, b in rest)]
    return Division(tuple(used), tuple(TimeRange(a, b, range_.zone) for a, b in rest))


class FunnelDayReader:
    """Says which days are held; asks once a second at most."""

    def __init__(self, store: Store, *, cache_s: float = CACHE_S) -> None:
        self._store = store
        self._cache_s = cache_s
        self._known: dict[tuple[str, str, date, date], tuple[float, dict[date, int]]] = {}

    async def divide(self, facts: Facts, range_: TimeRange, *, timeout_s: float) -> Division:
        """Divide a range. Raises a store error."""
        first = range_.start.astimezone(range_.zone).date()
        last = range_.end.astimezone(range_.zone).date()
        key = (facts.definition, range_.zone.key, first, last)
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] >= self._cache_s:
            began = time.monotonic()
            days = await survey(self._store, facts, range_.zone.key, first, last, timeout_s=timeout_s)
            if len(self._known) >= CACHE_ENTRIES:
                self._known.clear()
            known = began, {day: build.build_id for day, (build, holds) in days.items() if holds}
            self._known[key] = known
        return divide(range_, known[1])


def compile_saved(facts: Facts, range_: TimeRange, division: Division) -> Statement:
    """The whole question, from days and facts."""
    binder = bind_range(facts.site_id, range_, facts.funnel)
    binder.name("definition", facts.definition, "String")
    binder.name("builds", list(division.builds), "Array(UInt64)")
    parts: list[Select] = []
    if division.builds:
        names = ("subject", "level", "start", "after")
        parts.append(_kept([f"d.{name} AS {name}" for name in names], shared=True))
    if division.rest:
        attempts = best_attempts(facts.funnel, elements_of_facts(facts, division.rest, binder), binder)
        columns = [
            "toString(r.subject) AS subject",
            "toUInt8(r.level) AS level",
            "r.start AS start",
            "r.after AS after",
        ]
        parts.append(select(columns, Subquery(attempts, "r")))
    if not division.builds:
        best: Query = select(["level", "after", "toUInt64(1) AS subjects"], Subquery(union_all(parts)))
        return Statement(added_up(facts.funnel, best), binder.values)
    of_each = select(
        ["argMin((c.level, c.after), (-toInt16(c.level), c.start)) AS b"],
        Subquery(union_all(parts), "c"),
        group_by=["c.subject"],
    )
    best = union_all(
        [
            select(["b.1 AS level", "b.2 AS after", "toUInt64(1) AS subjects"], Subquery(of_each)),
            _kept(["d.level", "d.after", "d.subjects"], shared=False),
        ]
    )
    return Statement(added_up(facts.funnel, best), binder.values)


def _kept(columns: Sequence[str], *, shared: bool) -> Select:
    """The attempts of the days: of subjects who may have others elsewhere, one by one, or of all others, counted."""
    return select(
        columns,
        Table("funnel_days", "d"),
        [
            "d.site_id = {site:String}",
            "d.definition = {definition:String}",
            "d.build_id IN {builds:Array(UInt64)}",
            f"d.shared = {int(shared)}",
        ],
    )
