"""Brings sealed WAL segments into ClickHouse, oldest first, each exactly once.

One INSERT per month and batch. Anything but a clean first success is ambiguous: then
that insert has ended, and then `count() … WHERE batch_id = N` decides per month — all
rows there: done; none: send again; anything else: the segment is set aside, counted and
reported, never guessed at. A segment is deleted only after its batch is known to be in,
and the rollups with it. Batches left by an earlier run are verified before they are sent.
What fails without a plan (a full disk, a bug) is logged and tried again: the one task
that empties the log must not die. Logs name segments and error numbers, never a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import traceback
from collections import deque
from functools import partial
from pathlib import Path

from analytics_server.config import IngestSection
from analytics_server.errors import StoreBadRows, StoreError, StoreRetryable
from analytics_server.ingest import segment
from analytics_server.ingest.batch import BLOCK_ROWS, Rows, by_month, to_blocks
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.recovery import keep_copy
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

POISON_CODES = frozenset({6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 130, 131, 321, 349})
"""Codes that mean the rows themselves can't be stored."""

FIRST_PAUSE_S = 0.2
MOST_FAILURES = 10
"""So often something without a plan may fail in a row with one segment, or its rollups, before it is given up."""


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
        self._failures = 0
        self._wal: Wal | None = None
        self._task: asyncio.Task[None] | None = None
        self.store_is_up = True

    def start(self, wal: Wal, left_over: list[Sealed]) -> asyncio.Task[None]:
        """Begin to work, with what an earlier run left in front.

        That run sent one batch at a time, oldest first: only the first can have been under way.
        """
        self._wal = wal
        self._suspect = left_over[0] if left_over else None
        for sealed in left_over:
            self.add(sealed)
        self._task = asyncio.create_task(self._work(), name="flusher")
        return self._task

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
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while not self._stopping:
            if not self._queue:
                self._idle.set()
                self._changed.clear()
                await self._changed.wait()
                continue
            sealed = self._queue[0]
            try:
                await self._deliver(sealed)
            except Exception as failure:
                await self._survive(sealed, failure)
            else:
                self._failures = 0

    async def _survive(self, sealed: Sealed, failure: Exception) -> None:
        """After a failure nobody planned for: the segment is verified and tried again, at last set aside."""
        self._failures += 1
        sealed.verify_first = True
        self._metrics.flush_attempts.labels("failed").inc()
        log.error(
            "flush failed unexpectedly",
            extra={"segment": sealed.path.name, "error": type(failure).__name__, "at": _place(failure)},
        )
        if self._failures >= MOST_FAILURES:
            try:
                await self._set_aside(sealed, sealed.events)
            except OSError as error:
                log.error("segment can't be set aside", extra={"segment": sealed.path.name, "reason": error.strerror})
        await self._pause(min(FIRST_PAUSE_S * 2**self._failures, self._settings.retry_max_s))

    async def _set_aside(self, sealed: Sealed, events: int) -> None:
        """Keep a segment for a person; `events` of it are not in ClickHouse."""
        assert self._wal is not None
        target = await asyncio.get_running_loop().run_in_executor(None, self._wal.set_aside, sealed, self._dead_letters)
        self._queue.popleft()
        self._failures = 0
        self._metrics.dead_letter_events.inc(events)
        log.error("segment set aside", extra={"file": str(target), "events_not_stored": events})

    async def _deliver(self, sealed: Sealed) -> None:
        assert self._wal is not None
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(None, _rows, sealed)
        if len(rows) < sealed.events:
            self._metrics.wal_errors.labels("damaged_frame").inc()
            await loop.run_in_executor(None, keep_copy, sealed.path, self._dead_letters)
            self._metrics.dead_letter_events.inc(sealed.events - len(rows))
            log.error(
                "wal segment damaged, a copy is set aside",
                extra={"segment": sealed.path.name, "events_unreadable": sealed.events - len(rows)},
            )
            sealed.events = len(rows)
        outcome = "inserted"
        self._doubtful = sealed is self._suspect
        stored = 0
        for month, part in by_month(rows).items() if rows else ():
            outcome = await self._deliver_month(sealed, month, part)
            if outcome != "inserted":
                break
            stored += len(part)
        if outcome == "stopped" or (self._doubtful and not await self._reconcile(sealed)):
            return
        if outcome == "inserted":
            await loop.run_in_executor(None, _finish, self._wal, sealed, rows)
            self._queue.popleft()
        else:
            await self._set_aside(sealed, sealed.events - stored)
        seconds = time.perf_counter() - started
        self._metrics.flush_seconds.observe(seconds)
        self._metrics.flush_events.observe(sealed.events)
        log.debug("batch flushed", extra={"events": sealed.events, "outcome": outcome, "seconds": round(seconds, 4)})

    async def _deliver_month(self, sealed: Sealed, month: int, rows: Rows) -> str:
        """Insert one month's rows of a batch: "inserted", "set_aside" or "stopped"."""
        ambiguous = sealed.verify_first
        delay, attempt = FIRST_PAUSE_S, 0
        while True:
            try:
                if ambiguous:
                    await self._store.end_inserts(f"{sealed.batch_id}-", timeout_s=self._insert_timeout_s)
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
                attempt += 1
                await self._store.insert_blocks(
                    "events",
                    names,
                    blocks,
                    breath_s=breath_s,
                    timeout_s=self._insert_timeout_s,
                    query_id=f"{sealed.batch_id}-{month}-{attempt}-{self._jitter.getrandbits(32):x}",
                )
            except StoreError as error:
                outcome = type(error).__name__.removeprefix("Store").lower()
                self._metrics.flush_attempts.labels(outcome).inc()
                if not ambiguous and (isinstance(error, StoreBadRows) or error.engine_code in POISON_CODES):
                    log.error("batch refused", extra={"error": type(error).__name__, "engine_code": error.engine_code})
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
        delay, failures = FIRST_PAUSE_S, 0
        while True:
            try:
                await self._rollups.reconcile(sealed.batch_id)
            except StoreError as error:
                failures += not isinstance(error, StoreRetryable)
                if failures >= MOST_FAILURES:  # the events are right: they must not wait for ever
                    self._metrics.flush_attempts.labels("unreconciled").inc()
                    log.error("rollups not reconciled, given up", extra={"batch": sealed.batch_id})
                    return True
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


def _place(failure: Exception) -> str:
    """File and line where it was raised; not the message, which may quote a row."""
    frames = traceback.extract_tb(failure.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
