"""Delivery queue of sealed WAL segments: into ClickHouse, oldest first, each exactly once.

One batch of a queue is sent at a time (`delivery` says how), while the next is already read and
encoded. A segment is deleted only after its batch is known to be in, and the rollups
with it; what an earlier run left is verified before it is sent. What can't be delivered is set
aside for a person, with a note, and counted. What fails without a plan (a full disk, a bug) is
logged and tried again: the task that empties the log must not die. A backlog lives on disk:
memory holds the batch under way and the one after it. Logs name segments and error numbers,
never a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from analytics_server.batch_ids import created_ms
from analytics_server.config import IngestSection
from analytics_server.errors import StoreError
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.flush.batch import Batch
from analytics_server.ingest.flush.dead_letters import Cause, Reason
from analytics_server.ingest.flush.delivery import FIRST_PAUSE_S, Delivery, Prepared
from analytics_server.ingest.flush.reconciliation import ReconciliationQueue
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.recovery import keep_copy
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

LONG_REST_S = 0.001
"""Rest of the encoding thread after each few hundred rows: it shares the interpreter with the loop, which
would otherwise stand still for tens of milliseconds per flush."""

SHORT_REST_S = 0.000_1
"""The same where throughput counts: while a backlog is drained, or for a large batch."""

LONG_REST_UP_TO = 20_000
MOST_FAILURES = 10
"""So often something without a plan may fail in a row with one segment before it is given up."""

PROGRESS_S = 5.0
"""Between two lines about a backlog."""


class DeliveryQueue:
    """Sealed segments and their one consumer. `insert_lock`: one insert of all queues at a time, in the order they ask.

    `pass_on` takes a segment of more than `most_months` months, which belongs to another queue. None: this is the
    queue for them, which sends the newest month first, and stops between two months.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        settings: IngestSection,
        metrics: IngestMetrics,
        letters: Path,
        reconciliation: ReconciliationQueue,
        insert_lock: asyncio.Lock,
        *,
        insert_timeout_s: float,
        jitter: random.Random,
        cluster: str = "",
        most_months: int,
        pass_on: Callable[[Sealed], None] | None = None,
    ) -> None:
        self._name = name
        self._settings = settings
        self._metrics = metrics
        self._letters = letters
        self._reconciliation = reconciliation
        self._jitter = jitter
        self._most_months = most_months
        self._pass_on = pass_on
        self._queue: deque[Sealed] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._failures = 0
        self._unmet = {True, False}
        """Of which segments of an earlier run none was met yet: those that were passed on, those that were not."""
        self.delivered = 0
        """How many batches are done with since the start."""
        self._delivery = Delivery(
            store,
            metrics,
            letters,
            timeout_s=insert_timeout_s,
            retry_max_s=settings.retry_max_s,
            jitter=jitter,
            pause=self._pause,
            insert_lock=insert_lock,
            cluster=cluster,
        )
        self._ahead: tuple[Sealed, asyncio.Task[Prepared | None]] | None = None
        self._progress = Progress()
        self._wal: Wal | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, wal: Wal) -> asyncio.Task[None]:
        """Begin to work."""
        self._wal = wal
        self._task = asyncio.create_task(self._work(), name=f"flusher-{self._name}")
        return self._task

    def add(self, sealed: Sealed) -> None:
        """Queue a sealed segment; its rows stay in memory only while few wait."""
        held = sum(len(waiting.rows) for waiting in self._queue if waiting.rows is not None)
        if held + sealed.events > self._settings.memory_events:
            sealed.rows = None
        self._queue.append(sealed)
        self._idle.clear()
        self._changed.set()

    def wake(self) -> None:
        """There may be something to do although nothing was queued."""
        self._changed.set()

    @property
    def store_is_up(self) -> bool:
        """Did the last insert meet no obstacle?"""
        return self._delivery.store_is_up

    @property
    def waiting(self) -> int:
        """Segments not yet in ClickHouse, the one in flight included."""
        return len(self._queue)

    def holds(self, batch_id: int) -> bool:
        """Does that batch wait, or one before it?"""
        return any(sealed.batch_id <= batch_id for sealed in self._queue)

    def oldest_age_s(self, now: float) -> float:
        """Age of the oldest segment that waits, seconds; 0 when none does."""
        if not self._queue:
            return 0.0
        return max(0.0, now - created_ms(self._queue[0].batch_id) / 1000)

    async def idle(self) -> None:
        """Wait until all is in ClickHouse."""
        await self._idle.wait()

    async def close(self) -> None:
        """Stop after the insert under way; what waits stays in the log for the next start."""
        self._stopping = True
        self._changed.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._ahead is not None:
            await asyncio.wait({self._ahead[1]})
            self._ahead = None

    async def _work(self) -> None:
        waits = 0
        while not self._stopping:
            if self._pass_on is not None:
                await self._reconciliation.settle_one()
            if not self._queue:
                self._idle.set()
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._reconciliation.wait_s if self._pass_on is not None else None):
                        await self._changed.wait()
                continue
            sealed = self._queue[0]
            try:
                await self._deliver(sealed)
                waits = 0
            except StoreError as error:  # it could not be made ready: nothing was sent
                log.warning("batch can't be made ready, will try again", extra={"reason": error.message[:300]})
                waits += 1
                await self._pause(min(FIRST_PAUSE_S * 2 ** min(waits, 10), self._settings.retry_max_s))
            except Exception as failure:
                await self._survive(sealed, failure)
            else:
                self._failures = 0

    async def _survive(self, sealed: Sealed, failure: Exception) -> None:
        """After a failure that no code expects: the segment is verified and tried again, at last set aside."""
        self._failures += 1
        sealed.verify_first = True
        self._metrics.flush_attempts.labels("failed").inc()
        log.error(
            "flush failed unexpectedly",
            extra={"segment": sealed.path.name, "error": type(failure).__name__, "at": _place(failure)},
        )
        if self._failures >= MOST_FAILURES:
            try:
                await self._set_aside(sealed, "failed", events=sealed.events, cause=_cause(failure))
            except OSError as error:
                log.error("segment can't be set aside", extra={"segment": sealed.path.name, "reason": error.strerror})
        await self._pause(min(FIRST_PAUSE_S * 2**self._failures, self._settings.retry_max_s))

    async def _set_aside(self, sealed: Sealed, reason: Reason, *, events: int, cause: Cause | None) -> None:
        """Keep a segment for a person; `events` of it are not in ClickHouse."""
        assert self._wal is not None
        loop = asyncio.get_running_loop()
        note = partial(
            dead_letters.write_note,
            self._letters,
            sealed.batch_id,
            reason,
            events=events,
            batch_events=sealed.events,
            cause=cause,
            now=time.time(),
        )
        await loop.run_in_executor(None, note)
        target = await loop.run_in_executor(None, self._wal.set_aside, sealed, self._letters)
        self._queue.popleft()
        self._failures = 0
        self._metrics.dead_letter_events.inc(events)
        log.error(
            "segment set aside",
            extra={"file": str(target), "events_not_stored": events, "why": dead_letters.ABOUT[reason]},
        )

    async def _deliver(self, sealed: Sealed) -> None:
        assert self._wal is not None
        started = time.perf_counter()
        prepared = await self._prepared(sealed)
        self._suspect_first(sealed, passed_on=prepared is None)
        if prepared is None:
            assert self._pass_on is not None
            self._pass_on(sealed)
            self._queue.popleft()
            return
        if prepared.batch.events < sealed.events:
            await self._keep_damaged(sealed, prepared.batch.events)
        outcome = await self._delivery.deliver(prepared)
        if outcome == "stopped":
            return
        if prepared.doubtful or sealed.suspect:
            await self._reconciliation.reconcile_or_note(sealed.batch_id)
        if outcome == "inserted":
            await asyncio.get_running_loop().run_in_executor(None, _finish, self._wal, sealed, prepared.batch)
            self._queue.popleft()
        else:
            missing = sealed.events - prepared.stored - len(prepared.refused)
            await self._set_aside(sealed, outcome, events=missing, cause=_cause(prepared.error))
        self.delivered += 1
        seconds = time.perf_counter() - started
        self._metrics.flush_seconds.observe(seconds)
        self._metrics.flush_events.observe(sealed.events)
        log.debug("batch flushed", extra={"events": sealed.events, "outcome": outcome, "seconds": round(seconds, 4)})
        self._progress.tell(sealed.events, self._queue)

    def _suspect_first(self, sealed: Sealed, *, passed_on: bool) -> None:
        """An earlier run sent one batch of a queue at a time, and of each kind the oldest first: historic ones, those
        that were passed on, and the others. So of each kind only the first can have been under way when it ended."""
        is_own = sealed.historic == (self._pass_on is None)  # else the other queue has met it
        if sealed.verify_first and is_own and passed_on in self._unmet:
            self._unmet.discard(passed_on)
            sealed.suspect = True

    async def _prepared(self, sealed: Sealed) -> Prepared | None:
        """The batch, ready to be sent (None: pass it on); and see to it that the next is made ready meanwhile."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is not sealed:  # it is not needed any more
            await asyncio.wait({ahead[1]})
            ahead = None
        prepared = await (ahead[1] if ahead is not None else self._prepare(sealed))
        if len(self._queue) > 1 and not self._stopping and self._pass_on is not None:
            following = self._queue[1]
            self._ahead = following, asyncio.create_task(self._prepare(following), name="flush-ahead")
        return prepared

    async def _prepare(self, sealed: Sealed) -> Prepared | None:
        in_a_hurry = len(self._queue) > 1 or sealed.events > LONG_REST_UP_TO
        batch = await self._delivery.read(sealed)
        if self._pass_on is not None and len(batch.months) > self._most_months:
            return None
        return await self._delivery.prepare(sealed, batch, rest_s=SHORT_REST_S if in_a_hurry else LONG_REST_S)

    async def _keep_damaged(self, sealed: Sealed, readable: int) -> None:
        """The disk has lost a part of a segment: its good frames are delivered, a copy is kept."""
        lost, sealed.events = sealed.events - readable, readable
        self._metrics.wal_errors.labels("damaged_frame").inc()
        await asyncio.get_running_loop().run_in_executor(
            None, _keep_damaged, sealed, self._letters, lost, sealed.events + lost
        )
        self._metrics.dead_letter_events.inc(lost)
        log.error(
            "wal segment damaged, a copy is set aside", extra={"segment": sealed.path.name, "events_unreadable": lost}
        )

    async def _pause(self, seconds: float) -> bool:
        """Wait with jitter; True when the server is stopping."""
        deadline = time.monotonic() + seconds * (0.5 + self._jitter.random())
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        return self._stopping


class Progress:
    """Tells the log now and then how far a backlog is."""

    __slots__ = ("_events", "_since")

    def __init__(self) -> None:
        self._since: float | None = None
        self._events = 0

    def tell(self, events: int, waiting: deque[Sealed]) -> None:
        """One batch more is done; the rest waits."""
        now = time.monotonic()
        if not waiting:
            self._since = None
            return
        if self._since is None:
            self._since, self._events = now, 0
            return
        self._events += events
        seconds = now - self._since
        if seconds >= PROGRESS_S:
            log.info(
                "delivering a backlog",
                extra={
                    "segments_left": len(waiting),
                    "events_left": sum(sealed.events for sealed in waiting),
                    "events_per_s": round(self._events / seconds),
                },
            )
            self._since, self._events = now, 0


def _finish(wal: Wal, sealed: Sealed, batch: Batch) -> None:
    """Delete a delivered segment, and free its rows."""
    wal.delete(sealed)
    batch.release()


def _keep_damaged(sealed: Sealed, letters: Path, lost: int, events: int) -> None:
    dead_letters.write_note(
        letters, sealed.batch_id, "damaged", events=lost, batch_events=events, cause=None, now=time.time()
    )
    keep_copy(sealed.path, letters)


def _cause(error: Exception | None) -> Cause | None:
    if error is None:
        return None
    if isinstance(error, StoreError):
        return Cause(error=type(error).__name__, engine_code=error.engine_code, detail=error.message[:500])
    return Cause(error=type(error).__name__, detail=_place(error))


def _place(failure: Exception) -> str:
    """File and line where it was raised; not the message, which may quote a row."""
    frames = traceback.extract_tb(failure.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
