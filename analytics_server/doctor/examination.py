"""The order of the checks, and what each needs to be possible at all.

Files first: they can be looked at whatever runs. Then ClickHouse: with the engine in
process its files belong to the server while that runs, so its tables are left alone then.
A check that can't be made is an error of that check and doesn't stop the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from analytics_server import __version__
from analytics_server.config import Config
from analytics_server.doctor.batches import BatchesCheck, EventIdsCheck
from analytics_server.doctor.calm import Calm
from analytics_server.doctor.compare import Calendar
from analytics_server.doctor.kept import DeadLettersCheck, QuarantineCheck
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.doctor.rebuild import Rebuilder
from analytics_server.doctor.report import EXIT_CODES, FORMAT, Advance, Check, Finding, Report, Status, worst
from analytics_server.doctor.rollups import RollupCheck, UnfitCheck
from analytics_server.doctor.schema import SchemaCheck, ViewsCheck
from analytics_server.doctor.surroundings import ClockCheck, GeoCheck, SaltsCheck, VersionsCheck
from analytics_server.doctor.totals import DayTotalsCheck
from analytics_server.doctor.wal import QUARANTINE, DiskCheck, WalCheck
from analytics_server.errors import AnalyticsError, ConfigError, StoreError
from analytics_server.ingest.views import Rollup, Views, is_gone, read_views
from analytics_server.store import Store, make_store

DEAD_LETTERS = "dead-letters"


class Examination:
    """One run of the doctor. `rest_s` is how long it waits where servers may be writing."""

    def __init__(
        self, config: Config, *, repair: bool, clock: Callable[[], float], advance: Advance, rest_s: float = 2.0
    ) -> None:
        self._config = config
        self._repair = repair
        self._clock = clock
        self._advance = advance
        self._rest_s = rest_s
        self._findings: list[Finding] = []
        self._embedded = config.clickhouse_url.startswith("chdb:")
        self._lock = DirectoryLock(config.wal_dir)

    async def run(self) -> Report:
        """Make all checks that can be made."""
        self._say("config", "ok", "The configuration is valid.")
        try:
            await self._look_at_files()
            await self._look_at_clickhouse()
        finally:
            self._lock.release()
        return report_of(self._findings, self._clock())

    async def _look_at_files(self) -> None:
        config = self._config
        try:
            self._lock.take(keep=self._embedded or self._repair)
        except OSError as error:
            self._say(
                "lock",
                "error",
                f"The log's directory {config.wal_dir} can't be used: {error.strerror}.",
                "Run doctor as the user that runs the server.",
            )
        now = self._clock()
        await self._make(
            VersionsCheck(embedded=self._embedded),
            DiskCheck(config),
            WalCheck(config, self._lock, now, self._advance),
            QuarantineCheck(config.wal_dir / QUARANTINE),
            DeadLettersCheck(config.data_dir / DEAD_LETTERS),
            GeoCheck(config, now),
        )

    async def _look_at_clickhouse(self) -> None:
        if self._embedded and self._lock.busy:
            self._say(
                "clickhouse",
                "warning",
                "A server is running on this directory and has the engine open: its tables were not looked at.",
                "Run doctor again while the server is stopped. Until then GET /readyz and /metrics tell how it is.",
            )
            return
        try:
            store = make_store(self._config)
        except ConfigError as error:
            self._say("clickhouse", "error", error.message, "Correct [clickhouse] url.")
            return
        path = Path(self._config.clickhouse_url.removeprefix("chdb://"))
        if self._embedded and not await asyncio.to_thread(path.exists):
            self._say(
                "clickhouse",
                "warning",
                f"There is no database in {path} yet.",
                "Start the server once; or is another [server] data_dir meant?",
            )
            return
        try:
            await self._look_at_tables(store)
        finally:
            await store.close()

    async def _look_at_tables(self, store: Store) -> None:
        try:
            info = await store.open()
        except AnalyticsError as error:
            where = "in process" if self._embedded else "the server"
            self._say("clickhouse", "error", f"ClickHouse ({where}) doesn't open: {error.message}", _OPEN_REMEDY)
            return
        location = "in process" if info.kind == "embedded" else f"at {info.location}"
        self._say("clickhouse", "ok", f"ClickHouse {info.version} {location} answers.")
        config, cluster = self._config, self._config.clickhouse.cluster
        await self._make(ClockCheck(store, self._clock), SchemaCheck(store, cluster))
        if self._status("schema") != "ok":
            self._say(
                "tables",
                "warning",
                "Views, rollups and event ids were not looked at: the schema has to be right first.",
                "Mend the schema, then run doctor again.",
            )
            return
        await self._make(
            ViewsCheck(store, cluster),
            BatchesCheck(store, config.wal_dir, config.data_dir / DEAD_LETTERS),
            EventIdsCheck(store, config.collect, self._clock, self._advance),
            SaltsCheck(store, self._clock, lambda: self._status("clock") == "ok"),
        )
        try:
            views, rollups, calendar = await _read(store)
        except AnalyticsError as error:
            self._say("rollups", "error", f"The rollups can't be read: {error.message}")
            return
        calm = Calm(
            store,
            [rollup.target for rollup in rollups],
            exclusive=self._embedded,
            cluster=cluster,
            rest_s=self._rest_s,
        )
        await self._make(UnfitCheck(views))
        rebuilder = Rebuilder(store, calm, exclusive=self._embedded, clock=self._clock, advance=self._advance)
        for rollup in rollups:
            await self._make(RollupCheck(store, rollup, calendar, rebuilder, calm, self._advance))
        await self._make(DayTotalsCheck(store, self._advance))

    async def _make(self, *checks: Check) -> None:
        for check in checks:
            self._findings.append(await self._finding(check))

    async def _finding(self, check: Check) -> Finding:
        try:
            finding = await check.examine()
            if self._repair and (done := await check.repair()):
                finding = msgspec.structs.replace(await check.examine(), repaired=done)
        except (AnalyticsError, OSError) as error:
            said = error.message if isinstance(error, AnalyticsError) else " ".join(str(error).split())
            return Finding(
                check=check.name,
                status="error",
                message=f"This could not be checked: {said}",
                remedy="Run doctor again when it can.",
            )
        return finding

    def _status(self, name: str) -> str:
        return next((finding.status for finding in self._findings if finding.check == name), "error")

    def _say(self, check: str, status: Status, message: str, remedy: str = "") -> None:
        self._findings.append(Finding(check=check, status=status, message=message, remedy=remedy))


async def _read(store: Store) -> tuple[Views, list[Rollup], Calendar]:
    """What there is to compare, and the days it speaks of; read again if a view is dropped in between."""
    for last in (False, False, True):
        views = await read_views(store)
        rollups = [rollup for rollup in views.rollups if rollup.time]
        try:
            return views, rollups, await Calendar.read(store, rollups)
        except StoreError as error:
            if last or not is_gone(error):
                raise
    raise AssertionError("the last try returns or raises")


_OPEN_REMEDY = "Is it running, and are address, user and password in [clickhouse] url right?"


def report_of(findings: Sequence[Finding], now: float) -> Report:
    """Findings as a report, with the status of the worst."""
    status = worst(findings)
    return Report(
        format=FORMAT,
        server_version=__version__,
        checked_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        status=status,
        exit_code=EXIT_CODES[status],
        findings=tuple(findings),
    )
