"""The data directory: made for the server's user alone, and which of its directories others can reach.

Read access gives every event, and by the day's salts the addresses behind visitors' hashes can be guessed.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from analytics_server.config import Config

PRIVATE = 0o700


def make_private(directory: Path) -> None:
    """Make a directory and those above it that are missing, for this user alone. Raises `OSError`."""
    if not directory.is_dir():
        if directory.exists():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
        make_private(directory.parent)
        directory.mkdir(mode=PRIVATE, exist_ok=True)


def open_to_others(config: Config) -> list[tuple[Path, int]]:
    """Directories of this server that other users of the machine may enter, with their permissions."""
    data, wal = config.data_dir, config.wal_dir
    own = [data] if wal.is_relative_to(data) else [data, wal]
    found = []
    for directory in own:
        try:
            mode = stat.S_IMODE(directory.stat().st_mode)
        except OSError:  # not there yet, or not to be looked at: the start says so
            continue
        if mode & ~PRIVATE & 0o777:
            found.append((directory, mode))
    return found
