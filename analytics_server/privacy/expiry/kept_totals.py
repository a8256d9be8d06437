"""Marks the totals of days that stay when their events expire: plain numbers, which name nobody.

A day's build counts only while `traffic` and `openings` agree with it. When their rows go with the events, a build that
is marked counts all the same. Marked are whole local days before the cut; what is missing or out of date of them is
built first, as afterwards it can't be. Marking twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time

from analytics_server.model import Site
from analytics_server.query.context import zone_of
from analytics_server.query.day_totals import SETTLE_S, DayTotals
from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.plan.coverage import DAY, survey
from analytics_server.rollups.comparison import TIMEOUT_S
from analytics_server.store.protocol import Store

_COLUMNS = "site_id, day, build_id, timezone, version, events, opened_from, opened_to, opened_events"


class KeptTotals:
    """`sites`: all there are."""

    def __init__(self, store: Store, sites: Callable[[], list[Site]], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._builder = DayTotals(store, _Listed(sites), clock, settle_s=SETTLE_S, rebuild_s=0.0)

    async def mark(self, site: Site, since: date, before: date) -> int:
        """Keep the totals of the site's days from `since`, which lie whole before `before`, a day in UTC; how many.

        Raises a store error.
        """
        zone = zone_of(site)
        cut = datetime.combine(before, time(), UTC)
        last = cut.astimezone(zone).date() - DAY
        answer = await self._store.query(
            "SELECT count(), toString(min(toDate(t.bucket, {tz:String}))) FROM traffic AS t "
            "WHERE t.site_id = {site:String} AND t.bucket < toDateTime({cut:UInt32}, 'UTC')",
            {"site": site.site_id, "tz": zone.key, "cut": int(cut.timestamp())},
            timeout_s=TIMEOUT_S,
        )
        ((count, earliest),) = answer.rows
        first = max(since, date.fromisoformat(str(earliest)))
        if not count or first > last:
            return 0
        await self._builder.build_days(site.site_id, zone, first, last)
        range_ = TimeRange(midnight(first, zone), midnight(last + DAY, zone), zone)
        days = await survey(self._store, site.site_id, range_, first, last, timeout_s=TIMEOUT_S)
        builds = [build for day, build in days.builds.items() if day not in days.kept]
        await self._write(site.site_id, builds)
        return len(builds)

    async def _write(self, site_id: str, builds: Sequence[int]) -> None:
        if builds:
            await self._store.command(
                f"INSERT INTO day_builds ({_COLUMNS}, kept) SELECT {_COLUMNS}, 1 FROM day_builds FINAL "
                "WHERE site_id = {site:String} AND build_id IN {builds:Array(UInt64)}",
                {"site": site_id, "builds": list(builds)},
            )
            await self._store.catch_up(["day_builds"])


class _Listed:
    def __init__(self, sites: Callable[[], list[Site]]) -> None:
        self.all = sites
