"""Maintains the tables of saved funnels: makes them, fills them from earlier events, drops those of no saved funnel.

Order of a fill: the table, its view (from then on every new insert brings its facts), a wait until the inserts that
began before have ended, and then the events that are there, newest first, some days at a time. Each piece may be done
twice without harm, so a server that dies goes on where it was, and two servers at the same funnel only waste time;
a row in `funnel_fills` says how far it is and who is at it. Afterwards the days that are over are made
(`builder`), now and then again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from analytics_server.analyses.funnels.answer import Status
from analytics_server.analyses.funnels.materialized.builder import SETTLE_S, DayBuilder
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.facts import PREFIX, Facts
from analytics_server.errors import AnalyticsError, RequestError, StoreError, StoreFatal, StoreRetryable
from analytics_server.query.answer import whole_number
from analytics_server.query.context import SiteDirectory, zone_of
from analytics_server.query.sql.select import Table, print_line, select
from analytics_server.rollups.builds import SWEEP_S, sweep_builds
from analytics_server.rollups.registry import FUNNEL_DAYS
from analytics_server.saved.store import SavedThing
from analytics_server.store.migrate import render
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

TICK_S = 1.0
IDLE_S = 10.0
"""How often what is in the tables is looked at: with something to do, and without."""

DAYS_S = 60.0
LEASE_S = 30.0
"""A server that has said nothing for so long is no longer at a funnel."""

ORPHAN_S = 60.0
"""A table that no saved funnel has asked for so long is dropped: another server may know of a newer funnel."""

PIECE_EVENTS = 1_000_000
TIMEOUT_S = 600.0
ENDING_S = 120.0
FILL_SHARE = 60.0
"""Per cent of the progress that the fill stands for; the days are the rest."""

_FILLING, _FILLED, _READY = 0, 1, 2
_TABLES = (
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, "
    f"'^{PREFIX}[0-9a-f]+_[0-9a-f]{{16}}(_from_events)?$')"
)
_INSERTS_INTO_EVENTS = r"match(query, '(?i)^\\s*INSERT\\s+INTO\\s+(TABLE\\s+)?(`?\\w+`?\\.)?`?events`?\\b')"
_SETTINGS: dict[str, str | int] = {"max_threads": 1, "max_insert_threads": 1, "min_insert_block_size_rows": 10_000_000}


@dataclass(slots=True)
class FunnelState:
    """What is known of one funnel's tables. `usable`: its facts are complete; `reason`: why it failed."""

    status: Status = "building"
    progress: float = 0.0
    reason: str = ""
    usable: bool = False
    days_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class _Fill:
    from_day: date
    first_day: date
    filled: int
    server: str
    age_s: float


