"""Brings sealed WAL segments into ClickHouse, oldest first, each exactly once.

One INSERT per month and batch. Anything but a clean first success is ambiguous: then
`count() … WHERE batch_id = N` decides per month — all rows there: done; none: send
again; anything else: the segment is set aside, counted and reported, never guessed at.
A segment is deleted only after its batch is known to be in, and the rollups with it. Batches left by an earlier
run are verified before they are sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from functools import partial
from pathlib import Path

from analytics_server.config import IngestSection
from analytics_server.errors import StoreError, StoreFatal
from analytics_server.ingest import segment
from analytics_server.ingest.batch import BLOCK_ROWS, Rows, by_month, to_blocks
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.rollups import Rollups
from analytics_server.ingest.segment import Sealed
from analytics_server.ingest.wal import Wal
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

BREATH_S = 0.001
"""Rest of the serialising threads after each few hundred rows: they share the interpreter with the
loop, which would otherwise stand still for tens of milliseconds per flush."""

BREATHE_UP_TO = 20_000
"""A larger batch comes from senders of batches: then throughput counts, and a rest would cost more than
itself, because the thread has to wait for the interpreter again after each."""

POISON_CODES = frozenset({0, 6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349})
"""Codes (0: refused by the client library) that mean the rows themselves can't be stored."""


