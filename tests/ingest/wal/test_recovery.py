"""What is found in the log after a crash: every whole frame is delivered, nothing is thrown away."""

from __future__ import annotations

import errno
import os
import random
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from analytics_server.batch_ids import created_ms
from analytics_server.config import IngestSection
from analytics_server.errors import WalError
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.recovery import keep, keep_copy, recover
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.model import COLUMNS, Row


def row(text: str) -> Row:
    """A row in which `text` can be found again; it holds the byte that frames' payloads begin with."""
    values = [column.default for column in COLUMNS]
    values[0], values[3] = text, bytes(16)
    return tuple(values)


def metrics() -> IngestMetrics:
    return IngestMetrics(CollectorRegistry())


def errors(counted: IngestMetrics, kind: str) -> float:
    return float(counted.wal_errors.labels(kind)._value.get())


async def written(directory: Path, frames: int, name: str = "a") -> Path:
    """A WAL segment of so many frames with one row each."""
    sealed: list[Sealed] = []
    wal = Wal(
        directory, IngestSection(), metrics(), on_sealed=sealed.append, on_broken=lambda reason: pytest.fail(reason)
    )
    wal.open()
    wal.start()
    for number in range(frames):
        await wal.durable([row(f"{name}{number} ݝݞ")])
    await wal.close()
    (only,) = sealed
    return only.path


def texts(path: Path) -> list[str]:
    return [str(row[0]).split()[0] for _, payload in segment.frames(path) for row in segment.rows_of(payload)]


def frame_starts(path: Path) -> list[int]:
    return [end - len(payload) - segment.FRAME_HEAD_BYTES for end, payload in segment.frames(path)]


async def test_one_damaged_frame_costs_only_itself(tmp_path: Path) -> None:
    path = await written(tmp_path, 5)
    whole = path.read_bytes()
    starts = frame_starts(path)
    chance = random.Random(1)
    for damaged in range(5):
        end = starts[damaged + 1] if damaged < 4 else len(whole)
        for at in chance.sample(range(starts[damaged], end), 25):
            broken = bytearray(whole)
            broken[at] ^= 1 << chance.randrange(8)
            path.write_bytes(broken)
            assert texts(path) == [f"a{number}" for number in range(5) if number != damaged]


async def test_the_newest_segment_keeps_the_frames_behind_a_damaged_one(tmp_path: Path) -> None:
    path = await written(tmp_path, 3)
    whole = bytearray(path.read_bytes())
    whole[frame_starts(path)[1] + 30] ^= 1
    path.write_bytes(whole)
    counted = metrics()
    (sealed,) = recover(tmp_path, counted)
    assert sealed.events == 2
    assert texts(path) == ["a0", "a2"]
    assert (tmp_path / "quarantine" / path.name).read_bytes() == bytes(whole)
    assert errors(counted, "damaged_frame") == 1


async def test_cuts_a_torn_tail_off_the_newest_segment(tmp_path: Path) -> None:
    path = await written(tmp_path, 2)
    good = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\x20\x00\x00\x00half")
    counted = metrics()
    (sealed,) = recover(tmp_path, counted)
    assert (sealed.events, path.stat().st_size) == (2, good)
    assert errors(counted, "damaged_frame") == 0


async def test_a_whole_last_frame_that_can_not_be_read_is_kept_before_it_is_cut(tmp_path: Path) -> None:
    path = await written(tmp_path, 3)
    whole = path.read_bytes()
    start = frame_starts(path)[2]
    chance = random.Random(2)
    # Of its length only the bits that make it shorter, or longer by what isn't there.
    for at in (
        start,
        start + 1,
        start + 3,
        start + 5,
        start + 9,
        start + 16,
        *chance.sample(range(start, len(whole)), 20),
    ):
        broken = bytearray(whole)
        broken[at] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        counted = metrics()
        (sealed,) = recover(tmp_path, counted)
        kept = tmp_path / "quarantine" / path.name
        assert kept.read_bytes() == bytes(broken), at
        assert path.read_bytes() == whole[:start]
        assert (sealed.events, texts(path)) == (2, ["a0", "a1"])
        assert (errors(counted, "torn_tail"), errors(counted, "damaged_frame")) == (1, 0)
        kept.unlink()


