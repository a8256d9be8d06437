"""The check of the kept days of saved funnels (`funnel_days`, `funnel_builds`).

They validate themselves, as `day_totals` do: a build whose day has changed since is not read, so it is no fault. One
that is still read but holds other attempts than `events` give is. A repair discards both, and the server makes the days
again: they are made of events alone, so nothing can be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import date

from analytics_server.analyses.funnels.materialized.comparison import compare_days
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.facts import Facts
from analytics_server.doctor.report import BaseCheck, Finding, count
from analytics_server.doctor.report import Facts as Figures
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.rollups.rebuild import Advance
from analytics_server.rollups.registry import FUNNEL_DAYS, OF_SITE
from analytics_server.saved.store import Saved
from analytics_server.store.protocol import Store

UP_TO = "build_id <= {newest:UInt64}"
OF_DEFINITION = "definition = {definition:String}"


class FunnelDaysCheck(BaseCheck):
    """Compares every build that questions about saved funnels would read with `events`."""

    name = FUNNEL_DAYS.name

    def __init__(
        self,
        store: Store,
        advance: Advance,
        *,
        turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        """`turn`: within it no server takes rows out of the rollups."""
        self._store = store
        self._advance = advance
        self._turn = turn
        self._discarded: list[tuple[Facts, list[date], int]] = []

    async def examine(self) -> Finding:
        """Make the attempts of each day again, funnel by funnel."""
        saved = Saved(self._store)
        await saved.load()
        self._discarded = []
        wrong: list[str] = []
        held, stale = 0, 0
        funnels = SavedFunnels(saved).all_facts()
        for number, facts in enumerate(funnels):
            self._advance("saved funnels", number, len(funnels))
            found = await compare_days(self._store, facts, timeout_s=TIMEOUT_S, settings=SETTINGS)
            if found.wrong:  # late events may have come in between, or a purge is between `events` and the rollups
                async with self._turn():
                    found = await compare_days(self._store, facts, timeout_s=TIMEOUT_S, settings=SETTINGS)
            held, stale = held + found.held, stale + len(found.stale)
            wrong += [f"{facts.site_id} {facts.funnel_id} {day}" for day in found.wrong]
            if found.wrong or found.stale:
                self._discarded.append((facts, sorted({*found.wrong, *found.stale}), found.newest))
        figures: Figures = {"funnels": len(funnels), "days": held, "stale": stale, "wrong": wrong}
        if wrong:
            return self.error(
                f"The kept attempts of {count(len(wrong), 'day')} of saved funnels are not what events give, "
                f"first of {wrong[0]}.",
                "Run doctor --repair: it throws them away, and the server makes them again.",
                **figures,
            )
        also = f"; those of {count(stale, 'day')} are out of date and not read" if stale else ""
        if not held:
            return self.ok(f"No kept days of saved funnels are in use{also}.", **figures)
        return self.ok(f"The kept attempts of {count(held, 'day')} of saved funnels equal events{also}.", **figures)

    async def repair(self) -> str:
        """Make the builds of wrong and stale days invalid; not those that a server has made since."""
        for facts, days, newest in self._discarded:
            named = {"site": facts.site_id, "definition": facts.definition, "days": days, "newest": newest}
            condition = f"{OF_SITE} AND {OF_DEFINITION} AND {FUNNEL_DAYS.of_days} AND {UP_TO}"
            await self._store.command(FUNNEL_DAYS.invalidate(condition), named)
        total = sum(len(days) for _, days, _ in self._discarded)
        return f"threw away the attempts of {count(total, 'day')}" if total else ""
