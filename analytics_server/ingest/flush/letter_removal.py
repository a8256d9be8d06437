"""Takes a person's rows out of dead letters and of what was quarantined: for an erasure.

A letter with refused rows names them by their positions in the batch. Where that batch was set aside as a whole beside
it, positions move when rows are taken out, so they are found again by the rows themselves; doing it twice changes
nothing. The note is written before the rows, so that a crash between the two is mended by the next run.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from analytics_server.batch_ids import created_ms
from analytics_server.ingest.flush.dead_letters import SUFFIX as NOTE_SUFFIX
from analytics_server.ingest.flush.dead_letters import Cause, Letter, Refused
from analytics_server.ingest.wal import rewriting
from analytics_server.ingest.wal.rewriting import IsErased
from analytics_server.ingest.wal.segment import SUFFIX, SegmentError


class _Failed(AbstractContextManager[None]):
    """Keeps an `OSError` until all other files are done."""

    def __init__(self) -> None:
        self._error: OSError | None = None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, OSError):
            return False
        self._error = self._error or error
        return True

    def check(self) -> None:
        """Raise it."""
        if self._error is not None:
            raise self._error


def remove_from_letters(
    directory: Path, is_erased: IsErased, cut_off: int, *, user_id: str = "", wal: Path | None = None
) -> int:
    """Take these rows out of the letters of batches until the cut-off; how many they were.

    Raises `OSError` once the others are done, when a file could not be read or written.
    `user_id` "": it is not known. `wal`: where batches may lie that the same rows will be taken out of.
    """
    if not directory.is_dir():
        return 0
    removed, failed = 0, _Failed()
    for path in (path for path in sorted(directory.glob(f"*{NOTE_SUFFIX}")) if _is_of(path, cut_off)):
        with failed:
            letter = _note(path)
            file = directory / letter.file if letter else None
            if letter is not None and file is not None and file.exists() and rewriting.readable(file):
                batch = f"{letter.batch_id:020d}{SUFFIX}"
                whole = next((one / batch for one in (directory, wal) if one and (one / batch).exists()), None)
                _mend_note(path, letter, file, whole, is_erased, user_id)
    needle = rewriting.encoded(user_id) if user_id else b""
    for path in (path for path in sorted(directory.glob(f"*{SUFFIX}")) if _is_of(path, cut_off)):
        with failed:
            removed += _remove(path, is_erased, needle)
            if rewriting.readable(path) and not rewriting.read_rows(path)[1]:
                path.unlink()
                path.with_suffix(NOTE_SUFFIX).unlink(missing_ok=True)
    failed.check()
    return removed


def remove_from_quarantine(directory: Path, is_erased: IsErased, user_id: str = "") -> int:
    """The same in files that were found damaged, which have no notes."""
    if not directory.is_dir():
        return 0
    needle = rewriting.encoded(user_id) if user_id else b""
    removed, failed = 0, _Failed()
    for path in sorted(path for path in directory.iterdir() if path.is_file()):
        with failed:
            removed += _remove(path, is_erased, needle)
    failed.check()
    return removed


def rows_in_letters(directory: Path, is_erased: IsErased, cut_off: int) -> int:
    """How many rows `remove_from_letters` would take out, of files that can be read. Raises `OSError`."""
    return sum(_rows(path, is_erased) for path in directory.glob(f"*{SUFFIX}") if _is_of(path, cut_off))


def rows_in_quarantine(paths: Iterable[Path], is_erased: IsErased) -> int:
    """How many such rows stand in these files, of those that can be read. Raises `OSError`."""
    return sum(_rows(path, is_erased) for path in paths)


def _rows(path: Path, is_erased: IsErased) -> int:
    try:
        return len(rewriting.chosen(*rewriting.read_rows(path), is_erased))
    except (SegmentError, msgspec.DecodeError):
        return 0


def holds_rows(directories: Iterable[Path], is_erased: IsErased, user_id: str) -> bool:
    """Do files of these directories (dead letters, quarantine) hold such rows? One that can't be read: the id's bytes.

    `user_id` "": files that can't be read are not looked into. Raises `OSError`.
    """
    needle = rewriting.encoded(user_id) if user_id else b""
    return any(
        _holds(path, is_erased, needle)
        for directory in directories
        if directory.is_dir()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.suffix != NOTE_SUFFIX
    )


def _holds(path: Path, is_erased: IsErased, needle: bytes) -> bool:
    try:
        return bool(rewriting.chosen(*rewriting.read_rows(path), is_erased))
    except (SegmentError, msgspec.DecodeError):
        return bool(needle) and needle in path.read_bytes()


def _remove(path: Path, is_erased: IsErased, needle: bytes) -> int:
    try:
        return rewriting.remove_rows(path, is_erased, needle)
    except (SegmentError, msgspec.DecodeError):
        return int(bool(needle) and rewriting.blank(path, needle))


def _is_of(path: Path, cut_off: int) -> bool:
    """Is it of a batch until the cut-off? A letter's own id has its batch's millisecond."""
    return not (path.stem.isascii() and path.stem.isdigit()) or created_ms(int(path.stem)) <= created_ms(cut_off)


def _mend_note(path: Path, letter: Letter, file: Path, whole: Path | None, is_erased: IsErased, user_id: str) -> None:
    """Write the note as it is right once the rows are taken out. `whole`: the batch that the rows are of."""
    columns, rows = rewriting.read_rows(file)
    gone = set(rewriting.chosen(columns, rows, is_erased))
    refused = letter.rows
    kept = [row for at, row in enumerate(rows) if at not in gone]
    if letter.kind == "rows" and len(refused) == len(rows):
        refused = tuple(one for at, one in enumerate(refused) if at not in gone)
    if letter.kind == "rows" and whole is not None and rewriting.readable(whole) and len(refused) == len(kept):
        all_columns, all_rows = rewriting.read_rows(whole)
        all_gone = set(rewriting.chosen(all_columns, all_rows, is_erased))
        positions = {bytes(row): at for at, row in enumerate(r for i, r in enumerate(all_rows) if i not in all_gone)}
        refused = tuple(
            Refused(position=positions.get(bytes(row), one.position), cause=one.cause)
            for row, one in zip(kept, refused, strict=True)
        )
    names_user = bool(user_id) and any(user_id in cause.detail for cause in letter.causes)
    causes = tuple(
        Cause(error=cause.error, engine_code=cause.engine_code) if gone or names_user else cause
        for cause in letter.causes
    )
    events = len(kept) if letter.kind == "rows" else min(letter.events, len(kept))
    batch_events = letter.batch_events if letter.kind == "rows" else min(letter.batch_events, len(kept))
    mended = msgspec.structs.replace(letter, rows=refused, causes=causes, events=events, batch_events=batch_events)
    if mended != letter and (gone or names_user or mended.rows != letter.rows):
        rewriting.replace(path, msgspec.json.format(msgspec.json.encode(mended), indent=1) + b"\n")


def _note(path: Path) -> Letter | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Letter)
    except (OSError, msgspec.DecodeError):
        return None
