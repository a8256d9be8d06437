"""The rows of one WAL segment, by month and by column, in pieces of a few hundred rows.

ClickHouse commits an insert atomically only within one partition, so a batch is cut by
month. Rows from disk become Python's objects only a piece at a time, on their way to
columns: a batch in memory is its frames, at most `batch_mb` and a group, whatever it holds.
A batch of many months is sorted by month once, as bytes: reading all of it for each would take minutes.
A row is known by its position in the segment, which never changes.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.model import COLUMN_INDEX, COLUMN_NAMES

Rows = Sequence[Sequence[object]]
"""Values in the order of `model.COLUMNS`: tuples from memory, lists from disk."""

_TS = COLUMN_INDEX["ts"]
_PROPS = COLUMN_INDEX["props"]
BLOCK_ROWS = 500
FEW_MONTHS = 3
"""So many are picked out of all rows one after the other."""

NO_MONTH = 0
"""Of a row whose time is none: no partition can take it."""

FIRST_US, END_US = -2_208_988_800_000_000, 10_413_792_000_000_000
"""1900 and 2300: outside, the engine would store another time than was sent, and in another month."""

SMALL_FRAME_BYTES = 262_144


class _Head(msgspec.Struct, array_like=True):
    """The first values of a row, so that the others need no decoding."""

    site_id: object
    ts: object = None


_heads = msgspec.msgpack.Decoder(list[_Head]).decode
_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode

INSERT_COLUMNS = (*COLUMN_NAMES, "batch_id")


class Batch:
    """Rows in order, from memory or from disk."""

    def __init__(self, rows: Rows | None, frames: list[bytes], columns: tuple[str, ...]) -> None:
        self._rows = rows
        self._frames = frames
        self._columns = columns
        self.months, self.events = self._count()
        self._sorted: dict[int, _MonthRows] | None = None

    def pieces(self) -> Iterator[Rows]:
        """All rows in their order, at most BLOCK_ROWS at a time."""
        if self._rows is not None:
            for start in range(0, len(self._rows), BLOCK_ROWS):
                yield self._rows[start : start + BLOCK_ROWS]
            return
        for payload in self._frames:
            yield from _decoded(payload, self._columns)

    def part(self, month: int, without: Collection[int] = ()) -> Iterator[Rows]:
        """The rows of one month but those at some positions, in pieces; none is empty."""
        if len(self.months) == 1 and not without:
            yield from self.pieces()
            return
        if self._rows is None and len(self.months) > FEW_MONTHS:
            yield from self._by_month(month).pieces(without)
            return
        position = 0
        for rows in self.pieces():
            chosen = [
                row
                for at, row in enumerate(rows, position)
                if at not in without and (len(self.months) == 1 or month_of(row) == month)
            ]
            position += len(rows)
            if chosen:
                yield chosen

    def positions(self, month: int, without: Collection[int] = ()) -> list[int]:
        """Where the rows of `part` stand."""
        if self._rows is None and len(self.months) > FEW_MONTHS:
            return [at for at in self._by_month(month).positions if at not in without]
        times = (time_us for piece in self._times() for time_us in piece)
        return [at for at, time_us in enumerate(times) if at not in without and _month(time_us) == month]

    def rows_at(self, positions: Sequence[int]) -> list[Sequence[object]]:
        """Rows by their positions, which rise. Frames without any of them are not decoded."""
        if self._rows is not None:
            return [self._rows[at] for at in positions]
        found: list[Sequence[object]] = []
        start = next_ = 0
        for payload in self._frames:
            end = start + int.from_bytes(payload[1:5], "big")
            if next_ < len(positions) and positions[next_] < end:
                rows = segment.rows_of(payload, self._columns)
                while next_ < len(positions) and positions[next_] < end:
                    found.append(rows[positions[next_] - start])
                    next_ += 1
            start = end
        return found

    def release(self) -> None:
        """Free the rows piece by piece: all at once would hold the loop."""
        if isinstance(self._rows, list):
            while self._rows:
                del self._rows[-BLOCK_ROWS:]
        self._frames.clear()
        self._sorted = None

    def _by_month(self, month: int) -> _MonthRows:
        if self._sorted is None:
            found = {month: _MonthRows() for month in self.months}
            position = 0
            for payload in self._frames:
                for row, time_us in _raw_rows(payload, self._columns):
                    rows = found[_month(time_us)]
                    rows.raw.append(row)
                    rows.positions.append(position)
                    position += 1
            self._sorted = found
        return self._sorted[month]

    def _count(self) -> tuple[dict[int, int], int]:
        """Rows by month, and in all."""
        months: dict[int, int] = {}
        events = 0
        for times in self._times():
            events += len(times)
            if (month := _only_month(times)) is not None:
                months[month] = months.get(month, 0) + len(times)
                continue
            for time_us in times:
                month = _month(time_us)
                months[month] = months.get(month, 0) + 1
        return months, events

    def _times(self) -> Iterator[list[object]]:
        if self._rows is None:
            for payload in self._frames:
                if self._columns == COLUMN_NAMES:
                    yield [head.ts for head in _heads(payload)]
                else:
                    yield [_time_of(row) for row in segment.rows_of(payload, self._columns)]
        else:
            for rows in self.pieces():
                yield [_time_of(row) for row in rows]


class _MonthRows:
    """The rows of one month as MessagePack in today's order of columns, and where they stand in the segment."""

    __slots__ = ("positions", "raw")

    def __init__(self) -> None:
        self.raw: list[bytes | msgspec.Raw] = []
        self.positions: array[int] = array("I")

    def pieces(self, without: Collection[int]) -> Iterator[Rows]:
        for start in range(0, len(self.raw), BLOCK_ROWS):
            raw = self.raw[start : start + BLOCK_ROWS]
            if without:
                places = self.positions[start : start + BLOCK_ROWS]
                raw = [row for row, at in zip(raw, places, strict=True) if at not in without]
            if raw:
                yield segment.rows_of(b"".join([segment.array_head(len(raw)), *raw]))


