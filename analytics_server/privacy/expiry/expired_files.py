"""What expiry removes from files beside ClickHouse: rows of dead letters and of quarantined segments.

A file is as old as its batch, which its name tells, else as its last change. Quarantined files may be damaged, so that
nobody can say of which site a row was: one that is older than any site keeps its events is deleted as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from analytics_server.batch_ids import created_ms, first_batch_id
from analytics_server.ingest.flush.letter_removal import remove_from_letters
from analytics_server.ingest.wal import rewriting
from analytics_server.ingest.wal.segment import SUFFIX, SegmentError

BATCH_DIGITS = 20
LETTERS, SEGMENTS, FILES = "dead_letters", "quarantined_segments", "quarantined_files"


def remove_expired(
    letters: Path, quarantine: Path, cuts: Mapping[str, date], oldest: date | None
) -> dict[str, dict[str, int]]:
    """Rows that were removed, by site and place; whole files under the site "". Raises `OSError`.

    `oldest`: before it no site keeps anything; None where a site keeps all.
    """
    found: dict[str, dict[str, int]] = {}
    for path in _files(quarantine):
        if oldest is not None and _began_s(path) < _start_s(oldest):
            path.unlink()
            whole = found.setdefault("", {})
            whole[FILES] = whole.get(FILES, 0) + 1
    for site_id in sorted(sites_in(letters, quarantine) & cuts.keys()):
        start_s = _start_s(cuts[site_id])
        removed = remove_from_letters(letters, _is_of(site_id), first_batch_id(start_s) - 1)
        old = [path for path in _files(quarantine) if _began_s(path) < start_s]
        kept = sum(_removed(path, site_id) for path in old)
        if removed or kept:
            found[site_id] = {name: rows for name, rows in ((LETTERS, removed), (SEGMENTS, kept)) if rows}
    return found


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file()) if directory.is_dir() else []


def _began_s(path: Path) -> float:
    name = path.name[:BATCH_DIGITS]
    if len(name) == BATCH_DIGITS and name.isascii() and name.isdigit():
        return created_ms(int(name)) / 1000
    return path.stat().st_mtime


def _start_s(day: date) -> float:
    return datetime.combine(day, datetime.min.time(), UTC).timestamp()


def sites_in(letters: Path, quarantine: Path) -> set[str]:
    """The sites of all rows there that can be read."""
    return {site for path in (*letters.glob(f"*{SUFFIX}"), *_files(quarantine)) for site in _sites_of(path)}


def _sites_of(path: Path) -> Iterator[str]:
    try:
        columns, rows = rewriting.read_rows(path)
        at = columns.index("site_id")
        for row in rows:
            yield str(msgspec.msgpack.decode(row, type=list[object])[at])
    except (SegmentError, msgspec.DecodeError, ValueError, IndexError):
        return


def _removed(path: Path, site_id: str) -> int:
    try:
        return rewriting.remove_rows(path, _is_of(site_id))
    except (SegmentError, msgspec.DecodeError):
        return 0


def _is_of(site_id: str) -> rewriting.IsErased:
    return lambda of_row, user_id: of_row == site_id
