"""The check of the kept totals of closed days (`day_totals`, `day_builds`).

They validate themselves: a build whose day has changed since is not read. So a stale build
is no fault; a build that is still read but whose numbers aren't those of `events` is. Both
are thrown away by a repair, and the server builds the days again. Builds that are kept
longer than their events have nothing to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from analytics_server.doctor.report import BaseCheck, Facts, Finding, count
from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.parameters import show_moment
from analytics_server.query.plan.coverage import DAY, EVENT_DIMENSIONS, SESSION_DIMENSIONS, survey
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.rollups.rebuild import Advance
from analytics_server.rollups.registry import DAY_TOTALS, OF_SITE
from analytics_server.store.protocol import Store
from analytics_server.zones import find_zone

SURPLUS_REMEDY = (
    "They count more events than there are: if events has lost some, restore them from a backup first. "
    "--repair throws the other days away; with --accept-loss these, too."
)
DIMENSIONS = 1 + len(SESSION_DIMENSIONS) + len(EVENT_DIMENSIONS)
CHUNK_DAYS = 31

_SITES = """
SELECT site_id, argMax(timezone, build_id), toString(min(day)), toString(max(day)) FROM day_builds
GROUP BY site_id ORDER BY site_id
"""

_KEPT = """
SELECT
    d.build_id, count(), min(d.events), max(d.events),
    maxIf(d.visitors, d.dimension = ''), maxIf(d.pageviews, d.dimension = ''), maxIf(d.sessions, d.dimension = '')
FROM (
    SELECT
        t.build_id AS build_id, t.dimension AS dimension, sum(t.events) AS events, sum(t.visitors) AS visitors,
        sum(t.pageviews) AS pageviews, sum(t.sessions) AS sessions
    FROM day_totals AS t
    WHERE t.site_id = {site:String} AND t.build_id IN {builds:Array(UInt64)}
    GROUP BY t.build_id, t.dimension
) AS d
GROUP BY d.build_id
"""

_EVENTS = """
SELECT toDate(e.ts, {tz:String}) AS day, countIf(e.passive = 0),
    uniqExactIf(e.visitor_id, e.visitor_id != 0 AND e.passive = 0), countIf(e.name = 'pageview')
FROM events AS e
WHERE e.site_id = {site:String} AND e.ts >= {start:DateTime64(6, 'UTC')} AND e.ts < {end:DateTime64(6, 'UTC')}
GROUP BY day
"""

_SESSIONS = """
SELECT toDate(s.started_at, {tz:String}) AS day, count()
FROM sessions AS s FINAL
WHERE s.site_id = {site:String}
    AND s.started_at >= {start:DateTime64(6, 'UTC')} AND s.started_at < {end:DateTime64(6, 'UTC')}
