"""Python's columns as ClickHouse's Native format: what an insert is made of, before it is sent.

Encoding is a step of its own, so that the next batch can be encoded while the engine still
writes the last one. clickhouse-connect writes most types; some it writes value by value, which
cost more than all others together (measured), and are written here in one go: LowCardinality
(sent as String: the engine makes the dictionary), whose values repeat, UUID, and Decimal, most
of which are zero. A value that doesn't fit its column raises `StoreBadRows` with the column's
name, never the value. Any thread may encode.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.common import write_leb128
from clickhouse_connect.driver.compression import get_compressor
from clickhouse_connect.driver.insert import InsertContext

from analytics_server.errors import StoreBadRows
from analytics_server.store.protocol import Encoded

UUID_BYTES = 16
DECIMAL_64_BYTES = 8
COMPRESSION = "zstd"
MOST_KNOWN = 2_000
"""With more distinct values in a column the library is faster."""


class _Type(Protocol):
    """How a column is written."""

    @property
    def insert_name(self) -> str:
        """The type's name on the wire."""

    def write_column(self, column: Sequence[object], dest: bytearray, ctx: InsertContext) -> None:
        """Append the values."""


class _Repeated:
    """Strings of which there are few: each is encoded once per insert (half the time of encoding all)."""

    insert_name = "String"

    def __init__(self) -> None:
        self._known = _EncodedTexts()
        self._type: _Type = get_from_name("String")

    def write_column(self, column: Sequence[object], dest: bytearray, ctx: InsertContext) -> None:
        empty = 0 if column and column[0] else column.count("")  # where the first is a text, most are
        if empty == len(column):
            dest += bytes(empty)  # an empty string is its length, 0
            return
        if len(self._known) <= MOST_KNOWN and empty <= len(column) // 2:
            try:
                dest += b"".join(map(self._known.__getitem__, column))
                return
            except TypeError:  # not all are texts: then all are encoded as the library does
                pass
        self._type.write_column(column, dest, ctx)


class _EncodedTexts(dict[object, bytes]):
    """As they are on the wire."""

    def __missing__(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise TypeError("no text")
        found = self[value] = _text(value)
        return found


class _Uuid:
    """UUIDs given as 16 bytes (big-endian), integers or UUIDs: the wire has two little-endian halves."""

    insert_name = "UUID"

    def write_column(self, column: Sequence[object], dest: bytearray, ctx: InsertContext) -> None:
        values = [value if isinstance(value, bytes) else _uuid_bytes(value) for value in column]
        if set(map(len, values)) != {UUID_BYTES}:
            raise ValueError("a UUID has 16 bytes")
        joined = b"".join(values)
        halves = array("Q", joined)
        halves.byteswap()
        dest += halves.tobytes()


def _uuid_bytes(value: object) -> bytes:
    number = value.int if isinstance(value, UUID) else value
    if not isinstance(number, int):
        raise TypeError("no UUID")
    return number.to_bytes(UUID_BYTES, "big")


class _Decimal64:
    """Most events have no amount: zeroes need no arithmetic."""

    def __init__(self, name: str) -> None:
        self.insert_name = name
        self._type: _Type = get_from_name(name)

    def write_column(self, column: Sequence[object], dest: bytearray, ctx: InsertContext) -> None:
        if column.count(0) == len(column):
            dest += bytes(DECIMAL_64_BYTES * len(column))
            return
        amounts = [value for value in column if value != 0]
        written = bytearray()
        if amounts:
            self._type.write_column(amounts, written, ctx)
        if len(amounts) == len(column):
            dest += written
            return
        zero = bytes(DECIMAL_64_BYTES)
        words = (written[at : at + DECIMAL_64_BYTES] for at in range(0, len(written), DECIMAL_64_BYTES))
        dest += b"".join([zero if value == 0 else next(words) for value in column])


def wire_type(name: str) -> _Type:
    """The writer of a column of this ClickHouse type, for one insert."""
    if name == "UUID":
        return _Uuid()
    if name.startswith("Decimal(18,"):
        return _Decimal64(name)
    if name == "LowCardinality(String)":
        return _Repeated()
    found: _Type = get_from_name(name.replace("LowCardinality(String)", "String"))
    return found


def encode(
    columns: Sequence[str],
    types: Sequence[_Type],
    blocks: Iterable[Sequence[Sequence[object]]],
    *,
    compress: bool,
    pause_s: float = 0.0,
) -> Encoded:
    """All blocks of one insert; between them the thread rests for `pause_s`. Raises `StoreBadRows`."""
    context = InsertContext("", list(columns), types)  # type: ignore[arg-type]
    compressor = get_compressor(COMPRESSION if compress else None)
    heads = [_text(name) + _text(kind.insert_name) for name, kind in zip(columns, types, strict=True)]
    pieces: list[bytes] = []
    rows = 0
    for block in blocks:
        output = bytearray()
        write_leb128(len(columns), output)
        write_leb128(len(block[0]), output)
        for name, head, kind, values in zip(columns, heads, types, block, strict=True):
            output += head
            context.start_column(name)
            try:
                kind.write_column(values, output, context)
            except Exception as error:  # the library raises whatever Python does; its message may quote a value
                raise StoreBadRows(f"A value of the column {name} can't be stored ({type(error).__name__}).") from None
        rows += len(block[0])
        pieces.append(bytes(compressor.compress_block(output)))
        if pause_s:
            time.sleep(pause_s)
    return Encoded(columns=tuple(columns), rows=rows, pieces=pieces, compression=COMPRESSION if compress else "")


def _text(text: str) -> bytes:
    """A string with its length."""
    encoded = text.encode()
    dest = bytearray()
    write_leb128(len(encoded), dest)
    return bytes(dest) + encoded
