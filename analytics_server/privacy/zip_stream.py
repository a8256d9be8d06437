"""A zip archive whose bytes are taken while it is being written, so that it is never in memory as a whole."""

from __future__ import annotations

import io
import zipfile
from typing import IO

LEVEL = 6


class _Pending(io.RawIOBase):
    """Takes what the archive writes; can't be sought in, so that sizes stand behind each file."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self.pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        taken, self.pieces = b"".join(self.pieces), []
        return taken


class ZipStream:
    """One archive: `begin` a file, `add` to it, `end`."""

    def __init__(self) -> None:
        self._pending = _Pending()
        self._archive = zipfile.ZipFile(self._pending, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
        self._file: IO[bytes] | None = None

    def begin(self, name: str) -> None:
        """The next file; ends the one before."""
        self._end_file()
        self._file = self._archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)

    def add(self, piece: bytes) -> bytes:
        """Compress a piece of the file; what of the archive is ready."""
        assert self._file is not None
        self._file.write(piece)
        return self._pending.take()

    def end(self) -> bytes:
        """The rest of the archive."""
        self._end_file()
        self._archive.close()
        return self._pending.take()

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
