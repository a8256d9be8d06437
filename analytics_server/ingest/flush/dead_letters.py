"""Dead letters: what ClickHouse would not take, kept on disk for an operator, each with its reason.

A letter is a WAL segment and a `.json` beside it that says whose rows it holds and why.
Kind "rows": the rows that were refused of a batch whose rest was stored. The letter is on disk
before the rest is sent, and says which positions it holds: after a crash the batch still means
exactly the same rows, and can be verified by counting. Its segment has a batch id of its own,
made from the batch's, so putting it back into the log is a rename, and sends the rows exactly
once like any other. Kind "segment": a whole segment that was set aside.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from analytics_server.batch_ids import derived_batch_id
from analytics_server.errors import AnalyticsError
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment_file import sync_directory

SUFFIX = ".json"
DETAIL_CHARS = 500

Reason = Literal["refused", "partly_stored", "failed", "damaged", "unknown"]

ABOUT: dict[str, str] = {
    "refused": "ClickHouse refused them",
    "partly_stored": "ClickHouse holds only a part of the batch",
    "failed": "delivering it failed too often",
    "damaged": "a copy: parts can't be read, the rest was delivered",
    "unknown": "no note beside it",
}


class DeadLetterError(AnalyticsError):
    """A dead letter can't be put back or read."""

    code = "dead_letter"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Why rows were refused. `detail` is the engine's message: it may quote a row, and never goes to the log."""

    error: str
    engine_code: int = 0
    detail: str = ""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A row by its position in the batch, and its cause by its place in the letter's list."""

    position: int
    cause: int


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """The `.json`. `events` are not stored; of a "segment" it is how many of its events are not."""

    batch_id: int
    kind: Literal["rows", "segment"]
    reason: Reason
    file: str
    events: int
    batch_events: int
    written_at: str
    causes: tuple[Cause, ...] = ()
    rows: tuple[Refused, ...] = ()
    version: int = 1

    @property
    def positions(self) -> frozenset[int]:
        """The positions in the batch of the rows that the letter holds."""
        return frozenset(row.position for row in self.rows)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A letter on disk."""

    name: str
    path: Path
    letter: Letter
    bytes: int


def letter_id(batch_id: int) -> int:
    """The batch id of the rows refused of a batch: always the same, and of the same millisecond."""
    return derived_batch_id(batch_id, purpose=b"dead letter")


def find(directory: Path, batch_id: int) -> Letter | None:
    """The letter with the refused rows of a batch, if there is one."""
    return _note(directory / f"{letter_id(batch_id):020d}{SUFFIX}")


def write_rows(
    directory: Path,
    batch_id: int,
    batch_events: int,
    refused: Mapping[int, Cause],
    rows: Sequence[Sequence[object]],
    now: float,
) -> Letter:
    """Make the letter durable; doing it again changes nothing. `rows` are those at the refused positions, in order."""
    own = letter_id(batch_id)
    causes = list(dict.fromkeys(refused.values()))
    letter = Letter(
        batch_id=batch_id,
        kind="rows",
        reason="refused",
        file=f"{own:020d}{segment.SUFFIX}",
        events=len(refused),
        batch_events=batch_events,
        written_at=_text(now),
        causes=tuple(causes),
        rows=tuple(Refused(position=at, cause=causes.index(refused[at])) for at in sorted(refused)),
    )
    encode = msgspec.msgpack.Encoder().encode
    payload = [segment.array_head(len(rows)), *map(encode, rows)]
    head = segment.head_bytes(own, int(now * 1000))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(directory / f"{own:020d}{SUFFIX}", _json(letter))
    _write(directory / letter.file, b"".join([head, segment.frame_head(1, payload), *payload]))
    return letter


def write_note(
    directory: Path, batch_id: int, reason: Reason, *, events: int, batch_events: int, cause: Cause | None, now: float
) -> None:
    """Say why a whole segment is about to be set aside."""
    letter = Letter(
        batch_id=batch_id,
        kind="segment",
        reason=reason,
        file=f"{batch_id:020d}{segment.SUFFIX}",
        events=events,
        batch_events=batch_events,
        written_at=_text(now),
        causes=(cause,) if cause else (),
    )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(directory / f"{batch_id:020d}{SUFFIX}", _json(letter))


def read_all(directory: Path) -> list[Found]:
    """All letters, oldest first. A segment that has no note beside it is one too."""
    found = []
    for path in sorted(directory.glob(f"*{segment.SUFFIX}")):
        letter = _note(path.with_suffix(SUFFIX)) or _unknown(path)
        found.append(Found(name=path.stem, path=path, letter=letter, bytes=path.stat().st_size))
    return found


def rows_of(found: Found) -> list[dict[str, object]]:
    """The rows of a letter as objects for people: absent values are left out, ids are text. Raises `SegmentError`."""
    columns = segment.header_of(found.path).columns
    causes = {row.position: found.letter.causes[row.cause] for row in found.letter.rows}
    positions = sorted(causes)
    exported: list[dict[str, object]] = []
    for _, payload in segment.frames(found.path):
        for row in msgspec.msgpack.decode(payload, type=list[list[object]]):
            shown = {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in zip(columns, row, strict=False)
                if value not in (None, "", 0) or name in ("site_id", "ts")
            }
            if len(row) != len(columns):
                shown["_values"] = len(row)
            shown["_batch_id"] = str(found.letter.batch_id)
            shown["_reason"] = found.letter.reason
            if positions and len(exported) < len(positions):
                cause = causes[positions[len(exported)]]
                shown["_error"], shown["_engine_code"], shown["_detail"] = cause.error, cause.engine_code, cause.detail
            exported.append(shown)
    return exported


def put_back(found: Found, wal_directory: Path) -> None:
    """Move a letter's segment into the log, which the caller has locked. Raises `DeadLetterError`, `OSError`."""
    letter = found.letter
    if letter.reason in ("partly_stored", "damaged"):
        raise DeadLetterError(
            f"{found.name}: {ABOUT[letter.reason]}. "
            "Putting it back can't be exact: export it, and look at what is there."
        )
    origin = f"{letter.batch_id:020d}{segment.SUFFIX}"
    if letter.kind == "rows" and any((place / origin).exists() for place in (wal_directory, found.path.parent)):
        raise DeadLetterError(
            f"{found.name}: the batch {letter.batch_id} it comes from is not delivered yet. "
            "Start the server once (or retry that segment first), then retry this letter."
        )
    target = wal_directory / found.path.name
    try:
        if target.exists() and target.samefile(found.path):  # one is a link to the other: renaming would do nothing
            found.path.unlink()
        else:
            os.replace(found.path, target)
    except OSError:  # another file system: should both copies survive a crash, they are one batch, verified by its id
        _write(target, found.path.read_bytes())
        found.path.unlink()
    sync_directory(wal_directory)
    with contextlib.suppress(FileNotFoundError):
        found.path.with_suffix(SUFFIX).unlink()
    sync_directory(found.path.parent)


def _note(path: Path) -> Letter | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Letter)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DeadLetterError(f"{path} can't be read: {error}.") from error


def _unknown(path: Path) -> Letter:
    try:
        scan = segment.scan(path)
        batch_id, events = scan.header.batch_id, scan.rows
    except segment.SegmentError:
        batch_id = events = 0
    return Letter(
        batch_id=batch_id,
        kind="segment",
        reason="unknown",
        file=path.name,
        events=events,
        batch_events=events,
        written_at=_text(path.stat().st_mtime),
    )


def _json(letter: Letter) -> bytes:
    return msgspec.json.format(msgspec.json.encode(letter), indent=1) + b"\n"


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, durable; readable only to the server's own user, as its log is."""
    draft = path.with_suffix(path.suffix + ".new")
    with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync_directory(path.parent)


def _text(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
