"""The lock on the WAL directory, as `doctor` needs it: is a server running there, and may it start meanwhile?

The same file and the same `flock` as the server's own (`ingest.wal`). It is never created
here: a doctor that runs as another user would leave a file the server can't open.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from analytics_server.ingest.wal.recovery import LOCK


class DirectoryLock:
    """Held from `take` to `release`. `busy`: another process holds it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._fd = -1
        self.busy = False

    def take(self, *, keep: bool) -> None:
        """Look who has it; keep it if it is free and `keep` is set. Raises `OSError` for a file one may not open."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # no server has ever run here
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.busy = True
            os.close(fd)
            return
        if keep:
            self._fd = fd
        else:
            os.close(fd)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
