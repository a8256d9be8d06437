"""Rows that can't be stored, and only they, become a dead letter; a crash at any moment changes nothing."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.batch_ids import created_ms
from analytics_server.errors import StoreFatal, StoreRetryable
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.flush.dead_letters import Cause, DeadLetterError, letter_id, read_all
from analytics_server.ingest.wal import segment
from analytics_server.model import COLUMN_INDEX, Row
from tests.ingest.fake_store import POISON, UNFIT, FakeStore
from tests.ingest.flush.test_flusher_life import DECEMBER_US, NOVEMBER_US, SETTINGS, Ingest, ingesting, row

TITLE = COLUMN_INDEX["title"]


def titled(*titles: str) -> list[Row]:
    return [row(title=title) for title in titles]


def titles_in(path: Path) -> list[object]:
    return [row[TITLE] for _, payload in segment.frames(path) for row in segment.rows_of(payload)]


async def delivered(directory: Path, store: FakeStore) -> Ingest:
    """A later run on the same log and the same store, which delivers what is left."""
    later = Ingest(directory)
    later.store = store
    later.flusher = type(later.flusher)(
        store,  # type: ignore[arg-type]
        SETTINGS,
        later.metrics,
        later.letters,
        insert_timeout_s=5.0,
        jitter=random.Random(1),
    )
    store.calls.clear()
    later.flusher.start(later.wal, later.wal.open())
    assert await later.flusher.drain(10)
    await later.flusher.close()
    await later.wal.close()
    return later


@pytest.mark.parametrize("bad", [UNFIT, POISON])
async def test_only_the_bad_row_is_set_aside(tmp_path: Path, bad: str) -> None:
    titles = [f"t{number}" for number in range(1_000)]
    async with ingesting(tmp_path) as ingest:
        await ingest.deliver(*titled(*titles[:700], bad, *titles[700:]))

        assert ingest.store.titles == titles
        assert ingest.store.calls.count("insert") == (1 if bad == UNFIT else 2)
        assert ingest.store.calls.count("probe") <= (0 if bad == UNFIT else 2 * 11)
        assert ingest.dead_letters == 1
        assert ingest.segments == []
        (found,) = read_all(ingest.letters)
        letter = found.letter
        assert (letter.kind, letter.reason, letter.events, letter.batch_events) == ("rows", "refused", 1, 1_001)
        assert letter.positions == {700}
        assert letter.causes[0].engine_code == (0 if bad == UNFIT else 469)
        assert titles_in(found.path) == [bad]
        assert segment.scan(found.path).header.batch_id == letter_id(letter.batch_id) != letter.batch_id


@settings(max_examples=40)
@given(positions=st.sets(st.integers(0, 29)), kinds=st.randoms(use_true_random=False))
async def test_all_bad_rows_are_found_wherever_they_are(
    tmp_path_factory: pytest.TempPathFactory, positions: set[int], kinds: random.Random
) -> None:
    titles = [kinds.choice([UNFIT, POISON]) if at in positions else f"t{at}" for at in range(30)]
    rows = [row(DECEMBER_US if at % 3 == 0 else NOVEMBER_US, title) for at, title in enumerate(titles)]
    async with ingesting(tmp_path_factory.mktemp("letters")) as ingest:
        await ingest.deliver(*rows)

        good = [title for at, title in enumerate(titles) if at not in positions]
        assert sorted(ingest.store.titles) == sorted(good)
        assert ingest.dead_letters == len(positions)
        letters = read_all(ingest.letters)
        assert {at for found in letters for at in found.letter.positions} == positions
        assert [title for found in letters for title in titles_in(found.path)] == [
            titles[at] for at in sorted(positions)
        ]


async def test_a_row_without_a_time_is_set_aside_too(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        await ingest.deliver(row(title="a"), row(10**18, "never"), row(title="b"))

        assert ingest.store.titles == ["a", "b"]
        (found,) = read_all(ingest.letters)
        assert titles_in(found.path) == ["never"]
        assert "ts" in found.letter.causes[0].detail


async def test_the_log_names_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with ingesting(tmp_path) as ingest:
            await ingest.deliver(*titled("secret", POISON, UNFIT))

    assert POISON not in caplog.text
    assert UNFIT not in caplog.text
    assert "secret" not in caplog.text
    assert "rows refused" in caplog.text


class Killed(BaseException):
    """The process is gone at this point."""


def killed_at(store: FakeStore, insert: int, *, stored: bool) -> None:
    """Die in that insert into `events` (counted from 1), before or after the engine has stored it."""
    calls = iter(range(1, 100))

    def fail(month: int) -> None:
        if next(calls) == insert:
            if stored:
                store.kept[month] = store.kept.get(month, 0) + 2
                store.titles += ["a", "b"]
            raise Killed

    store.fail = fail


@pytest.mark.parametrize("stored", [False, True])
async def test_a_crash_after_the_letter_was_written_sends_the_rest_exactly_once(tmp_path: Path, stored: bool) -> None:
    first = Ingest(tmp_path)
    task = first.flusher.start(first.wal, first.wal.open())
    first.wal.start()
    killed_at(first.store, 2, stored=stored)
    await first.wal.durable(titled("a", POISON, "b"))
    await first.wal.stop()
    with pytest.raises(Killed):
        await task
    await first.wal.close()
    (before,) = read_all(first.letters)
    assert len(first.segments) == 1

    first.store.fail = lambda month: None
    later = await delivered(tmp_path, first.store)

    assert first.store.titles == ["a", "b"]
    assert first.store.calls == ["end", "count", *([] if stored else ["insert"])]
    assert later.segments == []
    assert read_all(later.letters) == [before]
    assert later.dead_letters == 0, "counted when it was written"


async def test_a_crash_before_the_letter_is_complete_finds_the_rows_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = dead_letters._write

    def half(path: Path, content: bytes) -> None:
        if path.suffix == segment.SUFFIX:
            raise Killed
        write(path, content)

    first = Ingest(tmp_path)
    task = first.flusher.start(first.wal, first.wal.open())
    first.wal.start()
    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "_write", half)
        await first.wal.durable(titled("a", POISON, "b"))
        await first.wal.stop()
        with pytest.raises(Killed):
            await task
    await first.wal.close()
    assert first.store.titles == []

    later = await delivered(tmp_path, first.store)

    assert first.store.titles == ["a", "b"]
    (found,) = read_all(later.letters)
    assert titles_in(found.path) == [POISON]
    assert later.segments == []


async def test_a_store_that_goes_away_while_rows_are_tried_delays_only(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        refusals: Iterator[StoreRetryable] = iter([StoreRetryable("gone"), StoreRetryable("gone")])
        insert = ingest.store.insert_encoded

        async def sometimes(table: str, *arguments: object, **named: object) -> None:
            if table != "events" and (failure := next(refusals, None)):
                raise failure
            await insert(table, *arguments, **named)  # type: ignore[arg-type]

        ingest.store.insert_encoded = sometimes  # type: ignore[method-assign]
        await ingest.deliver(*titled("a", POISON, "b"))

        assert ingest.store.titles == ["a", "b"]
        assert ingest.dead_letters == 1


async def test_without_the_right_to_try_the_segment_is_set_aside(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:

        async def denied(sql: str, parameters: object = None) -> None:
            raise StoreFatal("not enough privileges", engine_code=497)

        ingest.store.command = denied  # type: ignore[method-assign]
        await ingest.deliver(*titled("a", POISON))

        assert ingest.store.titles == []
        (found,) = read_all(ingest.letters)
        assert (found.letter.kind, found.letter.reason, found.letter.events) == ("segment", "refused", 2)


async def test_the_table_for_trying_is_removed(tmp_path: Path) -> None:
    async with ingesting(tmp_path) as ingest:
        await ingest.deliver(*titled("a", POISON))

        created, dropped = ingest.store.commands
        assert created.startswith("CREATE TABLE IF NOT EXISTS dead_letter_probe_")
        assert created.endswith(" AS events ENGINE = Null")
        assert dropped == "DROP TABLE IF EXISTS " + created.split()[5]


def write(directory: Path, batch_id: int = 77 << 22) -> None:
    refused = {1: Cause(error="StoreFatal", engine_code=469, detail="x"), 3: Cause(error="StoreBadRows")}
    dead_letters.write_rows(directory, batch_id, 5, refused, titled("b", "d"), 1_800_000_000.0)


def test_writing_a_letter_again_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write(tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_nobody_else_on_the_machine_can_read_a_letter(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write(tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_exported_rows_say_what_they_are_and_why(tmp_path: Path) -> None:
    write(tmp_path)
    (found,) = read_all(tmp_path)
    first, second = dead_letters.rows_of(found)

    assert (first["title"], first["_error"], first["_engine_code"]) == ("b", "StoreFatal", 469)
    assert (second["title"], second["_error"], second["_batch_id"]) == ("d", "StoreBadRows", str(77 << 22))
    assert first["event_id"] == "0" * 32
    assert "referrer" not in first


def test_a_letter_is_put_back_once(tmp_path: Path) -> None:
    letters, wal = tmp_path / "letters", tmp_path / "wal"
    wal.mkdir()
    write(letters)
    (found,) = read_all(letters)
    dead_letters.put_back(found, wal)

    assert list(letters.iterdir()) == []
    assert [path.name for path in wal.iterdir()] == [found.path.name]
    assert titles_in(wal / found.path.name) == ["b", "d"]
    with pytest.raises(FileNotFoundError):
        dead_letters.put_back(found, wal)


def test_a_letter_that_is_a_link_to_what_lies_in_the_log_goes(tmp_path: Path) -> None:
    letters, wal = tmp_path / "letters", tmp_path / "wal"
    wal.mkdir()
    write(letters)
    (found,) = read_all(letters)
    (wal / found.path.name).hardlink_to(found.path)
    dead_letters.put_back(found, wal)

    assert list(letters.iterdir()) == []
    assert titles_in(wal / found.path.name) == ["b", "d"]


@pytest.mark.parametrize("place", ["letters", "wal"])
def test_a_letter_is_not_put_back_before_its_batch_was_delivered(tmp_path: Path, place: str) -> None:
    letters, wal = tmp_path / "letters", tmp_path / "wal"
    wal.mkdir()
    write(letters)
    (found,) = read_all(letters)
    (tmp_path / place / f"{77 << 22:020d}.wal").touch()

    with pytest.raises(DeadLetterError, match="not delivered yet"):
        dead_letters.put_back(found, wal)
    assert found.path.exists()


@pytest.mark.parametrize("reason", ["partly_stored", "damaged"])
def test_what_can_not_be_put_back_exactly_stays(tmp_path: Path, reason: dead_letters.Reason) -> None:
    write(tmp_path)
    (found,) = read_all(tmp_path)
    dead_letters.write_note(
        tmp_path,
        5,
        reason,
        events=1,
        batch_events=2,
        cause=None,
        now=0.0,
    )
    found.path.rename(tmp_path / f"{5:020d}.wal")
    chosen = next(one for one in read_all(tmp_path) if one.letter.reason == reason)

    with pytest.raises(DeadLetterError, match="can't be exact"):
        dead_letters.put_back(chosen, tmp_path)


def test_a_segment_without_a_note_is_listed(tmp_path: Path) -> None:
    write(tmp_path)
    (found,) = read_all(tmp_path)
    found.path.with_suffix(".json").unlink()
    (found,) = read_all(tmp_path)

    assert (found.letter.reason, found.letter.events, found.letter.kind) == ("unknown", 2, "segment")


def test_no_letter_is_no_error(tmp_path: Path) -> None:
    assert read_all(tmp_path / "none") == []
    assert dead_letters.find(tmp_path / "none", 1) is None


@given(batch_id=st.integers(0, 2**63 - 1))
def test_a_letter_has_a_batch_id_of_its_own_and_of_the_same_time(batch_id: int) -> None:
    own = letter_id(batch_id)

    assert own != batch_id
    assert created_ms(own) == created_ms(batch_id)
    assert own == letter_id(batch_id)


def test_a_letter_is_found_again_under_the_id_that_earlier_versions_gave_it() -> None:
    assert letter_id(77 << 22) == 323275409
