"""The data parts of the tables: which are there, which were there before, and which can't be read.

ClickHouse starts without a part whose directory is gone, and moves one that it can't load to
`detached/`, both without an error. So what was there is written down (`PartRecord`, a small
file beside the engine's own) and compared at the next start and by `doctor`. A part counts
as there if a part that covers its blocks is (merges), or smaller ones with all of its rows are.
That is true only until the next insert after a loss, because the engine gives the numbers of
lost blocks again; so a loss, once found, stays in the record until the very same part is back
(by the hash of its files) or a person gives it up.
Nothing here deletes a part: one that can't be read is at most moved to `detached/`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from analytics_server.errors import StoreError
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

FORMAT = 1
RECORD = "clickhouse-parts.json"
STATE_TABLES = (
    *("schema_migrations", "sites", "tokens", "people", "saved", "salts"),
    *("privacy_keys", "opt_outs", "erasures", "backfills", "archive_roots"),
)
"""Small, and read whole at every start."""
CHECK_TIMEOUT_S = 3_600.0
PASSING_REASONS = frozenset({"attaching", "deleting", "clone", "ignored", "noquorum", "tmp-fetch"})
"""Prefixes of detached parts that hold nothing of their own, or are under way."""

Cause = Literal["detached", "missing", "unreadable"]


def watched_tables(rollups: Iterable[str]) -> tuple[str, ...]:
    """Those whose parts only vanish by merging, and by day for salts. Other tables are caches, which drop what they
    hold. `rollups` can be computed again from `events`.
    """
    return ("events", *rollups, *STATE_TABLES)


class DataPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a table; `rows` is -1 if it isn't known how many it holds, `files_hash` then is ""."""

    table: str
    name: str
    partition: str
    first_block: int
    last_block: int
    rows: int
    files_hash: str = ""

    def covers(self, other: DataPart) -> bool:
        """Does this part hold all blocks of the other?"""
        return (
            (self.table, self.partition) == (other.table, other.partition)
            and self.first_block <= other.first_block
            and self.last_block >= other.last_block
        )


class DetachedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part in `detached/`: `part.name` is its name there, `reason` the engine's word for why, maybe ""."""

    part: DataPart
    reason: str
    path: str


