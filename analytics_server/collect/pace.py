"""Throttling (back-pressure) of bodies that grow much when decompressed: one after another, so that beacons go on.

A kilobyte of gzip may stand for a megabyte of the smallest values (`{},{},…`), which takes a tenth of a second to
read: twenty such requests a second would keep all beacons waiting for seconds. Nothing is refused for how
it looks. Such a body waits for those before it, and together they get a tenth of the time. Bounded: so many
wait of one network, and so many of all. Only the event loop uses it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from analytics_server.collect.address import network_of
from analytics_server.errors import TooManyRequests, Unavailable

SMALL_BYTES = 16_384
"""Less is read in a few milliseconds, whatever it is."""

MOST_TIMES = 8
"""Events that are alike are compressed to about a tenth."""

WAITING = 32
WAITING_OF_NETWORK = 4
REST_TIMES = 9
MOST_REST_S = 2.0


def is_compressed_far(compressed: int, plain: int) -> bool:
    """Has a body of so many bytes become so much larger that it may be made to cost?"""
    return plain > SMALL_BYTES and plain > MOST_TIMES * compressed


class DecompressionThrottle:
    """Which body may be decoded now."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._rested_at = 0.0

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Wait for the turn of a sender's body. Raises `TooManyRequests` or `Unavailable`."""
        network = network_of(address)
        if self._waiting[network] >= WAITING_OF_NETWORK:
            raise TooManyRequests("Several large compressed bodies of this address wait already: send it again later.")
        if self._waiting.total() >= WAITING:
            raise Unavailable(
                "Too many large compressed bodies wait already: send it again later, or uncompressed.", code="busy"
            )
        self._waiting[network] += 1
        try:
            async with self._turn:
                await asyncio.sleep(self._rested_at - time.monotonic())
                began = time.monotonic()
                try:
                    yield
                finally:
                    ended = time.monotonic()
                    self._rested_at = ended + min(MOST_REST_S, REST_TIMES * (ended - began))
        finally:
            self._waiting[network] -= 1
            if not self._waiting[network]:
                del self._waiting[network]
