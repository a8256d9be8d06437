"""Compression of answers, piece by piece: as gzip, or as blocks of ClickHouse's own.

Such a block is a checksum (CityHash128 of what follows), a byte that names the method, the block's size with these
nine bytes and its size unpacked (four bytes each, the smallest first), and the packed bytes.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import lz4.block
from clickhouse_cityhash.cityhash import CityHash128

LEVEL = 3
GZIP_WINDOW = 31
LZ4 = 0x82
HEAD_BYTES = 9
BLOCK_BYTES = 1_048_576
MASK = 2**64 - 1
IN_THREAD_BYTES = 65_536
"""A piece of more is worked on in a thread: it takes milliseconds."""


def packed_block(piece: bytes) -> bytes:
    """The piece as one block."""
    packed: bytes = lz4.block.compress(piece, store_size=False)
    head = struct.pack("<BII", LZ4, len(packed) + HEAD_BYTES, len(piece))
    checksum = CityHash128(head + packed)
    first, second = checksum >> 64, checksum & MASK  # the library's number begins with the half that goes first
    return struct.pack("<QQ", first, second) + head + packed


async def in_blocks(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces as blocks, packed by LZ4, of at most `BLOCK_BYTES` each before."""
    async with aclosing(pieces):
        async for piece in pieces:
            for start in range(0, len(piece), BLOCK_BYTES):
                block = piece[start : start + BLOCK_BYTES]
                if len(block) > IN_THREAD_BYTES:
                    yield await asyncio.to_thread(packed_block, block)
                else:
                    yield packed_block(block)


async def gzipped(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces as one gzip file."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW)

    async def packed() -> AsyncIterator[bytes]:
        async for piece in pieces:
            if len(piece) > IN_THREAD_BYTES:
                yield await asyncio.to_thread(packer.compress, piece)
            else:
                yield packer.compress(piece)
        yield packer.flush()

    async with aclosing(pieces):
        async for piece in packed():
            if piece:
                yield piece
