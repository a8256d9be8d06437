"""Marks the totals of days that stay when their events expire: plain numbers, which identify no person.

A day's build counts only while `traffic` and `openings` agree with it. When their rows go with the events, a build that
is marked counts all the same. What is missing or out of date is built first, as afterwards it can't be. Marking twice
changes nothing.

Marked are the local days before the cut, the day that the cut falls into, which loses its first hours, and the day
after it: what is left of a session over the cut is a session that begins on one of these two, and would count again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time

from analytics_server.model import Site
from analytics_server.query.context import zone_of
from analytics_server.query.day_totals import SETTLE_S, DayTotals
from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.plan.coverage import DAY, survey
from analytics_server.rollups.comparison import TIMEOUT_S
from analytics_server.rollups.registry import DAY_TOTALS
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ATTEMPTS = 3
_COLUMNS = "site_id, day, build_id, timezone, version, events, opened_from, opened_to, opened_events"


class KeptTotals:
    """`sites`: all there are."""

    def __init__(self, store: Store, sites: Callable[[], list[Site]], clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self._builder = DayTotals(store, _Listed(sites), clock, settle_s=SETTLE_S, rebuild_s=0.0)

    async def mark(self, site: Site, since: date, before: date) -> bool:
        """Keep the totals of the site's days from `since` that a purge of what is older than `before`, a day in UTC,
        touches. False if they can't all be kept: nothing of the site may go then. Raises a store error.
        """
        zone = zone_of(site)
        await self._store.catch_up([DAY_TOTALS.builds])  # another server may have discarded some just now
        cut = datetime.combine(before, time(), UTC)
        last = min(cut.astimezone(zone).date() + DAY, self._clock().astimezone(zone).date() - DAY)
        answer = await self._store.query(
            "SELECT count(), toString(min(toDate(t.bucket, {tz:String}))) FROM traffic AS t "
            "WHERE t.site_id = {site:String} AND t.bucket < toDateTime({cut:UInt32}, 'UTC')",
            {"site": site.site_id, "tz": zone.key, "cut": int(cut.timestamp())},
            timeout_s=TIMEOUT_S,
        )
        ((count, earliest),) = answer.rows
        first = max(since, date.fromisoformat(str(earliest)))
        if not count or first > last:
            return True
        range_ = TimeRange(midnight(first, zone), midnight(last + DAY, zone), zone)
        for _ in range(ATTEMPTS):  # a day that changes while it is built is not built
            await self._builder.build_days(site.site_id, zone, first, last)
            days = await survey(self._store, site.site_id, range_, first, last, timeout_s=TIMEOUT_S)
            await self._write(site.site_id, [build for day, build in days.builds.items() if day not in days.kept])
            missing = [d for d, events in days.events.items() if events and d not in days.builds.keys() | days.sealed]
            if not missing:
                return True
        log.warning(
            "totals of days could not be made: nothing expires",
            extra={"site": site.site_id, "days": ", ".join(map(str, sorted(missing)))[:300]},
        )
        return False

    async def _write(self, site_id: str, builds: Sequence[int]) -> None:
        if builds:
            await self._store.command(
                f"INSERT INTO {DAY_TOTALS.builds} ({_COLUMNS}, kept) "
                f"SELECT {_COLUMNS}, 1 FROM {DAY_TOTALS.builds} FINAL "
                "WHERE site_id = {site:String} AND build_id IN {builds:Array(UInt64)}",
                {"site": site_id, "builds": list(builds)},
            )
            await self._store.catch_up([DAY_TOTALS.builds])


class _Listed:
    def __init__(self, sites: Callable[[], list[Site]]) -> None:
        self.all = sites
