"""The WAL segment's format on disk, and how one is read back.

    segment = magic "AWAL" | version u16 | header length u16 | crc32(header) u32 | header (JSON) | frames
    frame   = length u32 | crc32(length ‖ sequence ‖ payload) u32 | sequence u64 | payload

All little-endian. The header names the batch and the columns of its rows; a frame is
one commit group; its payload is a MessagePack array of rows. A length of 0 is
invalid, so that a tail of zeroes never looks like data. A segment is a batch: its
`batch_id` is on every row that it becomes in ClickHouse.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from analytics_server.errors import AnalyticsError
from analytics_server.model import COLUMN_NAMES, COLUMNS

MAGIC = b"AWAL"
VERSION = 1
SUFFIX = ".wal"

_HEAD = struct.Struct("<4sHHI")
_FRAME = struct.Struct("<IIQ")
FRAME_HEAD_BYTES = _FRAME.size
MAX_FRAME_BYTES = 256 * 1_048_576

_decode_rows = msgspec.msgpack.Decoder(list[list[object]]).decode


class SegmentError(AnalyticsError):
    """A segment file can't be read: its head is broken or of an unknown version."""

    code = "bad_wal_segment"


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` is kept so that a newer program can read an older segment."""

    batch_id: int
    created_ms: int
    columns: tuple[str, ...]


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass over a segment found. `good_bytes` is the end of the last good frame."""

    header: SegmentHeader
    frames: int
    rows: int
    good_bytes: int
    torn_bytes: int


def head_bytes(batch_id: int, created_ms: int) -> bytes:
    """The bytes a new segment begins with."""
    header = msgspec.json.encode(SegmentHeader(batch_id=batch_id, created_ms=created_ms, columns=COLUMN_NAMES))
    return _HEAD.pack(MAGIC, VERSION, len(header), zlib.crc32(header)) + header


def array_head(count: int) -> bytes:
    """MessagePack's array32 marker: the rows of a group follow it as they are."""
    return b"\xdd" + count.to_bytes(4, "big")


def frame_head(sequence: int, parts: list[bytes]) -> bytes:
    """The frame's head for a payload given in parts (so that nothing is copied to join it)."""
    length = sum(map(len, parts))
    checksum = zlib.crc32(struct.pack("<IQ", length, sequence))
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return _FRAME.pack(length, checksum, sequence)


def read_header(file_bytes: memoryview | bytes) -> tuple[SegmentHeader, int]:
    """The header and where the frames begin. Raises `SegmentError`."""
    if len(file_bytes) < _HEAD.size:
        raise SegmentError("The WAL segment is shorter than its own head.")
    magic, version, length, checksum = _HEAD.unpack_from(file_bytes)
    if magic != MAGIC:
        raise SegmentError("The file is no WAL segment (wrong magic).")
    if version != VERSION:
        raise SegmentError(f"The WAL segment has version {version}; this program reads {VERSION}.")
    end = _HEAD.size + length
    header = bytes(file_bytes[_HEAD.size : end])
    if len(header) < length or zlib.crc32(header) != checksum:
        raise SegmentError("The WAL segment's header is damaged.")
    try:
        return msgspec.json.decode(header, type=SegmentHeader), end
    except msgspec.DecodeError as error:
        raise SegmentError(f"The WAL segment's header can't be read: {error}.") from error


def frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Good frames as (end offset, payload), streamed; stops at the first that isn't whole."""
    with path.open("rb") as file:
        start = file.read(_HEAD.size + 65_536)
        _, position = read_header(start)
        file.seek(position)
        while True:
            head = file.read(FRAME_HEAD_BYTES)
            if len(head) < FRAME_HEAD_BYTES:
                return
            length, checksum, sequence = _FRAME.unpack(head)
            if not 0 < length <= MAX_FRAME_BYTES:
                return
            payload = file.read(length)
            if len(payload) < length:
                return
            actual = zlib.crc32(payload, zlib.crc32(struct.pack("<IQ", length, sequence)))
            if actual != checksum:
                return
            position += FRAME_HEAD_BYTES + length
            yield position, payload


def header_of(path: Path) -> SegmentHeader:
    """The header of a segment file. Raises `SegmentError`."""
    with path.open("rb") as file:
        return read_header(file.read(_HEAD.size + 65_536))[0]


def scan(path: Path) -> Scan:
    """Read a whole segment and say how much of it is good. Raises `SegmentError`."""
    header = header_of(path)
    good = count = total = 0
    for end, payload in frames(path):
        good, count = end, count + 1
        total += int.from_bytes(payload[1:5], "big")
    size = os.stat(path).st_size
    if not count:
        with path.open("rb") as file:
            good = read_header(file.read(_HEAD.size + 65_536))[1]
    return Scan(header=header, frames=count, rows=total, good_bytes=good, torn_bytes=size - good)


def rows_of(payload: bytes, columns: tuple[str, ...] = COLUMN_NAMES) -> list[list[object]]:
    """A frame's rows in today's column order; a column the segment didn't know gets its default."""
    rows = _decode_rows(payload)
    if columns == COLUMN_NAMES:
        return rows
    position = {name: index for index, name in enumerate(columns)}
    return [
        [row[position[column.name]] if column.name in position else column.default for column in COLUMNS]
        for row in rows
    ]
