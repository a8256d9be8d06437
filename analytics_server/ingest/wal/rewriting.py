"""Removes rows from WAL segments that nothing is appended to any more: for erasures and expiry.

A segment is replaced by one without these rows in one step, durable before the old one is gone. What could not be read
of it (damaged frames) is left out of the new one. A file that is no segment at all has the bytes of the user id
overwritten, if they are known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import msgspec

from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import SegmentError
from analytics_server.ingest.wal.segment_file import sync_directory

IsErased = Callable[[str, str], bool]
"""Must a row of this site and this user, "" for none, go?"""

_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_row = msgspec.msgpack.Decoder(list[object]).decode


def read_rows(path: Path) -> tuple[tuple[str, ...], list[msgspec.Raw]]:
    """Columns and rows of a segment, each as it was encoded. Raises `SegmentError`, `OSError`."""
    columns = segment.header_of(path).columns
    return columns, [row for _, payload in segment.frames(path) for row in _split(payload)]


def chosen(columns: tuple[str, ...], rows: Sequence[msgspec.Raw], is_erased: IsErased) -> list[int]:
    """Positions of the rows that must go."""
    site_at, user_at = columns.index("site_id"), columns.index("user_id") if "user_id" in columns else len(columns)
    found = []
    for at, raw in enumerate(rows):
        try:
            row = _row(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        user_id = str(row[user_at] or "") if len(row) > user_at else ""
        if len(row) > site_at and is_erased(str(row[site_at]), user_id):
            found.append(at)
    return found


def remove_rows(path: Path, is_erased: IsErased, needle: bytes = b"") -> int:
    """Replace a segment by one without these rows; how many were taken out. `needle`: the user id as it is encoded.

    Raises `SegmentError` for a file that can't be read as a segment, `OSError`.
    """
    columns, rows = read_rows(path)
    gone = chosen(columns, rows, is_erased)
    if gone or (needle and needle in path.read_bytes() and _is_damaged(path)):
        write_without(path, rows, gone)
    return len(gone)


def _is_damaged(path: Path) -> bool:
    found = segment.scan(path)
    return bool(found.damaged_bytes or found.torn_bytes)


def write_without(path: Path, rows: Sequence[msgspec.Raw], gone: Collection[int]) -> None:
    """Replace a segment by one of these rows without those at some positions."""
    left = set(gone)
    kept: list[bytes | msgspec.Raw] = [row for at, row in enumerate(rows) if at not in left]
    content = [segment.read_head(path).content]
    if kept:
        payload = [segment.array_head(len(kept)), *map(bytes, kept)]
        content += [segment.frame_head(1, payload), *payload]
    replace(path, b"".join(content))


def blank(path: Path, needle: bytes) -> bool:
    """Overwrite the bytes of a user id in a file that can't be read; was it there?"""
    content = path.read_bytes()
    if needle not in content:
        return False
    replace(path, content.replace(needle, bytes(len(needle))))
    return True


def encoded(user_id: str) -> bytes:
    """A user id as it stands in a segment."""
    return msgspec.msgpack.encode(user_id)


def replace(path: Path, content: bytes) -> None:
    """Replace a file in one step, durable."""
    draft = path.with_suffix(path.suffix + ".new")
    with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_directory(path.parent)


def readable(path: Path) -> bool:
    """Can the file be read as a segment?"""
    try:
        segment.header_of(path)
    except (SegmentError, OSError):
        return False
    return True
