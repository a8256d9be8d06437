"""The WAL segment's format on disk, and how one is read back.

    segment = magic "AWAL" | version u16 | header length u16 | crc32(header) u32 | header (JSON) | frames
    frame   = length u32 | crc32(length ‖ sequence ‖ payload) u32 | sequence u64 | payload

All little-endian. The header names the batch and the columns of its rows; a frame is
one commit group; its payload is a MessagePack array of rows. A length of 0 is
invalid, so that a tail of zeroes never looks like data. A segment is a batch: its
`batch_id` is on every row that it becomes in ClickHouse, and the name of its file.
A head of this program's columns can therefore be made again when it is damaged.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from analytics_server.batch_ids import created_ms, is_historic
from analytics_server.errors import AnalyticsError
from analytics_server.model import COLUMN_NAMES, COLUMNS, Row

MAGIC = b"AWAL"
VERSION = 1
"""Only numbers with an odd count of bits are used (1, 2, 4, 7, …): one flipped bit is damage, never another version."""
SUFFIX = ".wal"

_HEAD = struct.Struct("<4sHHI")
_FRAME = struct.Struct("<IIQ")
_CHECKSUM = slice(_HEAD.size - 4, _HEAD.size)
FRAME_HEAD_BYTES = _FRAME.size
MAX_FRAME_BYTES = 256 * 1_048_576
MAX_FRAMES = 1 << 32
"""More commit groups than a process makes in years: a greater step in the sequence is no frame's."""
MOST_OPEN_S = 600.0
"""So long a historic segment may be open at most while others wait. What arrived since some time is looked for by its
batch id, which is that of the segment's creation: so much earlier, at most."""
ARRAY_MARK = b"\xdd"

_encode = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[list[object]]).decode


class SegmentError(AnalyticsError):
    """A segment file can't be read: its head is broken or of an unknown version."""

    code = "bad_wal_segment"


class TornHead(SegmentError):
    """The file ends within its head: it was being created, and holds no event."""


class NewerSegment(SegmentError):
    """The segment was written by a newer program."""


class Sealed:
    """A closed segment on its way to ClickHouse. `rows` is None when only disk has them."""

    __slots__ = ("batch_id", "events", "historic", "path", "rows", "size", "suspect", "verify_first")

    def __init__(
        self,
        path: Path,
        batch_id: int,
        events: int,
        size: int,
        rows: list[Row] | None,
        *,
        verify_first: bool = False,
    ) -> None:
        self.path = path
        self.batch_id = batch_id
        self.events = events
        self.size = size
        self.historic = is_historic(batch_id)
        self.rows = rows
        self.verify_first = verify_first
        self.suspect = False
        """Of an earlier run: it may have been under way when that ended, between `events` and a rollup."""


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True):
    """`columns` is kept so that a newer program can read an older segment."""

    batch_id: int
    created_ms: int
    columns: tuple[str, ...]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """How a segment begins: `content` is as it was written, of which `damaged_bytes` stand otherwise in the file."""

    header: SegmentHeader
    content: bytes
    damaged_bytes: int


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a pass over a segment found. `good_bytes` is the end of the last good frame.

    `damaged_bytes` are the head's, and those between good frames; `torn_bytes` lie after the last one.
    """

    header: SegmentHeader
    frames: int
    rows: int
    good_bytes: int
    damaged_bytes: int
    torn_bytes: int


def head_bytes(batch_id: int, created_ms: int) -> bytes:
    """The bytes a new segment begins with."""
    header = msgspec.json.encode(SegmentHeader(batch_id=batch_id, created_ms=created_ms, columns=COLUMN_NAMES))
    return _HEAD.pack(MAGIC, VERSION, len(header), zlib.crc32(header)) + header


def array_head(count: int) -> bytes:
    """MessagePack's array32 marker: the rows of a group follow it as they are."""
    return ARRAY_MARK + count.to_bytes(4, "big")


