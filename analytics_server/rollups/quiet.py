"""Looks at rollups only while nothing is being inserted, so that rows under way are not taken for damage.

ClickHouse commits an insert into `events` and what its views write one after the other. What
differs while no insert runs, before and after, and no batch arrived in between, is damage; and
its amount stays true whatever is flushed later, because a flush adds the same to both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from analytics_server.batch_ids import FINGERPRINT
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S, Piece, scope
from analytics_server.store.protocol import Store

T = TypeVar("T")

ROUNDS = 10
"""So often a calm is looked for; each wait is longer than the last."""


class Calm:
    """`tables` are those of the rollups. `exclusive`: nobody else can write, it is always calm."""

    def __init__(self, store: Store, tables: Sequence[str], *, exclusive: bool, cluster: str, rest_s: float) -> None:
        self._store = store
        self._tables = ["events", *tables]
        self._names = "|".join(self._tables)
        self._exclusive = exclusive
        self._processes = f"clusterAllReplicas('{cluster}', system.processes)" if cluster else "system.processes"
        self._rest_s = rest_s

    async def during(self, piece: Piece, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do the work, again if need be, until it was calm all the while; None if it never was."""
        if self._exclusive:
            return await work()
        for attempt in range(ROUNDS):
            if attempt:
                await asyncio.sleep(self._rest_s * attempt / ROUNDS)
            # In this order: an insert that begins after the look at what runs is not among the batches before it.
            before = await self._batches(piece)
            if await self._inserting():
                continue
            await self._store.catch_up(self._tables, timeout_s=TIMEOUT_S)
            result = await work()
            if not await self._inserting() and await self._batches(piece) == before:
                return result
        return None

    async def _inserting(self) -> bool:
        answer = await self._store.query(
            f"SELECT count() FROM {self._processes} WHERE match(query, "
            rf"'(?i)^\\s*INSERT\\s+INTO\\s+(TABLE\\s+)?(`?\\w+`?\\.)?`?({self._names})`?\\b')",
            settings={"skip_unavailable_shards": 0},
        )
        return bool(answer.rows[0][0])

    async def _batches(self, piece: Piece) -> tuple[object, ...]:
        """What changes when a batch arrives for these days."""
        condition, parameters = scope(piece)
        days = condition[condition.index("(toDate") :]  # an event that has just come may lie outside the known times
        answer = await self._store.query(
            f"SELECT {FINGERPRINT} FROM events WHERE {days}",
            {"days": parameters["days"]},
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return answer.rows[0]
