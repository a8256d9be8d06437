"""The write-ahead log: an event is on disk before it is acknowledged.

One writer thread takes all that is pending, writes it as one frame with one
`writev`, makes it durable with one `fdatasync`, and only then resolves the waiting
acknowledgements on the loop: the group commit makes the cost of a sync the cost of
a group. A segment is closed ("sealed") when it is old or large enough, and a sealed
segment is a batch. Memory holds the pending group and the open batch, both bounded.
Rows are already anonymised here: no address and no user-agent string reaches disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from analytics_server.config import IngestSection
from analytics_server.errors import WalError
from analytics_server.ingest import segment
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.recovery import keep, recover
from analytics_server.ingest.segment import Sealed
from analytics_server.model import Row

log = logging.getLogger(__name__)

IOV_MAX = 1_000
_encode = msgspec.msgpack.Encoder().encode
MAX_PENDING_BYTES = 64 * 1_048_576
"""Of one commit group: bounds memory while the disk is slow, and keeps its frame far below segment.MAX_FRAME_BYTES."""
FREE_SPACE_CHECK_S = 1.0
CROWD = 2
"""A group with more events than this says that many clients send at once."""


Waiter = Callable[[str], None]
"""Called on the loop once the rows are durable, with "", or with why they are not."""


class _Group:
    """What arrived while the last group was being written."""

    __slots__ = ("bytes", "events", "parts", "rows", "waiters")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.rows: list[Row] = []
        self.waiters: list[Waiter] = []
        self.events = 0
        self.bytes = 0


class Wal:
    """The log of one process: `append` on the loop, one writer thread behind it."""

    def __init__(
        self,
        directory: Path,
        settings: IngestSection,
        metrics: IngestMetrics,
        *,
        on_sealed: Callable[[Sealed], None],
        on_broken: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._metrics = metrics
        self._on_sealed = on_sealed
        self._on_broken = on_broken
        self._clock = clock
        self._max_bytes = settings.wal_max_mb * 1_048_576
        self._group = _Group()
        self._wake = threading.Condition(threading.Lock())
        self._stopping = False
        self._broken = ""
        self._full = ""
        self._seal_now = False
        self._sleeping = False
        self._lock_fd = -1
        self._directory_fd = -1
        self._fd = -1
        self._path: Path | None = None
        self._batch_id = 0
        self._opened_at = 0.0
        self._segment_bytes = 0
        self._segment_events = 0
        self._rows: list[Row] | None = []
        self._sequence = 0
        self._bytes_on_disk = 0
        self._free_checked_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

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
        for parent in list(self._directory.parents)[:2]:  # a new directory's name must survive a power cut too
            with contextlib.suppress(OSError):  # one that may not be read was there before
                _sync_directory(parent)
        self._lock_fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        return left_over

    def start(self) -> None:
        """Begin to accept; must be called on the loop that awaits the acknowledgements."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_forever, name="wal-writer", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Write what is pending, seal the open segment, and stop the writer. The directory stays locked."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        thread = self._thread
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, thread.join)

    async def close(self) -> None:
        """Stop, and let another process have the directory: nothing here may deliver from it any more."""
        await self.stop()
        for fd in (self._directory_fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._directory_fd = self._lock_fd = -1

    # ---- on the loop ---------------------------------------------------

    def append(self, rows: list[Row], waiter: Waiter) -> None:
        """Add rows to the pending group; `waiter` is called when they are durable or lost.

        Waiters are called in the order they came; without rows one waits only for what came before.
        Raises `WalError` at once when the log refuses: nothing was written then.
        """
        if refusal := self.refusal():
            raise WalError(refusal)
        events = len(rows)
        encoded = [_encode(row) for row in rows]
        size = sum(map(len, encoded))
        with self._wake:
            group = self._group
            if group.events and (
                group.events + events > self._settings.pending_events or group.bytes + size > MAX_PENDING_BYTES
            ):
                raise WalError("Too many events are waiting to be written. Send them again later.")
            group.bytes += size
            group.parts += encoded
            group.rows += rows
            group.events += events
            group.waiters.append(waiter)
            if self._sleeping:
                self._sleeping = False
                self._wake.notify()

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
            return self._broken or "The server is stopping."
        if self._bytes_on_disk >= self._max_bytes:
            return "The write-ahead log has reached its limit ([ingest] wal_max_mb): ClickHouse is behind."
        return self._full

    def seal_soon(self) -> None:
        """Ask the writer to seal the open segment now (tests, shutdown)."""
        with self._wake:
            self._seal_now = True
            self._wake.notify()

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

    def _forget(self, sealed: Sealed) -> None:
        with self._wake:
            self._bytes_on_disk -= sealed.size
        self._metrics.wal_segments.dec()
        self._metrics.wal_bytes.set(self._bytes_on_disk)

    # ---- the writer thread ---------------------------------------------

    def _write_forever(self) -> None:
        """The thread's life: nobody may wait for an answer that will never come."""
        try:
            self._write_groups()
        except BaseException as failure:
            log.critical("the log's writer failed", exc_info=failure)
            self._break(f"The write-ahead log's writer failed ({type(failure).__name__}).")
            with self._wake:
                group, self._group = self._group, _Group()
            self._settle(group, self._broken)

    def _write_groups(self) -> None:
        interval = self._settings.flush_interval_ms / 1000
        window = self._settings.commit_window_ms / 1000
        last_events = 0
        while True:
            with self._wake:
                while not (self._group.waiters or self._stopping or self._seal_now):
                    wait = None
                    if self._segment_events:
                        wait = self._opened_at + interval - time.monotonic()
                        if wait <= 0:
                            break
                    if self._full:
                        wait = FREE_SPACE_CHECK_S if wait is None else min(wait, FREE_SPACE_CHECK_S)
                    self._sleeping = True
                    woken = self._wake.wait(wait)
                    self._sleeping = False
                    if not woken and self._full:
                        break
                crowded = last_events > CROWD and not self._stopping
            if crowded:  # many are sending: wait a moment, so that one sync serves more of them
                time.sleep(window)
            with self._wake:
                group, self._group = self._group, _Group()
                last_events = group.events
                stopping = self._stopping
                seal_now, self._seal_now = self._seal_now, False
            self._check_free_space()
            if group.events:
                self._commit(group)
            elif group.waiters:
                self._settle(group, "")
            age = time.monotonic() - self._opened_at
            full = (
                self._segment_events >= self._settings.batch_events
                or self._segment_bytes >= self._settings.batch_mb * 1_048_576
            )
            if self._segment_events and (stopping or seal_now or full or age >= interval):
                self._seal()
            if stopping and not self._group.waiters:
                self._seal()
                return

    def _commit(self, group: _Group) -> None:
        error = ""
        started = time.perf_counter()
        try:
            if self._broken:
                raise OSError(errno.EIO, self._broken)
            if self._fd < 0:
                self._open_segment()
            self._write(group)
        except OSError as failure:
            error = self._failed(failure)
        except BaseException:
            self._settle(group, "The event could not be written to disk. Send it again later.")
            raise
        else:
            self._metrics.wal_commit_seconds.observe(time.perf_counter() - started)
        self._settle(group, error)

    def _settle(self, group: _Group, error: str) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_resolve, group.waiters, error)

    def _write(self, group: _Group) -> None:
        parts = [segment.array_head(group.events), *group.parts]
        pieces = [segment.frame_head(self._sequence + 1, parts), *parts]
        try:
            written = 0
            expected = sum(map(len, pieces))
            if len(pieces) > IOV_MAX:
                pieces = [b"".join(pieces)]
            written = os.writev(self._fd, pieces)
            while written < expected:
                rest = b"".join(pieces)[written:]
                written += os.write(self._fd, rest)
        except OSError:
            self._take_back()
            raise
        if self._settings.ack == "fsync":
            started = time.perf_counter()
            try:
                _sync(self._fd)
            except OSError as failure:
                with contextlib.suppress(OSError):
                    self._take_back()  # it was not acknowledged: best that the next start doesn't find it
                raise _Untrusted(failure.errno, f"fdatasync failed: {failure.strerror}") from failure
            self._metrics.wal_fsync_seconds.observe(time.perf_counter() - started)
        self._sequence += 1
        self._segment_bytes += expected
        self._segment_events += group.events
        if self._rows is not None:
            self._rows += group.rows
            if len(self._rows) > self._settings.memory_events:
                self._rows = None
        with self._wake:
            self._bytes_on_disk += expected
        self._metrics.wal_bytes.set(self._bytes_on_disk)

    def _take_back(self) -> None:
        """Cut off what was written of the last group: a frame behind half a frame would be hard to find."""
        try:
            os.ftruncate(self._fd, self._segment_bytes)
            os.lseek(self._fd, self._segment_bytes, os.SEEK_SET)
        except OSError as failure:
            raise _Untrusted(failure.errno, f"ftruncate failed: {failure.strerror}") from failure

    def _failed(self, failure: OSError) -> str:
        if isinstance(failure, _Untrusted):
            self._metrics.wal_errors.labels("fsync").inc()
            self._break(f"The write-ahead log can't be trusted any more ({failure.strerror}).")
            return self._broken
        kind = "disk_full" if failure.errno in (errno.ENOSPC, errno.EDQUOT) else "write"
        self._metrics.wal_errors.labels(kind).inc()
        return f"The event could not be written to disk ({failure.strerror}). Send it again later."

    def _break(self, reason: str) -> None:
        """Refuse everything from now on; the process has to end."""
        self._broken = reason
        self._on_broken(reason)

    def _open_segment(self) -> None:
        batch_id = new_batch_id(self._clock())
        path = self._directory / f"{batch_id:020d}{segment.SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        head = segment.head_bytes(batch_id, int(self._clock() * 1000))
        try:
            if os.write(fd, head) < len(head):
                raise OSError(errno.ENOSPC, "not all of the segment's head could be written")
            if self._settings.ack == "fsync":
                _sync_entry(fd, self._directory_fd)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._fd, self._path, self._batch_id = fd, path, batch_id
        self._segment_bytes, self._segment_events, self._rows = len(head), 0, []
        self._opened_at = time.monotonic()
        with self._wake:
            self._bytes_on_disk += len(head)
        self._metrics.wal_segments.inc()

    def _seal(self) -> None:
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):  # all that was acknowledged is synced
            os.close(self._fd)
        assert self._path is not None
        sealed = Sealed(self._path, self._batch_id, self._segment_events, self._segment_bytes, self._rows)
        self._fd, self._path, self._rows, self._segment_events = -1, None, [], 0
        if not sealed.events:
            with contextlib.suppress(OSError):
                sealed.path.unlink()
            self._forget(sealed)
            return
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: the next start finds the segment
            self._loop.call_soon_threadsafe(self._on_sealed, sealed)

    def _check_free_space(self) -> None:
        now = time.monotonic()
        if now - self._free_checked_at < FREE_SPACE_CHECK_S:
            return
        self._free_checked_at = now
        try:
            free = shutil.disk_usage(self._directory).free
        except OSError:  # the next write says what is wrong
            return
        low = free < self._settings.wal_min_free_mb * 1_048_576
        self._full = "The disk is nearly full ([ingest] wal_min_free_mb). Send the events again later." if low else ""


_sync = getattr(os, "fdatasync", os.fsync)
"""macOS has no fdatasync."""


class _Untrusted(OSError):
    """A sync failed: the pages may be lost and the descriptor must never be synced again. Or half a frame stays."""


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_entry(fd: int, directory_fd: int) -> None:
    """Make a new file and its name durable."""
    try:
        os.fsync(fd)
        os.fsync(directory_fd)
    except OSError as failure:
        raise _Untrusted(failure.errno, f"fsync failed: {failure.strerror}") from failure


def new_batch_id(now: float) -> int:
    """63 bits: milliseconds since 2020 (41), then random bits (22). Unique without coordination."""
    return (int((now - 1_577_836_800) * 1000) & 0x1FF_FFFF_FFFF) << 22 | secrets.randbits(22)


def _resolve(waiters: list[Waiter], error: str) -> None:
    for waiter in waiters:
        try:
            waiter(error)
        except Exception:  # the others still wait
            log.exception("an acknowledgement failed")