class Flusher:
    """The one consumer of sealed segments."""

    def __init__(
        self,
        store: Store,
        settings: IngestSection,
        metrics: IngestMetrics,
        dead_letters: Path,
        *,
        insert_timeout_s: float,
        jitter: random.Random,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._dead_letters = dead_letters
        self._insert_timeout_s = insert_timeout_s
        self._jitter = jitter
        self._queue: deque[Sealed] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._rollups = Rollups(store, timeout_s=insert_timeout_s)
        self._suspect: Sealed | None = None
        self._doubtful = False
        self._wal: Wal | None = None
        self._task: asyncio.Task[None] | None = None
        self.store_is_up = True

    def start(self, wal: Wal, left_over: list[Sealed]) -> None:
        """Begin to work, with what an earlier run left in front.

        That run sent one batch at a time, oldest first: only the first can have been under way.
        """
        self._wal = wal
        self._suspect = left_over[0] if left_over else None
        for sealed in left_over:
            self.add(sealed)
        self._task = asyncio.create_task(self._work(), name="flusher")

    def add(self, sealed: Sealed) -> None:
        """Queue a sealed segment; its rows stay in memory only while few wait."""
        held = sum(len(waiting.rows) for waiting in self._queue if waiting.rows is not None)
        if held + sealed.events > self._settings.memory_events:
            sealed.rows = None
        self._queue.append(sealed)
        self._idle.clear()
        self._changed.set()

    @property
    def waiting(self) -> int:
        """Segments not yet in ClickHouse, the one in flight included."""
        return len(self._queue)

    def oldest_age_s(self, now: float) -> float:
        """Age of the oldest segment that waits, seconds; 0 when none does."""
        if not self._queue:
            return 0.0
        return max(0.0, now - ((self._queue[0].batch_id >> 22) / 1000 + 1_577_836_800))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all is in ClickHouse; False when the time ran out (the rest stays on disk)."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop after the insert under way; what waits stays in the log for the next start."""
        self._stopping = True
        self._changed.set()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        while not self._stopping:
            if not self._queue:
                self._idle.set()
                self._changed.clear()
                await self._changed.wait()
                continue
            await self._deliver(self._queue[0])

    async def _deliver(self, sealed: Sealed) -> None:
        assert self._wal is not None
        started = time.perf_counter()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(None, _rows, sealed)
        except (OSError, segment.SegmentError) as error:
            log.error("wal segment unreadable", extra={"segment": sealed.path.name, "reason": str(error)})
            self._metrics.wal_errors.labels("unreadable").inc()
            self._wal.set_aside(sealed, self._dead_letters)
            self._queue.popleft()
            return
        outcome = "inserted"
        self._doubtful = sealed is self._suspect
        for month, part in by_month(rows).items():
            outcome = await self._deliver_month(sealed, month, part)
            if outcome != "inserted":
                break
        if outcome == "stopped" or (self._doubtful and not await self._reconcile(sealed)):
            return
        if outcome == "inserted":
            await asyncio.get_running_loop().run_in_executor(None, _finish, self._wal, sealed, rows)
        else:
            self._wal.set_aside(sealed, self._dead_letters)
            self._metrics.dead_letter_events.inc(sealed.events)
        self._queue.popleft()
        seconds = time.perf_counter() - started
        self._metrics.flush_seconds.observe(seconds)
        self._metrics.flush_events.observe(sealed.events)
        log.debug("batch flushed", extra={"events": sealed.events, "outcome": outcome, "seconds": round(seconds, 4)})

    async def _deliver_month(self, sealed: Sealed, month: int, rows: Rows) -> str:
        """Insert one month's rows of a batch: "inserted", "set_aside" or "stopped"."""
        ambiguous = sealed.verify_first
        delay = 0.2
        while True:
            try:
                if ambiguous:
                    present = await self._count(sealed.batch_id, month)
                    self._metrics.flush_ambiguous.inc()
                    self._doubtful = self._doubtful or present > 0
                    if present == len(rows):
                        return "inserted"
                    if present:
                        log.error(
                            "batch is partly stored, set aside",
                            extra={"batch": sealed.batch_id, "expected": len(rows), "present": present},
                        )
                        self._metrics.flush_attempts.labels("partial").inc()
                        return "set_aside"
                    ambiguous = False
                breath_s = BREATH_S if len(rows) <= BREATHE_UP_TO and len(self._queue) <= 1 else 0.0
                names, blocks = await asyncio.get_running_loop().run_in_executor(
                    None, partial(to_blocks, rows, sealed.batch_id, breath_s=breath_s)
                )
                await self._store.insert_blocks(
                    "events", names, blocks, breath_s=breath_s, timeout_s=self._insert_timeout_s
                )
            except StoreError as error:
                outcome = type(error).__name__.removeprefix("Store").lower()
                self._metrics.flush_attempts.labels(outcome).inc()
                if isinstance(error, StoreFatal) and error.engine_code in POISON_CODES and not ambiguous:
                    log.error("batch refused by ClickHouse, set aside", extra={"reason": error.message[:300]})
                    return "set_aside"
                if self.store_is_up:
                    log.warning("flush failed, will try again", extra={"reason": error.message[:300]})
                self.store_is_up = False
                self._doubtful = ambiguous = True
                if await self._pause(delay):
                    return "stopped"
                delay = min(delay * 2, self._settings.retry_max_s)
            else:
                if not self.store_is_up:
                    log.info("flush works again")
                self.store_is_up = True
                self._metrics.flush_attempts.labels("ok").inc()
                return "inserted"

    async def _reconcile(self, sealed: Sealed) -> bool:
        """Make the rollups agree with what is in `events` of a batch that was in doubt; False when stopping."""
        delay = 0.2
        while True:
            try:
                await self._rollups.reconcile(sealed.batch_id)
            except StoreError as error:
                log.warning("rollups not reconciled, will try again", extra={"reason": error.message[:300]})
                if await self._pause(delay):
                    return False
                delay = min(delay * 2, self._settings.retry_max_s)
            else:
                return True

    async def _count(self, batch_id: int, month: int) -> int:
        answer = await self._store.query(
            "SELECT count() FROM events WHERE batch_id = {batch:UInt64} AND toYYYYMM(ts) = {month:UInt32}",
            {"batch": batch_id, "month": month},
            timeout_s=self._insert_timeout_s,
        )
        return int(str(answer.rows[0][0]))

    async def _pause(self, seconds: float) -> bool:
        """Wait with jitter; True when the server is stopping."""
        deadline = time.monotonic() + seconds * (0.5 + self._jitter.random())
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        return self._stopping


def _finish(wal: Wal, sealed: Sealed, rows: Rows) -> None:
    """Delete a delivered segment, and free its rows piece by piece: all at once would hold the loop."""
    wal.delete(sealed)
    if isinstance(rows, list):
        while rows:
            del rows[-BLOCK_ROWS:]


def _rows(sealed: Sealed) -> Rows:
    """All rows of a segment, from memory or from disk."""
    if sealed.rows is not None:
        return sealed.rows
    columns = segment.header_of(sealed.path).columns
    rows: list[list[object]] = []
    rested = 0
    for _, payload in segment.frames(sealed.path):
        rows += segment.rows_of(payload, columns)
        if len(rows) - rested > BLOCK_ROWS:
            rested = len(rows)
            time.sleep(BREATH_S)
    return rows
