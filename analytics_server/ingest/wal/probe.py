"""Readiness probe of the WAL: can its directory be written now? Also asked when no beacon comes to find out.

A balancer sends nothing to a server that is not ready, so the server has to notice by itself that it
could write again. The probe creates a file as large as a beacon may be, and removes it. A
directory that was removed, or replaced by another, fails even though the open segment can still be written:
nothing that is acknowledged then would be found by the next start.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from analytics_server.ingest.wal.segment_file import DRAFT

PROBE_BYTES = 65_536
PROBE = f"probe{DRAFT}"


def is_in_place(directory: Path, directory_fd: int) -> bool:
    """Is the directory that was opened still the one at its path?"""
    try:
        return os.path.samestat(os.stat(directory), os.fstat(directory_fd))
    except OSError:
        return False


def probe(directory: Path) -> str:
    """Why nothing can be written here; "" if something can. Blocking."""
    path = directory / PROBE
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, bytes(PROBE_BYTES)) < PROBE_BYTES:
                return "Nothing can be written to the write-ahead log's directory (No space left on device)."
        finally:
            os.close(fd)
            os.unlink(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        return f"Nothing can be written to the write-ahead log's directory ({error.strerror})."
    return ""
