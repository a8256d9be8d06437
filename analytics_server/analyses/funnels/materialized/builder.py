"""Builds the attempts of closed days, one local day after the other.

A build is written in this order: count, rest a moment, see that `events` and `sessions` hold what was counted, insert
the attempts, count again, and only then the row in `funnel_builds` that makes them valid. Whatever happens in
between leaves rows that are never read. Right answers don't need it, only fast ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from analytics_server.analyses.funnels.compile import bind_range, direct_attempts
from analytics_server.analyses.funnels.materialized.days import survey
from analytics_server.analyses.funnels.materialized.facts import Facts
from analytics_server.query.answer import whole_number
from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.parameters import show_moment
from analytics_server.query.plan.coverage import DAY, MAX_DAYS
from analytics_server.query.sql.select import Select, Subquery, print_sql, select
from analytics_server.rollups.build_ids import first_build_id, new_build_id
from analytics_server.store.protocol import ResultSet, Store

SETTLE_S = 2.0
CLOSED_S = 300.0
"""A day is made when it, and what may still belong to its subjects, has been over for so long."""

REBUILD_S = 300.0
CHUNK_DAYS = 10
TIMEOUT_S = 300.0
QUARTER_S = 900

_DAYS = """
SELECT toDate(t.bucket, {tz:String}) AS day, sum(t.events) FROM traffic AS t
WHERE t.site_id = {site:String} AND t.bucket >= {start:DateTime64(6, 'UTC')} AND t.bucket < {end:DateTime64(6, 'UTC')}
GROUP BY day
"""
_OPENED = """
SELECT count(), toUnixTimestamp(min(e.session_start)), toUnixTimestamp(max(e.session_start)) FROM events AS e
WHERE e.site_id = {site:String} AND e.ts >= {start:DateTime64(6, 'UTC')} AND e.ts < {end:DateTime64(6, 'UTC')}
"""
_COUNTS = """
SELECT
    (SELECT sum(t.events) FROM traffic AS t WHERE t.site_id = {site:String}
        AND t.bucket >= toDateTime({counted_since:Int64}, 'UTC')
        AND t.bucket < toDateTime({counted_until:Int64}, 'UTC')),
    (SELECT sum(n.events) FROM openings AS n WHERE n.site_id = {site:String}
        AND n.bucket >= toDateTime({opened_since:Int64}, 'UTC')
        AND n.bucket < toDateTime({opened_until:Int64}, 'UTC'))
"""
_PRESENT = """
SELECT
    (SELECT count() FROM events AS e WHERE e.site_id = {site:String}
        AND e.ts >= fromUnixTimestamp64Micro({counted_since:Int64} * 1000000, 'UTC')
        AND e.ts < fromUnixTimestamp64Micro({counted_until:Int64} * 1000000, 'UTC')),
    (SELECT sum(s.events) FROM sessions AS s WHERE s.site_id = {site:String}
        AND s.opened_at >= fromUnixTimestamp64Micro({opened_since:Int64} * 1000000, 'UTC')
        AND s.opened_at < fromUnixTimestamp64Micro({opened_until:Int64} * 1000000, 'UTC'))
"""
_CROSSING = """a.subject IN (
        SELECT s.session_key FROM sessions AS s FINAL
        WHERE s.site_id = {site:String}
            AND s.opened_at >= fromUnixTimestamp64Micro({opened_since:Int64} * 1000000, 'UTC')
            AND s.opened_at < fromUnixTimestamp64Micro({opened_until:Int64} * 1000000, 'UTC')
            AND NOT (s.started_at >= {start:DateTime64(6, 'UTC')} AND s.ended_at < {end:DateTime64(6, 'UTC')})
    )"""
_SETTINGS: dict[str, str | int] = {
    "max_threads": 1,
    "max_insert_threads": 1,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 0,
    "do_not_merge_across_partitions_select_final": 1,
    "optimize_functions_to_subcolumns": 0,
}


COLUMNS = {
    "shared": "is_shared",
    "level": "reached",
    "subject": "who",
    "start": "begun",
    "after": "times",
    "subjects": "subjects",
}
"""The columns of `funnel_days` beside those that name the build, and what `rows_of_day` calls them."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A day to make, and what was counted before anything is read."""

    day: date
    span: dict[str, object]
    counts: tuple[int, int]
    newest: int


