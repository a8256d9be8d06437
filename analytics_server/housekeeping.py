"""Periodic housekeeping: garbage collection, expired sessions, a newer geo file, whether ClickHouse answers.

Owns the time of full garbage collections, which stop the loop. Runs as one task until it is cancelled.
"""

from __future__ import annotations

import asyncio
import gc
import time

from analytics_server.collect.service import CollectService
from analytics_server.http.metrics import HttpMetrics
from analytics_server.ingest.flush.flusher import Flusher
from analytics_server.store import Store

STORE_CHECK_S = 15.0
GC_THRESHOLDS = (10_000, 1_000_000, 1_000_000)
"""Only young garbage is collected on its own, in pieces of about a millisecond. Older generations hold
every open session and waiting row: walking them stops the loop for up to 200 ms (measured), so
housekeeping does it in a quiet moment, or at the latest after FULL_COLLECTION_S; the hot path makes no
cycles."""
FULL_COLLECTION_S = 900.0
QUIET_EVENTS = 10


class Housekeeping:
    """`geo_interval_s`: so often the geo file is looked at."""

    def __init__(
        self,
        store: Store,
        flusher: Flusher,
        collect: CollectService,
        http: HttpMetrics,
        *,
        geo_interval_s: int,
    ) -> None:
        self._store = store
        self._flusher = flusher
        self._collect = collect
        self._http = http
        self._geo_interval_s = geo_interval_s

    async def run(self) -> None:
        """Run until cancelled."""
        ticks = 0
        collected_at, events_before = time.monotonic(), 0
        while True:
            await asyncio.sleep(STORE_CHECK_S)
            ticks += 1
            events = self._collect.accepted
            if events - events_before < QUIET_EVENTS or time.monotonic() - collected_at > FULL_COLLECTION_S:
                gc.collect()
                collected_at = time.monotonic()
            events_before = events
            up = await self._store.ping()
            self._http.clickhouse_up.set(1 if up and self._flusher.store_is_up else 0)
            self._collect.sessions.expire()
            if ticks * STORE_CHECK_S % self._geo_interval_s < STORE_CHECK_S:
                await asyncio.get_running_loop().run_in_executor(None, self._collect.geo.reload_if_changed)


def start_collecting_young() -> None:
    """What the start has made stays; from now on only young garbage is collected outside `Housekeeping`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
