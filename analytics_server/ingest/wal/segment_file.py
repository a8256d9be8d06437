"""The open WAL segment as a file: created, written, synced, closed.

Owns the descriptor and what may be believed of it. A write that fails leaves no trace (it
is cut off again); a sync that fails means that the descriptor, and so the log, can't be
trusted any more: the pages may be gone and a second sync would report success.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from analytics_server.batch_ids import created_ms
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.sync import sync_data

IOV_MAX = 1_000
DRAFT = ".new"
"""Suffix of a segment whose head is being written: without one, a file that is shorter than a head is damage."""


class Untrusted(OSError):
    """A sync failed: the pages may be lost and the descriptor must never be synced again. Or half a frame stays."""


class SegmentFile:
    """One new segment. `sync` false: the page cache is enough (durability "os")."""

    __slots__ = ("batch_id", "cut_off", "fd", "path", "size")

    def __init__(self, directory: Path, directory_fd: int, batch_id: int, *, sync: bool) -> None:
        """Create it; its name and head are durable then. Raises `OSError`.

        It gets its name only when its head is on disk, so that an empty or headless segment found by a later start
        can't be one that was being created.
        """
        self.batch_id = batch_id
        self.path = directory / f"{batch_id:020d}{segment.SUFFIX}"
        self.cut_off = False
        head = segment.head_bytes(batch_id, created_ms(batch_id))
        draft = self.path.with_suffix(DRAFT)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, head) < len(head):
                raise OSError(errno.ENOSPC, "not all of the segment's head could be written")
            if sync:
                _sync(fd)
            os.rename(draft.name, self.path.name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
            if sync:
                _sync(directory_fd)
        except OSError:
            os.close(fd)
            for path in (draft, self.path):
                with contextlib.suppress(OSError):  # what failed first is what is told
                    path.unlink()
            raise
        self.fd = fd
        self.size = len(head)

    def append(self, pieces: list[bytes]) -> int:
        """Write the pieces of one frame and return their bytes; after an `OSError` nothing of them stays."""
        expected = sum(map(len, pieces))
        try:
            if len(pieces) > IOV_MAX:
                pieces = [b"".join(pieces)]
            written = os.writev(self.fd, pieces)
            while written < expected:
                written += os.write(self.fd, b"".join(pieces)[written:])
        except OSError:
            self._take_back()
            self.cut_off = True
            raise
        self.size += expected
        return expected

    def cut(self, size: int) -> None:
        """Cut off what was not acknowledged, so that the next start doesn't find it."""
        self.size = size
        self._take_back()

    def _take_back(self) -> None:
        """Cut off what was written of the last frame: one behind half a frame would be hard to find."""
        try:
            os.ftruncate(self.fd, self.size)
            os.lseek(self.fd, self.size, os.SEEK_SET)
        except OSError as failure:
            raise Untrusted(failure.errno, f"ftruncate failed: {failure.strerror}") from failure

    def close(self) -> None:
        """Close the descriptor."""
        with contextlib.suppress(OSError):  # all that was acknowledged is synced
            os.close(self.fd)

    def sync_and_close(self) -> None:
        """So that a power cut doesn't bring back what was cut off, which would look like damage. Blocking."""
        with contextlib.suppress(OSError):  # all that was acknowledged is synced
            sync_data(self.fd)
        self.close()


def sync_parents(path: Path) -> None:
    """Make the name of a directory, which may be new, survive a power cut, and those above it."""
    for parent in path.parents:
        with contextlib.suppress(OSError):  # one that may not be read was there before
            sync_directory(parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(fd: int) -> None:
    """Make a new file, or its name in its directory, durable."""
    try:
        os.fsync(fd)
    except OSError as failure:
        raise Untrusted(failure.errno, f"fsync failed: {failure.strerror}") from failure