GROUP BY day
"""


@dataclass(frozen=True, slots=True)
class _Site:
    site_id: str
    zone: ZoneInfo
    first: date
    last: date

    @property
    def range(self) -> TimeRange:
        return TimeRange(midnight(self.first, self.zone), midnight(self.last + DAY, self.zone), self.zone)


class DayTotalsCheck(BaseCheck):
    """Compares every build that queries would read with `events` and `sessions`."""

    name = "day_totals"

    def __init__(
        self,
        store: Store,
        advance: Advance,
        *,
        accept_loss: bool = False,
        turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        """`turn`: within it no server takes rows out of the rollups."""
        self._turn = turn
        self._newest: dict[str, int] = {}
        self._store = store
        self._accept_loss = accept_loss
        self._surplus: set[tuple[str, date]] = set()
        self._advance = advance
        self._wrong: list[tuple[str, date]] = []
        self._stale: list[tuple[str, date]] = []

    async def examine(self) -> Finding:
        """Compare the totals of all builds in use with events and sessions, site by site."""
        self._wrong, self._stale = [], []
        self._surplus.clear()
        checked = 0
        sites = await self._sites()
        for number, site in enumerate(sites):
            self._advance("day totals", number, len(sites))
            held, stale, wrong = await self._look(site)
            if wrong:  # late events may have come in between, or a purge is between `events` and the rollups
                async with self._turn():
                    held, stale, wrong = await self._look(site)
            checked += held
            self._stale += [(site.site_id, day) for day in stale]
            self._wrong += [(site.site_id, day) for day in wrong]
        facts: Facts = {
            "days": checked,
            "stale": len(self._stale),
            "wrong": [f"{site} {day}" for site, day in self._wrong],
        }
        if self._wrong:
            return self.error(
                f"The kept totals of {count(len(self._wrong), 'day')} are not what events give, "
                f"first {self._wrong[0][1]} of {self._wrong[0][0]}.",
                SURPLUS_REMEDY
                if self._surplus
                else "Run doctor --repair: it throws them away, and the server builds them again.",
                **facts,
            )
        also = f"; those of {count(len(self._stale), 'day')} are out of date and not read" if self._stale else ""
        if not checked:
            return self.ok(f"No totals of closed days are in use{also}.", **facts)
        return self.ok(f"The kept totals of {count(checked, 'closed day')} equal events{also}.", **facts)

    async def repair(self) -> str:
        """Make the builds of wrong and stale days invalid, those with a surplus only with consent; not those that a
        server has made since."""
        by_site: dict[str, list[date]] = {}
        for site, day in (*self._wrong, *self._stale):
            if (site, day) in self._surplus and not self._accept_loss:
                continue
            by_site.setdefault(site, []).append(day)
        for site, days in by_site.items():
            statement = DAY_TOTALS.invalidate(f"{OF_SITE} AND {DAY_TOTALS.of_days} AND build_id <= {{newest:UInt64}}")
            await self._store.command(statement, {"site": site, "days": days, "newest": self._newest[site]})
        total = sum(map(len, by_site.values()))
        return f"threw away the totals of {count(total, 'day')}" if total else ""

    async def _sites(self) -> list[_Site]:
        answer = await self._store.query(_SITES, timeout_s=TIMEOUT_S)
        found = []
        for site, zone, first, last in answer.rows:
            known = find_zone(str(zone))
            if known is None:  # no query reads them either
                continue
            found.append(_Site(str(site), known, date.fromisoformat(str(first)), date.fromisoformat(str(last))))
        return found

    async def _look(self, site: _Site) -> tuple[int, list[date], list[date]]:
        """How many days are held, which are stale, and which are held and wrong."""
        days = await survey(self._store, site.site_id, site.range, site.first, site.last, timeout_s=TIMEOUT_S)
        known = (*days.builds.values(), *days.stale.values(), *days.others.values())
        self._newest[site.site_id] = max(known, default=0)
        compared = {day: build for day, build in days.builds.items() if day not in days.kept}
        kept = await self._kept(site, list(compared.values()))
        real = await self._real(site)
        wrong = []
        for day, build in compared.items():
            dimensions, least, most, *numbers = kept.get(build, (0, 0, 0, 0, 0, 0))
            events, *expected = real.get(day, (0, 0, 0, 0))
            if (least, most, *numbers) != (events, events, *expected) or dimensions != DIMENSIONS:
                wrong.append(day)
                if most > events:
                    self._surplus.add((site.site_id, day))
        return len(compared), sorted({*days.stale, *days.others}), sorted(wrong)

    async def _kept(self, site: _Site, builds: list[int]) -> dict[int, tuple[int, ...]]:
        """By build: dimensions, least and most events of one, then visitors, pageviews, sessions of the day."""
        answer = await self._store.query(
            _KEPT, {"site": site.site_id, "builds": builds}, settings=SETTINGS, timeout_s=TIMEOUT_S
        )
        return {int(str(build)): tuple(int(str(value)) for value in rest) for build, *rest in answer.rows}

    async def _real(self, site: _Site) -> dict[date, tuple[int, ...]]:
        """By local day: events, visitors, pageviews, sessions."""
        found: dict[date, tuple[int, ...]] = {}
        first = site.first
        while first <= site.last:
            last = min(site.last, first + (CHUNK_DAYS - 1) * DAY)
            parameters = {
                "site": site.site_id,
                "tz": site.zone.key,
                "start": show_moment(midnight(first, site.zone)),
                "end": show_moment(midnight(last + DAY, site.zone)),
            }
            events = await self._store.query(_EVENTS, parameters, settings=SETTINGS, timeout_s=TIMEOUT_S)
            sessions = await self._store.query(_SESSIONS, parameters, settings=SETTINGS, timeout_s=TIMEOUT_S)
            started = {day: int(str(number)) for day, number in sessions.rows}
            for day, *numbers in events.rows:
                found[day] = (*(int(str(number)) for number in numbers), started.get(day, 0))  # type: ignore[index]
            first = last + DAY
        return found
