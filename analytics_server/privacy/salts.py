"""The day's salts: random, shared by all servers, destroyed after 48 hours.

A visitor's hash is keyed with the salt of the event's UTC day. Today's and
yesterday's salts exist (a late beacon still belongs to its own day), tomorrow's is
made shortly before midnight so that all servers agree on it; older ones are dropped
with their partition. Once a salt is gone, no one can connect an address with a hash.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from analytics_server.errors import StoreError
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

DAY_S = 86_400
SALT_BYTES = 32
AHEAD_S = 900
KEPT_S = 48 * 3600
CHECK_S = 60.0


class Salts:
    """Salts by UTC day number (days since 1970)."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._by_day: dict[int, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    def of(self, day: int) -> bytes:
        """The salt for events of a day; days without one of their own (imports) use today's."""
        salt = self._by_day.get(day)
        return salt if salt is not None else self._by_day[self.today()]

    def today(self) -> int:
        """Number of the current UTC day; it has a salt afterwards, if need be one of this process alone."""
        today = int(self._clock()) // DAY_S
        if today not in self._by_day:  # the clock passed midnight while ClickHouse was away
            self._by_day[today] = secrets.token_bytes(SALT_BYTES)
        return today

    async def load(self) -> None:
        """Agree on the salts with all other servers, and destroy old ones. Raises a store error."""
        now = self._clock()
        await self._destroy(now)
        wanted = {int(now) // DAY_S}
        if int(now + AHEAD_S) // DAY_S not in wanted:
            wanted.add(int(now + AHEAD_S) // DAY_S)
        known = await self._read()
        missing = [day for day in wanted if day not in known]
        if missing:
            await self._store.insert(
                "salts",
                ("day", "salt", "created_at"),
                [
                    [datetime.fromtimestamp(day * DAY_S, UTC).date() for day in missing],
                    [(self._by_day.get(day) or secrets.token_bytes(SALT_BYTES)).hex() for day in missing],
                    [datetime.fromtimestamp(now, UTC)] * len(missing),
                ],
            )
            known = await self._read()
        self._by_day = known

    def start(self) -> None:
        """Keep the salts right in the background."""
        self._task = asyncio.create_task(self._work(), name="salts")

    async def close(self) -> None:
        """Stop the background task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.load()
            except StoreError as error:
                log.warning("salts not refreshed", extra={"reason": error.message[:200]})
            except Exception:
                log.exception("salts not refreshed")
            self._forget_old()

    def _forget_old(self) -> None:
        """Also while ClickHouse is away: no salt stays in memory beyond its time."""
        oldest = int(self._clock() - KEPT_S) // DAY_S + 1
        for day in [day for day in self._by_day if day < oldest]:
            del self._by_day[day]

    async def _read(self) -> dict[int, bytes]:
        """The oldest salt of each day counts: a second server that came later takes it over."""
        answer = await self._store.query(
            "SELECT toUInt32(day) AS number, argMin(salt, (created_at, salt)) AS chosen FROM salts GROUP BY number"
        )
        return {int(str(day)): bytes.fromhex(str(salt)) for day, salt in answer.rows}

    async def _destroy(self, now: float) -> None:
        """Drop the salts of days that ended more than 24 hours ago: none outlives 48 hours."""
        oldest = datetime.fromtimestamp(now, UTC).date() - timedelta(days=(KEPT_S // DAY_S) - 1)
        answer = await self._store.query(
            "SELECT DISTINCT toString(day) FROM salts WHERE day < {oldest:Date}", {"oldest": oldest}
        )
        for (day,) in answer.rows:
            await self._store.command(f"ALTER TABLE salts DROP PARTITION '{day}'")
