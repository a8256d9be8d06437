"""From the rows of a batch to columns, one block per month.

ClickHouse commits an insert atomically only within one partition, so a batch is cut
by month first. Columns that hold only their default are left out: the engine fills
them in for nothing, and most events leave most columns empty.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from analytics_server.model import COLUMN_INDEX, COLUMNS

Rows = Sequence[Sequence[object]]
"""Values in the order of `model.COLUMNS`: tuples from memory, lists from disk."""

_TS = COLUMN_INDEX["ts"]
_EVENT_ID = COLUMN_INDEX["event_id"]
_PROPS = COLUMN_INDEX["props"]
_ALWAYS = frozenset(
    COLUMN_INDEX[name] for name in ("site_id", "ts", "name", "event_id", "session_id", "session_start", "visitor_id")
)
BLOCK_ROWS = 500


def month_of(ts_us: int) -> int:
    """ClickHouse's toYYYYMM of a time in microseconds since 1970, UTC."""
    moment = datetime.fromtimestamp(ts_us / 1_000_000, UTC)
    return moment.year * 100 + moment.month


def by_month(rows: Rows) -> dict[int, Rows]:
    """The rows by partition; the usual batch lies in one month and is returned as it is."""
    times = [row[_TS] for row in rows]
    first, last = month_of(min(times)), month_of(max(times))  # type: ignore[type-var, arg-type]
    if first == last:
        return {first: rows}
    parts: dict[int, list[Sequence[object]]] = {}
    for row in rows:
        parts.setdefault(month_of(row[_TS]), []).append(row)  # type: ignore[arg-type]
    return dict(parts)


def to_columns(rows: Rows, batch_id: int) -> tuple[list[str], list[Sequence[object]]]:
    """Names and values of the columns to insert in one block, `batch_id` last."""
    names, blocks = to_blocks(rows, batch_id, block_rows=len(rows))
    return names, blocks[0]


def to_blocks(
    rows: Rows, batch_id: int, *, block_rows: int = BLOCK_ROWS, breath_s: float = 0.0
) -> tuple[list[str], list[list[Sequence[object]]]]:
    """The same in pieces of `block_rows`, resting between them (see `Store.insert_blocks`)."""
    pieces: list[list[tuple[object, ...]]] = []
    needed = set(_ALWAYS)
    for start in range(0, len(rows), block_rows):
        columns = list(zip(*rows[start : start + block_rows], strict=True))
        count = len(columns[0])
        needed.update(
            index
            for index, values in enumerate(columns)
            if index not in needed and values.count(COLUMNS[index].default) < count
        )
        pieces.append(columns)
        if breath_s:
            time.sleep(breath_s)
    chosen = sorted(needed)
    names = [*(COLUMNS[index].name for index in chosen), "batch_id"]
    return names, [_block(columns, chosen, batch_id) for columns in pieces]


def _block(columns: list[tuple[object, ...]], chosen: list[int], batch_id: int) -> list[Sequence[object]]:
    block: list[Sequence[object]] = []
    for index in chosen:
        values = columns[index]
        if index == _EVENT_ID:
            block.append([int.from_bytes(value, "big") for value in values])  # type: ignore[arg-type]
        elif index == _PROPS:
            block.append([value or {} for value in values])
        else:
            block.append(values)
    block.append([batch_id] * len(columns[0]))
    return block