def read(sealed: Sealed) -> Batch:
    """The batch of a segment, from memory or from disk."""
    if sealed.rows is not None:
        return Batch(sealed.rows, [], COLUMN_NAMES)
    columns = segment.header_of(sealed.path).columns
    return Batch(None, [payload for _, payload in segment.frames(sealed.path)], columns)


def to_columns(rows: Rows, batch_id: int) -> list[Sequence[object]]:
    """The values of INSERT_COLUMNS. Raises `ValueError` for a row that has more or fewer."""
    columns: list[Sequence[object]] = list(zip(*rows, strict=True))
    if len(columns) != len(COLUMN_NAMES):
        raise ValueError("a row has the wrong number of values")
    props = columns[_PROPS]
    columns[_PROPS] = [{}] * len(rows) if props.count(None) == len(rows) else [value or {} for value in props]
    columns.append([batch_id] * len(rows))
    return columns


def month_of(row: Sequence[object]) -> int:
    """The partition of a row: ClickHouse's toYYYYMM of its time, UTC."""
    return _month(_time_of(row))


def _time_of(row: Sequence[object]) -> object:
    return row[_TS] if len(row) > _TS else None


def _month(ts_us: object) -> int:
    if type(ts_us) is not int or not FIRST_US <= ts_us < END_US:
        return NO_MONTH
    moment = datetime.fromtimestamp(ts_us / 1_000_000, UTC)
    return moment.year * 100 + moment.month


def _only_month(times: list[object]) -> int | None:
    """The month that they all lie in, if it is one."""
    try:
        first, last = _month(min(times)), _month(max(times))  # type: ignore[type-var]
    except (TypeError, ValueError):
        return None
    return first if first == last != NO_MONTH else None


def _raw_rows(payload: bytes, columns: tuple[str, ...]) -> Iterator[tuple[bytes | msgspec.Raw, object]]:
    """A frame's rows as MessagePack, with their times."""
    if columns == COLUMN_NAMES:
        yield from zip(_split(payload), [head.ts for head in _heads(payload)], strict=True)
    else:
        for row in segment.rows_of(payload, columns):
            yield msgspec.msgpack.encode(row), _time_of(row)


def _decoded(payload: bytes, columns: tuple[str, ...]) -> Iterator[Rows]:
    """A frame's rows in pieces. A large frame is never made into objects as a whole: that would hold the loop."""
    if len(payload) < SMALL_FRAME_BYTES:
        rows = segment.rows_of(payload, columns)
        for start in range(0, len(rows), BLOCK_ROWS):
            yield rows[start : start + BLOCK_ROWS]
        return
    raw = _split(payload)
    for start in range(0, len(raw), BLOCK_ROWS):
        piece = raw[start : start + BLOCK_ROWS]
        yield segment.rows_of(b"".join([segment.array_head(len(piece)), *piece]), columns)
