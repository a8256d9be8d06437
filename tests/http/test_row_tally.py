"""Rows are counted by the pieces of an answer, wherever these begin and end."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.http.streams.row_tally import RowTally

CELLS = st.text(alphabet='a,"\n\r =', max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.integers(1, 5))
def test_rows_of_csv_with_line_ends_and_quotes_in_cells(rows: list[tuple[str, str]], size: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("a head\nof two lines", "b"), *rows])
    whole = text.getvalue().encode()
    tally = RowTally("csv", heads=1)

    for at in range(0, len(whole), size):
        tally.feed(whole[at : at + size])

    assert tally.rows == len(rows)


def test_rows_of_ndjson() -> None:
    tally = RowTally("ndjson")
    for piece in (b'{"a"', b':"x\\n\\"y"}\n{}\n{', b"}\n"):
        tally.feed(piece)
    assert tally.rows == 3
    for piece in (b"{}", b""):
        tally.feed(piece)
        assert tally.rows == 4


@pytest.mark.parametrize("kind", ["parquet", "json"])
def test_pieces_of_other_formats_tell_nothing(kind: str) -> None:
    tally = RowTally(kind)
    tally.feed(b"\n\n")
    assert tally.rows is None


def test_what_is_known_is_taken_instead() -> None:
    tally = RowTally("json")
    assert tally.rows is None
    tally.take(b"\n\n", 7)
    assert tally.rows == 7
