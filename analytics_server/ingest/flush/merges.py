"""Pauses merges while a backlog is delivered into the engine in process.

The engine merges parts again and again while batches arrive. On a small machine that took as much
processor time as reading, encoding and inserting them together (measured with ten million events);
done once, after the backlog, it takes a fraction of it. So merges of the tables that every batch goes to
stand still while many segments wait, and go on when few are left, or when so many parts have come
together that questions would become slow or memory short. Nothing of this outlives the process: an engine
that starts merges.
A ClickHouse server is never told to stop its merges: it has other work, and would not forget it.

A mutation of these tables waits with their merges: code that needs one in a running server does it within `released`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from analytics_server.errors import StoreError
from analytics_server.rollups.registry import SHIPPED_ROLLUPS
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

TABLES = ("events", *SHIPPED_ROLLUPS)
"""All that the schema's own views write to. Saved funnels' tables know mutations."""

LOOK_S = 1.0
HOLD_FROM = 10
"""With so many segments waiting merges stand still (a segment makes one part in each table)."""

RELEASE_AT = 2
"""With so few they go on."""

MOST_PARTS = 300
"""So many parts of one table's month may come together; ClickHouse slows inserts down from 1,000."""

FEW_PARTS = 100
"""So few must be left before merges stand still again."""

MOST_ADDED = 4_000
"""So many parts of all tables and months may come together in one backlog: each takes 25 kB of memory (measured),
and a backlog of many months makes one of each table for each month of each segment."""

FEW_ADDED = 1_500
"""So few must be left of them before merges stand still again."""

_PARTS = (
    "SELECT max(parts), sum(parts) FROM (SELECT count() AS parts FROM system.parts "
    "WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)} GROUP BY table, partition)"
)


class Merges:
    """Holds and releases merges; `waiting` tells how many segments wait for their delivery."""

    def __init__(self, store: Store, waiting: Callable[[], int]) -> None:
        self._store = store
        self._waiting = waiting
        self.held = False
        self._needed = 0
        """How many need merges now."""
        self._before: int | None = None
        """Parts of all tables when the backlog began."""

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """Merges go on within, also during a backlog: for mutations. Raises a store error."""
        self._needed += 1
        try:
            if self.held:
                await self._tell("START")
                self.held = False
            yield
        finally:
            self._needed -= 1

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._needed:
                continue
            try:
                await self.look()
            except StoreError as error:
                log.warning("merges can't be held or released", extra={"reason": error.message[:300]})

    async def look(self) -> None:
        """Hold or release, as the backlog and the parts ask for. Raises a store error."""
        waiting = self._waiting()
        if not self.held and waiting < HOLD_FROM:
            self._before = None
            return
        parts, together = await self._parts()
        if self._before is None:
            self._before = together
        added = together - self._before
        if self.held and (waiting <= RELEASE_AT or parts >= MOST_PARTS or added >= MOST_ADDED):
            await self._tell("START")
            self.held = False
            log.info("merges go on", extra={"parts": parts, "segments_waiting": waiting})
        elif not self.held and parts <= FEW_PARTS and added <= FEW_ADDED:
            self.held = True  # also when only some of the tables could be told
            await self._tell("STOP")
            log.info("merges wait for the backlog", extra={"parts": parts, "segments_waiting": waiting})

    async def _parts(self) -> tuple[int, int]:
        """The most of one table's month, and all together."""
        answer = await self._store.query(_PARTS, {"tables": list(TABLES)})
        most, together = answer.rows[0]
        return int(str(most)), int(str(together))

    async def _tell(self, what: str) -> None:
        for table in TABLES:
            await self._store.command(f"SYSTEM {what} MERGES {table}")
