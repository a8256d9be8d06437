"""The order of the checks, and what each needs to be possible at all.

Files first: they can be looked at whatever runs. Then ClickHouse: with the engine in
process its files belong to the server while that runs, so its tables are left alone then.
A check that can't be made is an error of that check and doesn't stop the others.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import msgspec

from analytics_server import __version__
from analytics_server.config import Config
from analytics_server.doctor.batches import BatchesCheck, EventIdsCheck
from analytics_server.doctor.day_totals import DayTotalsCheck
from analytics_server.doctor.directories import ArchiveCheck, DirectoriesCheck, SealKeyCheck
from analytics_server.doctor.documents import DocumentsCheck
from analytics_server.doctor.environment import ClockCheck, GeoCheck, SaltsCheck, VersionsCheck
from analytics_server.doctor.funnel_days import FunnelDaysCheck
from analytics_server.doctor.lock import DirectoryLock
from analytics_server.doctor.parts import PartsCheck, RecordedLossCheck
from analytics_server.doctor.report import EXIT_CODES, FORMAT, Check, Finding, Report, Status, worst
from analytics_server.doctor.rollups import RollupCheck, UnfitCheck
from analytics_server.doctor.schema import SchemaCheck, ViewsCheck
from analytics_server.doctor.set_aside import DeadLettersCheck, QuarantineCheck
from analytics_server.doctor.wal import QUARANTINE, DiskCheck, WalCheck
from analytics_server.errors import AnalyticsError, ConfigError, StoreError
from analytics_server.privacy.expiry.recording import REMOVAL_TURN
from analytics_server.rollups.between_inserts import BetweenInserts
from analytics_server.rollups.comparison import Calendar
from analytics_server.rollups.materialized_views import Rollup, Views, is_gone, read_views
from analytics_server.rollups.rebuild import Advance, Rebuilder
from analytics_server.rollups.registry import SHIPPED_ROLLUPS
from analytics_server.store import Store, StoreInfo, capabilities_of, make_store
from analytics_server.store.engines.engine_files import DatabaseLost, EngineFilesError, set_database_aside
from analytics_server.store.lease import SharedTurn
from analytics_server.store.parts import PartRecord, record_path

DEAD_LETTERS = "dead-letters"


class Examination:
    """One run of the doctor. `rest_s` is how long it waits where servers may be writing. `on_repaired` hears of what a
    repair has done, where ClickHouse has the schema to record it."""

    def __init__(
        self,
        config: Config,
        *,
        repair: bool,
        clock: Callable[[], float],
        advance: Advance,
        accept_loss: bool = False,
        rest_s: float = 2.0,
        on_repaired: Callable[[Store, Sequence[Finding]], Awaitable[None]] | None = None,
    ) -> None:
        self._config = config
        self._accept_loss = accept_loss
        self._repair = repair
        self._clock = clock
        self._advance = advance
        self._rest_s = rest_s
        self._on_repaired = on_repaired
        self._findings: list[Finding] = []
        self._owns_files = capabilities_of(config).owns_files
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
            self._lock.take(keep=self._owns_files or self._repair)
        except OSError as error:
            self._say(
                "lock",
                "error",
                f"The log's directory {config.wal_dir} can't be used: {error.strerror}.",
                "Run doctor as the user that runs the server.",
            )
        now = self._clock()
        await self._make(
            VersionsCheck(needs_engine=self._owns_files),
            DirectoriesCheck(config),
            SealKeyCheck(config),
            DiskCheck(config),
            WalCheck(config, self._lock, now, self._advance),
            QuarantineCheck(config.wal_dir / QUARANTINE),
            DeadLettersCheck(config.data_dir / DEAD_LETTERS),
            GeoCheck(config, now),
            ArchiveCheck(config),
        )

    async def _look_at_clickhouse(self) -> None:
        if self._owns_files and self._lock.busy:
            self._say(
                "clickhouse",
                "warning",
                "A server is running on this directory and has the engine open: its tables were not looked at.",
                "Run doctor again while the server is stopped. Until then GET /readyz and /metrics tell how it is.",
            )
            await self._make(RecordedLossCheck(PartRecord(record_path(self._config.data_dir))))
            return
        try:
            store = make_store(self._config)
        except ConfigError as error:
            self._say("clickhouse", "error", error.message, "Do what it says, then run doctor again.")
            return
        path = self._config.engine_dir
        if path is not None and not await asyncio.to_thread(os.path.lexists, path):
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
            info = await self._open(store)
        except AnalyticsError as error:
            where = "in process" if self._owns_files else "the server"
            remedy = _FILES_REMEDY if isinstance(error, EngineFilesError) else _OPEN_REMEDY
            self._say("clickhouse", "error", f"ClickHouse ({where}) doesn't open: {error.message}", remedy)
            return
        location = "in process" if self._owns_files else f"at {info.location}"
        self._say("clickhouse", "ok", f"ClickHouse {info.version} {location} answers.")
        config = self._config
        parts = PartsCheck(
            store,
            PartRecord(record_path(config.data_dir)),
            self._clock,
            self._advance,
            local=self._owns_files,
            accept_loss=self._accept_loss,
        )
        await self._make(parts)
        await self._look_at_rows(store)
        if self._repair:
            await self._settle(parts)
            await self._tell_repairs(store)

    async def _open(self, store: Store) -> StoreInfo:
        """With consent, a database whose metadata is lost makes room for a new one."""
        try:
            return await store.open()
        except DatabaseLost as error:
            path = self._config.engine_dir
            if path is None or not (self._repair and self._accept_loss):
                raise
            try:
                target = await asyncio.to_thread(set_database_aside, path)
            except OSError as failure:
                raise EngineFilesError(f"{error.message} It can't be moved: {failure.strerror}.") from failure
            self._say("database", "warning", f"The lost database's files were moved to {target}.", "Keep them for now.")
            return await store.open()

    async def _settle(self, parts: PartsCheck) -> None:
        """Rollups that were rebuilt lack nothing any more, whatever became of their parts."""
        await parts.settle([name for name in SHIPPED_ROLLUPS if self._status(f"rollup_{name}") == "ok"])
        place = next(number for number, finding in enumerate(self._findings) if finding.check == parts.name)
        repaired = self._findings[place].repaired
        self._findings[place] = msgspec.structs.replace(await self._examined(parts), repaired=repaired)

    async def _tell_repairs(self, store: Store) -> None:
        done = [finding for finding in self._findings if finding.repaired]
        if self._on_repaired is None or self._status("schema") != "ok":
            return
        try:
            await self._on_repaired(store, done)
        except (AnalyticsError, OSError) as error:
            self._say("audit", "error", f"The repair is not in the audit log: {error}", "Run doctor --repair again.")

    async def _look_at_rows(self, store: Store) -> None:
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
            DocumentsCheck(store, config.sites),
        )
        try:
            views, rollups, calendar = await _read(store)
        except AnalyticsError as error:
            self._say("rollups", "error", f"The rollups can't be read: {error.message}")
            return
        between_inserts = BetweenInserts(
            store,
            [rollup.target for rollup in rollups],
            exclusive=self._owns_files,
            cluster=cluster,
            rest_s=self._rest_s,
        )
        await self._make(UnfitCheck(views))
        rebuilder = Rebuilder(
            store, between_inserts, exclusive=self._owns_files, clock=self._clock, advance=self._advance
        )
        turn = SharedTurn(store, REMOVAL_TURN, holder="doctor").taken
        for rollup in rollups:
            check = RollupCheck(
                *(store, rollup, calendar, rebuilder, between_inserts, self._advance),
                accept_loss=self._accept_loss,
                turn=turn,
            )
            await self._make(check)
        await self._make(DayTotalsCheck(store, self._advance, accept_loss=self._accept_loss, turn=turn))
        await self._make(FunnelDaysCheck(store, self._advance, turn=turn))

    async def _make(self, *checks: Check) -> None:
        for check in checks:
            self._findings.append(await self._finding(check))

    async def _finding(self, check: Check) -> Finding:
        finding = await self._examined(check)
        try:
            if self._repair and (done := await check.repair()):
                finding = msgspec.structs.replace(await check.examine(), repaired=done)
        except (AnalyticsError, OSError) as error:
            return _not_checked(check, error)
        return finding

    async def _examined(self, check: Check) -> Finding:
        try:
            return await check.examine()
        except (AnalyticsError, OSError) as error:
            return _not_checked(check, error)

    def _status(self, name: str) -> str:
        return next((finding.status for finding in self._findings if finding.check == name), "error")

    def _say(self, check: str, status: Status, message: str, remedy: str = "") -> None:
        self._findings.append(Finding(check=check, status=status, message=message, remedy=remedy))


def _not_checked(check: Check, error: AnalyticsError | OSError) -> Finding:
    said = error.message if isinstance(error, AnalyticsError) else " ".join(str(error).split())
    return Finding(
        check=check.name,
        status="error",
        message=f"This could not be checked: {said}",
        remedy="Run doctor again when it can.",
    )


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


_FILES_REMEDY = "See the directory of the database: that is where it has to be put right."
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
