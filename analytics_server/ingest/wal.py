"""The write-ahead log: an event is on disk before it is acknowledged.

What arrives during a sync, or in one turn of the loop, is one group: it is made durable with
one `writev` and one `fdatasync`, and only then are the waiting acknowledgements resolved.
The group commit makes the cost of a sync the cost of a group. The write goes to the page
cache, from the loop; all that waits for the disk is done beside it (`sync`, a thread of its own).
A segment is closed ("sealed") when it is old or large enough, and a sealed segment is a
batch. Memory holds the pending group, the one under way and the open batch, all bounded.
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
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from analytics_server.config import IngestSection
from analytics_server.errors import WalError
from analytics_server.ingest import segment
from analytics_server.ingest.group import MAX_GROUP_BYTES, MOST_BYTES, Group, Waiter
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.probe import is_in_place, probe
from analytics_server.ingest.recovery import LOCK, keep, recover
from analytics_server.ingest.segment import Sealed
from analytics_server.ingest.segment_file import SegmentFile, Untrusted, sync_directory
from analytics_server.ingest.sync import Syncer, make_syncer
from analytics_server.model import Row

log = logging.getLogger(__name__)

FREE_SPACE_CHECK_S = 1.0
SLOW_DISK_S = 0.05
"""After a commit that took longer, the next write is a thread's too: on a saturated disk even a write to the page
cache may wait for the file system's journal, and the loop must not wait with it."""

