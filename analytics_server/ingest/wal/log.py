"""The write-ahead log: an event is on disk before it is acknowledged.

What arrives during a sync, or in one turn of the loop, is one group: it is made durable with
one `writev` and one `fdatasync`, and only then are the waiting acknowledgements resolved.
The group commit makes the cost of a sync the cost of a group. The write goes to the page
cache, from the loop; all that waits for the disk is done beside it (`sync`, a thread of its own).
A segment is closed ("sealed") when it is old or large enough, and a sealed segment is a
batch. Events of past months go to a segment of their own (`open_segment` says why), and may take
only a part of the log. Memory holds the pending group, the one under way and the open batch, all bounded.
Rows are already anonymised here: no address and no user-agent string reaches disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from analytics_server.config import IngestSection
from analytics_server.errors import WalError
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.group import MAX_GROUP_BYTES, MOST_BYTES, CommitGroup, Waiter
from analytics_server.ingest.wal.log_size import LogSize
from analytics_server.ingest.wal.open_segment import OpenSegments
from analytics_server.ingest.wal.probe import is_in_place, probe
from analytics_server.ingest.wal.recovery import LOCK, keep, recover
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.ingest.wal.segment_file import Untrusted, sync_parents
from analytics_server.ingest.wal.sync import Syncer, make_syncer
from analytics_server.model import COLUMN_INDEX, Row
from analytics_server.store.data_directory import make_private

log = logging.getLogger(__name__)

FREE_SPACE_CHECK_S = 1.0
PROBE_TIMEOUT_S = 5.0
MOVED = (
    "The write-ahead log's directory was removed or replaced, so that a restart would not find what is written. "
    "Put it back, or restart the server."
)
STOPPING = "The server is stopping."
TOO_MANY = "Too many events are waiting to be written. Send them again later."
TOO_LARGE = "The events of one request are too large to be written."
TOO_MANY_OLD = (
    "Too many events of past months wait for ClickHouse ([ingest] historic_wal_max_mb). Send them again later."
)
DAY_US = 86_400_000_000
_TS = COLUMN_INDEX["ts"]


class Wal:
    """The log of one process: `append`, and one task that commits.

    `on_durable` hears on the loop of the rows of each group, before those who wait for them.
    """

    def __init__(
        self,
        directory: Path,
        settings: IngestSection,
        metrics: IngestMetrics,
        *,
        on_sealed: Callable[[Sealed], None],
        on_broken: Callable[[str], None],
        on_durable: Callable[[list[Row]], None] = lambda rows: None,
        clock: Callable[[], float] = time.time,
        syncer: Callable[[asyncio.AbstractEventLoop, Path], Syncer] = make_syncer,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._metrics = metrics
        self._on_sealed = on_sealed
        self._on_broken = on_broken
        self._on_durable = on_durable
        self._clock = clock
        self._max_bytes = settings.wal_max_mb * 1_048_576
        self._max_old_bytes = min(settings.historic_wal_max_mb * 1_048_576, self._max_bytes // 2)
        self._old_before_us = 0
        self._group = CommitGroup()
        self._under_way = self._no_group = CommitGroup()
        self._stopping = False
        self._broken = ""
        self._full = ""
        self._moved = False
        self._probed: tuple[float, str] = (-FREE_SPACE_CHECK_S, "")
        self._looked_at = 0.0
        self._looking: Future[None] | None = None
        self._lock_fd = -1
        self._directory_fd = -1
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self._size = LogSize(metrics)
        self._make_syncer = syncer
        self._syncer: Syncer | None = None
        self._committer: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self.segments: OpenSegments | None = None
        self._seal_due: set[bool] = set()
        """Which of them, by whether they are historic."""
        self._last_batch_id = 0

    # ---- life ----------------------------------------------------------

    def open(self) -> list[Sealed]:
        """Lock the directory, repair a torn tail, and return what an earlier run left, oldest first.

        Raises `WalError`.
        """
        try:
            return self._open()
        except OSError as error:
            raise WalError(
                f"The directory {self._directory} can't be used: {error.strerror}. "
                "Make it writable, or set [server] data_dir (or [ingest] wal_dir) to another."
            ) from error

    def _open(self) -> list[Sealed]:
        make_private(self._directory)
        sync_parents(self._directory)
        self._lock_fd = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock_fd)
            self._lock_fd = -1
            raise WalError(
                f"Another server is using {self._directory}: stop it, or give this one its own [server] data_dir."
            ) from error
        self._directory_fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        left_over = recover(self._directory, self._metrics)
        self._size.begin(left_over)
        self._last_batch_id = max((sealed.batch_id for sealed in left_over), default=0)
        self._look()
        self._move_horizon()
        return left_over

    def start(self) -> None:
        """Begin to accept; must be called on the loop that awaits the acknowledgements."""
        if self._settings.ack == "fsync":
            self._syncer = self._make_syncer(asyncio.get_running_loop(), self._directory / LOCK)
        self.segments = OpenSegments(
            self._directory,
            self._directory_fd,
            self._settings,
            self._metrics,
            self._size,
            disk=self._disk,
            syncer=self._syncer,
            clock=lambda: self._clock(),
            last_batch_id=self._last_batch_id,
            on_due=self._due,
        )
        self._committer = asyncio.create_task(self._work(), name="wal")

    async def stop(self) -> None:
        """Write what is pending and seal the open segment. The directory stays locked."""
        self._stopping = True
        self._arrived.set()
        if self._committer is not None:
            await asyncio.wait({self._committer})

    async def close(self) -> None:
        """Stop, and let another process have the directory: nothing here may deliver from it any more."""
        await self.stop()
        self._disk.shutdown(wait=False)
        if self._syncer is not None:
            self._syncer.close()
            self._syncer = None
        for fd in (self._directory_fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._directory_fd = self._lock_fd = -1

    @property
    def directory(self) -> Path:
        """Where it lies; locked while it is open."""
        return self._directory

    # ---- on the loop ---------------------------------------------------

    def append(self, rows: list[Row], waiter: Waiter) -> None:
        """Add rows to the pending group; `waiter` is called when they are durable or lost.

        Waiters are called in the order they came; without rows one waits only for what came before.
        Raises `WalError` at once when the log refuses: nothing was written then.
        """
        if refusal := self.refusal():
            raise WalError(refusal)
        group = self._group
        old: list[Row] = []
        if rows and rows[0][_TS] < self._old_before_us:  # type: ignore[operator]  # a request's rows are in order of time
            old, rows = self._divided(rows)
        encoded = segment.encode_rows(rows) if rows else b""
        encoded_old = segment.encode_rows(old) if old else b""
        size = len(encoded) + len(encoded_old)
        if group.events + len(rows) + len(old) > self._settings.pending_events or group.bytes + size > MAX_GROUP_BYTES:
            if group.events:
                raise WalError(TOO_MANY)
            if size > MOST_BYTES:
                raise WalError(TOO_LARGE)
        group.bytes += size
        if rows:
            group.payload.append(encoded)
            group.rows += rows
        if old:
            group.old_payload.append(encoded_old)
            group.old_events += len(old)
        group.waiters.append(waiter)
        self._arrived.set()

    def _divided(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """The rows of past months, and the others. Raises `WalError` when there is no room for the former."""
        if self._size.historic_bytes >= self._max_old_bytes:
            raise WalError(TOO_MANY_OLD)
        before = self._old_before_us
        old = [row for row in rows if row[_TS] < before]  # type: ignore[operator]
        return old, ([row for row in rows if row[_TS] >= before] if len(old) < len(rows) else [])  # type: ignore[operator]

    def durable(self, rows: list[Row]) -> asyncio.Future[None]:
        """`append` as a future, which raises `WalError` when the rows were not written."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: str) -> None:
            if future.done():
                return
            if error:
                future.set_exception(WalError(error))
            else:
                future.set_result(None)

        self.append(rows, settle)
        return future

    def refusal(self) -> str:
        """Why nothing can be accepted now; empty when all is well."""
        if self._broken or self._stopping:
            return self._broken or STOPPING
        if self._size.bytes >= self._max_bytes:
            return "The write-ahead log has reached its limit ([ingest] wal_max_mb): ClickHouse is behind."
        if self._full or self._moved:
            self._arrived.set()  # to look again
            return MOVED if self._moved else self._full
        return TOO_MANY if self._group.events >= self._settings.pending_events else ""

    async def unreadiness(self) -> str:
        """Why a beacon would be refused now, or its write would fail; empty when it would be taken.

        Tries to write, but not more often than once a second.
        """
        if (refusal := self.refusal()) or self.segments is None:
            return refusal
        now = time.monotonic()
        if now - self._probed[0] >= FREE_SPACE_CHECK_S:
            self._probed = now, self._probed[1]
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    found = await asyncio.get_running_loop().run_in_executor(self._disk, self._probe)
            except TimeoutError:
                found = f"The disk of the write-ahead log has not answered for {PROBE_TIMEOUT_S:.0f} s."
            except RuntimeError:  # the log is being closed
                return self.refusal() or STOPPING
            self._probed = now, found
        return self._probed[1]

    def _probe(self) -> str:
        self._look()
        return (MOVED if self._moved else self._full) or probe(self._directory)

    def seal_soon(self) -> None:
        """Seal what is open after the commit under way."""
        self._seal_due.update((False, True))
        self._arrived.set()

    def _due(self, historic: bool) -> None:
        self._seal_due.add(historic)
        self._arrived.set()

    def delete(self, sealed: Sealed) -> None:
        """Remove a segment whose batch is known to be in ClickHouse."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sealed.path)
        self._size.gone(sealed)

    def set_aside(self, sealed: Sealed, directory: Path) -> Path:
        """Move a segment out of the log, keeping it for a person to look at."""
        target = keep(sealed.path, directory)
        self._size.gone(sealed)
        return target

    # ---- the committer -------------------------------------------------

    async def _work(self) -> None:
        """The task's life: when it fails, every waiter is told."""
        try:
            await self._commit_groups()
        except BaseException as failure:
            log.critical("the log's writer failed", exc_info=failure)
            self._break(f"The write-ahead log's writer failed ({type(failure).__name__}).")
            group, self._group = self._group, CommitGroup()
            self._settle(self._under_way, self._broken)
            self._settle(group, self._broken)

    async def _commit_groups(self) -> None:
        while True:
            if not (self._group.waiters or self._stopping or self._seal_due):
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(0)  # all that arrives in this turn of the loop goes together
            while self._seal_due:
                self._seal(self._seal_due.pop())
            now = time.monotonic()
            if now - self._looked_at >= FREE_SPACE_CHECK_S and (self._looking is None or self._looking.done()):
                self._looked_at = now
                self._move_horizon()
                self._looking = self._disk.submit(self._look)
            if self._group.waiters:
                await self._commit()
            elif self._stopping:
                self._seal(True)
                self._seal(False)
                return

    async def _commit(self) -> None:
        """Make the pending group durable, and tell those who wait."""
        group = self._under_way = self._group
        self._group = CommitGroup()
        error = self._broken if group.events else ""
        if group.events and not error:
            started = time.perf_counter()
            try:
                assert self.segments is not None
                await self.segments.write(group)
            except Untrusted as failure:
                self._metrics.wal_errors.labels("fsync").inc()
                self._break(f"The write-ahead log can't be trusted any more ({failure.strerror}).")
                error = self._broken
            except OSError as failure:
                kind = "disk_full" if failure.errno in (errno.ENOSPC, errno.EDQUOT) else "write"
                self._metrics.wal_errors.labels(kind).inc()
                error = f"The event could not be written to disk ({failure.strerror}). Send it again later."
            else:
                self._metrics.wal_commit_seconds.observe(time.perf_counter() - started)
                for historic in self.segments.keep(group):
                    self._seal(historic)
        self._settle(group, error)
        self._under_way = self._no_group  # its rows need not stay in memory

    def _seal(self, historic: bool) -> None:
        self._seal_due.discard(historic)
        if self.segments is not None and (sealed := self.segments.seal(historic)) is not None:
            self._on_sealed(sealed)

    def _settle(self, group: CommitGroup, error: str) -> None:
        if group.rows and not error:  # what is of past months is no news to a live view
            try:
                self._on_durable(group.rows)
            except Exception:  # the events are safe: their senders must hear so
                log.exception("live counts failed")
        waiters, group.waiters = group.waiters, []
        for waiter in waiters:
            try:
                waiter(error)
            except Exception:  # the others still wait
                log.exception("an acknowledgement failed")

    def _look(self) -> None:
        """Is there room left on the disk?"""
        self._moved = not is_in_place(self._directory, self._directory_fd)
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError:  # the next write says what is wrong
            self._full = ""
            return
        self._metrics.disk_free_bytes.set(free)
        low = free < self._settings.wal_min_free_mb * 1_048_576
        self._full = "The disk is nearly full ([ingest] wal_min_free_mb). Send the events again later." if low else ""

    def _move_horizon(self) -> None:
        """What is older goes to a segment of its own."""
        self._old_before_us = int(self._clock() * 1_000_000) - self._settings.historic_after_days * DAY_US

    def _break(self, reason: str) -> None:
        """Refuse everything from now on; the process has to end."""
        self._broken = reason
        if self.segments is not None:
            self.segments.broken = True
        self._on_broken(reason)
