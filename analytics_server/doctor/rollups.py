"""The check of one rollup: is it what a recomputation from `events` gives, for every day and site?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import date
from functools import partial

from analytics_server.doctor.report import BaseCheck, Facts, Finding, count
from analytics_server.errors import StoreError
from analytics_server.rollups.between_inserts import BetweenInserts
from analytics_server.rollups.comparison import Calendar, Difference, Piece, differences
from analytics_server.rollups.materialized_views import Rollup, Views, is_gone
from analytics_server.rollups.rebuild import Advance, Rebuilder
from analytics_server.store.protocol import Store

EXAMPLES = 20
SURPLUS_REMEDY = (
    "It counts more events than there are: if events has lost some, restore them from a backup first. "
    "--repair rebuilds the other days; with --accept-loss it lowers these to what events hold, too."
)


class RollupCheck(BaseCheck):
    """Compares, and repairs through a `Rebuilder`.

    Days on which the rollup counts more events than there are stay as they are unless `accept_loss`: if `events` has
    lost some, the rollup is what still tells of them.
    """

    def __init__(
        self,
        store: Store,
        rollup: Rollup,
        calendar: Calendar,
        rebuilder: Rebuilder,
        between_inserts: BetweenInserts,
        advance: Advance,
        *,
        accept_loss: bool = False,
        turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    ) -> None:
        """`turn`: within it no server takes rows out of the rollups, or makes rows of rollups again."""
        self._turn = turn
        self.name = f"rollup_{rollup.target}"
        self._store = store
        self._rollup = rollup
        self._calendar = calendar
        self._rebuilder = rebuilder
        self._advance = advance
        self._between_inserts = between_inserts
        self._accept_loss = accept_loss
        self._damaged: list[Difference] = []
        self._unsure: list[date] = []

    async def examine(self) -> Finding:
        """Compare in pieces of bounded size; a rollup that is dropped meanwhile is no fault."""
        try:
            return await self._examine()
        except StoreError as error:
            if not is_gone(error):
                raise
            self._damaged, self._unsure = [], []
            return self.ok(f"{self._rollup.target} was dropped meanwhile.")

    async def _examine(self) -> Finding:
        pieces = self._calendar.pieces()
        self._damaged, self._unsure = [], []
        for number, piece in enumerate(pieces):
            self._advance(f"{self._rollup.target} {piece.days[0]:%Y-%m}", number, len(pieces))
            self._damaged += await self._look(piece)
        damaged = self._damaged
        days = sum(len(piece.days) for piece in pieces)
        wrong_days, wrong_sites = len({one.day for one in damaged}), len({one.site_id for one in damaged})
        facts: Facts = {
            "days": days,
            "days_wrong": wrong_days,
            "sites_wrong": wrong_sites,
            "rows_wrong": sum(one.keys for one in damaged),
            "days_with_surplus": len({one.day for one in damaged if one.surplus}),
            "wrong": [_shown(one) for one in damaged[:EXAMPLES]],
        }
        if damaged:
            first = damaged[0]
            how = (
                f"{first.present:,} events instead of {first.expected:,}"
                if first.present != first.expected
                else f"{count(first.keys, 'row')} with other values"
            )
            return self.error(
                f"{self._rollup.target} differs from events on {count(wrong_days, 'day')} "
                f"of {count(wrong_sites, 'site')}, first {first.day} of {first.site_id}: {how}.",
                SURPLUS_REMEDY
                if any(one.surplus for one in damaged)
                else "Run doctor --repair: it rebuilds those days from events.",
                **facts,
            )
        if self._unsure:
            unsure = len(set(self._unsure))
            return self.warning(
                f"{self._rollup.target} may differ from events on {count(unsure, 'day')}: "
                "events came in all the while.",
                "Run doctor again when less is coming in, or with the servers stopped.",
                **facts,
            )
        if not pieces:
            return self.ok(f"{self._rollup.target} is empty, as events are.", **facts)
        return self.ok(
            f"{self._rollup.target} equals a recomputation from events on all {count(days, 'day')}.", **facts
        )

    async def _look(self, piece: Piece) -> list[Difference]:
        look = partial(differences, self._store, self._rollup, piece)
        found = await look()
        if not found:
            return []
        sure = await self._between_inserts.run(piece, look)
        if sure is None:
            self._unsure += [one.day for one in found]
            return []
        return sure

    async def repair(self) -> str:
        """Rebuild the days that differ; those with a surplus only with consent."""
        wanted = [one for one in self._damaged if self._accept_loss or not one.surplus]
        if not wanted:
            return ""
        try:
            async with self._turn():
                done = await self._rebuilder.rebuild(self._rollup, self._calendar, wanted)
        except StoreError as error:
            if not is_gone(error):
                raise
            await self._rebuilder.give_up(self._rollup)
            return "it was dropped meanwhile"
        if done.left:
            return (
                f"rebuilt {count(done.days - done.left, 'day')}; {done.left} still differ, because events are "
                "coming in: stop the servers, or wait until the month is quiet, and run --repair again"
            )
        return f"rebuilt {count(done.days, 'day')} in {count(done.months, 'month')} from events"


class UnfitCheck(BaseCheck):
    """Views over `events` that can't be compared, each with the reason: their authors are told, nothing is done."""

    name = "rollups"

    def __init__(self, views: Views) -> None:
        self._views = views

    async def examine(self) -> Finding:
        """List views that are no rollups, and rollups without a time."""
        compared = sum(bool(rollup.time) for rollup in self._views.rollups)
        reasons = dict(self._views.unfit)
        for rollup in self._views.rollups:
            if not rollup.time:
                reasons[rollup.view] = f"{rollup.target} has no time among its keys"
        facts: Facts = {"compared": compared, "not_compared": sorted(reasons)}
        if reasons:
            view, reason = next(iter(reasons.items()))
            return self.warning(
                f"{count(len(reasons), 'view over events is', 'views over events are')} not compared: "
                f"{view}, because {reason}.",
                "Define it as analytics_server/rollups/materialized_views.py says: then it can be compared and mended.",
                **facts,
            )
        return self.ok(f"{count(compared, 'rollup is', 'rollups are')} compared.", **facts)


def _shown(one: Difference) -> dict[str, int | str]:
    return {
        "site": one.site_id,
        "day": one.day.isoformat(),
        "rows": one.keys,
        "expected": one.expected,
        "present": one.present,
        "surplus_rows": one.surplus,
    }
