"""Ingestion of one server: the write-ahead log, and the flusher that delivers its batches to ClickHouse."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from analytics_server.batch_ids import first_batch_id
from analytics_server.config import Config
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.ingest.flush.merges import Merges
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import STOPPING, Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.model import Row
from analytics_server.store import Store

log = logging.getLogger(__name__)

DELIVERED_CHECK_S = 0.05
BACKLOG_SEGMENTS = 4
"""With so many WAL segments waiting, what only makes answers faster waits too."""


class IngestService:
    """`on_durable` hears of rows on disk; `has_loss`: are data parts of `events` lost?"""

    def __init__(
        self,
        config: Config,
        store: Store,
        registry: CollectorRegistry,
        *,
        on_durable: Callable[[list[Row]], None],
        has_loss: Callable[[], bool],
    ) -> None:
        self.broken = asyncio.Event()
        """The log can't be trusted any more, or nothing is delivered: the process must end."""
        self.stopping = False
        self._metrics = IngestMetrics(registry)
        self.flusher = Flusher(
            store,
            config.ingest,
            self._metrics,
            config.data_dir / "dead-letters",
            insert_timeout_s=config.clickhouse.insert_timeout_s,
            jitter=random.Random(),
            cluster=config.clickhouse.cluster,
            has_loss=has_loss,
        )
        self.wal = Wal(
            config.wal_dir,
            config.ingest,
            self._metrics,
            on_sealed=self.flusher.add,
            on_broken=self._on_broken,
            on_durable=on_durable,
        )
        self.merges = Merges(store, lambda: self.flusher.waiting)

    @property
    def is_behind(self) -> bool:
        """Do many WAL segments wait for ClickHouse?"""
        return self.flusher.waiting >= BACKLOG_SEGMENTS

    def deliver(self, left_over: list[Sealed]) -> None:
        """Begin to deliver, what an earlier run left first."""
        if left_over:
            events = sum(sealed.events for sealed in left_over)
            log.info("delivering what the log still holds", extra={"segments": len(left_over), "events": events})
        self.flusher.start(self.wal, left_over).add_done_callback(self._flusher_ended)

    def cut_off(self) -> int:
        """Seal what is open, so that it is delivered at once. All that was acknowledged until now is in batches whose
        ids are not greater than this one."""
        self.wal.seal_soon()
        newest = 0 if self.wal.segments is None else self.wal.segments.last_batch_id
        return max(newest, first_batch_id(time.time()))

    async def delivered(self, batch_id: int, timeout_s: float) -> bool:
        """Wait until that batch and all before it have left the log; False when the time ran out."""
        deadline = time.monotonic() + timeout_s
        opened = self.wal.segments
        while (opened is not None and opened.holds(batch_id)) or self.flusher.holds(batch_id):
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(DELIVERED_CHECK_S)
        return True

    async def unreadiness(self) -> str:
        """Why beacons would be refused now; empty when they would be taken."""
        return STOPPING if self.stopping else await self.wal.unreadiness()

    def refresh_metrics(self) -> None:
        """Set what is measured only when it is asked for."""
        self._metrics.wal_oldest_age.set(self.flusher.oldest_age_s(time.time()))

    def _on_broken(self, reason: str) -> None:
        log.critical("the log can't go on, stopping", extra={"reason": reason})
        self.broken.set()

    def _flusher_ended(self, task: asyncio.Task[None]) -> None:
        if not self.stopping and not task.cancelled():
            self._on_broken(f"the flusher has died ({type(task.exception()).__name__})")
