"""Expiry in files beside ClickHouse: rows of dead letters and of quarantined segments.

A file is as old as its batch, which its name tells, else as its last change. Quarantined files may be damaged, so that
the site of a row is unknown: one that is older than any site keeps its events is deleted as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from analytics_server.batch_ids import created_ms, first_batch_id
from analytics_server.ingest.flush.letter_removal import remove_from_letters, rows_in_letters, rows_in_quarantine
from analytics_server.ingest.wal import rewriting
from analytics_server.ingest.wal.segment import SUFFIX, SegmentError

BATCH_DIGITS = 20
LETTERS, SEGMENTS, FILES = "dead_letters", "quarantined_segments", "quarantined_files"


Found = dict[str, dict[str, int]]
"""Rows by site and place; whole files under the site ""."""


def find_expired(letters: Path, quarantine: Path, cuts: Mapping[str, date], oldest: date | None) -> Found:
    """What `remove_expired` would remove. Raises `OSError`."""
    whole = len(_older(quarantine, oldest))
    found: Found = {"": {FILES: whole}} if whole else {}
    left = set(_files(quarantine)).difference(_older(quarantine, oldest))
    for site_id in _sites_in(letters, left) & cuts.keys():
        start_s = _start_s(cuts[site_id])
        old = [path for path in left if _began_s(path) < start_s]
        removed = rows_in_letters(letters, _is_of(site_id), first_batch_id(start_s) - 1)
        _note(found, site_id, removed, rows_in_quarantine(old, _is_of(site_id)))
    return found


def remove_expired(letters: Path, quarantine: Path, cuts: Mapping[str, date], oldest: date | None) -> Found:
    """What was removed. Raises `OSError`.

    `oldest`: before it no site keeps anything; None where a site keeps all.
    """
    found: Found = {}
    for path in _older(quarantine, oldest):
        path.unlink()
        whole = found.setdefault("", {})
        whole[FILES] = whole.get(FILES, 0) + 1
    for site_id in sorted(sites_in(letters, quarantine) & cuts.keys()):
        start_s = _start_s(cuts[site_id])
        removed = remove_from_letters(letters, _is_of(site_id), first_batch_id(start_s) - 1)
        old = [path for path in _files(quarantine) if _began_s(path) < start_s]
        _note(found, site_id, removed, sum(_removed(path, site_id) for path in old))
    return found


def _note(found: Found, site_id: str, letters: int, segments: int) -> None:
    if letters or segments:
        found[site_id] = {name: rows for name, rows in ((LETTERS, letters), (SEGMENTS, segments)) if rows}


def _older(quarantine: Path, oldest: date | None) -> list[Path]:
    """The files that go as a whole."""
    return [] if oldest is None else [path for path in _files(quarantine) if _began_s(path) < _start_s(oldest)]


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
    return _sites_in(letters, _files(quarantine))


def _sites_in(letters: Path, others: Iterable[Path]) -> set[str]:
    return {site for path in (*letters.glob(f"*{SUFFIX}"), *others) for site in _sites_of(path)}


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
