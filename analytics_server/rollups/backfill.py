"""Backfill in the background of what a migration added to earlier rows, so that a start need not wait for it.

A migration leaves a row in `backfills` in place of its statement (store/migrate.py). Here the rows of the rollup are
made once more from `events`, piece by piece, by the view's own SELECT and with nothing in the sums: everything else in
a rollup may be repeated without harm, also beside new events, by two servers, and from the beginning after a crash.
Until it is done, what the new columns say of sessions of before is not known, and answers say so (`warning`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import date
from math import ceil

from analytics_server.errors import StoreError, StoreFatal, StoreTimeout
from analytics_server.rollups.comparison import SETTINGS, Calendar, scope
from analytics_server.rollups.materialized_views import Rollup, read_views
from analytics_server.rollups.registry import SESSIONS
from analytics_server.store.migrate import HOSTS_OF_SESSIONS
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

PIECE_EVENTS = 200_000
"""Flushes wait for a statement: with so many events for about a second."""

RETRY_S = 10.0
IN_SLICE = "cityHash64(session_id) % {slices:UInt32} = {slice:UInt32}"
"""SQL: a day with more events is cut by sessions."""

PAUSE_S = 5.0
"""Before each piece while there is something more urgent."""
WARNING = (
    "Since its update, this server works out the hosts of entry and exit pages of the sessions of before: until that"
    " is done, visit:entry_page_hostname and visit:exit_page_hostname are empty for some of them."
)


class Backfill:
    """The one backfill that there is. `must_wait`: is there something more urgent?"""

    def __init__(self, store: Store, *, must_wait: Callable[[], bool]) -> None:
        self._store = store
        self._must_wait = must_wait
        self._is_pending = False
        self._done: set[date] = set()
        self._cuts = 1
        """Into how many more slices a piece is cut, since one took longer than a statement may."""

    def warning(self) -> str:
        """What answers say until it is done; "" afterwards."""
        return WARNING if self._is_pending else ""

    async def load(self) -> None:
        """Is there anything to do? Call it before the first question. Raises a store error."""
        answer = await self._store.query(
            "SELECT count() FROM (SELECT name FROM backfills WHERE name = {name:String}"
            " GROUP BY name HAVING max(is_done) = 0)",
            {"name": HOSTS_OF_SESSIONS},
        )
        self._is_pending = bool(int(str(answer.rows[0][0])))

    async def run(self, removing: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        """Do it, if it has to be done. `removing`: within it no server takes rows out of rollups."""
        while self._is_pending:
            try:
                await self._fill(removing)
                await self.load()
            except StoreTimeout as error:
                self._cuts *= 2
                log.warning("a backfill goes on in smaller slices", extra={"reason": error.message[:300]})
                await asyncio.sleep(RETRY_S)
            except StoreError as error:
                log.warning("a backfill stopped, will try again", extra={"reason": error.message[:300]})
                await asyncio.sleep(RETRY_S)
        await asyncio.get_running_loop().create_future()  # a task that ends would be started again

    async def _fill(self, removing: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        views = await read_views(self._store)
        rollup = next((one for one in views.rollups if one.target == SESSIONS.name), None)
        if rollup is None:
            reasons = "; ".join(f"{view}: {reason}" for view, reason in views.unfit.items()) or "there is none"
            raise StoreFatal(f"The view of {SESSIONS.name} can't be read ({reasons}): see analytics-server doctor.")
        calendar = await Calendar.read(self._store, [rollup])
        pieces = calendar.pieces(calendar.days - self._done, most=PIECE_EVENTS)
        log.info("a backfill begins", extra={"backfill": HOSTS_OF_SESSIONS, "pieces": len(pieces)})
        for piece in pieces:
            condition, parameters = scope(piece)
            slices = self._cuts * max(1, ceil(piece.events / PIECE_EVENTS))
            for number in range(slices):
                for _ in iter(self._must_wait, False):
                    await asyncio.sleep(PAUSE_S)
                parameters |= {"slices": slices, "slice": number}
                async with removing():  # what is erased meanwhile must not come back
                    await self._store.command(repetition(rollup, f"{condition} AND {IN_SLICE}"), parameters)
            self._done.update(piece.days)
        await self._store.command(
            "INSERT INTO backfills (name, is_done, at) SELECT {name:String}, 1, now64(6, 'UTC')",
            {"name": HOSTS_OF_SESSIONS},
        )
        log.info("a backfill is done", extra={"backfill": HOSTS_OF_SESSIONS})


def repetition(rollup: Rollup, condition: str) -> str:
    """The INSERT of the rows of a piece's days once more, with nothing in the sums."""
    chosen = [*rollup.keys, *rollup.others]
    given = ", ".join(f"x.{name} AS {name}" for name in chosen)
    settings = ", ".join(f"{name} = {value}" for name, value in SETTINGS.items())
    return (
        f"INSERT INTO {rollup.target} ({', '.join(chosen)})"
        f" SETTINGS async_insert = 0, insert_deduplicate = 0, max_partitions_per_insert_block = 1000, {settings}"
        f" SELECT {given} FROM ({rollup.over(condition)}) AS x WHERE toDate(x.{rollup.time}) IN {{days:Array(Date)}}"
    )
