"""Builds the totals of closed days in the background, one day after the other.

A build is written in this order: count, rest a moment, insert the totals, compare them
with the count, count again, and only then the row in `day_builds` that makes them valid.
Whatever happens in between (late events, a crash, another server building the same day)
leaves rows that are never read. Totals of events that arrive later are not repaired but
built anew, under another `build_id`; what no build refers to any more is deleted later.
Nothing here is needed for right answers, only for fast ones: a store that is away is
logged and tried again in the next round.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from analytics_server.errors import StoreError
from analytics_server.model import Site
from analytics_server.query.context import zone_of
from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.parameters import show_moment
from analytics_server.query.plan.coverage import (
    DAY,
    EVENT_DIMENSIONS,
    MAX_DAYS,
    SESSION_DIMENSIONS,
    VERSION,
    WHOLE_DAY,
    survey,
)
from analytics_server.rollups.build_ids import first_build_id, new_build_id
from analytics_server.rollups.builds import SWEEP_S, sweep_builds
from analytics_server.rollups.registry import DAY_TOTALS
from analytics_server.store.protocol import ResultSet, Store

log = logging.getLogger(__name__)

TICK_S = 5.0
ROUND_S = 60.0
IDLE_SHARE = 50
"""A round that looked at many sites is followed by a rest of so many times its length."""
SETTLE_S = 2.0
"""Between counting and reading: an insert writes `events` and the tables behind it one after the other."""
REBUILD_S = 300.0
CHUNK_DAYS = 10
QUERY_TIMEOUT_S = 30.0
BUILD_TIMEOUT_S = 300.0
CHUNK_TIMEOUT_S = 1_800.0
"""A build that took longer is not published; far below `builds.ORPHAN_S`, after which its rows may be deleted."""

_NUMBERS = "visitors, pageviews, events, sessions, viewed_sessions, bounces, duration_us, session_views"
_TOUCHING = """s.site_id = {site:String}
            AND s.opened_at >= {opened_from:DateTime64(6, 'UTC')} AND s.opened_at <= {opened_to:DateTime64(6, 'UTC')}"""
_SESSION_VALUES = f"['', {', '.join(f'toString({d.sessions})' for d in SESSION_DIMENSIONS)}]"
_EVENT_VALUES = f"[{', '.join(f'toString({d.events})' for d in EVENT_DIMENSIONS)}]"

BUILD = f"""
INSERT INTO day_totals (site_id, day, build_id, dimension, value, {_NUMBERS})
SELECT
    {{site:String}}, {{day:Date}}, {{build:UInt64}}, {{session_dimensions:Array(String)}}[place] AS dimension, value,
    uniqExactArray(r.visitors), sum(r.pageviews), sum(r.events),
    sum(r.started), sumIf(r.started, r.views > 0), sumIf(r.started, r.views = 1 AND r.interactions = 0),
    sum(r.duration_us), sum(r.started * r.views)
FROM (
    SELECT
        {_SESSION_VALUES} AS attributes,
        s.ended_at < {{end:DateTime64(6, 'UTC')}} AS whole,
        if(whole, arrayFilter(id -> id != 0, s.visitor_ids), []) AS visitors,
        if(whole, s.pageviews, 0) AS pageviews,
        if(whole, s.active_events, 0) AS events,
        toUInt64(1) AS started,
        toUInt64(s.pageviews) AS views,
        toUInt64(s.interactions) AS interactions,
        toUInt64(toUnixTimestamp64Micro(s.ended_at) - toUnixTimestamp64Micro(s.started_at)) AS duration_us
    FROM sessions AS s FINAL
    WHERE {_TOUCHING}
        AND s.started_at >= {{start:DateTime64(6, 'UTC')}} AND s.started_at < {{end:DateTime64(6, 'UTC')}}
    UNION ALL
    SELECT
        c.attributes, 0, if(e.visitor_id = 0 OR e.passive != 0, [], [e.visitor_id]), toUInt64(e.name = 'pageview'),
        toUInt64(e.passive = 0),
        toUInt64(0), toUInt64(0), toUInt64(0), toUInt64(0)
    FROM events AS e
    INNER JOIN (
        SELECT {_SESSION_VALUES} AS attributes, s.opened_at AS opened_at, s.session_id AS session_id
        FROM sessions AS s FINAL
        WHERE {_TOUCHING}
            AND s.started_at < {{end:DateTime64(6, 'UTC')}} AND s.ended_at >= {{start:DateTime64(6, 'UTC')}}
            AND NOT (s.started_at >= {{start:DateTime64(6, 'UTC')}} AND s.ended_at < {{end:DateTime64(6, 'UTC')}})
    ) AS c ON e.session_start = c.opened_at AND e.session_id = c.session_id
    WHERE e.site_id = {{site:String}}
        AND e.ts >= {{start:DateTime64(6, 'UTC')}} AND e.ts < {{end:DateTime64(6, 'UTC')}}
) AS r
ARRAY JOIN r.attributes AS value, arrayEnumerate(r.attributes) AS place
GROUP BY place, value
UNION ALL
SELECT
    {{site:String}}, {{day:Date}}, {{build:UInt64}}, {{event_dimensions:Array(String)}}[place] AS dimension, value,
    uniqExactIf(r.visitor_id, r.visitor_id != 0 AND r.passive = 0), countIf(r.name = 'pageview'),
    countIf(r.passive = 0), 0, 0, 0, 0, 0
