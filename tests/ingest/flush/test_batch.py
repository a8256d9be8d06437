"""From rows to columns: nothing is lost, moved or invented on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.ingest.flush import batch as batch_module
from analytics_server.ingest.flush.batch import BLOCK_ROWS, INSERT_COLUMNS, NO_MONTH, Batch, month_of, to_columns
from analytics_server.ingest.wal import segment
from analytics_server.model import COLUMN_INDEX, COLUMN_NAMES, Row
from tests.ingest.rows import GROUPS, ROWS, row

TS = COLUMN_INDEX["ts"]
PROPS = COLUMN_INDEX["props"]


def in_memory(rows: Sequence[Sequence[object]]) -> Batch:
    return Batch(rows, [], COLUMN_NAMES)


def on_disk(groups: list[list[Row]]) -> Batch:
    """As if read from a segment."""
    frames = [segment.array_head(len(group)) + b"".join(map(msgspec.msgpack.encode, group)) for group in groups]
    return Batch(None, frames, COLUMN_NAMES)


def flat(pieces: object) -> list[tuple[object, ...]]:
    return [tuple(row) for piece in pieces for row in piece]  # type: ignore[attr-defined]


@given(rows=st.lists(ROWS, min_size=1, max_size=20))
def test_columns_hold_the_rows(rows: list[Row]) -> None:
    columns = to_columns(rows, 99)

    assert (*COLUMN_NAMES, "batch_id") == INSERT_COLUMNS
    assert columns[-1] == [99] * len(rows)
    for index, values in enumerate(columns[:-1]):
        expected = [row[index] for row in rows]
        assert list(values) == ([value or {} for value in expected] if index == PROPS else expected)


@pytest.mark.parametrize("values", [row()[:-1], (*row(), 1)], ids=["fewer", "more"])
def test_a_row_with_another_number_of_values_is_no_row(values: Row) -> None:
    for rows in ([values], [row(), values]):
        with pytest.raises(ValueError, match=r"wrong number|zip"):
            to_columns(rows, 1)


@given(groups=GROUPS)
def test_disk_and_memory_give_the_same_batch(groups: list[list[Row]]) -> None:
    rows = [row for group in groups for row in group]
    memory, disk = in_memory(rows), on_disk(groups)

    assert disk.events == memory.events == len(rows)
    assert disk.months == memory.months
    assert flat(disk.pieces()) == flat(memory.pieces()) == rows


@given(groups=GROUPS, data=st.data())
def test_months_part_the_rows_and_keep_their_order(groups: list[list[Row]], data: st.DataObject) -> None:
    rows = [row for group in groups for row in group]
    without = data.draw(st.sets(st.integers(0, len(rows) - 1)))
    for batch in (in_memory(rows), on_disk(groups)):
        for month, count in batch.months.items():
            expected = [at for at, row in enumerate(rows) if month_of(row) == month and at not in without]
            assert count == sum(month_of(row) == month for row in rows)
            assert batch.positions(month, without) == expected
            assert flat(batch.part(month, without)) == [rows[at] for at in expected]
            assert flat([batch.rows_at(expected)]) == [rows[at] for at in expected]
        moments = [datetime.fromtimestamp(int(str(row[TS])) / 1_000_000, UTC) for row in rows]
        assert set(batch.months) == {moment.year * 100 + moment.month for moment in moments}


@given(groups=GROUPS)
def test_a_large_frame_is_decoded_in_pieces(groups: list[list[Row]]) -> None:
    rows = [row for group in groups for row in group]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_module, "SMALL_FRAME_BYTES", 0)
        patch.setattr(batch_module, "BLOCK_ROWS", 2)
        pieces = list(on_disk([rows]).pieces())

    assert max(map(len, pieces)) <= 2
    assert flat(pieces) == rows


def test_pieces_are_small() -> None:
    rows = [row()] * (BLOCK_ROWS * 2 + 1)

    assert [len(piece) for piece in in_memory(rows).pieces()] == [BLOCK_ROWS, BLOCK_ROWS, 1]
    assert [len(piece) for piece in on_disk([rows]).pieces()] == [BLOCK_ROWS, BLOCK_ROWS, 1]


@pytest.mark.parametrize("ts", ["x", None, 1.5, 10**18, -(10**18), True], ids=str)
def test_a_time_that_is_none_has_no_month_and_disturbs_no_other_row(ts: object) -> None:
    rows = [row(), row(ts=ts), row()]
    for batch in (in_memory(rows), on_disk([rows])):
        assert batch.months == {202511: 2, NO_MONTH: 1}
        assert batch.positions(NO_MONTH) == [1]
        assert len(flat(batch.part(202511))) == 2


def test_a_month_begins_at_midnight_utc() -> None:
    midnight = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000

    assert list(in_memory([row(ts=midnight - 1), row(ts=midnight)]).months) == [202611, 202612]


def test_a_released_batch_holds_no_row() -> None:
    rows: list[Sequence[object]] = [row()] * (BLOCK_ROWS + 1)
    batch = in_memory(rows)
    batch.release()

    assert rows == []
