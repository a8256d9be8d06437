"""Rollups that must agree with `events` again after a batch in doubt: at once if possible, else later.

Owns what is still to be compared, and when. `insert_lock` keeps this process's own inserts away meanwhile: a comparison
needs a moment without inserts.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path

from analytics_server.config import IngestSection
from analytics_server.errors import StoreError
from analytics_server.ingest.flush.delivery import FIRST_PAUSE_S
from analytics_server.ingest.flush.in_doubt import InDoubtBatches
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.rollups.reconcile import Reconciler
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)


class ReconciliationQueue:
    """`open` tells it where doubts are remembered."""

    def __init__(
        self,
        store: Store,
        settings: IngestSection,
        metrics: IngestMetrics,
        insert_lock: asyncio.Lock,
        *,
        timeout_s: float,
        jitter: random.Random,
        cluster: str,
        has_loss: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._insert_lock = insert_lock
        self.reconciler = Reconciler(store, timeout_s=timeout_s, cluster=cluster, jitter=jitter, has_loss=has_loss)
        self._in_doubt: InDoubtBatches | None = None
        self._due_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self.on_noted: Callable[[], None] = lambda: None
        """Called when a batch in doubt was noted: the caller of `settle_one` may be waiting for one."""

    def open(self, directory: Path) -> None:
        """Know what an earlier run left in doubt."""
        self._in_doubt = InDoubtBatches(directory)

    @property
    def wait_s(self) -> float | None:
        """How long to wait for the next doubt to be due; None when there is none."""
        return self._pause_s if self._in_doubt is not None and self._in_doubt.batches else None

    async def reconcile_or_note(self, batch_id: int) -> None:
        """Make the rollups agree with what is in `events` of a batch, or remember that they are to be compared."""
        if not await self._reconcile(batch_id):
            assert self._in_doubt is not None
            await asyncio.get_running_loop().run_in_executor(None, self._in_doubt.add, batch_id)
            self.on_noted()

    async def settle_one(self) -> None:
        """Between two batches, now and then: the oldest batch in doubt."""
        in_doubt = self._in_doubt
        if in_doubt is None or not in_doubt.batches or time.monotonic() < self._due_at:
            return
        batch_id = in_doubt.batches[0]
        if await self._reconcile(batch_id):
            in_doubt.settle(batch_id)
            self._pause_s = FIRST_PAUSE_S
        else:
            in_doubt.batches.append(in_doubt.batches.pop(0))
            self._pause_s = min(self._pause_s * 2, self._settings.retry_max_s)
        self._due_at = time.monotonic() + self._pause_s

    async def _reconcile(self, batch_id: int) -> bool:
        """False when it can't be now."""
        try:
            async with self._insert_lock:
                await self.reconciler.reconcile(batch_id)
        except StoreError as error:
            self._metrics.flush_attempts.labels("unreconciled").inc()
            log.warning(
                "rollups not compared, will try again", extra={"batch": batch_id, "reason": error.message[:300]}
            )
            return False
        return True
