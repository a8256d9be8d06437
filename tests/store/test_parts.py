"""What the record of data parts calls lost, and what it doesn't: merges, destroyed salts, parts put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics_server.errors import StoreFatal
from analytics_server.store.errors_map import translate
from analytics_server.store.parts import DataPart, DetachedPart, PartRecord

TODAY = "20261128"


def part(
    table: str = "events", partition: str = "202611", first: int = 1, last: int = 1, rows: int = 100, mark: str = "a"
) -> DataPart:
    return DataPart(
        table=table,
        name=f"{partition}_{first}_{last}_{int(last > first)}",
        partition=partition,
        first_block=first,
        last_block=last,
        rows=rows,
        files_hash=mark,
    )


def detached(one: DataPart, reason: str = "broken-on-start") -> DetachedPart:
    name = f"{reason}_{one.name}" if reason else one.name
    shown = DataPart(
        table=one.table,
        name=name,
        partition=one.partition,
        first_block=one.first_block,
        last_block=one.last_block,
        rows=-1,
    )
    return DetachedPart(part=shown, reason=reason, path=f"/detached/{name}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "parts.json"


def recorded(path: Path, *parts: DataPart) -> PartRecord:
    PartRecord(path).write(parts, [])
    return PartRecord(path)


def lost(
    record: PartRecord, present: list[DataPart], aside: list[DetachedPart] | None = None
) -> list[tuple[str, str, int]]:
    found = record.compare(present, aside or [], oldest_salt=TODAY)
    return [(loss.table, loss.cause, loss.rows) for loss in found]


def test_nothing_is_lost_without_a_record(path: Path) -> None:
    assert lost(PartRecord(path), [part()]) == []


def test_a_part_that_is_gone_is_missing(path: Path) -> None:
    record = recorded(path, part(), part(first=2, last=2))

    assert lost(record, [part(first=2, last=2)]) == [("events", "missing", 100)]


def test_a_part_that_was_merged_is_there(path: Path) -> None:
    record = recorded(path, part(), part(first=2, last=2))

    assert lost(record, [part(first=1, last=4, rows=200, mark="b")]) == []


def test_a_merged_part_is_there_when_all_that_it_was_made_of_is(path: Path) -> None:
    """A merge that a power cut undid."""
    record = recorded(path, part(first=1, last=3, rows=200))

    assert lost(record, [part(first=1, last=1), part(first=3, last=3)]) == []
    assert lost(record, [part(first=1, last=1)]) == [("events", "missing", 200)]


def test_a_part_of_another_month_or_table_is_no_substitute(path: Path) -> None:
    record = recorded(path, part())

    assert lost(record, [part(partition="202612", last=9), part(table="traffic")]) == [("events", "missing", 100)]


def test_a_detached_part_is_told_once_with_the_rows_it_had(path: Path) -> None:
    record = recorded(path, part())

    assert lost(record, [], [detached(part())]) == [("events", "detached", 100)]


def test_a_detached_part_that_nobody_knew_is_told_without_rows(path: Path) -> None:
    assert lost(PartRecord(path), [], [detached(part())]) == [("events", "detached", -1)]


def test_a_broken_merge_whose_sources_are_there_is_no_loss(path: Path) -> None:
    record = recorded(path, part(first=1, last=3, rows=200))
    sources = [part(first=1, last=1), part(first=3, last=3)]

    assert lost(PartRecord(path), [part(first=1, last=5)], [detached(part(first=1, last=3))]) == []
    assert lost(record, [*sources, part(first=1, last=4, rows=200)], [detached(part(first=1, last=3))]) == []


def test_a_loss_stays_one_when_the_engine_gives_the_blocks_number_again(path: Path) -> None:
    record = recorded(path, part())
    record.write([], record.compare([], [], oldest_salt=TODAY))
    again = PartRecord(path)

    assert lost(again, [part(rows=7, mark="other")]) == [("events", "missing", 100)]
    assert lost(again, [part(first=1, last=9, rows=900, mark="merged")]) == [("events", "missing", 100)]


def test_a_part_that_is_put_back_is_no_loss(path: Path) -> None:
    record = recorded(path, part())
    record.write([], record.compare([], [detached(part())], oldest_salt=TODAY))

    assert lost(PartRecord(path), [part()], [detached(part())]) == []


def test_destroyed_salts_are_no_loss(path: Path) -> None:
    old, new = part(table="salts", partition="20261127"), part(table="salts", partition=TODAY)

    assert lost(recorded(path, old, new), []) == [("salts", "missing", 100)]


def test_what_was_accepted_is_not_told_again(path: Path) -> None:
    record = recorded(path, part(), part(table="traffic"))
    aside = [detached(part())]
    record.write([], record.compare([], aside, oldest_salt=TODAY))

    record.accept(["events"], [], aside)

    assert lost(PartRecord(path), [], aside) == [("traffic", "missing", 100)]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{", b"[]"])
def test_a_damaged_record_is_told_and_stops_nothing(
    content: bytes, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)

    assert lost(PartRecord(path), [part()]) == []
    assert "can't be read" in caplog.text


def test_an_error_names_the_damaged_part() -> None:
    class Failure(Exception):
        code = 40

    text = (
        "Code: 40. DB::Exception: Checksum doesn't match: corrupted data. (while reading column salt): (while reading "
        "from part /data/store/e71/e71612e7-e57f-465f-a069-8613fb5e96aa/20261128_1_1_0/ in table analytics.salts "
        "(e71612e7-e57f-465f-a069-8613fb5e96aa) located on disk default of type local, from mark 0)"
    )

    error = translate(Failure(text), "A query")

    assert isinstance(error, StoreFatal)
    assert error.damaged_part == ("salts", "20261128_1_1_0")
    assert "part 20261128_1_1_0 of table salts" in error.message
    assert "DB::" not in error.message
