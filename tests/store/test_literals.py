"""A text that becomes part of a statement comes back as the same text, and ends where its literal ends."""

from __future__ import annotations

import pytest

from analytics_server.store import Store
from analytics_server.store.literals import literal

NASTY = (
    "it's",
    "\\",
    "\\'",
    "'); DROP TABLE events; --",
    "\\n",
    "\n\r\t\0\b\f\a\v\x1b\x7f",
    "é😀\u2028",
    "{site:String}",
    "%(site)s %s %%",
    '`"/*',
    "",
)


@pytest.mark.parametrize("plain", [False, True])
async def test_texts_come_back(store: Store, plain: bool) -> None:
    columns = ", ".join(f"{literal(text, plain=plain)}, hex({literal(text, plain=plain)})" for text in NASTY)
    row = (await store.query(f"SELECT {columns}")).rows[0]

    assert row[::2] == NASTY
    assert list(row[1::2]) == [text.encode().hex().upper() for text in NASTY]


async def test_a_mutation_takes_them(store: Store) -> None:
    await store.command("CREATE TABLE texts (text String) ENGINE = MergeTree ORDER BY text")
    await store.insert("texts", ("text",), [list(NASTY)])
    for left, text in enumerate(reversed(NASTY)):
        await store.command(f"ALTER TABLE texts DELETE WHERE text = {literal(text)} SETTINGS mutations_sync = 2")
        answer = await store.query("SELECT text FROM texts")
        assert {row[0] for row in answer.rows} == set(NASTY[: len(NASTY) - 1 - left])


def test_numbers_are_written_as_they_are() -> None:
    assert [literal(7), literal(-0.5), literal(7, plain=True)] == ["7", "-0.5", "7"]
