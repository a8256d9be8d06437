"""A person's rows are taken out of dead letters and quarantined files, and the rest can still be put back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from analytics_server.batch_ids import new_batch_id
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.flush.dead_letters import Cause
from analytics_server.ingest.flush.letter_removal import remove_from_letters, remove_from_quarantine
from analytics_server.ingest.wal import rewriting, segment
from analytics_server.model import COLUMNS, Row

NOW = 1_790_000_000.0
BATCH = new_batch_id(NOW)
ANNA, BEN = "user-anna", "user-ben"
OTHER_SITE = "b.example"


def row(number: int, user: str, site: str = "a.example") -> Row:
    values = {column.name: column.default for column in COLUMNS}
    values |= {"site_id": site, "ts": 1_700_000_000_000_000 + number, "name": "x", "user_id": user}
    values |= {"event_id": number.to_bytes(16, "big"), "session_id": f"s{number}"}
    return tuple(values.values())


ROWS = [row(0, ANNA), row(1, BEN), row(2, ANNA), row(3, ""), row(4, ANNA, OTHER_SITE), row(5, BEN)]


def is_anna(site_id: str, user: str) -> bool:
    return user == ANNA and site_id != OTHER_SITE


def write_segment(path: Path, rows: Sequence[Row], batch_id: int = BATCH) -> Path:
    """A segment of two frames."""
    content = [segment.head_bytes(batch_id, int(NOW * 1000))]
    for number, part in enumerate((rows[:2], rows[2:]), 1):
        payload = [segment.array_head(len(part)), segment.encode_rows(part)]
        content += [segment.frame_head(number, payload), *payload]
    path.write_bytes(b"".join(content))
    return path


def numbers(path: Path) -> list[int]:
    return [
        int.from_bytes(bytes(each[3]), "big")  # type: ignore[call-overload]
        for _, payload in segment.frames(path)
        for each in segment.rows_of(payload)
    ]


def write_letter(directory: Path, positions: Sequence[int]) -> dead_letters.Letter:
    refused = {at: Cause(error="StoreBadRows", engine_code=at, detail=f"can't take {ROWS[at][9]}") for at in positions}
    return dead_letters.write_rows(directory, BATCH, len(ROWS), refused, [ROWS[at] for at in positions], NOW)


def test_a_letter_keeps_the_others_rows_with_their_positions_and_causes(tmp_path: Path) -> None:
    letter = write_letter(tmp_path, [0, 1, 2, 5])

    assert remove_from_letters(tmp_path, is_anna, BATCH, user_id=ANNA) == 2

    (found,) = dead_letters.read_all(tmp_path)
    assert [(one.position, found.letter.causes[one.cause].engine_code) for one in found.letter.rows] == [(1, 1), (5, 5)]
    assert (found.letter.events, numbers(tmp_path / letter.file)) == (2, [1, 5])
    assert [shown["user_id"] for shown in dead_letters.rows_of(found)] == [BEN, BEN]
    assert not [path for path in tmp_path.iterdir() if ANNA.encode() in path.read_bytes()]
    assert remove_from_letters(tmp_path, is_anna, BATCH, user_id=ANNA) == 0


def test_rows_without_a_user_go_where_a_whole_site_does(tmp_path: Path) -> None:
    write_letter(tmp_path, [0, 3, 4])

    assert remove_from_letters(tmp_path, lambda site_id, user: site_id != OTHER_SITE, BATCH) == 2

    (found,) = dead_letters.read_all(tmp_path)
    assert numbers(tmp_path / found.letter.file) == [4]


def test_a_letter_of_nobody_else_is_deleted_and_one_after_the_cut_off_stays(tmp_path: Path) -> None:
    write_letter(tmp_path, [0, 2])
    assert remove_from_letters(tmp_path, is_anna, new_batch_id(NOW - 3600), user_id=ANNA) == 0
    assert len(dead_letters.read_all(tmp_path)) == 1

    assert remove_from_letters(tmp_path, is_anna, BATCH, user_id=ANNA) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["letters", "log"])
def test_positions_in_a_batch_that_was_set_aside_follow_the_rows(tmp_path: Path, where: str) -> None:
    letters, log = tmp_path / "letters", tmp_path / "log"
    letters.mkdir()
    log.mkdir()
    write_letter(letters, [1, 2, 5])
    whole = write_segment((letters if where == "letters" else log) / f"{BATCH:020d}.wal", ROWS)

    remove_from_letters(letters, is_anna, BATCH, user_id=ANNA, wal=log)
    if where == "log":
        assert rewriting.remove_rows(whole, is_anna) == 2

    letter = dead_letters.find(letters, BATCH)
    assert letter is not None
    assert numbers(whole) == [1, 3, 4, 5]
    assert [numbers(whole)[one.position] for one in letter.rows] == [1, 5]
    assert segment.scan(whole).damaged_bytes == 0


def test_a_crash_between_a_note_and_its_rows_is_mended_by_the_next_run(tmp_path: Path) -> None:
    letter = write_letter(tmp_path, [0, 1, 5])
    before = (tmp_path / letter.file).read_bytes()
    remove_from_letters(tmp_path, is_anna, BATCH, user_id=ANNA)
    (tmp_path / letter.file).write_bytes(before)

    assert remove_from_letters(tmp_path, is_anna, BATCH, user_id=ANNA) == 1
    (found,) = dead_letters.read_all(tmp_path)
    assert ([one.position for one in found.letter.rows], numbers(found.path)) == ([1, 5], [1, 5])


def test_of_a_damaged_file_the_readable_rows_are_kept_and_the_user_id_is_gone(tmp_path: Path) -> None:
    damaged = write_segment(tmp_path / "damaged.wal", ROWS)
    content = bytearray(damaged.read_bytes())
    content[-3] ^= 1  # the second frame can't be trusted any more
    damaged.write_bytes(content)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"no segment, but " + rewriting.encoded(ANNA) + b" stands in it")

    assert remove_from_quarantine(tmp_path, is_anna, ANNA) == 2

    assert numbers(damaged) == [1]
    assert foreign.read_bytes() == b"no segment, but " + bytes(len(ANNA) + 1) + b" stands in it"
    assert not [path for path in tmp_path.iterdir() if ANNA.encode() in path.read_bytes()]


def test_a_file_that_cannot_be_read_is_told_once_the_others_are_done(tmp_path: Path) -> None:
    letters, quarantine = tmp_path / "letters", tmp_path / "quarantine"
    for directory in (letters, quarantine):
        directory.mkdir()
        write_segment(directory / f"{BATCH:020d}.wal", ROWS)
    (letters / f"{0:020d}.wal").mkdir()  # opening it fails, as that of another user's file would
    unreadable = quarantine / "0"
    unreadable.symlink_to("/proc/self/mem")

    with pytest.raises(IsADirectoryError):
        remove_from_letters(letters, is_anna, BATCH)
    with pytest.raises(OSError, match="Input/output error"):
        remove_from_quarantine(quarantine, is_anna, ANNA)

    assert numbers(letters / f"{BATCH:020d}.wal") == [1, 3, 4, 5]
    assert numbers(quarantine / f"{BATCH:020d}.wal") == [1, 3, 4, 5]
