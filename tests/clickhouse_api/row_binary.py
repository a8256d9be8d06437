"""Reads answers as the driver for Java does: ClickHouse's blocks, and the format `RowBinaryWithNamesAndTypes`."""

from __future__ import annotations

import io
import struct

import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

Value = str | int | float | bool | None | list["Value"]

NUMBERS = {"Int8": "b", "UInt8": "B", "Int16": "h", "UInt16": "H", "Int32": "i", "UInt32": "I"} | {
    "Int64": "q",
    "UInt64": "Q",
    "Float64": "d",
    "Bool": "?",
    "DateTime64(9)": "q",
}


def unpacked(body: bytes) -> bytes:
    """The body without its blocks; each one's checksum is compared."""
    whole = b""
    while body:
        first, second, _, packed, size = struct.unpack("<QQBII", body[:25])
        checksum = CityHash128(body[16 : 16 + packed])
        assert (checksum >> 64, checksum & (2**64 - 1)) == (first, second)
        whole += lz4.block.decompress(body[25 : 16 + packed], uncompressed_size=size)
        body = body[16 + packed :]
    return whole


def rows_of(body: bytes) -> list[dict[str, Value]]:
    """The rows, by the columns' names."""
    data = io.BytesIO(body)
    count = varint(data)
    names, types = [_text(data) for _ in range(count)], [_text(data) for _ in range(count)]
    rows: list[dict[str, Value]] = []
    while data.tell() < len(body):
        rows.append({name: _value(data, type_) for name, type_ in zip(names, types, strict=True)})
    return rows


def _value(data: io.BytesIO, type_: str) -> Value:
    if type_ == "String":
        return _text(data)
    inner = type_.partition("(")[2][:-1]
    if type_.startswith("Nullable("):
        return None if data.read(1) == b"\x01" else _value(data, inner)
    if type_.startswith("Array("):
        return [_value(data, inner) for _ in range(varint(data))]
    code = f"<{NUMBERS[type_]}"
    (value,) = struct.unpack(code, data.read(struct.calcsize(code)))
    assert isinstance(value, int | float)
    return value


def _text(data: io.BytesIO) -> str:
    return data.read(varint(data)).decode()


def varint(data: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = data.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value
