"""Answers made smaller on their way, piece by piece."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

LEVEL = 3
GZIP_WINDOW = 31
IN_THREAD_BYTES = 65_536
"""A piece of more is worked on in a thread: it takes milliseconds."""


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
