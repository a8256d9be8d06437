"""From rows to columns: nothing is lost, moved or invented on the way."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from analytics_server.ingest.batch import by_month, month_of, to_blocks
from analytics_server.model import COLUMN_INDEX, COLUMN_NAMES, COLUMNS, Row
from tests.ingest.rows import ROWS, row

TS = COLUMN_INDEX["ts"]


@given(rows=st.lists(ROWS, min_size=1, max_size=20), block_rows=st.integers(1, 30))
def test_columns_hold_the_rows(rows: list[Row], block_rows: int) -> None:
    names, blocks = to_blocks(rows, 99, block_rows=block_rows)

    assert names[-1] == "batch_id"
    columns = {name: [value for block in blocks for value in block[at]] for at, name in enumerate(names)}
    assert columns.pop("batch_id") == [99] * len(rows)
    assert all(len(block[0]) <= block_rows for block in blocks)
    for name in COLUMN_NAMES:
        index = COLUMN_INDEX[name]
        expected = [row[index] for row in rows]
        if name == "event_id":
            expected = [int.from_bytes(bytes(value), "big") for value in expected]  # type: ignore[call-overload]
        elif name == "props":
            expected = [value or {} for value in expected]
        if name in columns:
            assert columns[name] == expected
        else:
            assert expected == [{} if name == "props" else COLUMNS[index].default] * len(rows)


@given(rows=st.lists(ROWS, min_size=1, max_size=30))
def test_months_part_the_rows_and_keep_their_order(rows: list[Row]) -> None:
    parts = by_month(rows)

    assert sorted(map(repr, (row for part in parts.values() for row in part))) == sorted(map(repr, rows))
    for month, part in parts.items():
        moments = [datetime.fromtimestamp(int(str(row[TS])) / 1_000_000, UTC) for row in part]
        assert {moment.year * 100 + moment.month for moment in moments} == {month}
        assert list(part) == [row for row in rows if month_of(int(str(row[TS]))) == month]


def test_a_month_begins_at_midnight_utc() -> None:
    midnight = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000

    assert [month_of(midnight - 1), month_of(midnight)] == [202611, 202612]
    assert list(by_month([row(ts=midnight - 1), row(ts=midnight)])) == [202611, 202612]