async def test_the_only_frame_of_the_newest_segment_is_kept_when_it_can_not_be_read(tmp_path: Path) -> None:
    path = await written(tmp_path, 1)
    broken = bytearray(path.read_bytes())
    broken[-1] ^= 1
    path.write_bytes(broken)
    counted = metrics()
    assert recover(tmp_path, counted) == []
    assert not path.exists()
    assert (tmp_path / "quarantine" / path.name).read_bytes() == bytes(broken)
    assert errors(counted, "torn_tail") == 1


async def test_an_older_copy_is_not_replaced_by_one_of_a_shorter_file(tmp_path: Path) -> None:
    path = await written(tmp_path, 3)
    first = bytearray(path.read_bytes())
    first[-1] ^= 1
    path.write_bytes(first)
    recover(tmp_path, metrics())
    second = bytearray(path.read_bytes())
    second[-1] ^= 1
    path.write_bytes(second)
    counted = metrics()
    recover(tmp_path, counted)
    assert texts(path) == ["a0"]
    assert (tmp_path / "quarantine" / path.name).read_bytes() == bytes(first)
    assert errors(counted, "torn_tail") == 1


async def test_a_kept_segment_that_becomes_the_newest_is_not_cut_in_its_copy(tmp_path: Path) -> None:
    path, newer = await written(tmp_path, 2), await written(tmp_path, 1, "b")
    with path.open("ab") as file:
        file.write(b"\x20\x00\x00\x00half")
    torn = path.read_bytes()
    recover(tmp_path, metrics())
    newer.unlink()
    (sealed,) = recover(tmp_path, metrics())
    assert sealed.size == path.stat().st_size == len(torn) - 8
    assert texts(path) == ["a0", "a1"]
    assert (tmp_path / "quarantine" / path.name).read_bytes() == torn


async def test_a_damaged_head_is_made_again_from_the_files_name(tmp_path: Path) -> None:
    path = await written(tmp_path, 2)
    whole = path.read_bytes()
    for at in (0, 4, 6, 7, 9, 12, 40, frame_starts(path)[0] - 1):
        broken = bytearray(whole)
        broken[at] ^= 4
        path.write_bytes(broken)
        counted = metrics()
        (sealed,) = recover(tmp_path, counted)
        assert (sealed.events, f"{sealed.batch_id:020d}.wal") == (2, path.name)
        assert texts(path) == ["a0", "a1"]
        assert errors(counted, "damaged_frame") == 1
        kept = tmp_path / "quarantine" / path.name
        assert kept.read_bytes() == bytes(broken)
        kept.unlink()


async def test_a_segment_whose_head_can_not_be_made_again_is_kept_even_if_it_is_the_newest(tmp_path: Path) -> None:
    path = await written(tmp_path, 2)
    whole = bytearray(path.read_bytes())
    whole[9] ^= 1
    whole[40] ^= 1
    path.write_bytes(whole)
    counted = metrics()
    assert recover(tmp_path, counted) == []
    assert (tmp_path / "quarantine" / path.name).read_bytes() == bytes(whole)
    assert errors(counted, "quarantined_segment") == 1


async def test_a_head_of_zeroes_is_damage_because_a_segment_is_named_once_its_head_is_on_disk(tmp_path: Path) -> None:
    path = await written(tmp_path, 1)
    head = path.read_bytes()[: frame_starts(path)[0]]
    for content in (bytes(len(head)), head[:512].ljust(len(head), b"\0"), b"\0" * 12 + head[12:]):
        path.write_bytes(content)
        counted = metrics()
        assert recover(tmp_path, counted) == []
        assert not path.exists()
        assert (errors(counted, "damaged_frame"), errors(counted, "quarantined_segment")) == (0, 1)


