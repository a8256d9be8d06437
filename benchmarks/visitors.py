"""Visitors who wait for each answer, as raw requests: what a beacon costs them beside other work of the server."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

CONNECTIONS = 16
PAUSE_S = 0.01
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"
BODY = b'{"site":"abuse.example","name":"pageview","url":"https://abuse.example/"}'


def beacon(number: int) -> bytes:
    """A page view as a request, with the address of that number in X-Forwarded-For."""
    address = f"{20 + number // 16_777_216}.{number // 65_536 % 256}.{number // 256 % 256}.{number % 256}"
    head = f"POST /track HTTP/1.1\r\nHost: a\r\nUser-Agent: {AGENT}\r\nX-Forwarded-For: {address}\r\n"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


class Client:
    """One keep-alive connection that waits for each answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> bool:
        """Is the answer 202?"""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await self._reader.readexactly(length)
        return head.startswith(b"HTTP/1.1 202 ")


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A connection, closed at the end."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def p99_ms(url: str, seconds: float) -> float:
    """The p99 of beacons on a few connections, in milliseconds. Raises `RuntimeError` for one that is not accepted."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def visitor(number: int) -> None:
        async with client(url) as connection:
            while (started := time.perf_counter()) < end:
                if not await connection.ask(beacon(number)):
                    raise RuntimeError("A beacon was not accepted.")
                times.append((time.perf_counter() - started) * 1_000)
                await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(visitor(number) for number in range(CONNECTIONS)))
    return statistics.quantiles(times, n=100)[98]
