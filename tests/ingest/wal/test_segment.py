"""The WAL segment's format: what was written is read back, and damage never becomes a row."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import SegmentError
from analytics_server.model import COLUMN_NAMES, Row
from tests.ingest.rows import GROUPS, row

encode = msgspec.msgpack.Encoder().encode


def file_bytes(groups: list[list[Row]], batch_id: int = 7) -> bytes:
    """A segment file with one frame per group."""
    content = segment.head_bytes(batch_id, 1_762_000_000_000)
    for sequence, group in enumerate(groups, 1):
        parts = [segment.array_head(len(group)), *map(encode, group)]
        content += segment.frame_head(sequence, parts) + b"".join(parts)
    return content


def read_back(path: Path) -> list[tuple[object, ...]]:
    return [tuple(row) for _, payload in segment.frames(path) for row in segment.rows_of(payload)]


def flat(groups: list[list[Row]]) -> list[Row]:
    return [row for group in groups for row in group]


@given(groups=GROUPS, batch_id=st.integers(1, 2**63 - 1))
def test_reads_back_what_was_written(groups: list[list[Row]], batch_id: int) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.wal"
        path.write_bytes(file_bytes(groups, batch_id))

        scan = segment.scan(path)

        assert read_back(path) == flat(groups)
        assert (scan.header.batch_id, scan.header.columns) == (batch_id, COLUMN_NAMES)
        assert (scan.frames, scan.rows) == (len(groups), len(flat(groups)))
        assert (scan.damaged_bytes, scan.torn_bytes) == (0, 0)
        assert scan.good_bytes == path.stat().st_size


def test_cut_at_every_byte_only_the_torn_frame_is_gone(tmp_path: Path) -> None:
    groups = [[row(title="a"), row(title="b")], [row(title="c")], [row(title="d")] * 3]
    path = tmp_path / "x.wal"
    content = file_bytes(groups)
    path.write_bytes(content)
    ends = [end for end, _ in segment.frames(path)]
    head = len(segment.head_bytes(7, 1_762_000_000_000))

    for size in range(len(content)):
        path.write_bytes(content[:size])
        if size < head:
            with pytest.raises(SegmentError):
                segment.scan(path)
            continue
        whole = sum(end <= size for end in ends)
        assert read_back(path) == flat(groups[:whole]), size
        scan = segment.scan(path)
        assert (scan.frames, scan.good_bytes + scan.torn_bytes) == (whole, size)
        assert scan.damaged_bytes == 0


def test_one_flipped_bit_costs_one_frame_at_most(tmp_path: Path) -> None:
    groups = [[row(title=f"{number} ݝݞ")] for number in range(4)]
    path = tmp_path / "x.wal"
    content = file_bytes(groups)
    head = len(segment.head_bytes(7, 1_762_000_000_000))
    written = flat(groups)
    chosen = random.Random(1)

    for position in sorted({*range(len(content) - 40, len(content)), *chosen.sample(range(len(content)), 600)}):
        damaged = bytearray(content)
        damaged[position] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        try:
            rows = read_back(path)
        except SegmentError:
            assert position < head
            continue
        assert position >= head
        assert len(rows) == 3
        assert all(found in written for found in rows)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    groups=GROUPS,
    data=st.data(),
)
def test_whatever_happens_to_the_file_no_row_is_made_up(groups: list[list[Row]], data: st.DataObject) -> None:
    content = bytearray(file_bytes(groups))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 64))
        content[start : start + length] = data.draw(st.binary(max_size=64))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.wal"
        path.write_bytes(content)
        try:
            segment.scan(path)
            rows = read_back(path)
        except SegmentError:
            return
    written = flat(groups)
    assert all(row in written for row in rows)


@pytest.mark.parametrize("content", [b"", b"AWAL", b"\x00" * 500, b"nonsense" * 100])
def test_what_is_no_segment_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.wal"
    path.write_bytes(content)

    with pytest.raises(SegmentError):
        segment.scan(path)


def test_a_tail_of_zeroes_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.wal"
    path.write_bytes(file_bytes([[row()]]) + bytes(4_096))

    scan = segment.scan(path)

    assert (scan.frames, scan.rows, scan.torn_bytes) == (1, 1, 4_096)


def test_a_segment_of_an_older_program_gets_todays_columns() -> None:
    older = COLUMN_NAMES[:-1]
    payload = segment.array_head(1) + encode(row(title="kept")[:-1])

    (read,) = segment.rows_of(payload, older)

    assert len(read) == len(COLUMN_NAMES)
    assert (read[COLUMN_NAMES.index("title")], read[-1]) == ("kept", None)


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 65_535, 65_536])
def test_rows_encoded_together_are_those_encoded_one_by_one(count: int) -> None:
    rows = [(number, "a") for number in range(count)]

    assert segment.encode_rows(rows) == b"".join(map(msgspec.msgpack.encode, rows))