async def test_a_segment_the_disk_can_not_read_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await written(tmp_path, 1), await written(tmp_path, 2, "b")
    read = segment.scan

    def scan(path: Path) -> segment.Scan:
        if path == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(segment, "scan", scan)
    counted = metrics()
    (sealed,) = recover(tmp_path, counted)
    assert sealed.path == good
    assert errors(counted, "quarantined_segment") == 1
    assert (tmp_path / "quarantine" / bad.name).exists()


async def test_a_segment_of_a_newer_program_stops_the_start(tmp_path: Path) -> None:
    path = await written(tmp_path, 1)
    whole = bytearray(path.read_bytes())
    whole[4] = segment.VERSION + 1
    path.write_bytes(whole)
    with pytest.raises(WalError, match="newer program"):
        recover(tmp_path, metrics())
    assert path.read_bytes() == bytes(whole)


@pytest.mark.parametrize("ways", ["another file system", "the same"])
async def test_what_is_kept_is_durable_before_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ways: str
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    done: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "unlink")}

    def noting(name: str, what: object) -> None:
        if name == "fsync":
            done.append(f"fsync {os.readlink(f'/proc/self/fd/{what}').removeprefix(str(tmp_path))}")
        else:
            done.append("unlink")
        real[name](what)

    if ways != "the same":
        monkeypatch.setattr(os, "replace", refuse)
        monkeypatch.setattr(os, "link", refuse)
    for name in real:
        monkeypatch.setattr(os, name, partial(noting, name))
    path = tmp_path / "one.wal"
    path.write_bytes(b"rows")
    keep_copy(path, tmp_path / "copies")
    assert keep(path, tmp_path / "elsewhere").read_bytes() == b"rows"

    assert (tmp_path / "copies" / "one.wal").read_bytes() == b"rows"
    assert not path.exists()
    expected = ["fsync ", "fsync /copies/one.wal.new", "fsync /copies"]
    expected += ["fsync ", "fsync /elsewhere/one.wal.new", "fsync /elsewhere", "unlink"]
    if ways == "the same":
        expected = ["fsync ", "fsync /copies", "fsync ", "fsync /elsewhere"]
    assert done == expected


def test_what_is_kept_goes_even_if_a_copy_is_a_link_to_it(tmp_path: Path) -> None:
    path = tmp_path / "one.wal"
    path.write_bytes(b"rows")
    keep_copy(path, tmp_path / "kept")
    assert keep(path, tmp_path / "kept").read_bytes() == b"rows"
    assert not path.exists()


@pytest.mark.parametrize("same_disk", [True, False])
def test_what_was_kept_before_under_the_same_name_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_disk: bool
) -> None:
    if not same_disk:

        def refuse(source: Path, target: Path) -> None:
            raise OSError(errno.EXDEV, "another file system")

        monkeypatch.setattr(os, "replace", refuse)
    kept = tmp_path / "kept"
    for content in (b"first", b"second", b"second", b"third"):
        path = tmp_path / "one.wal"
        path.write_bytes(content)
        keep(path, kept)
        assert not path.exists()

    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        "one.wal.1": b"first",
        "one.wal.2": b"second",
        "one.wal": b"third",
    }
    assert [path.name for path in kept.glob(f"*{segment.SUFFIX}")] == ["one.wal"]


async def test_the_directory_stays_locked_until_the_log_is_closed(tmp_path: Path) -> None:
    def another() -> Wal:
        return Wal(tmp_path, IngestSection(), metrics(), on_sealed=lambda sealed: None, on_broken=lambda reason: None)

    first, second = another(), another()
    first.open()
    first.start()
    await first.stop()
    with pytest.raises(WalError, match="Another server"):
        second.open()
    await first.close()
    assert second.open() == []
    await second.close()


