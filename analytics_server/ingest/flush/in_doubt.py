"""Batches in doubt: in `events`, but perhaps not in every rollup yet; remembered on disk until it is settled.

A comparison needs a moment without inserts, which other servers may not leave for long, so it must hold up
neither the flush nor a stop. One empty file per batch, named after it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from analytics_server.ingest.wal.segment_file import sync_directory

DIRECTORY = "doubts"


class InDoubtBatches:
    """The batches whose rollups are still to be compared, oldest first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.batches: list[int] = sorted(int(path.name) for path in directory.glob("*") if path.name.isdecimal())

    def add(self, batch_id: int) -> None:
        """Durable when it returns. Raises `OSError`."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(self._directory / str(batch_id), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(self._directory)
        sync_directory(self._directory.parent)
        if batch_id not in self.batches:
            self.batches.append(batch_id)

    def settle(self, batch_id: int) -> None:
        """Nothing differs any more."""
        self.batches.remove(batch_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._directory / str(batch_id))
