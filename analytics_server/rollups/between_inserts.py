"""When rollups can be compared with `events`: only while nothing is being inserted.

ClickHouse commits an insert into `events` and what its views write one after the other, so rows under way look like
damage. What differs while no insert ran before or after, and no batch arrived in between (and on a cluster,
every replica had what the others have) is damage. Its amount stays true whatever is flushed later, because a flush adds
the same to both sides.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from analytics_server.batch_ids import FINGERPRINT
from analytics_server.errors import StoreFatal
from analytics_server.rollups.comparison import ON_DAYS, SETTINGS, TIMEOUT_S, Piece
from analytics_server.store.protocol import Settings, Store

T = TypeVar("T")

ATTEMPTS = 10
"""So often a moment without inserts is looked for; each wait is longer than the last."""

_WORD = re.compile(r"\w+")


class InsertWatch:
    """Tells what is being inserted, and what has been.

    `cluster` names the cluster whose replicas are all asked; "" for one server. Raises `StoreFatal` for a name that
    can't be one. `settings` are those of the look at the batches.
    """

    def __init__(self, store: Store, *, cluster: str, timeout_s: float, settings: Settings) -> None:
        if cluster and not _WORD.fullmatch(cluster):
            raise StoreFatal(f"{cluster!r} can't be the name of a cluster.")
        self._store = store
        self._processes = f"clusterAllReplicas('{cluster}', system.processes)" if cluster else "system.processes"
        self._timeout_s = timeout_s
        self._settings = settings

    async def is_inserting(self, tables: Sequence[str]) -> bool:
        """Does any process insert into one of these tables right now? Raises a store error."""
        answer = await self._store.query(
            f"SELECT count() FROM {self._processes} WHERE match(query, "
            rf"'(?i)^\\s*INSERT\\s+INTO\\s+(TABLE\\s+)?(`?\\w+`?\\.)?`?({'|'.join(tables)})`?\\b')",
            settings={"skip_unavailable_shards": 0},
            timeout_s=self._timeout_s,
        )
        return bool(answer.rows[0][0])

    async def batches(self, condition: str, parameters: Mapping[str, object]) -> tuple[object, ...]:
        """What changes when a batch arrives among the events that meet a condition. Raises a store error."""
        answer = await self._store.query(
            f"SELECT {FINGERPRINT} FROM events WHERE {condition}",
            parameters,
            settings=self._settings,
            timeout_s=self._timeout_s,
        )
        return answer.rows[0]


class BetweenInserts:
    """Does work on rollups while nothing is being inserted into them.

    `tables` are those of the rollups. `exclusive`: no other process can write, so there is nothing to wait for.
    """

    def __init__(self, store: Store, tables: Sequence[str], *, exclusive: bool, cluster: str, rest_s: float) -> None:
        self._store = store
        self._tables = ["events", *tables]
        self._exclusive = exclusive
        self._rest_s = rest_s
        self._watch = InsertWatch(store, cluster=cluster, timeout_s=TIMEOUT_S, settings=SETTINGS)

    async def run(self, piece: Piece, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do the work, again if need be, until nothing was inserted all the while; None if that never was so."""
        if self._exclusive:
            return await work()
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._rest_s * attempt / ATTEMPTS)
            # In this order: an insert that begins after the look at what runs is not among the batches before it.
            before = await self._batches(piece)
            if await self._watch.is_inserting(self._tables):
                continue
            await self._store.catch_up(self._tables, timeout_s=TIMEOUT_S)
            result = await work()
            if not await self._watch.is_inserting(self._tables) and await self._batches(piece) == before:
                return result
        return None

    async def _batches(self, piece: Piece) -> tuple[object, ...]:
        """By days alone: an event that has just come may lie outside the times that were known of the piece."""
        return await self._watch.batches(ON_DAYS, {"days": list(piece.days)})
