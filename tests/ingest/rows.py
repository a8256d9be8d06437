"""Rows as the pipeline makes them, for the tests of the log and of what it becomes."""

from __future__ import annotations

from hypothesis import strategies as st

from analytics_server.model import COLUMN_INDEX, COLUMNS, Row

NOVEMBER_US = 1_762_000_000_000_000


def row(**values: object) -> Row:
    """A row of defaults with some values set."""
    filled = [column.default for column in COLUMNS]
    filled[COLUMN_INDEX["site_id"]] = "a.example"
    filled[COLUMN_INDEX["ts"]] = filled[COLUMN_INDEX["session_start"]] = NOVEMBER_US
    filled[COLUMN_INDEX["name"]] = "pageview"
    filled[COLUMN_INDEX["event_id"]] = bytes(16)
    for name, value in values.items():
        filled[COLUMN_INDEX[name]] = value
    return tuple(filled)


# Text without halves of surrogate pairs: JSON decoding lets none through.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ROWS = st.builds(
    row,
    site_id=TEXT,
    title=TEXT,
    event_id=st.binary(min_size=16, max_size=16),
    visitor_id=st.integers(0, 2**64 - 1),
    ts=st.integers(946_684_800_000_000, 4_102_444_800_000_000),
    props=st.none() | st.dictionaries(TEXT, TEXT, max_size=3),
)
GROUPS = st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=1, max_size=5)