PROBE_TIMEOUT_S = 5.0
MOVED = (
    "The write-ahead log's directory was removed or replaced, so that a restart would not find what is written. "
    "Put it back, or restart the server."
)
STOPPING = "The server is stopping."
TOO_MANY = "Too many events are waiting to be written. Send them again later."
TOO_LARGE = "The events of one request are too large to be written."


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
        self._group = Group()
        self._under_way = self._no_group = Group()
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
        self._bytes_lock = threading.Lock()
        self._bytes_on_disk = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._make_syncer = syncer
        self._syncer: Syncer | None = None
        self._committer: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._file: SegmentFile | None = None
        self._events = 0
        self._rows: list[Row] | None = None
        self._sequence = 0
        self._slow = False
        self._last_batch_id = 0
        self._seal_due = False
        self._seal_timer: asyncio.TimerHandle | None = None

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
        self._directory.mkdir(parents=True, exist_ok=True)
        for parent in self._directory.parents:  # a new directory's name must survive a power cut too
            with contextlib.suppress(OSError):  # one that may not be read was there before
                sync_directory(parent)
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
        self._bytes_on_disk = sum(sealed.size for sealed in left_over)
        self._metrics.wal_segments.set(len(left_over))
        self._metrics.wal_bytes.set(self._bytes_on_disk)
        self._last_batch_id = max((sealed.batch_id for sealed in left_over), default=0)
        self._look()
        return left_over

    def start(self) -> None:
        """Begin to accept; must be called on the loop that awaits the acknowledgements."""
        self._loop = asyncio.get_running_loop()
        if self._settings.ack == "fsync":
            self._syncer = self._make_syncer(self._loop, self._directory / LOCK)
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
        encoded = segment.encode_rows(rows)
        size = len(encoded)
        if len(group.rows) + len(rows) > self._settings.pending_events or group.bytes + size > MAX_GROUP_BYTES:
            if group.rows:
                raise WalError(TOO_MANY)
            if size > MOST_BYTES:
                raise WalError(TOO_LARGE)
        group.bytes += size
        group.payload.append(encoded)
        group.rows += rows
        group.waiters.append(waiter)
        self._arrived.set()

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
        if self._bytes_on_disk >= self._max_bytes:
            return "The write-ahead log has reached its limit ([ingest] wal_max_mb): ClickHouse is behind."
        if self._full or self._moved:
            self._arrived.set()  # to look again
            return MOVED if self._moved else self._full
        return TOO_MANY if len(self._group.rows) >= self._settings.pending_events else ""

    async def unreadiness(self) -> str:
        """Why a beacon would be refused now, or its write would fail; empty when it would be taken.

        Tries to write, but not more often than once a second.
        """
        if (refusal := self.refusal()) or self._loop is None:
            return refusal
        now = time.monotonic()
        if now - self._probed[0] >= FREE_SPACE_CHECK_S:
            self._probed = now, self._probed[1]
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    found = await self._loop.run_in_executor(self._disk, self._probe)
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
        """Seal the open segment after the commit under way (its age, tests)."""
        self._seal_due = True
        self._arrived.set()

    def delete(self, sealed: Sealed) -> None:
        """Remove a segment whose batch is known to be in ClickHouse."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(sealed.path)
        self._forget(sealed)

    def set_aside(self, sealed: Sealed, directory: Path) -> Path:
        """Move a segment out of the log, keeping it for a person to look at."""
        target = keep(sealed.path, directory)
        self._forget(sealed)
        return target

    @property
    def bytes_on_disk(self) -> int:
        return self._bytes_on_disk

    # ---- the committer -------------------------------------------------

    async def _work(self) -> None:
        """The task's life: nobody may wait for an answer that will never come."""
        try:
            await self._commit_groups()
        except BaseException as failure:
            log.critical("the log's writer failed", exc_info=failure)
            self._break(f"The write-ahead log's writer failed ({type(failure).__name__}).")
            group, self._group = self._group, Group()
            self._settle(self._under_way, self._broken)
            self._settle(group, self._broken)

    async def _commit_groups(self) -> None:
        while True:
            if not (self._group.waiters or self._stopping or self._seal_due):
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(0)  # all that arrives in this turn of the loop goes together
            if self._seal_due:
                self._seal()
            now = time.monotonic()
            if now - self._looked_at >= FREE_SPACE_CHECK_S and (self._looking is None or self._looking.done()):
                self._looked_at = now
                self._looking = self._disk.submit(self._look)
            if self._group.waiters:
                await self._commit()
            elif self._stopping:
                self._seal()
                return

    async def _commit(self) -> None:
        """Make the pending group durable, and tell those who wait."""
        group = self._under_way = self._group
        self._group = Group()
        error = self._broken if group.rows else ""
        if group.rows and not error:
            started = time.perf_counter()
            try:
                await self._write(group)
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
                self._keep(group)
        self._settle(group, error)
        self._under_way = self._no_group  # its rows need not stay in memory

    async def _write(self, group: Group) -> None:
        """Raises `OSError`: nothing of the group stays then; `Untrusted` when no group can be written any more."""
        file = self._file or await self._open_segment()
        payload = [segment.array_head(len(group.rows)), *group.payload]
        before = file.size
        pieces = [segment.frame_head(self._sequence + 1, payload), *payload]
        began = time.perf_counter()
        if self._slow:
            await self._loop_or_fail().run_in_executor(self._disk, file.append, pieces)
        else:
            file.append(pieces)
        if self._syncer is not None:
            started = time.perf_counter()
            try:
                await self._syncer.sync(file.fd)
            except OSError as failure:
                with contextlib.suppress(OSError):  # it was not acknowledged: best that the next start doesn't find it
                    file.cut(before)
                raise Untrusted(failure.errno, f"fdatasync failed: {failure.strerror}") from failure
            self._metrics.wal_fsync_seconds.observe(time.perf_counter() - started)
        self._slow = time.perf_counter() - began > SLOW_DISK_S
        self._sequence += 1
        self._add_bytes(file.size - before)

    def _keep(self, group: Group) -> None:
        """Keep the rows for the flush, and seal a batch that is full."""
        file = self._file
        assert file is not None
        self._events += len(group.rows)
        if self._rows is not None:
            self._rows += group.rows
            if len(self._rows) > self._settings.memory_events:
                self._rows = None
        if self._events >= self._settings.batch_events or file.size >= self._settings.batch_mb * 1_048_576:
            self._seal()

    async def _open_segment(self) -> SegmentFile:
        loop = self._loop_or_fail()
        batch_id = segment.new_batch_id(self._clock(), self._last_batch_id)
        make = partial(SegmentFile, self._directory, self._directory_fd, batch_id, sync=self._syncer is not None)
        file = await loop.run_in_executor(self._disk, make)
        self._file, self._last_batch_id = file, batch_id
        self._events, self._rows = 0, []
        self._add_bytes(file.size)
        self._metrics.wal_segments.inc()
        self._seal_timer = loop.call_later(self._settings.flush_interval_ms / 1000, self.seal_soon)
        return file

    def _seal(self) -> None:
        self._seal_due = False
        if self._seal_timer is not None:
            self._seal_timer.cancel()
            self._seal_timer = None
        file, self._file = self._file, None
        if file is None:
            return
        if file.cut_off and self._syncer is not None and not self._broken:
            self._disk.submit(file.sync_and_close)  # the next segment is opened by the same thread, so after this
        else:
            file.close()
        sealed = Sealed(file.path, file.batch_id, self._events, file.size, self._rows)
        self._rows, self._events = None, 0
        if sealed.events:
            self._on_sealed(sealed)
            return
        self._disk.submit(self._remove_empty, sealed.path)  # before the next segment, for the same reason
        self._forget(sealed)

    def _remove_empty(self, path: Path) -> None:
        """Remove a segment without events, so that a power cut doesn't bring it back beside a later one."""
        with contextlib.suppress(OSError):
            path.unlink()
            if self._syncer is not None:
                sync_directory(self._directory)

    def _settle(self, group: Group, error: str) -> None:
        if group.rows and not error:
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
        low = free < self._settings.wal_min_free_mb * 1_048_576
        self._full = "The disk is nearly full ([ingest] wal_min_free_mb). Send the events again later." if low else ""

    def _loop_or_fail(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "the log was not started"
        return self._loop

    def _break(self, reason: str) -> None:
        """Refuse everything from now on; the process has to end."""
        self._broken = reason
        self._on_broken(reason)

    def _add_bytes(self, size: int) -> None:
        with self._bytes_lock:
            self._bytes_on_disk += size
        self._metrics.wal_bytes.set(self._bytes_on_disk)

    def _forget(self, sealed: Sealed) -> None:
        self._add_bytes(-sealed.size)
        self._metrics.wal_segments.dec()