class FunnelMaintenance:
    """Owns the states of the saved funnels; `run` is a task to own."""

    def __init__(
        self,
        store: Store,
        saved: SavedFunnels,
        sites: SiteDirectory,
        clock: Callable[[], datetime],
        *,
        cluster: str = "",
        settle_s: float = SETTLE_S,
    ) -> None:
        self._store = store
        self._saved = saved
        self._sites = sites
        self._clock = clock
        self._cluster = cluster
        self._builder = DayBuilder(store, clock, settle_s=settle_s)
        self._server = secrets.token_hex(6)
        self._states: dict[str, FunnelState] = {}
        self._orphans: dict[str, float] = {}
        self._wake = asyncio.Event()

    def state(self, facts: Facts) -> FunnelState:
        """What is known of a funnel's tables."""
        return self._states.setdefault(facts.definition, FunnelState())

    def wake(self) -> None:
        """Something was saved: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Maintain the tables until cancelled."""
        next_sweep = time.monotonic()
        while True:
            busy = False
            try:
                busy = await self.round()
                if time.monotonic() >= next_sweep:
                    await self.sweep()
                    next_sweep = time.monotonic() + SWEEP_S
            except StoreError as error:
                log.warning("saved funnels not kept up, will try again", extra={"reason": error.message[:300]})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S if busy else IDLE_S):
                    await self._wake.wait()
            self._wake.clear()

    async def round(self) -> bool:
        """Do what there is to do; true if something is still under way. Raises a store error."""
        wanted = self._saved.all_facts()
        tables = {str(row[0]) for row in (await self._store.query(_TABLES)).rows}
        if not wanted and not tables:
            self._states.clear()
            return False
        fills = await self._fills()
        busy = False
        for facts in wanted:
            try:
                busy |= await self._keep(facts, tables, fills.get(facts.definition))
            except AnalyticsError as error:  # the others go on; this one is tried again
                busy = True
                state = self.state(facts)
                if isinstance(error, StoreFatal):
                    state.status, state.reason = "failed", error.message[:300]
                log.warning(
                    "a saved funnel is not kept up, will try again",
                    extra={"site": facts.site_id, "funnel": facts.funnel_id, "reason": error.message[:300]},
                )
            except Exception:
                busy = True
                log.exception(
                    "a saved funnel is not kept up, will try again",
                    extra={"site": facts.site_id, "funnel": facts.funnel_id},
                )
        await self._drop_orphans(tables - {name for facts in wanted for name in (facts.table, facts.view)})
        for definition in self._states.keys() - {facts.definition for facts in wanted}:
            del self._states[definition]
        return busy

    async def forget(self, thing: SavedThing, *, now: SavedThing | None = None) -> None:
        """Drop the tables of a funnel that was deleted, or that means something else `now`. Raises a store error."""
        try:
            facts = self._saved.facts(thing)
            if now is not None and self._saved.facts(now).definition == facts.definition:
                return
        except RequestError:  # what it named is gone; its tables are dropped as orphans
            return
        self._states.pop(facts.definition, None)
        await self._drop(facts.table)

    async def sweep(self) -> None:
        """Delete days' attempts that no build refers to any more, long after the last question can have read them."""
        await sweep_builds(self._store, FUNNEL_DAYS, self._clock().timestamp())

    # ---- one funnel ----------------------------------------------------

    async def _keep(self, facts: Facts, tables: set[str], fill: _Fill | None) -> bool:
        """True while it isn't ready."""
        state = self.state(facts)
        there = facts.table in tables and facts.view in tables
        if there and fill is not None:
            self._show(state, fill)
            if fill.server != self._server and fill.age_s < LEASE_S:
                return state.status != "ready"
        else:
            state.usable, state.status = False, "building"
        state.reason = ""
        if not there or fill is None or fill.filled == _FILLING:
            await self._fill(facts, state, fill if there else None)
        first = not there or fill is None or fill.filled != _READY
        if first or time.monotonic() - state.days_at >= DAYS_S:
            await self._days(facts, state, first=first)
        return state.status != "ready"

    def _show(self, state: FunnelState, fill: _Fill) -> None:
        state.usable = fill.filled >= _FILLED
        state.status = "ready" if fill.filled == _READY else "building"
        if state.status == "ready":
            state.progress = 100.0
        elif fill.server != self._server:
            state.progress = FILL_SHARE if state.usable else 0.0

    async def _fill(self, facts: Facts, state: FunnelState, fill: _Fill | None) -> None:
        began = time.monotonic()
        if fill is None:
            await self._store.command(render(facts.create_table(), self._cluster))
            await self._store.command(render(facts.create_view(), self._cluster))
            await self._inserts_ended()
        days = await self._days_of_events(facts)
        after = fill.from_day if fill is not None else date.max
        left = [(day, events) for day, events in days if day < after]
        first = days[-1][0] if days else self._today()
        done, total = sum(events for day, events in days if day >= after), sum(events for _, events in days)
        from_day = min(after, self._today() + timedelta(days=1))
        await self._note(facts, from_day, first, _FILLING)
        while left:
            piece = [left.pop(0)]
            while (
                left and sum(n for _, n in piece) + left[0][1] <= PIECE_EVENTS and left[0][0].month == piece[0][0].month
            ):
                piece.append(left.pop(0))
            since, until = piece[-1][0], piece[0][0] + timedelta(days=1)
            await self._store.query(
                facts.fill(),
                {"start": f"{since} 00:00:00.000000", "until": f"{until} 00:00:00.000000"},
                settings=_SETTINGS,
                timeout_s=TIMEOUT_S,
            )
            done += sum(events for _, events in piece)
            state.progress = round(FILL_SHARE * done / max(1, total), 1)
            await self._note(facts, since, first, _FILLING)
        await self._note(facts, first, first, _FILLED)
        state.usable, state.progress = True, FILL_SHARE
        log.info(
            "saved funnel filled",
            extra={"site": facts.site_id, "events": total, "seconds": round(time.monotonic() - began, 1)},
        )

    async def _days(self, facts: Facts, state: FunnelState, *, first: bool) -> None:
        site = self._sites.get(facts.site_id)
        if site is None:
            return

        def advance(share: float) -> None:
            if first:
                state.progress = round(FILL_SHARE + (100 - FILL_SHARE) * share, 1)

        built = await self._builder.build(facts, zone_of(site), advance)
        state.days_at = time.monotonic()
        if first:
            today = self._today()
            await self._note(facts, today, today, _READY)
            state.status, state.progress = "ready", 100.0
        if built:
            log.info("days of a saved funnel made", extra={"site": facts.site_id, "days": built})

    async def _days_of_events(self, facts: Facts) -> list[tuple[date, int]]:
        """The days, UTC, with events of the site, newest first, and how many."""
        found = await self._store.query(
            "SELECT toDate(e.ts) AS day, count() FROM events AS e WHERE e.site_id = {site:String} "
            "GROUP BY day ORDER BY day DESC",
            {"site": facts.site_id},
            timeout_s=TIMEOUT_S,
        )
        return [(day, whole_number(events)) for day, events in found.rows if isinstance(day, date)]

    async def _inserts_ended(self) -> None:
        """Wait until the inserts that began before the view was there have ended. Raises `StoreRetryable`."""
        processes = f"clusterAllReplicas('{self._cluster}', system.processes)" if self._cluster else "system.processes"
        sql = print_line(select(["query_id"], Table(processes), [_INSERTS_INTO_EVENTS]))
        before = {row[0] for row in (await self._store.query(sql)).rows}
        deadline = time.monotonic() + ENDING_S
        while before:
            if time.monotonic() > deadline:
                raise StoreRetryable("An insert has been running for too long for a funnel to be filled.")
            await asyncio.sleep(0.1)
            before &= {row[0] for row in (await self._store.query(sql)).rows}
        if self._cluster:
            await self._store.command("SYSTEM SYNC REPLICA events")

    # ---- what is stored of fills ----------------------------------------

    async def _fills(self) -> dict[str, _Fill]:
        found = await self._store.query(
            "SELECT f.definition, f.from_day, f.first_day, f.filled, f.server, "
            "toUnixTimestamp64Micro(f.updated_at) FROM funnel_fills AS f FINAL"
        )
        now = self._clock().timestamp()
        fills = {}
        for definition, from_day, first_day, filled, server, at_us in found.rows:
            assert isinstance(from_day, date), "a Date column"
            assert isinstance(first_day, date), "a Date column"
            age_s = now - whole_number(at_us) / 1e6
            fills[str(definition)] = _Fill(from_day, first_day, whole_number(filled), str(server), age_s)
        return fills

    async def _note(self, facts: Facts, from_day: date, first_day: date, filled: int) -> None:
        row: dict[str, object] = {
            "site_id": facts.site_id,
            "funnel_id": facts.funnel_id,
            "definition": facts.definition,
            "from_day": from_day,
            "first_day": first_day,
            "filled": filled,
            "server": self._server,
            "updated_at": self._clock().astimezone(UTC),
        }
        await self._store.insert("funnel_fills", list(row), [[value] for value in row.values()])

    async def _drop_orphans(self, names: set[str]) -> None:
        tables = {name.removesuffix("_from_events") for name in names}
        now = time.monotonic()
        self._orphans = {name: self._orphans.get(name, now) for name in tables}
        due = [name for name, since in self._orphans.items() if now - since >= ORPHAN_S]
        if due:
            await self._saved.load()
            wanted = {facts.table for facts in self._saved.all_facts()}
            for name in due:
                if name in wanted:
                    continue
                try:
                    await self._drop(name)
                except StoreFatal as error:  # the others go on; this one is tried again
                    log.warning(
                        "tables of a funnel that is not saved not dropped, will try again",
                        extra={"table": name, "reason": error.message[:300]},
                    )
                    continue
                log.info("tables of a funnel that is not saved dropped", extra={"table": name})

    async def _drop(self, table: str) -> None:
        """The view first: an insert that still sees it must find its target."""
        on_cluster = f" ON CLUSTER `{self._cluster}`" if self._cluster else ""
        await self._store.command(f"DROP VIEW IF EXISTS {table}_from_events{on_cluster}")
        await self._store.command(f"DROP TABLE IF EXISTS {table}{on_cluster}")
        definition = {"definition": table.rpartition("_")[2]}
        for name in ("funnel_fills", "funnel_builds", "funnel_days"):
            await self._store.query(
                f"DELETE FROM {name} WHERE definition = {{definition:String}}", definition, timeout_s=TIMEOUT_S
            )

    def _today(self) -> date:
        return self._clock().astimezone(UTC).date()
