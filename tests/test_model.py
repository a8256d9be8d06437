"""The column list: one source for schema, insert and sessions."""

from __future__ import annotations

import re
from pathlib import Path

from analytics_server.model import (
    COLUMN_INDEX,
    COLUMN_NAMES,
    COLUMNS,
    PAGEVIEW,
    SESSION_ATTRIBUTES,
    STANDARD_EVENTS,
)
from tests.query.oracle import NO_INTERACTION

SCHEMA = Path(__file__).parent.parent / "schema"


def table(name: str) -> dict[str, str]:
    """Columns of a table's CREATE statement with the beginning of their types."""
    for path in sorted(SCHEMA.glob("*.sql")):
        found = re.search(rf"CREATE TABLE IF NOT EXISTS {name} .*?\n\((.*?)\n\)\nENGINE", path.read_text(), re.DOTALL)
        if found:
            lines = re.findall(r"^    ([a-z_]+) +(.+?)(?: CODEC\(.*)?,?$", found[1], re.MULTILINE)
            return {column: kind for column, kind in lines if column != "INDEX"} | added(name)
    raise AssertionError(f"no table {name}")


def added(name: str) -> dict[str, str]:
    """Columns that later files add to a table."""
    text = "".join(path.read_text() for path in sorted(SCHEMA.glob("*.sql")))
    changes = re.findall(rf"^ALTER TABLE {name} .*?;$", text, re.DOTALL | re.MULTILINE)
    found = [re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) (.+?) DEFAULT", change) for change in changes]
    return {column: kind for columns in found for column, kind in columns}


def test_the_schema_has_these_columns_the_batch_and_one_computed() -> None:
    assert table("events") == {column.name: column.type for column in COLUMNS} | {
        "batch_id": "UInt64",
        "session_key": "UInt64 MATERIALIZED cityHash64(session_start, session_id)",
    }


def test_names_are_unique_and_indexed() -> None:
    assert len(set(COLUMN_NAMES)) == len(COLUMN_NAMES)
    assert [COLUMN_NAMES[COLUMN_INDEX[name]] for name in COLUMN_NAMES] == list(COLUMN_NAMES)


def test_first_touch_attributes_stand_together_and_in_sessions() -> None:
    first = COLUMN_INDEX[SESSION_ATTRIBUTES[0]]

    assert COLUMN_NAMES[first : first + len(SESSION_ATTRIBUTES)] == SESSION_ATTRIBUTES
    assert set(SESSION_ATTRIBUTES) <= set(table("sessions"))


def test_passive_events_are_those_the_session_view_knows() -> None:
    view = (SCHEMA / "0010_tell_active_from_passive.sql").read_text()
    listed = re.search(r"NOT IN \((.*?)\)\)\) AS interactions", view)

    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed[1])) == set(NO_INTERACTION)
    assert set(NO_INTERACTION) < STANDARD_EVENTS
    assert PAGEVIEW in NO_INTERACTION


def test_every_column_says_what_it_is() -> None:
    assert all(column.about.endswith(".") for column in COLUMNS)