async def test_a_writer_that_fails_answers_everyone_and_ends_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []
    wal = Wal(tmp_path, IngestSection(), metrics(), on_sealed=lambda sealed: None, on_broken=broken.append)
    wal.open()
    wal.start()

    def fail(*parts: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(segment, "frame_head", fail)
    with pytest.raises(WalError):
        await wal.durable([row("a")])
    await wal.stop()
    assert broken
    assert wal.refusal()
    with pytest.raises(WalError):
        wal.append([row("b")], lambda error: None)
    await wal.close()


async def test_a_failed_acknowledgement_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    wal = Wal(tmp_path, IngestSection(), metrics(), on_sealed=lambda sealed: None, on_broken=lambda reason: None)
    wal.open()

    def fail(error: str) -> None:
        raise RuntimeError

    wal.append([row("a")], fail)
    answered = wal.durable([row("b")])
    wal.start()
    await answered
    await wal.close()


@pytest.mark.parametrize("newest", [False, True], ids=["older", "newest"])
@pytest.mark.parametrize(
    "content",
    [b"", b"AW", b"AWAL\x01\x00", bytes(4_096), b"#!/bin/sh\n", b"x" * 20_000],
    ids=["empty", "two bytes", "half a head", "zeroes", "script", "noise"],
)
async def test_a_file_that_is_no_segment_is_kept_counted_and_costs_no_other(
    content: bytes, newest: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await written(tmp_path, 2), await written(tmp_path, 3)
    path = tmp_path / f"{int(second.stem) + 1 if newest else int(second.stem) - 1:020d}.wal"
    path.write_bytes(content)
    counted = metrics()

    found = recover(tmp_path, counted)

    assert [(sealed.path, sealed.events) for sealed in found] == [(first, 2), (second, 3)]
    assert not path.exists()
    assert (tmp_path / "quarantine" / path.name).read_bytes() == content
    assert errors(counted, "quarantined_segment") == 1
    assert path.name in str(caplog.records[-1].__dict__["file"])


@pytest.mark.parametrize("keep_bytes", [0, 11, None], ids=["emptied", "cut in its head", "cut after its head"])
async def test_a_segment_that_lost_all_its_frames_is_kept_and_counted(keep_bytes: int | None, tmp_path: Path) -> None:
    first, second = await written(tmp_path, 2), await written(tmp_path, 3)
    os.truncate(first, len(segment.read_head(first).content) if keep_bytes is None else keep_bytes)
    counted = metrics()

    (found,) = recover(tmp_path, counted)

    assert (found.path, found.events) == (second, 3)
    assert (tmp_path / "quarantine" / first.name).exists()
    assert errors(counted, "quarantined_segment") == 1


@pytest.mark.parametrize("kind", ["directory", "dangling link"])
async def test_what_is_no_file_is_kept_and_counted(kind: str, tmp_path: Path) -> None:
    path = await written(tmp_path, 1)
    stranger = tmp_path / "00000000000000000001.wal"
    if kind == "directory":
        stranger.mkdir()
    else:
        stranger.symlink_to(tmp_path / "nowhere")
    counted = metrics()

    (found,) = recover(tmp_path, counted)

    assert (found.path, errors(counted, "quarantined_segment")) == (path, 1)
    assert stranger.name in os.listdir(tmp_path / "quarantine")
    assert stranger.name not in os.listdir(tmp_path)


async def test_a_segment_that_was_being_created_is_no_damage(tmp_path: Path) -> None:
    path = await written(tmp_path, 1)
    draft = tmp_path / f"{int(path.stem) + 1:020d}.new"
    draft.write_bytes(b"AWAL")
    newest = tmp_path / f"{int(path.stem) + 2:020d}.wal"
    newest.write_bytes(segment.head_bytes(int(newest.stem), created_ms(int(newest.stem))))
    counted = metrics()

    (found,) = recover(tmp_path, counted)

    assert found.path == path
    assert sorted(os.listdir(tmp_path)) == [path.name, "lock"]
    assert errors(counted, "quarantined_segment") == 0


async def test_other_files_are_left_alone_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = await written(tmp_path, 1)
    (tmp_path / "00000000000000000001.wal.bak").write_bytes(b"x")
    (tmp_path / ".nfs0001").write_bytes(b"x")
    (tmp_path / "lost+found").mkdir()

    (found,) = recover(tmp_path, metrics())

    assert found.path == path
    assert (tmp_path / "00000000000000000001.wal.bak").exists()
    assert [record.__dict__["files"] for record in caplog.records] == [["00000000000000000001.wal.bak"]]
