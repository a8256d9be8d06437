"""Content encodings of ClickHouse's HTTP interface, in both directions.

aiohttp undoes gzip, deflate and zstd of a request by itself; lz4 frames are undone
here. Answers are packed with the first of the client's encodings that is known.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PACK: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": zstd.compress,
    "gzip": lambda data: gzip.compress(data, compresslevel=3),
    "deflate": lambda data: zlib.compress(data, level=3),
}


def choose(accepted: str) -> str:
    """The encoding for an answer, "" for none, from an Accept-Encoding header."""
    for part in accepted.split(","):
        name = part.split(";")[0].strip().lower()
        if name in _PACK:
            return name
    return ""


def pack(data: bytes, encoding: str) -> bytes:
    return _PACK[encoding](data) if encoding else data


class Lz4Frames:
    """Undoes a stream of any number of lz4 frames, fed in pieces."""

    def __init__(self) -> None:
        self._frame: Any = lz4.frame.LZ4FrameDecompressor()

    def feed(self, data: bytes) -> bytes:
        out = bytearray()
        while data:
            if self._frame.eof:
                self._frame = lz4.frame.LZ4FrameDecompressor()
            out += self._frame.decompress(data)
            data = self._frame.unused_data or b""
        return bytes(out)
