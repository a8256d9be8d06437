"""The WAL segments that take commit groups: written, synced, sealed.

There are two: one for recent events, sealed by age, and one for events of past months (historic). An import of
many years makes an INSERT for each month of a batch, so a historic segment grows while the batch before it
is on its way, for some minutes at most: a large batch has no more months than a small one. Recent events never wait
for it.

A group is written to both or to none: what was written of one that fails is cut off again, before a waiter is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from analytics_server.batch_ids import created_ms, new_batch_id
from analytics_server.config import IngestSection
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.group import CommitGroup
from analytics_server.ingest.wal.log_size import LogSize
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.ingest.wal.segment_file import SegmentFile, Untrusted, sync_directory
from analytics_server.ingest.wal.sync import Syncer
from analytics_server.model import Row

SLOW_DISK_S = 0.05
"""After a commit that took longer, the next write is a thread's too: on a saturated disk even a write to the page
cache may wait for the file system's journal, and the loop must not wait with it."""


class OpenSegment:
    """`rows` are kept for the flush while they are few; never of a historic one."""

    __slots__ = ("events", "file", "historic", "rows", "timer")

    def __init__(self, file: SegmentFile, *, historic: bool) -> None:
        self.file = file
        self.historic = historic
        self.events = 0
        self.rows: list[Row] | None = None if historic else []
        self.timer: asyncio.TimerHandle | None = None

    def keep(self, rows: list[Row], events: int, memory_events: int) -> None:
        """A group of so many events was written."""
        self.events += events
        if self.rows is not None:
            self.rows += rows
            if len(self.rows) > memory_events:
                self.rows = None


class OpenSegments:
    """Both of one log. `on_due` hears, by whether it is historic, that a segment is old enough to be sealed."""

    def __init__(
        self,
        directory: Path,
        directory_fd: int,
        settings: IngestSection,
        metrics: IngestMetrics,
        size: LogSize,
        *,
        disk: ThreadPoolExecutor,
        syncer: Syncer | None,
        clock: Callable[[], float],
        last_batch_id: int,
        on_due: Callable[[bool], None],
    ) -> None:
        self._directory = directory
        self._directory_fd = directory_fd
        self._settings = settings
        self._metrics = metrics
        self._size = size
        self._disk = disk
        self._syncer = syncer
        self._clock = clock
        self._last_batch_id = last_batch_id
        self._on_due = on_due
        self._open: dict[bool, OpenSegment] = {}
        """By whether they are historic."""
        self._sequence = 0
        self._slow = False
        self.broken = False
        """No file may be synced any more."""

    @property
    def last_batch_id(self) -> int:
        """The greatest id of a segment so far, those of earlier runs included."""
        return self._last_batch_id

    def holds(self, batch_id: int) -> bool:
        """Is a segment open that is as old as that batch, or older?"""
        return any(opened.file.batch_id <= batch_id for opened in self._open.values())

    async def write(self, group: CommitGroup) -> None:
        """Raises `OSError`: nothing of the group stays then; `Untrusted` when no group can be written any more."""
        parts: list[_Part] = []
        if group.old_events:
            opened = self._open.get(True) or await self._make(historic=True)
            parts.append(_Part(opened, group.old_events, group.old_payload))
        if group.rows:
            opened = self._open.get(False) or await self._make(historic=False)
            parts.append(_Part(opened, len(group.rows), group.payload))
        began = time.perf_counter()
        for at, part in enumerate(parts):
            pieces = [segment.frame_head(self._sequence + 1 + at, part.payload), *part.payload]
            try:
                if self._slow:
                    await asyncio.get_running_loop().run_in_executor(self._disk, part.file.append, pieces)
                else:
                    part.file.append(pieces)
            except OSError:
                _take_back(parts[:at])
                raise
        if self._syncer is not None:
            started = time.perf_counter()
            try:
                for part in parts:
                    await self._syncer.sync(part.file.fd)
            except OSError as failure:
                with contextlib.suppress(OSError):  # it was not acknowledged: best that the next start doesn't find it
                    _take_back(parts)
                raise Untrusted(failure.errno, f"fdatasync failed: {failure.strerror}") from failure
            self._metrics.wal_fsync_seconds.observe(time.perf_counter() - started)
        self._slow = time.perf_counter() - began > SLOW_DISK_S
        self._sequence += len(parts)
        for part in parts:
            self._size.grow(part.file.size - part.before, historic=part.historic)

    def keep(self, group: CommitGroup) -> list[bool]:
        """Keep the rows of a written group for the flush; which segments are full, by whether they are historic."""
        full = []
        if group.old_events and self._keep(True, [], group.old_events):
            full.append(True)
        if group.rows and self._keep(False, group.rows, len(group.rows)):
            full.append(False)
        return full

    def seal(self, historic: bool) -> Sealed | None:
        """Close a segment, if it is open; None when it held nothing."""
        opened = self._open.pop(historic, None)
        if opened is None:
            return None
        if opened.timer is not None:
            opened.timer.cancel()
        file = opened.file
        if file.cut_off and self._syncer is not None and not self.broken:
            self._disk.submit(file.sync_and_close)  # the next segment is opened by the same thread, so after this
        else:
            file.close()
        sealed = Sealed(file.path, file.batch_id, opened.events, file.size, opened.rows)
        self._size.sealed(sealed)
        if sealed.events:
            return sealed
        self._disk.submit(self._remove, sealed.path)  # before the next segment, for the same reason
        self._size.gone(sealed)
        return None

    def _remove(self, path: Path) -> None:
        """Remove a segment without events, so that a power cut doesn't bring it back beside a later one."""
        with contextlib.suppress(OSError):
            path.unlink()
            if self._syncer is not None:
                sync_directory(self._directory)

    async def _make(self, *, historic: bool) -> OpenSegment:
        loop = asyncio.get_running_loop()
        batch_id = new_batch_id(self._clock(), self._last_batch_id, historic=historic)
        make = partial(SegmentFile, self._directory, self._directory_fd, batch_id, sync=self._syncer is not None)
        opened = OpenSegment(await loop.run_in_executor(self._disk, make), historic=historic)
        self._open[historic], self._last_batch_id = opened, batch_id
        self._size.opened(opened.file.size, historic=historic)
        self._wait(opened)
        return opened

    def _keep(self, historic: bool, rows: list[Row], events: int) -> bool:
        opened, settings = self._open[historic], self._settings
        opened.keep(rows, events, settings.memory_events)
        return opened.events >= settings.batch_events or opened.file.size >= settings.batch_mb * 1_048_576

    def _wait(self, opened: OpenSegment) -> None:
        seconds = self._settings.flush_interval_ms / 1000
        opened.timer = asyncio.get_running_loop().call_later(seconds, self._is_old, opened)

    def _is_old(self, opened: OpenSegment) -> None:
        open_s = self._clock() - created_ms(opened.file.batch_id) / 1000
        if opened.historic and self._size.historic_waiting and open_s < segment.MOST_OPEN_S:
            self._wait(opened)
        else:
            self._on_due(opened.historic)


class _Part:
    """What one segment gets of a group; `before`: the file's size without it."""

    __slots__ = ("before", "file", "historic", "payload")

    def __init__(self, opened: OpenSegment, events: int, payload: list[bytes]) -> None:
        self.file = opened.file
        self.before = opened.file.size
        self.payload = [segment.array_head(events), *payload]
        self.historic = opened.historic


def _take_back(parts: list[_Part]) -> None:
    """Cut off the frames of a group that will not be acknowledged. Raises `Untrusted`."""
    for part in parts:
        part.file.cut_off = True
        part.file.cut(part.before)