FROM (
    SELECT e.visitor_id AS visitor_id, e.name AS name, e.passive AS passive, {_EVENT_VALUES} AS attributes
    FROM events AS e
    WHERE e.site_id = {{site:String}}
        AND e.ts >= {{start:DateTime64(6, 'UTC')}} AND e.ts < {{end:DateTime64(6, 'UTC')}}
) AS r
ARRAY JOIN r.attributes AS value, arrayEnumerate(r.attributes) AS place
GROUP BY place, value
"""

_SPAN = """
SELECT count(), min(e.session_start), max(e.session_start) FROM events AS e
WHERE e.site_id = {site:String} AND e.ts >= {start:DateTime64(6, 'UTC')} AND e.ts < {end:DateTime64(6, 'UTC')}
"""

_COUNTS = """
SELECT
    (
        SELECT sum(t.events) FROM traffic AS t
        WHERE t.site_id = {site:String}
            AND t.bucket >= {start:DateTime64(6, 'UTC')} AND t.bucket < {end:DateTime64(6, 'UTC')}
    ),
    (
        SELECT sum(n.events) FROM openings AS n
        WHERE n.site_id = {site:String}
            AND n.bucket >= {first:DateTime64(6, 'UTC')} AND n.bucket < {after:DateTime64(6, 'UTC')}
    ),
    (
        SELECT sum(t.active) FROM traffic AS t
        WHERE t.site_id = {site:String}
            AND t.bucket >= {start:DateTime64(6, 'UTC')} AND t.bucket < {end:DateTime64(6, 'UTC')}
    )
"""

_CHECK = """
SELECT count(), min(d.events), max(d.events) FROM (
    SELECT sum(t.events) AS events FROM day_totals AS t
    WHERE t.site_id = {site:String} AND t.day = {day:Date} AND t.build_id = {build:UInt64}
    GROUP BY t.dimension
) AS d
"""

# One block, so one part; one thread, because no request waits for it.
_BUILD_SETTINGS: dict[str, str | int] = {
    "max_threads": 1,
    "max_insert_threads": 1,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 0,
    "do_not_merge_across_partitions_select_final": 1,
    "optimize_functions_to_subcolumns": 0,
}


class SiteList(Protocol):
    """The sites there are."""

    def all(self) -> list[Site]:
        """Every site, also those without events."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A day to build, with what was counted before anything is read."""

    site_id: str
    zone: ZoneInfo
    day: date
    span: dict[str, object]
    opened: tuple[date, date]
    counts: tuple[int, int, int]
    """Events of the day, events of its sessions' days (`openings`), active events of the day."""
    newest: int
    """The build that is there already, which the new one must be greater than."""


