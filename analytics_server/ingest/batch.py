"""From the rows of a batch to columns, one block per month.

ClickHouse commits an insert atomically only within one partition, so a batch is cut
by month first. Columns that hold only their default are left out: the engine fills
them in for nothing, and most events leave most columns empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from analytics_server.model import COLUMN_INDEX, COLUMNS

_TS = COLUMN_INDEX["ts"]
_EVENT_ID = COLUMN_INDEX["event_id"]
_PROPS = COLUMN_INDEX["props"]
_ALWAYS = frozenset({"site_id", "ts", "name", "event_id", "session_id", "session_start", "visitor_id"})


def month_of(ts_us: int) -> int:
    """ClickHouse's toYYYYMM of a time in microseconds since 1970, UTC."""
    moment = datetime.fromtimestamp(ts_us / 1_000_000, UTC)
    return moment.year * 100 + moment.month


def by_month(rows: list[list[object]]) -> dict[int, list[list[object]]]:
    """The rows by partition; the usual batch lies in one month and is returned as it is."""
    times = [row[_TS] for row in rows]
    first, last = month_of(min(times)), month_of(max(times))  # type: ignore[type-var, arg-type]
    if first == last:
        return {first: rows}
    parts: dict[int, list[list[object]]] = {}
    for row in rows:
        parts.setdefault(month_of(row[_TS]), []).append(row)  # type: ignore[arg-type]
    return parts


def to_columns(rows: list[list[object]], batch_id: int) -> tuple[list[str], list[Sequence[object]]]:
    """Names and values of the columns to insert, `batch_id` last."""
    names: list[str] = []
    data: list[Sequence[object]] = []
    count = len(rows)
    for index, values in enumerate(zip(*rows, strict=True)):
        column = COLUMNS[index]
        if index == _EVENT_ID:
            names.append(column.name)
            data.append([int.from_bytes(value, "big") for value in values])
        elif index == _PROPS:
            if values.count(None) < count:
                names.append(column.name)
                data.append([value or {} for value in values])
        elif column.name in _ALWAYS or values.count(column.default) < count:
            names.append(column.name)
            data.append(values)
    names.append("batch_id")
    data.append([batch_id] * count)
    return names, data
