"""All bytes under a directory, those that ClickHouse has compressed included: nothing of a person may be left there.

A column's file is a row of blocks: checksum (16), method, compressed and raw size (little-endian), data. Files of
other formats are read as they are.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import lz4.block

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEAD = struct.Struct("<16xBII")
_HEAD_BYTES = _HEAD.size
_BEFORE_DATA = 9
"""Method and sizes count as compressed."""

_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


def unpacked(content: bytes) -> Iterator[bytes]:
    """The raw data of each block that can be unpacked, until one can't."""
    at = 0
    while at + _HEAD_BYTES <= len(content):
        method, size, raw_size = _HEAD.unpack_from(content, at)
        data = content[at + _HEAD_BYTES : at + 16 + size]
        if size <= _BEFORE_DATA or len(data) != size - _BEFORE_DATA:
            return
        try:
            if method == _LZ4:
                yield lz4.block.decompress(data, uncompressed_size=raw_size)
            elif method == _ZSTD:
                yield zstd.decompress(data)
            elif method == _NONE:
                yield data
        except (lz4.block.LZ4BlockError, zstd.ZstdError):
            return
        at += 16 + size


def files_with(directory: Path, needle: bytes) -> list[str]:
    """The files in which the bytes stand, packed or not."""
    return [name for name, _ in files_with_any(directory, [needle])]


def files_with_any(directory: Path, needles: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """The files in which any of them stands, packed or not, with that one."""
    return [
        (str(path.relative_to(directory)), needle)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
        for content in [path.read_bytes()]
        for raw in [[content, *unpacked(content)]]
        for needle in needles
        if any(needle in each for each in raw)
    ]