class DayTotals:
    """Keeps the totals of all sites' closed days up to date; `run` is a task to own."""

    def __init__(
        self,
        store: Store,
        sites: SiteList,
        clock: Callable[[], datetime],
        *,
        settle_s: float = SETTLE_S,
        rebuild_s: float = REBUILD_S,
        must_wait: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._sites = sites
        self._clock = clock
        self._settle_s = settle_s
        self._rebuild_s = rebuild_s
        self._must_wait = must_wait
        self._seen: dict[str, tuple[str, date]] = {}

    async def run(self) -> None:
        """Build in a loop until cancelled: each round all sites, at once those new or with a changed day or zone.

        Not while `must_wait` says so (a backlog is being delivered): the totals would be stale at once.
        """
        next_round = next_sweep = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if self._must_wait():
                continue
            began = time.monotonic()
            if began >= next_round:
                await self.build_all()
                took = time.monotonic() - began
                next_round = time.monotonic() + max(ROUND_S, IDLE_SHARE * took)
            else:
                await self.build_all(only_changed=True)
            if began >= next_sweep:
                await self.sweep()
                next_sweep = time.monotonic() + SWEEP_S

    async def build_all(self, *, only_changed: bool = False) -> int:
        """Build what is missing or stale of all sites; returns how many days were built.

        A site that fails is logged and tried again in the next round, and the others go on: unless ClickHouse is away.
        """
        began, built, sites = time.monotonic(), 0, 0
        for site in self._sites.all():
            zone = zone_of(site)
            now = (site.timezone, self._clock().astimezone(zone).date())
            if only_changed and self._seen.get(site.site_id) == now:
                continue
            try:
                days = await self.build_site(site.site_id, zone)
            except StoreError as error:
                log.warning(
                    "day totals not built, will try again",
                    extra={"site": site.site_id, "reason": error.message[:300]},
                )
                if not await self._store.ping():
                    break
                days = 0
            except Exception:
                log.exception("day totals not built, will try again", extra={"site": site.site_id})
                days = 0
            self._seen[site.site_id] = now
            built, sites = built + days, sites + bool(days)
        if built:
            seconds = round(time.monotonic() - began, 1)
            log.info("day totals built", extra={"days": built, "sites": sites, "seconds": seconds})
        return built

    async def build_site(self, site_id: str, zone: ZoneInfo) -> int:
        """Build what is missing or stale of one site, newest day first. Raises a store error."""
        today = self._clock().astimezone(zone).date()
        return await self.build_days(site_id, zone, today - MAX_DAYS * DAY, today - DAY)

    async def build_days(self, site_id: str, zone: ZoneInfo, first: date, last: date) -> int:
        """The same of some of its days, all of them over. Raises a store error."""
        range_ = TimeRange(midnight(first, zone), midnight(last + DAY, zone), zone)
        days = await survey(self._store, site_id, range_, first, last, timeout_s=QUERY_TIMEOUT_S)
        known = days.others | days.stale
        patient = first_build_id(self._clock().timestamp() - self._rebuild_s)
        wanted = sorted(
            (
                day
                for day, events in days.events.items()
                if events and day not in days.builds and day not in days.sealed and days.stale.get(day, 0) < patient
            ),
            reverse=True,
        )
        built = 0
        for start in range(0, len(wanted), CHUNK_DAYS):
            began = time.monotonic()
            chunk = wanted[start : start + CHUNK_DAYS]
            jobs = [await self._prepare(site_id, zone, day, known.get(day, 0)) for day in chunk]
            await asyncio.sleep(self._settle_s)
            for job in jobs:
                if self._must_wait():
                    return built
                working = time.monotonic()
                built += await self._build(job, deadline=began + CHUNK_TIMEOUT_S)
                # Half of the time at most, so that questions of people come first.
                await asyncio.sleep(min(self._settle_s, time.monotonic() - working))
        return built

    async def sweep(self) -> None:
        """Delete totals that no build refers to any more, long after the last query can have read them."""
        await sweep_builds(self._store, DAY_TOTALS, self._clock().timestamp())

    async def _prepare(self, site_id: str, zone: ZoneInfo, day: date, newest: int) -> _Job:
        span: dict[str, object] = {
            "site": site_id,
            "start": show_moment(midnight(day, zone)),
            "end": show_moment(midnight(day + DAY, zone)),
        }
        ((_, earliest, latest),) = (await self._query(_SPAN, span)).rows
        assert isinstance(earliest, datetime), "min of a DateTime64 column"
        assert isinstance(latest, datetime), "max of a DateTime64 column"
        opened = earliest.astimezone(zone).date(), latest.astimezone(zone).date()
        span |= {"first": show_moment(midnight(opened[0], zone)), "after": show_moment(midnight(opened[1] + DAY, zone))}
        span |= {"opened_from": show_moment(earliest), "opened_to": show_moment(latest)}
        return _Job(site_id, zone, day, span, opened, await self._counts(span), newest)

    async def _build(self, job: _Job, *, deadline: float) -> bool:
        """Write one day's totals; False if the day changed meanwhile, which the next round heals."""
        build_id = new_build_id(self._clock().timestamp(), job.newest)
        parameters = job.span | {
            "day": job.day.isoformat(),
            "build": build_id,
            "session_dimensions": [WHOLE_DAY, *(dimension.name for dimension in SESSION_DIMENSIONS)],
            "event_dimensions": [dimension.name for dimension in EVENT_DIMENSIONS],
        }
        await self._query(BUILD, parameters, settings=_BUILD_SETTINGS, timeout_s=BUILD_TIMEOUT_S)
        checked = (await self._query(_CHECK, parameters)).rows[0]
        events, opened_events, active = job.counts
        dimensions = 1 + len(SESSION_DIMENSIONS) + len(EVENT_DIMENSIONS)
        if checked != (dimensions, active, active) or await self._counts(job.span) != job.counts:
            return False
        if time.monotonic() > deadline:
            return False
        row: dict[str, object] = {
            "site_id": job.site_id,
            "day": job.day,
            "build_id": build_id,
            "timezone": job.zone.key,
            "version": VERSION,
            "events": events,
            "opened_from": job.opened[0],
            "opened_to": job.opened[1],
            "opened_events": opened_events,
        }
        await self._store.insert("day_builds", list(row), [[value] for value in row.values()])
        return True

    async def _counts(self, span: dict[str, object]) -> tuple[int, int, int]:
        ((events, opened, active),) = (await self._query(_COUNTS, span)).rows
        return int(events or 0), int(opened or 0), int(active or 0)  # type: ignore[call-overload]

    async def _query(
        self,
        sql: str,
        parameters: dict[str, object],
        *,
        settings: dict[str, str | int] | None = None,
        timeout_s: float = QUERY_TIMEOUT_S,
    ) -> ResultSet:
        """Also for INSERT … SELECT: in the store's reading threads they don't hold up a flush."""
        return await self._store.query(
            sql.strip(), parameters, settings={"max_threads": 1} | (settings or {}), timeout_s=timeout_s
        )