def encode_rows(rows: Sequence[Row]) -> bytes:
    """Rows one after the other, as they stand in a frame: encoded as one array, whose own marker is left out."""
    if len(rows) == 1:
        return _encode(rows[0])
    head_bytes = 1 if len(rows) < 16 else 3 if len(rows) < 65_536 else 5  # MessagePack's array, array16 and array32
    return _encode(rows)[head_bytes:]


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
        raise TornHead("The WAL segment is shorter than its own head.")
    magic, version, length, checksum = _HEAD.unpack_from(file_bytes)
    if magic != MAGIC:
        raise SegmentError("The file is no WAL segment (wrong magic).")
    end = _HEAD.size + length
    header = bytes(file_bytes[_HEAD.size : end])
    if len(header) < length and len(file_bytes) < len(head_bytes((1 << 63) - 1, 10**13)):
        raise TornHead("The WAL segment is shorter than its own head.")
    if version > VERSION and version.bit_count() % 2 and zlib.crc32(header) == checksum:
        raise NewerSegment(f"The WAL segment has version {version}; this program reads {VERSION}.")
    if version != VERSION or len(header) < length or zlib.crc32(header) != checksum:
        raise SegmentError("The WAL segment's header is damaged.")
    try:
        return msgspec.json.decode(header, type=SegmentHeader), end
    except msgspec.DecodeError as error:
        raise SegmentError(f"The WAL segment's header can't be read: {error}.") from error


def read_head(path: Path) -> Head:
    """The head of a segment file. Raises `SegmentError`.

    A damaged one is made again from the file's name, if its text or its checksum still proves it.
    """
    with path.open("rb") as file:
        found = file.read(_HEAD.size + 65_536)
    try:
        header, end = read_header(found)
    except (TornHead, NewerSegment):
        raise
    except SegmentError:
        content = _written_to(path)
        if os.stat(path).st_size <= len(content) and all(
            was in (0, now) for was, now in zip(found, content, strict=False)
        ):
            raise TornHead("The WAL segment's head never reached the disk.") from None
        text, proof = content[_HEAD.size :], content[_CHECKSUM]
        if not content or (found[_HEAD.size : len(content)] != text and found[_CHECKSUM] != proof):
            raise
        header = msgspec.json.decode(text, type=SegmentHeader)
        differing = sum(was != now for was, now in zip(found, content, strict=False))
        return Head(header=header, content=content, damaged_bytes=differing)
    return Head(header=header, content=found[:end], damaged_bytes=0)


def _written_to(path: Path) -> bytes:
    """The head that a program with the same columns wrote to a file of this name; empty when it wrote none."""
    if not (path.stem.isascii() and path.stem.isdigit()):
        return b""
    batch_id = int(path.stem)
    return head_bytes(batch_id, created_ms(batch_id))


def frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """Good frames as (end offset, payload), streamed; what is no whole frame is skipped."""
    position = len(read_head(path).content)
    with path.open("rb") as file:
        last = 0
        file.seek(position)
        while True:
            head = file.read(FRAME_HEAD_BYTES)
            if len(head) < FRAME_HEAD_BYTES:
                return
            length, checksum, sequence = _FRAME.unpack(head)
            payload = file.read(length) if 0 < length <= MAX_FRAME_BYTES else b""
            if payload and len(payload) == length and _checksum(length, sequence, payload) == checksum:
                position += FRAME_HEAD_BYTES + length
                last = sequence
                yield position, payload
                continue
            file.seek(position)
            skipped = _next_frame(file.read(), last)
            if not skipped:
                return
            position += skipped
            file.seek(position)


def _next_frame(rest: bytes, last: int) -> int:
    """Where in `rest`, after its first byte, the next good frame begins; 0 when there is none.

    Every payload begins with the marker of an array, and sequences only grow: few places need their checksum looked at.
    """
    view = memoryview(rest)
    at = FRAME_HEAD_BYTES
    while (at := rest.find(ARRAY_MARK, at + 1)) >= 0:
        start = at - FRAME_HEAD_BYTES
        length, checksum, sequence = _FRAME.unpack_from(rest, start)
        if not (0 < length <= min(MAX_FRAME_BYTES, len(rest) - at) and last < sequence <= last + MAX_FRAMES):
            continue
        if _checksum(length, sequence, view[at : at + length]) == checksum:
            return start
    return 0


def _checksum(length: int, sequence: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<IQ", length, sequence)))


def header_of(path: Path) -> SegmentHeader:
    """The header of a segment file. Raises `SegmentError`."""
    return read_head(path).header


def scan(path: Path) -> Scan:
    """Read a whole segment and say how much of it is good. Raises `SegmentError`."""
    head = read_head(path)
    good, damaged = len(head.content), head.damaged_bytes
    count = total = 0
    for end, payload in frames(path):
        damaged += end - FRAME_HEAD_BYTES - len(payload) - good
        good, count = end, count + 1
        total += int.from_bytes(payload[1:5], "big")
    size = os.stat(path).st_size
    if head.damaged_bytes and not count and size <= good:
        raise TornHead("The WAL segment's head never reached the disk.")
    return Scan(
        header=head.header,
        frames=count,
        rows=total,
        good_bytes=good,
        damaged_bytes=damaged,
        torn_bytes=size - good,
    )


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
