"""What is encoded for an insert is what the table then holds, and what doesn't fit is named without its value."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from unittest import mock
from uuid import UUID

import pytest
from clickhouse_connect.driver.insert import InsertContext
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.errors import StoreBadRows
from analytics_server.store import Store, native
from analytics_server.store.native import encode, wire_type

TYPES = {
    "name": "LowCardinality(String)",
    "title": "String",
    "event_id": "UUID",
    "ts": "DateTime64(6, 'UTC')",
    "visitor_id": "UInt64",
    "scroll_depth": "UInt8",
    "revenue": "Decimal(18, 4)",
    "props": "Map(LowCardinality(String), String)",
}
ID = UUID("0190d5a0-1234-7abc-8def-0123456789ab")


async def test_a_table_holds_what_was_encoded(store: Store) -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
    await store.command(f"CREATE TABLE kinds ({columns}) ENGINE = MergeTree ORDER BY title")
    first = ("a", "1é\0", ID.bytes, 1_762_000_000_000_001, 2**64 - 1, 255, "12.3400", {"k": "v"})
    others = [
        ("a", "2", ID.int, 0, 0, 0, 0, {}),
        ("", "3", ID, -1, 1, 1, Decimal("-0.5"), {"": "", "ключ": "ü"}),
    ]
    blocks = [[[value] for value in first], [list(values) for values in zip(*others, strict=True)]]
    encoded = await store.encode("kinds", list(TYPES), blocks)
    await store.insert_encoded("kinds", encoded)
    answer = await store.query("SELECT name, title, event_id, ts, visitor_id, scroll_depth, revenue, props FROM kinds")

    assert encoded.rows == 3
    epoch = datetime.fromtimestamp(0, UTC)
    by_title = sorted(answer.rows, key=lambda row: str(row[1]))
    assert [row[:3] for row in by_title] == [("a", "1é\0", ID), ("a", "2", ID), ("", "3", ID)]
    assert [(row[3] - epoch).total_seconds() for row in by_title] == [1_762_000_000.000001, 0, -0.000001]  # type: ignore[operator]
    assert [row[4:6] for row in by_title] == [(2**64 - 1, 255), (0, 0), (1, 1)]
    assert [row[6] for row in by_title] == [Decimal("12.3400"), 0, Decimal("-0.5")]
    assert [row[7] for row in by_title] == [{"k": "v"}, {}, {"": "", "ключ": "ü"}]


MISFITS = [
    ("name", 17),
    ("title", "half a pair \ud800"),
    ("event_id", b"short"),
    ("event_id", -1),
    ("event_id", "secret"),
    ("ts", "secret"),
    ("visitor_id", -1),
    ("visitor_id", 2**64),
    ("scroll_depth", 256),
    ("scroll_depth", "secret"),
    ("revenue", "secret"),
    ("props", "secret"),
    ("props", {"secret": 1}),
]


@pytest.mark.parametrize(("name", "value"), MISFITS, ids=str)
def test_a_value_that_does_not_fit_is_refused_and_not_quoted(name: str, value: object) -> None:
    with pytest.raises(StoreBadRows) as refused:
        encode([name], [wire_type(TYPES[name])], [[[value]]], compress=False)

    assert f"column {name} " in refused.value.message
    assert "secret" not in refused.value.message
    assert refused.value.__cause__ is None


@given(ids=st.lists(st.uuids(), min_size=1, max_size=5))
def test_ids_are_written_alike_however_they_are_given(ids: list[UUID]) -> None:
    kind = wire_type("UUID")
    given_as: list[list[object]] = [list(ids), [one.bytes for one in ids], [one.int for one in ids]]
    written = [encode(["id"], [kind], [[values]], compress=False).pieces for values in given_as]

    assert written[0] == written[1] == written[2]


@given(amounts=st.lists(st.just(0) | st.decimals(-(10**13), 10**13, places=4).map(str), min_size=1, max_size=8))
def test_amounts_are_written_like_each_by_itself(amounts: list[object]) -> None:
    kind = wire_type("Decimal(18, 4)")
    together = bytearray()
    kind.write_column(amounts, together, InsertContext("", [], []))
    alone = [int(Decimal(str(amount)) * 10_000).to_bytes(8, "little", signed=True) for amount in amounts]

    assert bytes(together) == b"".join(alone)


TEXTS = st.lists(st.sampled_from(["", "a", "ü", "a" * 200]) | st.text(st.characters(codec="utf-8")), min_size=1)


@given(blocks=st.lists(TEXTS, min_size=1, max_size=4), most_known=st.integers(0, 3))
def test_repeated_texts_are_written_like_the_library_writes_them(blocks: list[list[object]], most_known: int) -> None:
    with mock.patch.object(native, "MOST_KNOWN", most_known):
        ours = encode(["name"], [wire_type("LowCardinality(String)")], [[block] for block in blocks], compress=False)
    theirs = encode(["name"], [wire_type("String")], [[block] for block in blocks], compress=False)

    assert ours.pieces == theirs.pieces


@pytest.mark.parametrize("strange", [b"ab", 0, False, None, 7, ["a"]])
@pytest.mark.parametrize("others", [[], ["a"], ["", "", ""]])
def test_what_is_no_text_is_written_or_refused_like_by_the_library(strange: object, others: list[object]) -> None:
    def written(kind: str) -> list[bytes] | None:
        try:
            return encode(["name"], [wire_type(kind)], [[[*others, strange]]], compress=False).pieces
        except StoreBadRows:
            return None

    assert written("LowCardinality(String)") == written("String")


async def test_encoding_and_inserting_go_on_at_the_same_time(store: Store) -> None:
    await store.command("CREATE TABLE beside (a UInt8) ENGINE = MergeTree ORDER BY a")
    first = await store.encode("beside", ["a"], [[[1]]])
    second, _ = await asyncio.gather(store.encode("beside", ["a"], [[[2]]]), store.insert_encoded("beside", first))
    await store.insert_encoded("beside", second)

    assert (await store.query("SELECT sum(a), count() FROM beside")).rows == [(3, 2)]