class DayBuilder:
    """Builds the days of one saved funnel after the other."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, settle_s: float = SETTLE_S) -> None:
        self._store = store
        self._clock = clock
        self._settle_s = settle_s

    async def build(self, facts: Facts, zone: ZoneInfo, advance: Callable[[float], None] | None = None) -> int:
        """Make what is missing or out of date, newest day first; how many. Raises a store error.

        `advance` is told the share that is done.
        """
        now = self._clock().astimezone(UTC)
        today = now.astimezone(zone).date()
        first = today - MAX_DAYS * DAY
        known = await survey(self._store, facts, zone.key, first, today, timeout_s=TIMEOUT_S)
        span: dict[str, object] = {
            "site": facts.site_id,
            "tz": zone.key,
            "start": show_moment(midnight(first, zone)),
            "end": show_moment(midnight(today, zone)),
        }
        found = await self._query(_DAYS, span)
        patient = first_build_id(now.timestamp() - REBUILD_S)
        wanted = []
        for day, events in found.rows:
            assert isinstance(day, date)
            newest, holds = known.get(day, (None, False))
            build = newest.build_id if newest else 0
            closed = _until(facts, TimeRange(midnight(day, zone), midnight(day + DAY, zone), zone))[1]
            if events and not holds and build < patient and closed.timestamp() + CLOSED_S <= now.timestamp():
                wanted.append((day, build))
        wanted.sort(reverse=True)
        built = 0
        for start in range(0, len(wanted), CHUNK_DAYS):
            jobs = [await self._prepare(facts, zone, day, newest) for day, newest in wanted[start : start + CHUNK_DAYS]]
            await asyncio.sleep(self._settle_s)
            for number, job in enumerate(jobs, start + 1):
                built += await self._make(facts, zone, job)
                if advance is not None:
                    advance(number / len(wanted))
        return built

    async def _prepare(self, facts: Facts, zone: ZoneInfo, day: date, newest: int) -> _Job:
        range_ = TimeRange(midnight(day, zone), midnight(day + DAY, zone), zone)
        since, until = _until(facts, range_)
        start, end = show_moment(range_.start), show_moment(range_.end)
        span: dict[str, object] = {"site": facts.site_id, "start": start, "end": end}
        span |= {"counted_since": int(since.timestamp()), "counted_until": int(until.timestamp())}
        span |= {"opened_since": 0, "opened_until": 0}
        if facts.funnel.by == "session":
            ((_, earliest, latest),) = (await self._query(_OPENED, span)).rows
            span["opened_since"] = whole_number(earliest) // QUARTER_S * QUARTER_S
            span["opened_until"] = (whole_number(latest) // QUARTER_S + 1) * QUARTER_S
        return _Job(day, span, await self._counts(_COUNTS, span), newest)

    async def _make(self, facts: Facts, zone: ZoneInfo, job: _Job) -> bool:
        """Write one day; False if it changed meanwhile, which the next round heals."""
        if await self._counts(_PRESENT, job.span) != job.counts:
            return False
        build = new_build_id(self._clock().timestamp(), job.newest)
        range_ = TimeRange(midnight(job.day, zone), midnight(job.day + DAY, zone), zone)
        rows, values = rows_of_day(facts, range_)
        columns = ", ".join(COLUMNS)
        made = select(
            [
                "{site:String}",
                "{definition:String}",
                "{day:Date}",
                "{build:UInt64}",
                *(f"r.{name}" for name in COLUMNS.values()),
            ],
            Subquery(rows, "r"),
        )
        insert = f"INSERT INTO funnel_days\n    (site_id, definition, day, build_id, {columns})\n{print_sql(made)}"
        named = {"definition": facts.definition, "day": job.day.isoformat(), "build": build}
        await self._query(insert, values | job.span | named, settings=_SETTINGS)
        if await self._counts(_COUNTS, job.span) != job.counts:
            return False
        row: dict[str, object] = {
            "site_id": facts.site_id,
            "definition": facts.definition,
            "day": job.day,
            "build_id": build,
            "timezone": zone.key,
            "since": _moment(job.span["counted_since"]),
            "until": _moment(job.span["counted_until"]),
            "opened_since": _moment(job.span["opened_since"]),
            "opened_until": _moment(job.span["opened_until"]),
            "events": job.counts[0],
            "opened_events": job.counts[1],
        }
        await self._store.insert("funnel_builds", list(row), [[value] for value in row.values()])
        return True

    async def _counts(self, sql: str, span: dict[str, object]) -> tuple[int, int]:
        ((events, opened),) = (await self._query(sql, span)).rows
        return whole_number(events or 0), whole_number(opened or 0)

    async def _query(
        self, sql: str, parameters: dict[str, object], *, settings: dict[str, str | int] | None = None
    ) -> ResultSet:
        """Also for INSERT … SELECT: in the store's reading threads it doesn't hold up a flush."""
        return await self._store.query(
            sql.strip(), parameters, settings={"max_threads": 1} | (settings or {}), timeout_s=TIMEOUT_S
        )


def rows_of_day(facts: Facts, range_: TimeRange) -> tuple[Select, dict[str, object]]:
    """The rows of a day's attempts, made of events, and values of parameters.

    Besides these the statement takes `start` and `end` of the day, and `opened_since` and `opened_until`: seconds since
    1970 between which the sessions of the day's events were opened.
    """
    binder = bind_range(facts.site_id, range_, facts.funnel)
    shared = _CROSSING if facts.funnel.by == "session" else "1"
    rows = select(
        [
            f"{shared} AS is_shared",
            "a.level AS reached",
            "if(is_shared OR a.level > 1, toString(a.subject), '') AS who",
            "if(is_shared, a.start, 0) AS begun",
            "a.after AS times",
            "count() AS subjects",
        ],
        Subquery(direct_attempts(facts.funnel, binder), "a"),
        group_by=["is_shared", "reached", "who", "begun", "times"],
    )
    return rows, binder.values


def _until(facts: Facts, range_: TimeRange) -> tuple[datetime, datetime]:
    """Between which quarters of an hour lies what the attempts of a day depend on, sessions' other days aside."""
    start, end = range_.start, range_.end
    window = timedelta(seconds=facts.funnel.window_s)
    if facts.funnel.by == "visitor":  # whose id is of one day, UTC, and goes on into the next with the session
        midnight_after = _floor(end + timedelta(days=1) - timedelta(microseconds=1), 86_400)
        end = min(end + window, midnight_after + timedelta(days=1))
    elif facts.funnel.by == "user":
        end += window
    return _floor(start, QUARTER_S), _floor(end + timedelta(seconds=QUARTER_S, microseconds=-1), QUARTER_S)


def _floor(moment: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)


def _moment(at: object) -> datetime:
    return datetime.fromtimestamp(whole_number(at), UTC)
