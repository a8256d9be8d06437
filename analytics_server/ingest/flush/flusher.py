"""The flush: sealed WAL segments go to ClickHouse, each exactly once; recent events, and beside them past months.

Two queues work side by side (`delivery_queue`). Their inserts take turns, one each, so that what happens now waits for
one insert of an import at most, however many months that has. A segment belongs to the historic queue when it was
opened for it (its id says so), or when it turns out to hold more months than recent events can.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from analytics_server.config import IngestSection
from analytics_server.ingest.flush.delivery_queue import DeliveryQueue
from analytics_server.ingest.flush.in_doubt import DIRECTORY
from analytics_server.ingest.flush.reconciliation import ReconciliationQueue
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.store.protocol import Store

SHORTEST_MONTH_DAYS = 28


class Flusher:
    """The consumer of sealed segments."""

    def __init__(
        self,
        store: Store,
        settings: IngestSection,
        metrics: IngestMetrics,
        letters: Path,
        *,
        insert_timeout_s: float,
        jitter: random.Random,
        cluster: str = "",
        has_loss: Callable[[], bool] = lambda: False,
    ) -> None:
        insert_lock = asyncio.Lock()
        self._reconciliation = ReconciliationQueue(
            store,
            settings,
            metrics,
            insert_lock,
            timeout_s=insert_timeout_s,
            jitter=jitter,
            cluster=cluster,
            has_loss=has_loss,
        )
        make = partial(
            DeliveryQueue,
            store=store,
            settings=settings,
            metrics=metrics,
            letters=letters,
            reconciliation=self._reconciliation,
            insert_lock=insert_lock,
            insert_timeout_s=insert_timeout_s,
            jitter=jitter,
            cluster=cluster,
            most_months=settings.historic_after_days // SHORTEST_MONTH_DAYS + 2,
        )
        self._historic = make("historic")
        self._recent = make("recent", pass_on=self._historic.add)
        self._reconciliation.on_noted = self._recent.wake
        self._queues = (self._recent, self._historic)

    def start(self, wal: Wal, left_over: list[Sealed]) -> asyncio.Task[None]:
        """Begin to work, with what an earlier run left in front; the task ends when a queue does."""
        self._reconciliation.open(wal.directory / DIRECTORY)
        for sealed in left_over:
            self.add(sealed)
        tasks = [queue.start(wal) for queue in self._queues]
        return asyncio.create_task(_until_one_ends(tasks), name="flusher")

    def add(self, sealed: Sealed) -> None:
        """Queue a sealed segment."""
        (self._historic if sealed.historic else self._recent).add(sealed)

    @property
    def delivered(self) -> int:
        """How many batches are done with since the start."""
        return sum(queue.delivered for queue in self._queues)

    @property
    def store_is_up(self) -> bool:
        """Did the last insert meet no obstacle?"""
        return all(queue.store_is_up for queue in self._queues)

    @property
    def waiting(self) -> int:
        """Segments not yet in ClickHouse, those in flight included."""
        return sum(queue.waiting for queue in self._queues)

    def holds(self, batch_id: int) -> bool:
        """Does that batch wait, or one before it?"""
        return any(queue.holds(batch_id) for queue in self._queues)

    def oldest_age_s(self, now: float) -> float:
        """Age of the oldest segment that waits, seconds; 0 when none does."""
        return max(queue.oldest_age_s(now) for queue in self._queues)

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all is in ClickHouse; False when the time ran out (the rest stays on disk)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._recent.idle()  # may pass some on
                await self._historic.idle()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop after the inserts under way; what waits stays in the log for the next start."""
        await asyncio.gather(*(queue.close() for queue in self._queues))


async def _until_one_ends(tasks: list[asyncio.Task[None]]) -> None:
    """Raises what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