class PartLoss(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that a table lacks since a part is not among those it reads.

    `name` is that of the directory where it is kept, if it is. `part` is as it was when it was there, or as far as
    that is known.
    """

    part: DataPart
    name: str
    cause: Cause
    path: str = ""

    @property
    def table(self) -> str:
        """The table that the part belongs to."""
        return self.part.table

    @property
    def rows(self) -> int:
        """-1 if unknown."""
        return self.part.rows

    @property
    def said(self) -> str:
        """Part, cause and number of rows, for people."""
        rows = "an unknown number of rows" if self.rows < 0 else f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return f"{self.name} ({self.cause}, {rows})"


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content. `accepted`: tables and names of detached parts that a person has given up."""

    format: int = FORMAT
    parts: tuple[DataPart, ...] = ()
    losses: tuple[PartLoss, ...] = ()
    accepted: tuple[tuple[str, str], ...] = ()


class PartRecord:
    """What is known of the parts, on disk. Reads are blocking, and so are writes; both are of some kilobytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = self._read()

    def _read(self) -> _Record:
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=_Record)
        except FileNotFoundError:
            return _Record()
        except (OSError, msgspec.DecodeError) as error:
            log.error(
                "the record of data parts can't be read: what was lost since the last start is not noticed",
                extra={"file": str(self._path), "reason": type(error).__name__},
            )
            return _Record()
        return found if found.format == FORMAT else _Record()

    @property
    def losses(self) -> tuple[PartLoss, ...]:
        """As they were when the record was written."""
        return self._record.losses

    def compare(
        self, present: Sequence[DataPart], detached: Sequence[DetachedPart], *, oldest_salt: str
    ) -> list[PartLoss]:
        """What is missing of what was there. `oldest_salt` (YYYYMMDD): earlier salts were destroyed on purpose."""
        there = _Present(present)
        aside = {(one.part.table, one.part.name): one for one in detached if one.reason not in PASSING_REASONS}
        found = [loss for loss in self._record.losses if not _is_over(loss, there, aside)]
        known = {(loss.table, loss.name) for loss in found}
        missing = [part for part in self._record.parts if not there.holds(part)]
        for key, one in aside.items():
            match = next((part for part in missing if part.covers(one.part) and one.part.covers(part)), None)
            if key in known or key in self._record.accepted or (match is None and there.holds(one.part)):
                continue
            missing = [part for part in missing if part is not match]
            found.append(PartLoss(part=match or one.part, name=one.part.name, cause="detached", path=one.path))
        found += [PartLoss(part=part, name=part.name, cause="missing") for part in missing]
        destroyed = [loss for loss in found if loss.table == "salts" and loss.part.partition < oldest_salt]
        return sorted(
            (loss for loss in found if loss not in destroyed),
            key=lambda loss: (_place(loss.table), loss.part.partition, loss.name),
        )

    def write(self, present: Sequence[DataPart], losses: Sequence[PartLoss]) -> None:
        """Remember what is there now, and what is lost. Raises `OSError`."""
        self._save(msgspec.structs.replace(self._record, parts=tuple(present), losses=tuple(losses)))

    def forget(self, tables: Iterable[str]) -> None:
        """Take nothing of what these tables have for granted any more. Raises `OSError`."""
        chosen = frozenset(tables)
        kept = tuple(part for part in self._record.parts if part.table not in chosen)
        self._save(msgspec.structs.replace(self._record, parts=kept))

    def accept(self, tables: Iterable[str], present: Sequence[DataPart], detached: Sequence[DetachedPart]) -> None:
        """Take what is there of these tables as all there is. Raises `OSError`."""
        if self._record == _Record() and not detached:  # nothing was recorded, so nothing is reported
            return
        chosen = frozenset(tables)
        others = [part for part in self._record.parts if part.table not in chosen]
        given_up = {(one.part.table, one.part.name) for one in detached if one.part.table in chosen}
        self._save(
            _Record(
                parts=(*others, *(part for part in present if part.table in chosen)),
                losses=tuple(loss for loss in self._record.losses if loss.table not in chosen),
                accepted=tuple(sorted({*self._record.accepted, *given_up})),
            )
        )

    def _save(self, record: _Record) -> None:
        if record == self._record:
            return
        draft = self._path.with_suffix(".new")
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            if not os.geteuid():  # doctor may run as root, and the server has to read it
                owner = os.stat(self._path.parent)
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        self._record = record


def record_path(data_dir: Path) -> Path:
    """Where the record lies: in the data directory, so that a backup holds both."""
    return data_dir / RECORD


def oldest_salt(now: float) -> str:
    """Salts of earlier days have been, or will be, destroyed on purpose (UTC, as ClickHouse names the partition)."""
    return (datetime.fromtimestamp(now, UTC).date() - timedelta(days=1)).strftime("%Y%m%d")


class _Present:
    """The parts that are there, by table and partition: there may be thousands."""

    def __init__(self, parts: Sequence[DataPart]) -> None:
        self._near: dict[tuple[str, str], list[DataPart]] = {}
        for part in parts:
            self._near.setdefault((part.table, part.partition), []).append(part)
        self._by_name = {(part.table, part.name): part for part in parts}

    def has(self, part: DataPart) -> bool:
        """Is this very part there?"""
        found = self._by_name.get((part.table, part.name))
        return found is not None and found.files_hash == part.files_hash

    def holds(self, part: DataPart) -> bool:
        """Is it there, or one that was merged of it, or those it was merged of?"""
        if self.has(part):
            return True
        others = [one for one in self._near.get((part.table, part.partition), []) if one.name != part.name]
        if any(other.covers(part) for other in others):
            return True
        inside = [other.rows for other in others if part.covers(other)]
        return bool(inside) and 0 <= part.rows <= sum(inside)


def _is_over(loss: PartLoss, there: _Present, aside: Mapping[tuple[str, str], DetachedPart]) -> bool:
    """Was the part put back; or taken away, if that is all that was known of it?"""
    if loss.part.files_hash:
        return there.has(loss.part)
    return (loss.table, loss.name) not in aside


def _place(table: str) -> tuple[bool, bool, str]:
    """In a report: `events`, the rollups, the rest."""
    return table in STATE_TABLES, table != "events", table


async def read_parts(store: Store, tables: Sequence[str]) -> list[DataPart]:
    """All active parts of these tables. Raises a store error."""
    answer = await store.query(
        "SELECT table, name, partition_id, min_block_number, max_block_number, rows, "
        "hash_of_all_files FROM system.parts "
        "WHERE database = currentDatabase() AND active AND table IN {tables:Array(String)}",
        {"tables": list(tables)},
    )
    return [_part(*row) for row in answer.rows]


async def read_detached(store: Store, tables: Sequence[str], *, local: bool) -> list[DetachedPart]:
    """All parts in `detached/` of these tables; `local`: its files lie on this machine. Raises a store error."""
    answer = await store.query(
        "SELECT table, name, ifNull(partition_id, ''), ifNull(min_block_number, -1), ifNull(max_block_number, -1), "
        "ifNull(reason, ''), path FROM system.detached_parts "
        "WHERE database = currentDatabase() AND table IN {tables:Array(String)}",
        {"tables": list(tables)},
    )
    return [
        DetachedPart(
            part=_part(table, name, partition, first, last, _counted(str(path)) if local else -1),
            reason=str(reason),
            path=str(path),
        )
        for table, name, partition, first, last, reason, path in answer.rows
    ]


def _part(
    table: object, name: object, partition: object, first: object, last: object, rows: object, files_hash: object = ""
) -> DataPart:
    return DataPart(
        table=str(table),
        name=str(name),
        partition=str(partition),
        first_block=int(str(first)),
        last_block=int(str(last)),
        rows=int(str(rows)),
        files_hash=str(files_hash),
    )


def _counted(path: str) -> int:
    """How many rows a part says it has."""
    with contextlib.suppress(OSError, ValueError):
        return int((Path(path) / "count.txt").read_text(encoding="ascii"))
    return -1


async def is_readable(store: Store, part: DataPart) -> bool:
    """Reads all of a part. Raises a store error."""
    answer = await store.query(f"CHECK TABLE {part.table} PART '{part.name}'", timeout_s=CHECK_TIMEOUT_S)
    return str(answer.rows[0][1]) == "1"


async def is_whole(store: Store, table: str) -> bool:
    """Reads all of a table. Raises a store error."""
    answer = await store.query(
        f"CHECK TABLE {table} SETTINGS check_query_single_value_result = 1", timeout_s=CHECK_TIMEOUT_S
    )
    return str(answer.rows[0][0]) == "1"


async def set_aside(store: Store, part: DataPart) -> None:
    """Move a part to its table's `detached/`, from where `ATTACH PART` brings it back. Raises a store error."""
    await store.command(f"ALTER TABLE {part.table} DETACH PART '{part.name}'")


async def set_aside_unreadable(
    store: Store, error: StoreError, watched: Sequence[str], *, tables: Sequence[str] = ()
) -> list[DataPart]:
    """After a read failed: the parts of `watched` tables that can't be read go to `detached/`, and are returned.

    The part that the error names is looked at, and those of `tables`. Each is read as a whole first: only what
    the engine itself finds damaged is moved. Raises a store error.
    """
    suspects = [
        part
        for part in await read_parts(store, watched)
        if (part.table, part.name) == error.damaged_part or part.table in tables
    ]
    moved = []
    for part in suspects:
        if not await is_readable(store, part):
            await set_aside(store, part)
            moved.append(part)
    return moved
