"""Checks of the environment: versions, the geo file, ClickHouse's clock.

The clock matters more than it seems: it chooses the day's salt, the visitor's day and the
window of repeated ids, and batch ids begin with it.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import metadata

from analytics_server import __version__
from analytics_server.batch_ids import ARRIVED_SINCE, created_ms, first_batch_id
from analytics_server.collect.enrich.geo import GeoLocator
from analytics_server.config import Config
from analytics_server.doctor.report import BaseCheck, Facts, Finding, size, span
from analytics_server.privacy.salts import DAY_S, KEPT_S, Salts
from analytics_server.store.protocol import Store

LIBRARIES = ("aiohttp", "uvloop", "msgspec", "orjson", "clickhouse-connect", "maxminddb", "ua-parser")
ENGINE = "chdb-core-lite"
LEAST_PYTHON = (3, 11)
GEO_OLD_S = 60 * DAY_S
SKEW_WARNING_S = 2.0
SKEW_ERROR_S = 60.0
CLOCK_MARGIN_S = 60.0


class VersionsCheck(BaseCheck):
    """Python and the libraries the server can't run without."""

    name = "versions"

    def __init__(self, *, needs_engine: bool) -> None:
        self._wanted = (*LIBRARIES, ENGINE) if needs_engine else LIBRARIES

    async def examine(self) -> Finding:
        """Ask for the versions that are installed."""
        found, missing = {}, []
        for library in self._wanted:
            try:
                found[library] = metadata.version(library)
            except metadata.PackageNotFoundError:
                missing.append(library)
        python = platform.python_version()
        facts: Facts = {"analytics_server": __version__, "python": python, **found}
        if missing or sys.version_info[:2] < LEAST_PYTHON:
            lacks = f"{', '.join(missing)} not installed" if missing else f"Python {python} is too old"
            return self.error(f"The installation is incomplete: {lacks}.", "Install the release again.", **facts)
        engine = f", {ENGINE} {found[ENGINE]}" if ENGINE in found else ""
        return self.ok(
            f"analytics-server {__version__}, Python {python}, aiohttp {found['aiohttp']}, "
            f"clickhouse-connect {found['clickhouse-connect']}{engine}.",
            **facts,
        )


class GeoCheck(BaseCheck):
    """Is the file that gives countries there, readable, and not too old?"""

    name = "geo"

    def __init__(self, config: Config, now: float) -> None:
        self._path = config.geo.database
        self._now = now

    async def examine(self) -> Finding:
        """Open the file as the server does."""
        if not self._path:
            return self.ok("No geo database is set: countries stay empty.", file="")
        locator = await asyncio.to_thread(GeoLocator, self._path)
        info = locator.info
        locator.close()
        if info is None:
            return self.error(
                locator.error + " Countries stay empty.",
                "Set [geo] database to a readable .mmdb file of MaxMind's or DB-IP's form.",
                file=self._path,
            )
        age_s = self._now - info.built_at_s
        facts: Facts = {
            "file": self._path,
            "type": info.type,
            "age_days": round(age_s / DAY_S),
            "bytes": info.size_bytes,
        }
        said = f"The geo database {info.type or self._path} ({size(info.size_bytes)}) was built {span(age_s)} ago"
        if age_s > GEO_OLD_S:
            return self.warning(
                f"{said}; addresses move.", "Fetch a newer one; the server takes it over by itself.", **facts
            )
        return self.ok(f"{said}.", **facts)


class ClockCheck(BaseCheck):
    """This machine's clock against ClickHouse's, and against what is stored already."""

    name = "clock"

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def examine(self) -> Finding:
        """Compare this clock with ClickHouse's and with the newest batch."""
        before = self._clock()
        answer = await self._store.query("SELECT toUnixTimestamp64Micro(now64(6))")
        skew_s = (before + self._clock()) / 2 - int(str(answer.rows[0][0])) / 1_000_000
        ahead_s = await self._ahead_s()
        facts: Facts = {"skew_s": round(skew_s, 3), "newest_batch_ahead_s": round(ahead_s, 1)}
        remedy = "Keep both machines' clocks by NTP."
        if abs(skew_s) > SKEW_WARNING_S:
            said = f"This machine's clock is {span(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} ClickHouse's"
            if abs(skew_s) > SKEW_ERROR_S:
                return self.error(f"{said}: visitors may be counted on the wrong day.", remedy, **facts)
            return self.warning(f"{said}.", remedy, **facts)
        if ahead_s > CLOCK_MARGIN_S:
            return self.error(
                f"The newest batch was written {span(ahead_s)} in the future: a clock was wrong.",
                f"{remedy} Until that time has come, the newest repeated ids may be forgotten by a restart.",
                **facts,
            )
        return self.ok("The clock agrees with ClickHouse's.", **facts)

    async def _ahead_s(self) -> float:
        exists = await self._store.query(
            "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'events'"
        )
        if not exists.rows[0][0]:
            return 0.0
        # Batches of imports and of tests may have other ids: those beyond a year from now are no times.
        now = self._clock()
        latest = first_batch_id(now + 366 * DAY_S)
        answer = await self._store.query(
            f"SELECT max(batch_id) FROM events WHERE {ARRIVED_SINCE} AND batch_id < {{latest:UInt64}}",
            {"latest": latest, "arrived_since": first_batch_id(now)},
        )
        newest = int(str(answer.rows[0][0]))
        return max(0.0, created_ms(newest) / 1000 - now) if newest else 0.0


class SaltsCheck(BaseCheck):
    """Salts older than 48 hours must be gone; there is none for a day that hasn't begun."""

    name = "salts"

    def __init__(self, store: Store, clock: Callable[[], float], clock_agrees: Callable[[], bool]) -> None:
        self._store = store
        self._clock = clock
        self._clock_agrees = clock_agrees
        self._old = False

    async def examine(self) -> Finding:
        """List the days that have a salt."""
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        oldest = today - timedelta(days=KEPT_S // DAY_S - 1)
        answer = await self._store.query("SELECT DISTINCT toString(day) FROM salts ORDER BY day")
        days = [str(day) for (day,) in answer.rows]
        old = [day for day in days if day < oldest.isoformat()]
        future = [day for day in days if day > (today + timedelta(days=1)).isoformat()]
        self._old = bool(old)
        if old:
            return self.error(
                f"{len(old)} of {len(days)} salts are older than 48 hours ({old[0]} first): "
                "the hashes of those days could still be tied to addresses.",
                "Run doctor --repair, or start the server: both destroy them."
                if self._clock_agrees()
                else "Put the clock right first: destroyed salts don't come back.",
                days=days,
            )
        if future:
            return self.warning(
                f"There is a salt for {future[0]}, a day that is not near: a clock was wrong.",
                "Keep the machines' clocks by NTP; the salt goes 48 hours after its day.",
                days=days,
            )
        if not days:
            return self.ok("There are no salts; a start of the server makes today's.", days=days)
        return self.ok(f"Salts of {', '.join(days)}; none is older than 48 hours.", days=days)

    async def repair(self) -> str:
        """Destroy old salts, unless a wrong clock may be what makes them old."""
        if not self._old or not self._clock_agrees():
            return ""
        await Salts(self._store, self._clock).load()
        return "destroyed the salts that were too old"
